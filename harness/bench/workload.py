"""A training step as the benchmarks measure it. Targets are random: a step costs the same whatever they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain, count, pairwise
from typing import NamedTuple

import torch

from harness.distill.objective import Objective
from harness.distill.response import SoftTargets
from harness.distill.sampled import Candidates, shared_candidates, threads_for_the_pass
from harness.distill.trainer import batches, make_optimizer
from harness.models import Backbone, Recipe
from harness.models.batch import QueryTensors


def random_ids(n_queries: int, n_entities: int, size: int) -> torch.Tensor:
    """Stored candidates int32 [Q, min(K, E)] of queries, no entity twice in a list."""
    size = min(size, n_entities)
    few = torch.stack([torch.randperm(n_entities)[:size] for _ in range(min(n_queries, 1000))]).int()
    return few[torch.arange(n_queries) % len(few)]


def soft_targets(ids: torch.Tensor, temperature: float) -> SoftTargets:
    """Targets of L1 with half of the teacher's mass in the list ``ids`` [Q, K], spread evenly, and half outside."""
    half = torch.full((len(ids),), 0.5).log()
    log_p = half[:, None] - torch.tensor(ids.shape[1]).log()
    return SoftTargets(ids, log_p.expand(ids.shape).contiguous(), half, temperature)


class Seconds(NamedTuple):
    """What the parts of a step took."""

    forward: float
    backward: float
    update: float


def stepper(
    model: Backbone,
    data: QueryTensors,
    objective: Objective,
    batch_size: int,
    recipe: Recipe | None = None,
    *,
    shared: int = 0,
    lists: torch.Tensor | None = None,
) -> Callable[[], Seconds]:
    """A function that makes one training step of a full batch and returns its seconds (``forward`` reads the batch).

    ``shared`` random entities are scored (0: all), and the queries' ``lists`` int32 [Q, K].
    """
    recipe = recipe or model.student_recipe
    optimizer = make_optimizer(model, recipe.optimizer, recipe.learning_rate)
    size = min(batch_size, len(data))
    endless = chain.from_iterable(batches(len(data), size, 0, epoch) for epoch in count())
    full = (index for index in endless if len(index) == size)
    drawn = shared_candidates(len(model.entity_table()), shared, 0) if shared else None

    def step() -> Seconds:
        index = next(full)
        times = [time.perf_counter()]
        candidates = None if drawn is None else Candidates(next(drawn), lists)
        with threads_for_the_pass(candidates is not None):
            loss = torch.stack(list(objective(model, data[index], index, candidates).values())).sum()
            times.append(time.perf_counter())
            loss.backward()
            times.append(time.perf_counter())
            optimizer.step()
            optimizer.zero_grad()
        times.append(time.perf_counter())
        return Seconds(*(later - earlier for earlier, later in pairwise(times)))

    return step
