"""A training step as the benchmarks measure it. Targets are random: a step costs the same whatever they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import chain, count, pairwise
from typing import NamedTuple

import torch

from harness.distill.losses.l3 import SemanticAdapter
from harness.distill.passes.sampled import Candidates, shared_candidates, threads_for_the_pass
from harness.distill.targets import ScoreTargets, SoftTargets, TeacherVectors
from harness.distill.training.loop import batches, make_optimizer
from harness.distill.training.objective import Distillation, Objective
from harness.models import Backbone
from harness.models.batch import QueryTensors
from harness.trial.spec import TrialSpec
from harness.trial.stages import Stages


def random_ids(n_queries: int, n_entities: int, size: int) -> torch.Tensor:
    """Stored candidates int32 [Q, min(K, E)] of queries, no entity twice in a list."""
    size = min(size, n_entities)
    few = torch.stack([torch.randperm(n_entities)[:size] for _ in range(min(n_queries, 1000))]).int()
    return few[torch.arange(n_queries) % len(few)]


def soft_targets(ids: torch.Tensor, model: Backbone, spec: TrialSpec) -> SoftTargets:
    """Targets of L1 with half of the teacher's mass in the list ``ids`` [Q, K], spread evenly, and half outside.

    The teacher, if the spec's losses ask for its vectors, is of the kind of ``model``.
    """
    n, n_entities, device = len(ids), len(model.entity_table()), ids.device
    half = torch.full((n,), 0.5, device=device).log()
    log_p = half[:, None] - torch.tensor(ids.shape[1]).log()
    teacher = None
    if spec.loss.others == "estimated":
        query, table = (torch.randn(rows, spec.teacher.dim, device=device) for rows in (n, n_entities))
        gold, one = torch.zeros(n, device=device), torch.ones((), device=device)
        teacher = TeacherVectors(query.half(), table, one, model.kernel, gold)
    return SoftTargets(ids, log_p.expand(ids.shape).contiguous(), half, spec.loss.temperature, teacher)


def losses(stages: Stages, model: Backbone, data: QueryTensors) -> dict[str, Distillation]:
    """The losses of arms none, L1 and L1+L2+L3 for training queries ``data``, with the settings of a trial."""
    spec, sizes = stages.spec, (len(stages.graph.entities), 2 * len(stages.graph.relations))
    device = data.subject.device
    ids = random_ids(len(data), sizes[0], spec.loss.targets).to(device)
    soft, aligned = soft_targets(ids, model, spec), ScoreTargets(ids, torch.randn(ids.shape, device=device))
    entities, relations = (torch.rand(size, spec.semantic.dim) for size in sizes)
    adapter = SemanticAdapter(entities, relations, spec.student.dim).to(device)
    none = Distillation(regularization=model.student_recipe.regularization)
    all_losses = replace(none, soft=soft, aligned=aligned, alpha=1.0, adapter=adapter, beta=1.0)
    share = spec.loss.semantic_share
    return {"none": none, "L1": replace(none, soft=soft), "L1+L2+L3": replace(all_losses, semantic_share=share)}


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
    *,
    shared: int,
    lists: torch.Tensor | None,
    exact: bool,
) -> Callable[[], Seconds]:
    """A function that makes one training step of a full batch and returns its seconds (``forward`` reads the batch).

    ``shared`` random entities are scored, and the queries' ``lists`` int32 [Q, K]; ``exact``: all are, as in the first
    epoch of a sampled training, in which L1 asks the teacher for no more than it lists.
    """
    recipe, size = model.student_recipe, min(batch_size, len(data))
    optimizer = make_optimizer(model, recipe.optimizer, recipe.learning_rate)
    endless = chain.from_iterable(batches(len(data), size, 0, epoch) for epoch in count())
    full = (index for index in endless if len(index) == size)
    drawn = shared_candidates(len(model.entity_table()), shared, 0)
    # of one thread the processor's seconds, which other work does not lengthen
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter

    def step() -> Seconds:
        index = next(full)
        times = [clock()]
        candidates = Candidates(next(drawn), lists, exact)
        with threads_for_the_pass(not exact):
            loss = torch.stack(list(objective(model, data[index], index, candidates).values())).sum()
            times.append(clock())
            loss.backward()
            times.append(clock())
            optimizer.step()
            optimizer.zero_grad()
        times.append(clock())
        return Seconds(*(later - earlier for earlier, later in pairwise(times)))

    return step
