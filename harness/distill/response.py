"""L1: the student learns from the true entity and from the structural teacher's distribution.

L1 = w_hard · CE(z, answer) + w_soft · T² · KL(softmax(t/T) ‖ softmax(z/T))        (Hinton et al., 2015; our reading)
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class SoftTargets:
    """A teacher's distribution at one temperature, as K weighted entities a query.

    ``ids`` int32 [Q, K]; ``weights`` float32 [Q, K] sum to 1 and estimate the expectation under softmax(t/T): the most
    probable entities carry their probability, the others are draws from the rest and share its mass. ``entropy``
    float32 [Q] is the exact entropy of softmax(t/T) in nats.
    """

    ids: Tensor
    weights: Tensor
    entropy: Tensor
    temperature: float


def cross_entropy(gold: Tensor, log_partition: Tensor) -> Tensor:
    """-log softmax(z)[answer], batch mean; ``gold`` is z[answer] [B], ``log_partition`` log Σ exp(z) [B]."""
    return (log_partition - gold).mean()


def soft_cross_entropy(
    candidate_scores: Tensor, weights: Tensor, entropy: Tensor, log_partition: Tensor, temperature: float
) -> Tensor:
    """T²·KL(softmax(t/T) ‖ softmax(z/T)), batch mean.

    KL = log Σ exp(z/T) - E_teacher[z]/T - H(teacher): the student's partition is exact, and the teacher's expectation
    is linear in z, so sampled entities give an unbiased value and gradient.

    Args:
        candidate_scores: the student's z of the stored entities [B, K].
        weights: their weights [B, K], see ``SoftTargets``.
        entropy: the teacher's entropy [B].
        log_partition: log Σ exp(z/T) over all entities [B].
        temperature: T.
    """
    expected = (weights * candidate_scores).sum(1) / temperature
    return temperature**2 * (log_partition - expected - entropy).mean()
