"""L1: the student learns from the true entity and from the structural teacher's distribution.

L1 = w_hard · CE(z, answer) + w_soft · T² · KL(softmax(t/T) ‖ softmax(z/T))        (Hinton et al., 2015; our reading)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class SoftTargets:
    """A teacher's distribution softmax(t/T) over all entities: its K best one by one, all others as one.

    ``ids`` int32 [Q, K]; ``log_p`` float32 [Q, K] their log-probabilities, over all entities; ``log_rest`` float32 [Q]
    the log of the mass of all others, -inf where there are none. ``temperature`` T is a scalar tensor for a stack of
    students.
    """

    ids: Tensor
    log_p: Tensor
    log_rest: Tensor
    temperature: float | Tensor


def cross_entropy(gold: Tensor, log_partition: Tensor) -> Tensor:
    """-log softmax(z)[answer], batch mean; ``gold`` is z[answer] [B], ``log_partition`` log Σ exp(z) [B]."""
    return (log_partition - gold).mean()


def lumped_divergence(
    candidate_scores: Tensor, log_p: Tensor, log_rest: Tensor, log_partition: Tensor, temperature: float | Tensor
) -> Tensor:
    """T²·KL(p ‖ q) between teacher and student over K + 1 outcomes, batch mean: K entities and "any other".

    By the data processing inequality it is a lower bound of the divergence over all entities, which it reaches where
    the student spreads the mass of the others as the teacher does; it is never negative and zero for equal models.
    Sampling the others instead would be unbiased for a given student, but the same draws come back every epoch: at a
    high temperature, where the others hold nearly all of the mass, the student learns those draws by heart.

    Args:
        candidate_scores: the student's z of the K entities [B, K].
        log_p: the teacher's log-probabilities of them [B, K].
        log_rest: log of the teacher's mass outside of them [B].
        log_partition: log Σ exp(z/T) of the student over all entities [B].
        temperature: T.
    """
    log_q = candidate_scores / temperature - log_partition[:, None]
    # rounding may put a hair more than the whole mass on the K entities
    inside = log_q.logsumexp(1).clamp(max=-1e-6)
    log_q_rest = (-torch.expm1(inside)).log()
    rest = log_rest.exp()
    outside = torch.where(rest > 0, rest * (log_rest.clamp(min=-80) - log_q_rest), 0.0)
    divergence = (log_p.exp() * (log_p - log_q)).sum(1) + outside
    return temperature**2 * divergence.mean()
