"""L2: the Huber loss between the LLM teacher's scores and the student's (Eq. 5), and what may stand in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, kl_div, mse_loss

from harness.distill.losses.base import Given, Loss, Prepared, register
from harness.distill.passes.step import Step
from harness.distill.passes.terms import standardize
from harness.distill.targets import ScoreTargets
from harness.models.scoring.candidates import candidate_scores
from harness.registry import MethodOptions, option


class L2Options(MethodOptions):
    """Options of L2."""

    alpha: float = option(3.0, "weight of L2, the loss to the LLM teacher's scores", ge=0, le=1000)
    delta: float = option(
        1.0, "threshold of L2's Huber loss, in standard deviations of a query's scores", ge=1e-4, le=1e4
    )
    alignment: Literal["huber", "mse", "kl", "cosine"] = option(
        "huber", "huber, mse, kl or cosine: how L2 compares standardised scores"
    )
    outliers: float = option(0.0, "share of the LLM teacher's scores that noise is added to", ge=0, le=1)
    outlier_size: float = option(10.0, "standard deviation of that noise, in those of a query's scores", ge=0, le=1e6)
    fusion: float = option(0.0, "share of the structural teacher in L2's targets", ge=0, le=1)

    def idle(self) -> set[str]:
        idle = set() if self.alignment == "huber" else {"delta"}
        return idle if self.outliers else idle | {"outlier_size"}


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
    """L2 as a term of the total, with a comparison other than Huber's, which the compiled pass computes."""

    targets: ScoreTargets
    compare: Callable[[Tensor, Tensor], Tensor]
    weight: float

    def __call__(self, step: Step) -> Tensor:
        z = candidate_scores(step.model, step.query, step.table, self.targets.ids[step.index])
        return self.weight * self.compare(z, self.targets.scores[step.index])


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


def _prepare(given: Given, options: L2Options) -> Prepared:
    if options.alignment == "huber":  # which the compiled pass computes
        return {"aligned": given.score_targets(), "alpha": options.alpha, "delta": options.delta}
    return Alignment(given.score_targets(), ALIGNMENTS[options.alignment], options.alpha)


register(Loss("L2", _prepare, L2Options, needs=("llm",), flat=True))
