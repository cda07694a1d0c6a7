"""What a student needs of its teachers, computed once per (data, teacher) instead of in every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from harness.distill.passes.terms import standardize
from harness.distill.targets import ScoreTargets, SoftTargets, TeacherVectors
from harness.models.base import Backbone, gathered_scores, scores
from harness.models.batch import QueryTensors
from harness.models.scoring.candidates import candidate_scores

Progress = Callable[[float], None]


def scores_of_all(model: Backbone, batch: QueryTensors, table: Tensor) -> Tensor:
    """Scores [B, E] for training queries, whose facts the model does not read; ``table`` is its entity table."""
    asked = batch.subject, batch.relation, batch.time
    with model.without(batch):
        if not model.has_vectors:
            return model.direct_scores(*asked, batch.answer)
        read = model.entity_table() if model.reads_facts else table
        return scores(model.encode(*asked), read, model.kernel, model.scale())


def _all_scores(model: Backbone, data: QueryTensors, progress: Progress | None) -> Iterator[tuple[slice, Tensor]]:
    """The model's scores [B, E] of batch after batch of the queries."""
    table = model.entity_table() if model.has_vectors else torch.empty(0)
    size = 128 if data.subject.device.type == "cpu" else 2048
    for start in range(0, len(data), size):
        rows = slice(start, min(start + size, len(data)))
        yield rows, scores_of_all(model, data[rows], table)
        if progress is not None:
            progress(rows.stop / len(data))


@torch.no_grad()
def soft_targets(
    teacher: Backbone, data: QueryTensors, temperature: float, size: int, progress: Progress | None = None
) -> SoftTargets:
    """The teacher's distribution softmax(t/T) over all entities: its ``size`` most probable, and the others' mass.

    Args:
        teacher: a trained structural teacher.
        data: training queries [Q] on the teacher's device.
        temperature: T.
        size: entities stored a query; at most the number of entities is used.
        progress: called with the fraction done.
    """
    teacher.eval()
    size = min(size, teacher.n_entities)
    ids = torch.empty(len(data), size, dtype=torch.int32)
    log_p = torch.empty(len(data), size)
    log_rest = torch.empty(len(data))
    for rows, z in _all_scores(teacher, data, progress):
        best, best_ids = z.div_(temperature).topk(size, dim=1)
        log_total = z.logsumexp(1)
        others = z.scatter_(1, best_ids, -torch.inf).logsumexp(1)  # not 1 - Σp, which rounding would make worthless
        ids[rows] = best_ids.int().cpu()
        log_p[rows] = (best - log_total[:, None]).cpu()
        log_rest[rows] = (others - log_total).cpu()
    return SoftTargets(ids, log_p, log_rest, temperature)


@torch.no_grad()
def teacher_vectors(teacher: Backbone, data: QueryTensors) -> TeacherVectors:
    """The teacher's vectors of the queries ``data`` [Q] and of all entities, on the CPU."""
    teacher.eval()
    table, scale = teacher.entity_table(), teacher.scale()
    queries, gold = [], []
    for start in range(0, len(data), 1024):
        batch = data[slice(start, start + 1024)]
        with teacher.without(batch):
            query = teacher.encode(batch.subject, batch.relation, batch.time).half()
        queries.append(query.cpu())
        answers = table[batch.answer][:, None]
        gold.append(gathered_scores(query.to(table.dtype), answers, teacher.kernel, scale)[:, 0].cpu())
    tensors = torch.cat(queries), table.cpu().clone(), scale.cpu().clone()
    return TeacherVectors(*tensors, teacher.kernel, torch.cat(gold))


@torch.no_grad()
def score_targets(
    teacher: Backbone, data: QueryTensors, size: int, seed: int, progress: Progress | None = None
) -> ScoreTargets:
    """The LLM teacher's scores P(p) of ``size`` entities a query: the true one, its best, and uniform draws.

    Half of the list are the teacher's best entities, the others are drawn uniformly from all (with replacement), so
    that the standardised scores cover both what the teacher finds likely and what it finds unlikely.
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


@torch.no_grad()
def fused(targets: ScoreTargets, teacher: Backbone, data: QueryTensors, share: float) -> ScoreTargets:
    """Targets whose scores are a mean of the LLM teacher's and the structural teacher's, each standardised by query.

    Args:
        targets: of the LLM teacher, for the queries ``data`` [Q].
        teacher: the structural one.
        data: training queries on its device.
        share: weight of the structural teacher, in 0..1.
    """
    teacher.eval()
    table, parts = teacher.entity_table(), []
    for start in range(0, len(data), 1024):
        rows = slice(start, start + 1024)
        batch = data[rows]
        with teacher.without(batch):
            query = teacher.encode(batch.subject, batch.relation, batch.time)
        z = candidate_scores(teacher, query, table, targets.ids[rows].to(table.device)).cpu()
        parts.append(share * standardize(z) + (1 - share) * standardize(targets.scores[rows]))
    return ScoreTargets(targets.ids, torch.cat(parts))
