"""The training loop, the same for students, structural teachers and the LLM teacher's head."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from harness.distill.passes.sampled import threads_for_the_pass
from harness.distill.rounding import Bits
from harness.distill.seeds import derive_seed
from harness.distill.training.memory import keep_freed_memory
from harness.distill.training.objective import Objective
from harness.distill.training.quantised import StraightThrough
from harness.distill.training.sampler import Sampler, Sampling
from harness.models.base import Backbone
from harness.models.batch import QueryTensors

Curve = list[dict[str, float]]
#: (fraction of this stage done, latest validation MRR or None)
Report = Callable[[float, float | None], None]


class DivergedError(ArithmeticError):
    """The loss became NaN or infinite."""


@dataclass(frozen=True)
class Schedule:
    """What one stage of training does.

    ``first_epoch`` and ``total_epochs`` place the stage in the run: the learning rate falls linearly from
    ``learning_rate`` to a tenth over ``total_epochs`` (None: until this stage ends), whatever stages the run has.
    ``patience`` None: no early end, so that compared arms get equal numbers of updates. Validations of epochs before
    ``select_from`` do not compete for the best state. From epoch ``rounded_from`` on (None: never) the entity table is
    used as rounded to ``bits``.
    """

    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    seed: int
    first_epoch: int = 0
    total_epochs: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    validate_every: int = 1
    patience: int | None = None
    select_from: int = 0
    bits: Bits = 32
    rounded_from: int | None = None

    def fall(self, epochs: float) -> float:
        """The factor of the learning rate after so many epochs of the run."""
        return 1 - 0.9 * (epochs / (self.total_epochs or self.first_epoch + self.epochs))

    def rounds(self, epoch: int) -> bool:
        """Whether the entity table is rounded in an epoch of the run, counted from 0."""
        return self.rounded_from is not None and epoch >= self.rounded_from

    def validates(self, epoch: int) -> bool:
        """Whether a validation follows an epoch of the run, counted from 0."""
        last = epoch + 1 == self.first_epoch + self.epochs
        return last or (epoch + 1) % self.validate_every == 0


@dataclass
class Trained:
    """What training yields: the state with the best validation MRR, and the last one to go on from."""

    best: dict[str, Tensor]
    last: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    best_mrr: float = -math.inf
    best_epoch: int = -1
    updates: int = 0
    curve: Curve = field(default_factory=list)
    #: the first epoch, counted from 0, that competes for the best state
    select_from: int = 0

    def close(
        self, epoch: int, means: dict[str, float], updates: int, validate: Callable[[], float] | None, model: Backbone
    ) -> dict[str, float]:
        """Take an epoch of ``model`` into the curve, and its state if it is the best; return the curve's new row.

        ``means`` are the terms of the loss, ``updates`` those of the epoch, counted from 0; ``validate`` gives the
        validation MRR, None: not after this epoch.

        Raises:
            DivergedError: if the loss or the validation MRR is not finite.
        """
        self.updates += updates
        row = means | {"epoch": epoch + 1, "updates": self.updates, "loss": sum(means.values())}
        if not math.isfinite(row["loss"]):
            raise DivergedError(f"the loss became {row['loss']} in epoch {epoch + 1}")
        if validate is not None:
            mrr = row["valid_mrr"] = validate()
            if not math.isfinite(mrr):
                raise DivergedError(f"the validation MRR became {mrr} in epoch {epoch + 1}")
            if mrr > self.best_mrr and epoch >= self.select_from:
                self.best, self.best_mrr, self.best_epoch = snapshot(model), mrr, epoch + 1
        self.curve.append(row)
        return row


def batches(n: int, size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """The positions of each batch of one epoch, int64 [<= size]; a function of (seed, epoch) alone."""
    generator = torch.Generator().manual_seed(derive_seed("batches", seed, epoch))
    return iter(torch.randperm(n, generator=generator).split(size))


def make_optimizer(model: Backbone, name: str, learning_rate: float) -> torch.optim.Optimizer:
    """Adam or Adagrad, fused: one pass over parameters and state. A group has its factor of the rate as ``rate``."""
    by_rate: dict[float, list[nn.Parameter]] = {}
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = next((r for part, r in model.rates.items() if parameter_name.startswith(f"{part}.")), 1.0)
            by_rate.setdefault(rate, []).append(parameter)
    groups = [{"params": parameters, "rate": rate} for rate, parameters in by_rate.items()]
    return optimizer_of(groups, name, learning_rate)


def optimizer_of(groups: Sequence[dict[str, Any]], name: str, learning_rate: float) -> torch.optim.Optimizer:
    """Adam or Adagrad over groups of parameters on one device."""
    if name == "adam":
        return torch.optim.Adam(groups, lr=learning_rate, fused=True)
    on_cpu = groups[0]["params"][0].device.type == "cpu"
    return torch.optim.Adagrad(groups, lr=learning_rate, fused=on_cpu)


def begin(
    model: Backbone, schedule: Schedule, auxiliary: nn.Module | None, resume: Trained | None
) -> tuple[torch.optim.Optimizer, int, Trained]:
    """What ``train`` starts from: the optimiser, the number of its parameters that are the model's, and the state."""
    optimizer = make_optimizer(model, schedule.optimizer, schedule.learning_rate)
    n_parameters = sum(len(group["params"]) for group in optimizer.param_groups)
    if resume is not None:
        model.load_state_dict(resume.last)
        load_optimizer(optimizer, resume.optimizer)
    if auxiliary is not None:
        optimizer.add_param_group({"params": list(auxiliary.parameters()), "rate": 1.0})
    result = Trained(best=snapshot(model), last={}, optimizer={}, select_from=schedule.select_from)
    if resume is not None:
        result.best, result.best_mrr, result.best_epoch = resume.best, resume.best_mrr, resume.best_epoch
        result.updates = resume.updates
    return optimizer, n_parameters, result


def train(
    model: Backbone,
    data: QueryTensors,
    objective: Objective,
    schedule: Schedule,
    validate: Callable[[Backbone], float],
    *,
    auxiliary: nn.Module | None = None,
    resume: Trained | None = None,
    report: Report | None = None,
) -> Trained:
    """Train ``model`` (and ``auxiliary``, which is dropped) on ``data`` and keep the best state by validation MRR.

    Args:
        model: changed in place; ends in its last state.
        data: training queries on the model's device.
        objective: gives the terms of the loss of a batch.
        schedule: epochs, batches, optimiser and stopping rule.
        validate: the model's validation MRR, a fraction.
        auxiliary: more parameters of the objective.
        resume: a stage that this one goes on from: its last state, optimiser state, best state and updates carry
            over; its curve and the count of stale validations do not.
        report: called after each epoch, and every second within one.

    Raises:
        DivergedError: if the loss of an epoch or the validation MRR is not finite.
    """
    keep_freed_memory()
    optimizer, n_parameters, result = begin(model, schedule, auxiliary, resume)
    steps = math.ceil(len(data) / schedule.batch_size)
    sampler = Sampler(schedule.sampling, schedule.seed)
    stale, started = 0, time.perf_counter()
    reported, latest = started, None
    for epoch in range(schedule.first_epoch, schedule.first_epoch + schedule.epochs):
        sums: dict[str, Tensor] = {}
        if schedule.rounds(epoch) and model.rounding is None:
            model.rounding = StraightThrough.fitted(model.entity.weight, schedule.bits)
        asked = data.in_epoch(derive_seed("points", schedule.seed, epoch))
        candidates = sampler.epoch(model, asked, epoch)
        with threads_for_the_pass(sampler.samples(model, epoch)):
            for step, index in enumerate(batches(len(data), schedule.batch_size, schedule.seed, epoch)):
                fall = schedule.fall(epoch + step / steps)
                for group in optimizer.param_groups:
                    group["lr"] = schedule.learning_rate * group["rate"] * fall
                index = index.to(data.subject.device)
                batch = asked[index]
                with model.without(batch):
                    terms = objective(model, batch, index, next(candidates))
                loss = torch.stack(list(terms.values())).sum()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                for name, term in terms.items():
                    sums[name] = sums.get(name, 0) + term.detach() * len(index)
                if report is not None and time.perf_counter() - reported > 1:
                    reported = time.perf_counter()
                    report((epoch - schedule.first_epoch + (step + 1) / steps) / schedule.epochs, latest)
        if schedule.rounds(epoch):  # validated as it would be stored
            model.rounding = StraightThrough.fitted(model.entity.weight, schedule.bits)
        means = {name: float(value) / len(data) for name, value in sums.items()}
        row = result.close(epoch, means, steps, partial(validate, model) if schedule.validates(epoch) else None, model)
        if "valid_mrr" in row:
            latest = row["valid_mrr"]
            stale = 0 if result.best_epoch == epoch + 1 else stale + 1
        row["seconds"] = time.perf_counter() - started
        if report is not None:
            reported = time.perf_counter()
            report((epoch + 1 - schedule.first_epoch) / schedule.epochs, latest)
        if schedule.patience is not None and stale >= schedule.patience:
            break
    model.rounding = None
    result.last, result.optimizer = snapshot(model), dump_optimizer(optimizer, n_parameters)
    return result


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the model's state on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def dump_optimizer(optimizer: torch.optim.Optimizer, n_parameters: int) -> dict[str, Tensor]:
    """The state of the first ``n_parameters`` parameters as named tensors, which safetensors can hold."""
    state = {k: entries for k, entries in optimizer.state_dict()["state"].items() if k < n_parameters}
    return {f"{k}.{name}": value.detach().cpu().clone() for k, part in state.items() for name, value in part.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put what ``dump_optimizer`` returned into a fresh optimiser over the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        k, entry = name.split(".", 1)
        state.setdefault(int(k), {})[entry] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
