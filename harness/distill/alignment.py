"""L2: the Huber loss between the LLM teacher's scores and the student's (Eq. 5), and what may stand in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, kl_div, mse_loss

from harness.distill.step import Step
from harness.models.candidates import candidate_scores


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


def squared_alignment(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error between standardised scores [B, K]: twice the Huber loss with an infinite threshold."""
    return mse_loss(standardize(student), standardize(teacher))


def divergence_alignment(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(softmax(teacher) ‖ softmax(student)) of standardised scores [B, K], batch mean."""
    log_p, log_q = standardize(teacher).log_softmax(1), standardize(student).log_softmax(1)
    return kl_div(log_q, log_p, reduction="batchmean", log_target=True)


def cosine_alignment(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - the cosine between standardised scores [B, K], which is their correlation; batch mean."""
    return 1 - cosine_similarity(standardize(student), standardize(teacher), dim=1).mean()


#: what compares scores in the place of the Huber loss, by name
ALIGNMENTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": squared_alignment,
    "kl": divergence_alignment,
    "cosine": cosine_alignment,
}


@dataclass(frozen=True, eq=False)
class Alignment:
    """L2 as a term of the loss, with a comparison other than Huber's, which the fast paths know."""

    targets: ScoreTargets
    kind: str

    def __call__(self, step: Step) -> Tensor:
        z = candidate_scores(step.model, step.query, step.table, self.targets.ids[step.index])
        return ALIGNMENTS[self.kind](z, self.targets.scores[step.index])


def with_outliers(targets: ScoreTargets, share: float, size: float, seed: int) -> ScoreTargets:
    """The targets with a random ``share`` of scores moved by normal noise of ``size`` standard deviations of their row.

    Args:
        targets: scores [Q, K].
        share: of the scores, in 0..1.
        size: standard deviation of the noise in those of the query's scores.
        seed: of the choice and of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    scores = targets.scores.cpu()
    moved = torch.rand(scores.shape, generator=generator) < share
    noise = torch.randn(scores.shape, generator=generator) * scores.std(1, keepdim=True, correction=0) * size
    return ScoreTargets(targets.ids, torch.where(moved, scores + noise, scores).to(targets.scores.device))
