"""What a student needs of its teachers, computed once per (data, teacher) instead of in every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from harness.distill.alignment import ScoreTargets
from harness.distill.response import SoftTargets
from harness.models.base import Backbone, scores
from harness.models.batch import QueryTensors

Progress = Callable[[float], None]


def _all_scores(model: Backbone, data: QueryTensors, progress: Progress | None) -> Iterator[tuple[slice, Tensor]]:
    """The model's scores [B, E] of batch after batch of the queries."""
    table, scale = model.entity_table(), model.scale()
    size = 128 if table.device.type == "cpu" else 2048
    for start in range(0, len(data), size):
        rows = slice(start, min(start + size, len(data)))
        batch = data[rows]
        yield rows, scores(model.encode(batch.subject, batch.relation, batch.time), table, model.kernel, scale)
        if progress is not None:
            progress(rows.stop / len(data))


@torch.no_grad()
def soft_targets(
    teacher: Backbone,
    data: QueryTensors,
    temperature: float,
    size: int,
    seed: int,
    progress: Progress | None = None,
) -> SoftTargets:
    """The teacher's distribution softmax(t/T) over all entities, as ``size`` weighted entities a query.

    The first half are its most probable entities, with their exact probability. The second half are drawn from the
    rest by systematic sampling (one uniform offset, evenly spaced quantiles), each with an equal share of the rest's
    mass. Any expectation that is linear in the student's scores is therefore estimated without bias, and at high
    temperatures, where most of the mass is outside of any short list, the list is not taken for the whole.

    Args:
        teacher: a trained structural teacher.
        data: training queries [Q] on the teacher's device.
        temperature: T.
        size: entities stored a query, at least 2; at most the number of entities is used.
        seed: of the sampling.
        progress: called with the fraction done.
    """
    teacher.eval()
    size = min(size, len(teacher.entity_table()) - 1)
    top = max(size // 2, 1)
    drawn = size - top
    generator = torch.Generator().manual_seed(seed)
    ids = torch.empty(len(data), size, dtype=torch.int32)
    weights = torch.empty(len(data), size)
    entropy = torch.empty(len(data))
    quantiles = torch.arange(drawn, device=data.subject.device)
    for rows, z in _all_scores(teacher, data, progress):
        log_p = torch.log_softmax(z.div_(temperature), dim=1)
        p = log_p.exp()
        entropy[rows] = -(p * log_p).sum(1).cpu()
        best, best_ids = p.topk(top, dim=1)
        cumulated = p.scatter(1, best_ids, 0.0).cumsum(1)
        mass = cumulated[:, -1:]
        offset = torch.rand(len(p), 1, generator=generator).to(p.device)
        # searchsorted must not fall on a removed entity: right=True skips runs of equal cumulated mass
        picks = torch.searchsorted(cumulated, (quantiles + offset) / max(drawn, 1) * mass, right=True)
        ids[rows] = torch.cat([best_ids, picks.clamp_(max=p.shape[1] - 1)], dim=1).int().cpu()
        weights[rows] = torch.cat([best, (mass / max(drawn, 1)).expand(-1, drawn)], dim=1).cpu()
    return SoftTargets(ids, weights, entropy, temperature)


@torch.no_grad()
def score_targets(
    teacher: Backbone, data: QueryTensors, size: int, seed: int, progress: Progress | None = None
) -> ScoreTargets:
    """The LLM teacher's scores P(p) of ``size`` entities a query: the true one, its best, and uniform draws.

    Half of the list are the teacher's best entities, the rest are drawn uniformly from all (with replacement), so that
    the standardised scores see what the teacher finds likely and what it finds unlikely.
    """
    teacher.eval()
    n_entities = len(teacher.entity_table())
    size = min(size, n_entities)
    top = max((size - 1) // 2, 1)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.empty(len(data), size, dtype=torch.int32)
    kept = torch.empty(len(data), size)
    for rows, z in _all_scores(teacher, data, progress):
        answer = data.answer[rows, None]
        best = z.scatter(1, answer, -torch.inf).topk(top, dim=1).indices
        random = torch.randint(n_entities, (len(z), size - 1 - top), generator=generator).to(z.device)
        chosen = torch.cat([answer, best, random], dim=1)
        ids[rows] = chosen.int().cpu()
        kept[rows] = z.gather(1, chosen).cpu()
    return ScoreTargets(ids, kept)
