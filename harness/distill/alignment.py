"""L2: the Huber loss between the LLM teacher's scores and the student's (Eq. 5)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class ScoreTargets:
    """Scores of K entities a query by the LLM teacher: ``ids`` int32 [Q, K], ``scores`` float32 [Q, K].

    The entities are the true one, the teacher's best of the others, and uniform draws from all, which may repeat some.
    """

    ids: Tensor
    scores: Tensor


def standardize(scores: Tensor) -> Tensor:
    """Each row [K] of scores [B, K] at mean 0 and standard deviation 1.

    The two teachers and the student share no scale (one is a negative distance, another an inner product), so scores
    are compared in standard deviations of their own query. This is our reading; δ is therefore in these units.
    """
    centred = scores - scores.mean(1, keepdim=True)
    return centred / centred.square().mean(1, keepdim=True).add(1e-8).sqrt()


def huber_alignment(student: Tensor, teacher: Tensor, delta: float | Tensor) -> Tensor:
    """Mean Huber loss with threshold ``delta`` between standardised scores [B, K] of student and teacher.

    Written out, since torch's own takes no tensor for a threshold, which a stack of students needs.
    """
    away = (standardize(student) - standardize(teacher)).abs()
    slope = away.clamp(max=delta)
    return (slope * (away - 0.5 * slope)).mean()
