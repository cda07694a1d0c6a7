"""``estimator``: what sampled candidates and truncated teachers do to the losses and their gradients."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.bench.common import (
    Changes,
    DataDir,
    Dataset,
    JsonFile,
    OneBackbone,
    app,
    backbones,
    build_missing,
    save,
    settled,
    show,
)

if TYPE_CHECKING:
    from torch import Tensor

    from harness.distill.passes.sampled import Candidates
    from harness.distill.training.objective import Distillation
    from harness.models import Backbone
    from harness.models.batch import QueryTensors
    from harness.trial.stages import Stages

#: sizes of the lists of hard candidates, and numbers of shared ones
LISTED, SHARED = (0, 16, 64, 128), (64, 256, 1024)
#: entities of the teacher that the divergence keeps
KEPT = (16, 64, 128, 512, 2048)


@app.command()
def estimator(
    dataset: Dataset = "lahman",
    backbone: OneBackbone = "ttranse",
    data_dir: DataDir = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs that the student is trained before.")] = 3,
    draws: Annotated[int, typer.Option(min=2, help="Draws of random candidates that figures are means over.")] = 50,
    changes: Changes = None,
    file: JsonFile = None,
) -> None:
    """What sampled candidates do to the cross-entropy, and short lists to the divergence of L1.

    On one batch of training queries, with a student of a few epochs and the structural teacher (from the cache, or
    built: minutes). Bias is the mean over draws minus the exact value; the error of the gradient is the distance to the
    exact one, by the entities' vectors, as a share of its length: of single draws, and of the mean of all, which goes
    to 0 with the number of draws unless there is a bias. The divergence is compared with that over all entities.
    """
    (name,) = backbones(backbone)
    import torch

    from harness.distill.training.loop import batches
    from harness.trial.cache import default_root
    from harness.trial.stages import Context, Stages

    torch.set_num_threads(1)  # as the workers of a study: what is cached must not depend on who made it
    stages = Stages(settled(dataset, name, "L1", changes or []), Context(default_root(), data_dir))
    build_missing(stages)
    model, data = _student(stages, name, epochs)
    index = next(batches(len(data), min(stages.spec.student.batch_size, len(data)), 1, 0))
    softmax = _softmax(model, data[index], draws)
    columns = {
        "listed": "listed",
        "shared": "random",
        "bias": "bias",
        "bias_se": "its standard error",
        "error_of_one": "gradient error, one draw",
        "error_of_mean": "of the mean",
    }
    exact = f"exact {softmax[0]['exact']:.4f}"
    show(f"cross-entropy of {name} on {dataset}, {exact}", columns, softmax)
    divergence = _divergence(stages, model, index, draws)
    first = {"listed": "listed", "others": "others", "shared": "random"}
    columns = {**first, "value": "divergence", "share": "share of all", **columns}
    del columns["bias"], columns["bias_se"]
    show(f"divergence from the teacher at T = {stages.spec.loss.temperature:g}", columns, divergence)
    save(file, "estimator", stages, 1, backbone=name, epochs=epochs, softmax=softmax, divergence=divergence)


def _student(stages: Stages, backbone: str, epochs: int) -> tuple[Backbone, QueryTensors]:
    from harness.distill.training.loop import train
    from harness.distill.training.objective import Distillation

    spec = stages.spec.student
    model = stages.new_model(backbone, spec, 0)
    data, recipe = stages.inputs.training(model.time_input), model.student_recipe
    schedule = stages.schedule(spec, recipe, 0, last=epochs)
    schedule = replace(schedule, sampling=spec.sampling(), validate_every=epochs + 1)  # undistilled
    train(model, data, Distillation(regularization=recipe.regularization), schedule, lambda model: 0.0)
    return model, data


def _softmax(model: Backbone, batch: QueryTensors, draws: int) -> list[dict[str, Any]]:
    from harness.distill.training.objective import Distillation
    from harness.distill.training.sampler import hardest

    exact = _measure(model, batch, Distillation(), "loss_ce", [None])
    rows = []
    for listed in LISTED:
        lists = hardest(model, batch, listed, 0) if listed else None
        for shared in (size for size in SHARED if size < len(model.entity_table())):
            sampled = _measure(model, batch, Distillation(), "loss_ce", _draws(model, shared, lists, draws))
            rows.append({"listed": listed, "shared": shared, "exact": exact.values.item(), **sampled.against(exact)})
    return rows


def _divergence(stages: Stages, model: Backbone, index: Tensor, draws: int) -> list[dict[str, Any]]:
    """The rows of lists of several lengths, of which the others are one outcome, or estimated from random ones."""
    from harness.distill.training.objective import Distillation
    from harness.teachers.targets import soft_targets, teacher_vectors

    entities, temperature = len(model.entity_table()), stages.spec.loss.temperature
    teacher, batch = stages.teacher(), stages.inputs.training(model.time_input)[index]
    asked = stages.inputs.training(teacher.time_input)[index]

    vectors = teacher_vectors(teacher, asked)

    def loss(size: int, others: str = "merged") -> Distillation:
        soft = soft_targets(teacher, asked, temperature, size)
        return Distillation(soft=replace(soft, teacher=vectors if others == "estimated" else None))

    over_all = _measure(model, batch, loss(entities), "loss_l1", [None])
    rows = []
    for size in (*(kept for kept in KEPT if kept < entities), entities):
        ways = [("merged", 0), *(("estimated", some) for some in SHARED if some < entities)]
        for others, some in ways if size < entities else ways[:1]:
            candidates: list[Candidates | None] = _draws(model, some, None, draws) if some else [None]
            sampled = _measure(model, batch, loss(size, others), "loss_l1", candidates)
            about = {"listed": size, "others": others, "shared": some or entities}
            value = sampled.values.mean().item()
            rows.append(about | {"value": value, "share": value / over_all.values.item(), **sampled.against(over_all)})
    return rows


def _draws(model: Backbone, shared: int, lists: Tensor | None, draws: int) -> list[Candidates | None]:
    from harness.distill.passes.sampled import Candidates, shared_candidates

    drawn = islice(shared_candidates(len(model.entity_table()), shared, 0), draws)
    return [Candidates(entities, lists) for entities in drawn]


class _Measured:
    """Values [N] of a loss in N draws and its gradients [N, E, d] by entities, of which sums are kept."""

    def __init__(self, values: Tensor, mean: Tensor, square: float) -> None:
        self.values, self.mean, self.square = values, mean, square

    def against(self, exact: _Measured) -> dict[str, float]:
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


def _measure(
    model: Backbone,
    batch: QueryTensors,
    loss: Distillation,
    term: str,
    candidates: list[Candidates | None],
) -> _Measured:
    import torch

    values, mean, square = [], torch.zeros_like(model.entity.weight, dtype=torch.double), 0.0
    # what is not of the term has no weight: the terms of a compiled step have one gradient
    weighted = replace(loss, hard_weight=1.0 if term == "loss_ce" else 0.0)
    for candidate in candidates:
        terms = weighted(model, batch, torch.arange(len(batch)), candidate)
        (grad,) = torch.autograd.grad(torch.stack(list(terms.values())).sum(), [model.entity.weight])
        values.append(float(terms[term].detach()))
        mean += grad.double() / len(candidates)
        square += float(grad.double().square().sum()) / len(candidates)
    return _Measured(torch.tensor(values, dtype=torch.double), mean, square)
