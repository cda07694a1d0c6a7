"""DKD (Zhao et al., "Decoupled knowledge distillation", CVPR 2022): the two parts of the divergence, weighed apart.

DKD = T² · (w_target · KL(b_t ‖ b_z) + w_others · KL(p̂_t ‖ p̂_z)), where b is (probability of the true answer,
probability of all else) and p̂ is the distribution over all else; t is the teacher's and z the student's (Eq. 7). In
Hinton's divergence the second part has the weight 1 - p_t(answer): the surer the teacher, the less the others count.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.distill.losses.base import loss, rivals
from harness.distill.passes.step import Step
from harness.distill.passes.terms import divergence
from harness.registry import MethodOptions, option


class DKDOptions(MethodOptions):
    """Options of DKD; the paper has 1, and 0.5 to 8 by data set."""

    target: float = option(1.0, "weight of DKD's part for the true answer", ge=0, le=1000)
    others: float = option(1.0, "weight of DKD's part for all other entities", ge=0, le=1000)


@loss(
    "DKD",
    label="DKD",
    version=1,
    options=DKDOptions,
    needs=("teacher",),
    acts="from the start",
    excludes=rivals("DKD"),
)
def dkd(step: Step, options: DKDOptions) -> Tensor:
    """The loss of a batch, a scalar: a mean over its queries."""
    teacher, student = (decoupled(log_p) for log_p in step.distributions)
    target, others = (divergence(log_p, log_q) for log_p, log_q in zip(teacher, student, strict=True))
    return step.temperature**2 * (options.target * target + options.others * others).mean()


def decoupled(log_p: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities [B, C + 1], true answer first, as those of (answer, all else) [B, 2] and of all else [B, C]."""
    all_else = log_p[:, 1:].logsumexp(1, keepdim=True)
    return torch.cat([log_p[:, :1], all_else], 1), log_p[:, 1:] - all_else
