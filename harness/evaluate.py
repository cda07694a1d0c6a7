"""Exact filtered ranks and the metrics made of them.

A rank is 1 + the number of better entities + half the number of equally good ones: the mean of the optimistic and the
pessimistic rank, so that a model which scores all entities alike gets the rank of chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from harness import vocabulary
from harness.data import KnownAnswers, Queries, Timeline, expand_by_class, expand_by_time
from harness.models.base import Backbone, Kernel, scores
from harness.models.batch import QueryTensors
from harness.models.scoring.ordering import Ordering
from harness.models.scoring.vmapped import can_compile

PROTOCOLS = tuple(vocabulary.PROTOCOLS)
#: protocols by what they ask: those of a group have the same queries, and differ in what they leave out alone
ASKED_ALIKE = (("time-aware", "static", "raw", "same-interval"), ("timeplex",), ("expanded",), ("tkbi",))
HITS = (1, 3, 10)
#: scores of a task from which on compiled code counts: below, compiling it, .3 to .8 s a process, would not pay
COMPILED_FROM = 2**24
#: Products get a multiple of so many columns. Matrix libraries add up the last few in another order than the others, so
#: that equal entities would get unequal scores.
COLUMNS = 64


class NotFiniteError(ArithmeticError):
    """A model produced NaN or infinite scores."""


def time_of(start: NDArray[np.int64], end: NDArray[np.int64], timeline: Timeline, time_input: str) -> NDArray[np.int64]:
    """Starts and ends [Q] as a model reads them, int64 [Q, L]: two points, two classes, or the tokens of both."""
    if time_input == "points":
        return np.stack([start, end], axis=1)
    view = timeline.classes if time_input == "classes" else timeline.tokens
    first, last = view(start), view(end)
    return np.stack([first, last], axis=1) if first.ndim == 1 else np.concatenate([first, last], axis=1)


def query_tensors(queries: Queries, timeline: Timeline, time_input: str) -> QueryTensors:
    """Queries as tensors; time is [start class, end class] or the calendar tokens of start and end.

    A missing end reuses the start and a missing start the end; a fact without any time has the unknown class in both.
    """
    time = time_of(*queries.time_points(), timeline, time_input)
    return QueryTensors(*map(torch.from_numpy, (queries.subject, queries.relation, time, queries.answer)))


@dataclass(frozen=True, eq=False)
class RankTask:
    """Queries with all that ranking them under one protocol needs, made once and used every epoch.

    ``row`` and ``entity`` [P] list the other known answers to leave out, sorted by row. ``owner`` [Q] is, where a
    protocol asks a query at several times and means the ranks, the one of the ``size`` original queries that a row
    belongs to. Under ``expanded`` every row is a query of its own. ``weight`` [P] is, where answers are left out of
    some of the ranks that a query's is the mean of, the share of these.
    """

    queries: QueryTensors
    row: torch.Tensor
    entity: torch.Tensor
    owner: NDArray[np.int64] | None
    size: int
    weight: torch.Tensor | None = None

    @classmethod
    def build(
        cls, queries: Queries, known: KnownAnswers, timeline: Timeline, time_input: str, protocol: str = "time-aware"
    ) -> RankTask:
        owner, size, weight = None, len(queries), None
        within = queries
        if protocol == "timeplex":
            queries, owner = expand_by_time(queries)
            within = queries
        elif protocol == "expanded":
            queries, within, _ = expand_by_class(queries, timeline)
            size = len(queries)
        if protocol == "tkbi":
            row, entity, share = known.shares(queries)
            time = queries.time_points()[0]
            queries = replace(queries, start=time, end=time)
            weight = torch.from_numpy(share)
        else:
            row, entity = known.pairs(within, protocol)
        tensors = query_tensors(queries, timeline, time_input)
        return cls(tensors, torch.from_numpy(row), torch.from_numpy(entity), owner, size, weight)

    def to(self, device: torch.device | str) -> RankTask:
        weight = None if self.weight is None else self.weight.to(device)
        tensors = self.queries.to(device), self.row.to(device), self.entity.to(device)
        return RankTask(*tensors, self.owner, self.size, weight)

    def left_out(self, start: int, known: slice | torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The pairs ``known`` of a batch from row ``start`` on, as `rank_of` takes them."""
        pairs = self.row[known] - start, self.entity[known]
        return pairs if self.weight is None else (*pairs, self.weight[known])


def ranks(model: Backbone, task: RankTask, batch_size: int | None = None) -> NDArray[np.float64]:
    """Exact ranks [Q] of the true answers; where a query is asked at several times, the mean of its ranks.

    Raises:
        NotFiniteError: if any entity's score is NaN or infinite. Comparisons with NaN are false, so a single one
            would pass for a worse entity and make the model look better than it is.
    """
    return ranks_together(model, [task], batch_size)[0]


@torch.no_grad()
def ranks_together(
    model: Backbone, tasks: Sequence[RankTask], batch_size: int | None = None
) -> list[NDArray[np.float64]]:
    """``ranks`` of each of some tasks that have the same queries, which are scored once."""
    was_training = model.training
    model.eval()
    queries = tasks[0].queries
    device = queries.subject.device
    on_cpu, counter, table = device.type == "cpu", None, torch.empty(0)
    if model.has_vectors:
        table, scale = model.entity_table(), model.scale()
        size = len(table)
        table = torch.nn.functional.pad(table, (0, 0, 0, -size % COLUMNS))
        if can_compile(table) and len(queries) * size >= COMPILED_FROM and all(task.weight is None for task in tasks):
            counter = _Counter(table, size, model.kernel, float(scale))
    # 64 × 12,000 scores fit a second-level cache; a GPU wants fewer, larger steps; so does whatever encodes queries
    step = batch_size or (1024 if counter else 64 if on_cpu else 2048)
    starts = torch.arange(0, len(queries) + step, step, device=device)
    bounds = [torch.searchsorted(task.row, starts).tolist() for task in tasks]
    pieces = [[torch.zeros(0, dtype=torch.float64, device=device)] for _ in tasks]
    extremes = [torch.zeros(2, device=device)]
    for k, start in enumerate(range(0, len(queries), step)):
        batch = queries[slice(start, start + step)]
        asked = batch.subject, batch.relation, batch.time
        known = [slice(bound[k], bound[k + 1]) for bound in bounds]
        left_out = [task.left_out(start, of) for task, of in zip(tasks, known, strict=True)]
        query = model.encode(*asked) if model.has_vectors else None
        if counter and query is not None and counter.is_finite(query):
            counted = counter.ranks(query, batch.answer, left_out)
        else:
            z = model.direct_scores(*asked) if query is None else scores(query, table, model.kernel, scale)[:, :size]
            counted = [rank_of(z, batch.answer, *pairs) for pairs in left_out]
            extremes.append(torch.stack(z.aminmax()))  # NaN wins both; checked once at the end: no wait for a GPU here
        for piece, of_task in zip(pieces, counted, strict=True):
            piece.append(of_task)
    model.train(was_training)
    if not torch.stack(extremes).isfinite().all():
        raise NotFiniteError("the model's scores are not finite")
    return [_by_query(torch.cat(piece).cpu().numpy(), task) for piece, task in zip(pieces, tasks, strict=True)]


def _by_query(ranks_of_rows: NDArray[np.float64], task: RankTask) -> NDArray[np.float64]:
    if task.owner is None:
        return ranks_of_rows
    total = np.bincount(task.owner, weights=ranks_of_rows, minlength=task.size)
    return total / np.bincount(task.owner, minlength=task.size)


def rank_of(
    z: torch.Tensor,
    answer: torch.Tensor,
    row: torch.Tensor,
    entity: torch.Tensor,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Ranks float64 [B] of ``answer`` [B] in finite scores ``z`` [B, E], leaving out the pairs (row, entity) [P], or
    with ``weight`` [P] that share of each."""
    gold = z.gather(1, answer[:, None])
    # written as numbers, since torch counts floats several times faster than booleans; exact up to 2²⁴ entities
    flags = torch.empty_like(z)
    better = torch.gt(z, gold, out=flags).sum(1).double()
    equal = torch.eq(z, gold, out=flags).sum(1).double() - 1
    other, answer_score = z[row, entity], gold[row, 0]
    share = 1.0 if weight is None else weight
    better.index_add_(0, row, (other > answer_score).double() * share, alpha=-1)
    equal.index_add_(0, row, (other == answer_score).double() * share, alpha=-1)
    return 1 + better + equal / 2


class _Counter:
    """Ranks among the first ``size`` rows of ``table`` by compiled code, which reads a few queries' scores once."""

    def __init__(self, table: torch.Tensor, size: int, kernel: Kernel, scale: float) -> None:
        self.size, self.scale = size, scale
        self.order = Ordering(table, kernel)
        self.longest = float(table.square().sum(1).max().sqrt())

    def is_finite(self, query: torch.Tensor) -> bool:
        """Whether norms alone promise that all scores, and what they are made of, are finite and not all rounded to 0.

        |⟨q, e⟩| and the distances are at most (‖q‖ + ‖e‖)² + 1, in ``l1`` times the root of the dimension.
        """
        reach = 1 + self.longest + float(query.square().sum(1).max().sqrt())
        return self.scale > 1e-30 and (1 + self.scale) * reach**2 < 1e36  # false for NaN

    def ranks(
        self, query: torch.Tensor, answer: torch.Tensor, left_out: Sequence[tuple[torch.Tensor, ...]]
    ) -> list[torch.Tensor]:
        """As ``rank_of``, for queries [B, d] and each list of pairs (row, entity), sorted by row."""
        from harness.models.scoring.compiled import rank_rows  # here, since loading a compiler takes a moment

        ids = torch.cat([answer, *(entity for _, entity, *_ in left_out)])
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self.size:
            raise IndexError("an answer is not an entity")  # compiled code does not look
        first = [torch.searchsorted(row, torch.arange(len(query) + 1)).numpy() for row, *_ in left_out]
        counted = [np.empty(len(query)) for _ in left_out]
        rows = self.order.rows
        for start in range(0, len(query), rows):
            part = slice(start, start + rows)
            z = self.order.of(query[part]).numpy()
            for k, (_, entity, *_) in enumerate(left_out):
                offsets = first[k][start : start + rows + 1]
                rank_rows(z, answer[part].numpy(), offsets, entity.numpy(), self.size, counted[k][part])
        return [torch.from_numpy(ranks_of_rows) for ranks_of_rows in counted]


def metrics(ranks: NDArray[np.float64]) -> dict[str, float]:
    """MRR, MR and Hits@1/3/10 of ranks [Q]; fractions in 0..1, MR in ranks."""
    if len(ranks) == 0:
        return dict.fromkeys(("mrr", "mr", *(f"hits{k}" for k in HITS)), float("nan"))
    result = {"mrr": float(np.mean(1 / ranks)), "mr": float(np.mean(ranks))}
    return result | {f"hits{k}": float(np.mean(ranks <= k)) for k in HITS}


def metrics_by_direction(ranks: NDArray[np.float64]) -> dict[str, float]:
    """``metrics`` of ranks [2N] and, prefixed ``tail_`` and ``head_``, of both halves: the first asks for tails."""
    half = len(ranks) // 2
    parts = {"": ranks, "tail_": ranks[:half], "head_": ranks[half:]}
    return {prefix + name: value for prefix, part in parts.items() for name, value in metrics(part).items()}
