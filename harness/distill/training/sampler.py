"""Which entities a training scores in which step: shared draws, and each query's hardest ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor

from harness.distill.passes.sampled import COMPILED_FROM, Candidates, shared_candidates
from harness.distill.seeds import derive_seed
from harness.models.base import Backbone, Kernel, scores
from harness.models.batch import QueryTensors
from harness.models.scoring.ordering import Ordering
from harness.models.scoring.vmapped import can_compile

#: queries that are encoded at a time
ENCODED = 1024


@dataclass(frozen=True)
class Sampling:
    """How a training samples candidates; the default is not to: every step scores all entities.

    ``shared`` random entities a step (0: all), but all entities in the run's first ``exact_epochs``; after them a list
    of the ``hard`` ones of each query, renewed every ``hard_every`` epochs (0: no lists).

    A model that has learnt nothing has no hard candidates. And an optimiser that divides by the gradients so far, as
    Adagrad does, moves an entity much less by one large gradient than by many small ones: without a first epoch in
    which all entities are pushed off all queries, rare ones never get far enough.
    """

    shared: int = 0
    hard: int = 0
    hard_every: int = 4
    exact_epochs: int = 1


class Sampler:
    """Draws a stage's candidates; they depend on seed and epoch, and the hard ones on the model."""

    def __init__(self, sampling: Sampling, seed: int) -> None:
        self.sampling, self.seed = sampling, seed
        self._lists: Tensor | None = None

    def draws_any(self, model: Backbone) -> bool:
        """Whether steps have candidates at all."""
        return 0 < self.sampling.shared < len(model.entity_table())

    def samples(self, model: Backbone, epoch: int) -> bool:
        """Whether an epoch of the run, counted from 0, does not score all entities."""
        return self.draws_any(model) and epoch >= self.sampling.exact_epochs

    def epoch(self, model: Backbone, data: QueryTensors, epoch: int) -> Iterator[Candidates | None]:
        """The candidates of each step of an epoch of the run, counted from 0; None: there are none."""
        if not self.draws_any(model):
            return repeat(None)
        exact = not self.samples(model, epoch)
        device, lists = data.subject.device, None if exact else self.lists(model, data, epoch)
        return (Candidates(shared.to(device), lists, exact) for shared in self.draws(model, epoch))

    def lists(self, model: Backbone, data: QueryTensors, epoch: int) -> Tensor | None:
        """Each query's hard candidates int32 [Q, K] in an epoch with candidates; None: there are none."""
        sampling = self.sampling
        if sampling.hard and (self._lists is None or epoch % sampling.hard_every == 0):
            self._lists = hardest(model, data, sampling.hard, derive_seed("hard", self.seed, epoch))
        return self._lists

    def draws(self, model: Backbone, epoch: int) -> Iterator[Tensor]:
        """The shared candidates of each step of an epoch, int64 [M], without end."""
        seed = derive_seed("candidates", self.seed, epoch)
        return shared_candidates(len(model.entity_table()), self.sampling.shared, seed)


@torch.no_grad()
def hardest(model: Backbone, data: QueryTensors, size: int, seed: int) -> Tensor:
    """A list int32 [Q, min(size, E)] for each query of entities that the model scores highest.

    Entities are put into ``size`` groups at random and the best of each makes the list: nearly the true top in one pass
    without sorting (the partial reduction of Chern et al., "TPU-KNN", NeurIPS 2022). Of the k best it misses a share
    of about (k - 1)/(2·size). The few entities that are left over when groups have equal size are not looked at.
    """
    table, scale = model.entity_table(), model.scale()
    size = min(size, len(table))
    width = len(table) // size
    chosen = torch.randperm(len(table), generator=torch.Generator().manual_seed(seed))[: size * width].to(table.device)
    rows = table[chosen]
    compiled = can_compile(table) and len(data) * len(table) >= COMPILED_FROM
    # many queries are the same but for their answers
    asked = torch.cat([data.subject[:, None], data.relation[:, None], data.time], 1)
    distinct, number = torch.unique(asked, dim=0, return_inverse=True)
    hard = torch.empty(len(distinct), size, dtype=torch.int32, device=table.device)
    best_of = _champions(rows, size, model.kernel) if compiled else None
    for start in range(0, len(distinct), ENCODED):
        batch = distinct[start : start + ENCODED]
        query = model.encode(batch[:, 0], batch[:, 1], batch[:, 2:])
        if best_of is not None:
            best = best_of(query)
        else:
            z = scores(query, rows, model.kernel, scale)
            best = z.view(len(z), width, size).argmax(1) * size + torch.arange(size, device=z.device)
        hard[start : start + ENCODED] = chosen[best]
    return hard[number]


def _champions(table: Tensor, size: int, kernel: Kernel) -> Callable[[Tensor], Tensor]:
    """A compiled function: the best row int64 [B, size] of each group of rows k, k + size, ... of ``table``."""
    from harness.models.scoring.compiled import champions  # here, since loading a compiler takes a moment

    order = Ordering(table, kernel)

    def best_of(query: Tensor) -> Tensor:
        best = torch.empty(len(query), size, dtype=torch.int64)
        for start in range(0, len(query), order.rows):
            part = slice(start, start + order.rows)
            champions(order.of(query[part]).numpy(), best[part].numpy())
        return best

    return best_of
