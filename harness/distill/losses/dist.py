"""DIST (Huang et al., "Knowledge distillation from a stronger teacher", NeurIPS 2022): correlation in place of KL.

DIST = T² · (w_within · mean_i (1 - ρ(p_i, q_i)) + w_between · mean_e (1 - ρ(p_·e, q_·e)))                 (Eq. 6 to 10)

p = softmax(t/T) are the teacher's probabilities of queries i and entities e, q = softmax(z/T) the student's, and ρ is
Pearson's correlation: within a query over its entities, and between the queries of a batch over each entity. So the
student should order things as the teacher does and need not be as sure. (T² is the authors' code's.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.distill.losses.base import FromSecondEpoch, loss, rivals
from harness.distill.passes.step import Step
from harness.registry import MethodOptions, option


class DISTOptions(MethodOptions):
    """Options of DIST; the defaults are the paper's."""

    within: float = option(2.0, "weight of DIST's correlation within queries", ge=0, le=1000)
    between: float = option(2.0, "weight of DIST's correlation between queries", ge=0, le=1000)


def dist(step: Step, options: DISTOptions) -> Tensor:
    """The loss of a batch, a scalar.

    Sums over all entities are weighted ones over `Step.sample`; between queries are compared the entities that all
    queries of the step score: the random ones of a sampled step, else all.
    """
    sample, t = step.sample, step.temperature
    log_p, log_q = (
        x - (x + sample.log_weight).logsumexp(1, keepdim=True) for x in (sample.teacher, sample.student / t)
    )
    within = correlation(log_p, log_q, sample.log_weight.exp())
    log_p, log_q = (x[:, -sample.shared :].T for x in (log_p, log_q))
    between = correlation(log_p, log_q, torch.ones_like(log_q))
    return t**2 * (options.within * (1 - within).mean() + options.between * (1 - between).mean())


def correlation(log_p: Tensor, log_q: Tensor, weight: Tensor) -> Tensor:
    """Pearson's correlation [B] of exp(log_p) and exp(log_q) [B, C], in which columns count with ``weight`` [B, C].

    Rows in which nothing varies correlate with none (0).
    """
    total = weight.sum(1, keepdim=True)
    away = []
    for logs in (log_p, log_q):
        highest = logs.masked_fill(weight == 0, -torch.inf).amax(1, keepdim=True).detach()
        # relative to the highest: a correlation has no unit, and probabilities may be too small for single precision
        x = torch.where(weight > 0, logs - highest, 0.0).exp()
        away.append(x - (weight * x).sum(1, keepdim=True) / total)
    p, q = away
    spread = (weight * p.square()).sum(1) * (weight * q.square()).sum(1)
    return (weight * p * q).sum(1) / (spread + 1e-12).sqrt()


@loss(
    "DIST",
    label="DIST",
    version=1,
    options=DISTOptions,
    needs=("teacher",),
    acts="from the start",
    excludes=rivals("DIST"),
)
class Correlations(FromSecondEpoch):
    """The loss from the second epoch on."""

    term = staticmethod(dist)
