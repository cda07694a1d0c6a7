"""CTKD (Li et al., "Curriculum temperature for knowledge distillation", AAAI 2023): a temperature that is learned.

CTKD = w · T² · KL(softmax(t/T) ‖ softmax(z/T)),   T = low + span · σ(θ)                                  (Eq. 1 to 6)

The student minimises the divergence and θ maximises it, by a gradient that is reversed and multiplied with λ, which
rises from 0 to 1 by a cosine over the first epochs: the task gets harder as the student learns. This is the paper's
global temperature, one number for all queries; it is dropped after training.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from harness.distill.losses.base import Given, Loss, register, rivals
from harness.distill.passes.step import Step
from harness.distill.passes.terms import divergence
from harness.registry import MethodOptions, option


class CTKDOptions(MethodOptions):
    """Options of CTKD; range and epochs are the authors'."""

    weight: float = option(1.0, "weight of CTKD's T²·KL", ge=0, le=1000)
    low: float = option(1.0, "CTKD's lowest T", ge=0.01, le=1000)
    span: float = option(20.0, "CTKD's highest T less its lowest", gt=0, le=1000)
    epochs: int = option(10, "epochs until T is learned at full strength", ge=1, le=10_000)


class Curriculum(nn.Module):
    """The weighted divergence at a temperature of its own, which starts at that of the stored targets (our reading).

    ``temperature``: of the targets; where it is not within the range, T starts at the nearest end (at 1 % of the span
    from it). ``n_queries``: of an epoch.
    """

    def __init__(self, options: CTKDOptions, temperature: float, n_queries: int) -> None:
        super().__init__()
        share = min(max((temperature - options.low) / options.span, 0.01), 0.99)
        self.theta = nn.Parameter(torch.tensor(math.log(share / (1 - share))))
        self.options, self.n_queries, self.seen = options, n_queries, 0

    @property
    def strength(self) -> float:
        """λ, in 0..1: with what factor θ gets its reversed gradient."""
        done = min(self.seen / self.n_queries / self.options.epochs, 1.0)
        return (1 - math.cos(math.pi * done)) / 2

    @property
    def temperature(self) -> Tensor:
        """T, a scalar, whose gradient is reversed."""
        strength = self.strength
        reversed_theta = (1 + strength) * self.theta.detach() - strength * self.theta
        return self.options.low + self.options.span * reversed_theta.sigmoid()

    def forward(self, step: Step) -> Tensor:
        """The loss of a batch, a scalar: a mean over its queries. Sums over all entities are over `Step.sample`."""
        sample, t = step.sample, self.temperature
        self.seen += len(step.index)
        log_p = (sample.teacher * (step.temperature / t) + sample.log_weight).log_softmax(1)
        log_q = (sample.student / t + sample.log_weight).log_softmax(1)
        return self.options.weight * t**2 * divergence(log_p, log_q).mean()


def _prepare(given: Given, options: CTKDOptions) -> Curriculum:
    soft = given.soft_targets()
    return given.seeded("curriculum", lambda: Curriculum(options, float(soft.temperature), len(soft.ids)))


register(
    Loss("CTKD", _prepare, CTKDOptions, needs=("teacher",), acts="from the start", excludes=rivals("CTKD")),
    label="learned temperature",
)
