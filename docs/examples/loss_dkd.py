"""Decoupled knowledge distillation (Zhao et al., "Decoupled knowledge distillation", CVPR 2022) as a plugin.

The package has it as DKD, in finer outcomes (`harness/distill/losses/dkd.py`); this is its first form, in a few lines.

DKD = T² · (w_target · KL(b_t ‖ b_z) + w_others · KL(p̂_t ‖ p̂_z)), where b is (probability of the true answer,
probability of all else) and p̂ is the distribution over all else; t is the teacher's and z the student's (Eq. 7).
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.distill.losses import MethodOptions, Step, loss, option


class MyDKD(MethodOptions):
    """Options of MyDKD; the defaults are the paper's."""

    target: float = option(1.0, "weight of MyDKD's target-class part", ge=0)
    others: float = option(8.0, "weight of MyDKD's non-target-class part", ge=0)


@loss(
    "MyDKD", label="my DKD", version=1, options=MyDKD, needs=("teacher",), acts="from the start", excludes=("L1", "DKD")
)
def my_dkd(step: Step, options: MyDKD) -> Tensor:
    """The loss of a batch, a scalar: a mean over its queries."""
    teacher, teacher_others = _decoupled(step.teacher.log_probabilities)
    student, student_others = _decoupled(step.student.log_probabilities)
    target = _divergence(teacher, student)
    others = _divergence(teacher_others, student_others)
    return step.temperature**2 * (options.target * target + options.others * others).mean()


def _decoupled(log_p: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities [B, C + 1], true answer first, as those of (answer, all else) [B, 2] and of all else [B, C]."""
    all_else = log_p[:, 1:].logsumexp(1, keepdim=True)
    return torch.cat([log_p[:, :1], all_else], 1), log_p[:, 1:] - all_else


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p ‖ q) [B] of rows of log-probabilities [B, C]."""
    return (log_p.exp() * (log_p - log_q)).sum(1)
