"""LSKD (Sun et al., "Logit standardization in knowledge distillation", CVPR 2024): a temperature a query and a model.

LSKD = w · τ² · KL(softmax(Z(t)/τ) ‖ softmax(Z(z)/τ)),   Z(x) = (x - mean(x)) / std(x)                 (Eq. 12, Alg. 1)

Scores t of the teacher and z of the student are standardised query by query, over all entities: their temperatures are
τ times the standard deviation of their own scores. So τ means the same for every teacher, and the student need not
have scores as large as the teacher's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.distill.losses.base import FromSecondEpoch, loss, rivals
from harness.distill.passes.step import Step
from harness.distill.passes.terms import divergence
from harness.registry import MethodOptions, option


class LSKDOptions(MethodOptions):
    """Options of LSKD; the defaults are the paper's."""

    weight: float = option(9.0, "weight of LSKD", ge=0, le=1000)
    tau: float = option(2.0, "τ of LSKD, in standard deviations", ge=0.01, le=1000)


def lskd(step: Step, options: LSKDOptions) -> Tensor:
    """The loss of a batch, a scalar: a mean over its queries. Moments and sums are over `Step.sample`."""
    sample = step.sample
    log_p, log_q = (
        (standardised(x, sample.log_weight.exp()) / options.tau + sample.log_weight).log_softmax(1)
        for x in (sample.teacher, sample.student)
    )
    return options.weight * options.tau**2 * divergence(log_p, log_q).mean()


def standardised(x: Tensor, weight: Tensor) -> Tensor:
    """Rows [B, C] at mean 0 and standard deviation 1 of their columns, which count with ``weight`` [B, C]."""
    total = weight.sum(1, keepdim=True)
    x = torch.where(weight > 0, x, 0.0)
    away = x - (weight * x).sum(1, keepdim=True) / total
    return away / ((weight * away.square()).sum(1, keepdim=True) / total + 1e-12).sqrt()


@loss(
    "LSKD",
    label="logit standardisation",
    version=1,
    options=LSKDOptions,
    needs=("teacher",),
    acts="from the start",
    excludes=rivals("LSKD"),
)
class Standardised(FromSecondEpoch):
    """The loss from the second epoch on."""

    term = staticmethod(lskd)
