"""``estimator``: what sampled candidates and truncated teachers do to the losses and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from harness.bench.common import build_missing, context_of, settled, show
from harness.bench.options import Estimator
from harness.distill.passes.sampled import Candidates, shared_candidates
from harness.distill.training.loop import batches, train
from harness.distill.training.objective import Distillation
from harness.distill.training.sampler import hardest
from harness.models import Backbone
from harness.models.batch import QueryTensors
from harness.teachers.targets import soft_targets, teacher_vectors
from harness.trial.stages import Stages

#: sizes of the lists of hard candidates, and numbers of shared ones
LISTED, SHARED = (0, 16, 64, 128), (64, 256, 1024)
#: entities of the teacher that the divergence keeps
KEPT = (16, 64, 128, 512, 2048)


def run(options: Estimator) -> dict[str, Any]:
    backbone, dataset = options.backbone, options.dataset
    stages = Stages(settled(dataset, backbone, "L1", options.changes or []), context_of(options))
    build_missing(stages)
    model, data = _student(stages, options.epochs)
    index = next(batches(len(data), min(stages.spec.student.batch_size, len(data)), 1, 0))
    softmax = _softmax(model, data[index], options.draws)
    errors = {"error_of_one": "gradient error, one draw", "error_of_mean": "of the mean"}
    columns = {"listed": "listed", "shared": "random", "bias": "bias", "bias_se": "its standard error"}
    show(f"cross-entropy of {backbone} on {dataset}, exact {softmax[0]['exact']:.4f}", columns | errors, softmax)
    divergence = _divergence(stages, model, index, options.draws)
    columns = {"listed": "listed", "others": "others", "shared": "random"}
    columns |= {"value": "divergence", "share": "share of all"}
    show(f"divergence from the teacher at T = {stages.spec.loss.temperature:g}", columns | errors, divergence)
    return {"backbone": backbone, "epochs": options.epochs, "softmax": softmax, "divergence": divergence}


def _student(stages: Stages, epochs: int) -> tuple[Backbone, QueryTensors]:
    spec = stages.spec.student
    model = stages.new_model(stages.spec.backbone, spec, 0)
    data, recipe = stages.inputs.training(model.time_input), model.student_recipe
    schedule = stages.schedule(spec, recipe, 0, last=epochs)
    schedule = replace(schedule, sampling=spec.sampling(), validate_every=epochs + 1)  # undistilled
    train(model, data, Distillation(regularization=recipe.regularization), schedule, lambda model: 0.0)
    return model, data


def _softmax(model: Backbone, batch: QueryTensors, draws: int) -> list[dict[str, Any]]:
    exact = _gradients(model, batch, Distillation(), "loss_ce", [None])
    rows = []
    for listed in LISTED:
        lists = hardest(model, batch, listed, 0) if listed else None
        for shared in (size for size in SHARED if size < len(model.entity_table())):
            sampled = _gradients(model, batch, Distillation(), "loss_ce", _draws(model, shared, lists, draws))
            rows.append({"listed": listed, "shared": shared, "exact": exact.values.item(), **sampled.against(exact)})
    return rows


def _divergence(stages: Stages, model: Backbone, index: Tensor, draws: int) -> list[dict[str, Any]]:
    """The rows of lists of several lengths, of which the others are one outcome, or estimated from random ones."""
    entities, temperature = len(model.entity_table()), stages.spec.loss.temperature
    teacher, batch = stages.teacher(), stages.inputs.training(model.time_input)[index]
    queries = stages.inputs.training(teacher.time_input)[index]
    vectors = teacher_vectors(teacher, queries)

    def loss(size: int, others: str = "merged") -> Distillation:
        soft = soft_targets(teacher, queries, temperature, size)
        return Distillation(soft=replace(soft, teacher=vectors if others == "estimated" else None))

    over_all = _gradients(model, batch, loss(entities), "loss_l1", [None])
    rows = []
    for size in (*(kept for kept in KEPT if kept < entities), entities):
        ways = [("merged", 0), *(("estimated", some) for some in SHARED if some < entities)]
        for others, some in ways if size < entities else ways[:1]:
            candidates = _draws(model, some, None, draws) if some else [None]
            sampled = _gradients(model, batch, loss(size, others), "loss_l1", candidates)
            value = sampled.values.mean().item()
            row = {"listed": size, "others": others, "shared": some or entities, "value": value}
            rows.append(row | {"share": value / over_all.values.item(), **sampled.against(over_all)})
    return rows


def _draws(model: Backbone, shared: int, lists: Tensor | None, draws: int) -> Sequence[Candidates | None]:
    drawn = islice(shared_candidates(len(model.entity_table()), shared, 0), draws)
    return [Candidates(entities, lists) for entities in drawn]


@dataclass(frozen=True, eq=False)
class _Gradients:
    """Values [N] of a loss in N draws; of its gradients by the entities the mean [E, d] and the mean square length."""

    values: Tensor
    mean: Tensor
    square: float

    def against(self, exact: _Gradients) -> dict[str, float]:
        # mean of |g - exact|² = mean of |g|² - 2·mean(g)·exact + |exact|²
        length = float(exact.mean.square().sum())
        one = self.square - 2 * float((self.mean * exact.mean).sum()) + length
        mean = float((self.mean - exact.mean).square().sum())
        n = len(self.values)
        return {
            "bias": (self.values - exact.values).mean().item(),
            "bias_se": (self.values.std() / n**0.5).item() if n > 1 else 0.0,
            "error_of_one": (max(one, 0.0) / length) ** 0.5,
            "error_of_mean": (mean / length) ** 0.5,
        }


def _gradients(
    model: Backbone, batch: QueryTensors, loss: Distillation, term: str, candidates: Sequence[Candidates | None]
) -> _Gradients:
    values, mean, square = [], torch.zeros_like(model.entity.weight, dtype=torch.double), 0.0
    # what is not of the term has no weight: the terms of a compiled step have one gradient
    weighted = replace(loss, hard_weight=1.0 if term == "loss_ce" else 0.0)
    for candidate in candidates:
        terms = weighted(model, batch, torch.arange(len(batch)), candidate)
        (grad,) = torch.autograd.grad(torch.stack(list(terms.values())).sum(), [model.entity.weight])
        values.append(float(terms[term].detach()))
        mean += grad.double() / len(candidates)
        square += float(grad.double().square().sum()) / len(candidates)
    return _Gradients(torch.tensor(values, dtype=torch.double), mean, square)
