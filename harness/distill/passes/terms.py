"""The formulas of losses on scores that are given: cross-entropy, parts of a divergence, the Huber loss.

L1 = w_hard · CE(z, answer) + w_soft · T² · KL(softmax(t/T) ‖ softmax(z/T))        (Hinton et al., 2015; our reading)
L2 = Huber_δ(standardised t, standardised z)                                       (Eq. 5; our reading)
"""

from __future__ import annotations

import torch
from torch import Tensor

#: the score of what does not count: finite, since the derivative of a sum of nothing would be NaN
NEVER = -1e30


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
    others = log_rest.exp()
    outside = torch.where(others > 0, others * (log_rest.clamp(min=-80) - log_q_rest), 0.0)
    divergence = (log_p.exp() * (log_p - log_q)).sum(1) + outside
    return temperature**2 * divergence.mean()


def listed_divergence(
    candidate_scores: Tensor, log_p: Tensor, log_partition: Tensor, temperature: float | Tensor
) -> Tensor:
    """Σ p·log(p/q) [B] over the K listed entities; arguments as of ``lumped_divergence``."""
    return (log_p.exp() * (log_p - candidate_scores / temperature + log_partition[:, None])).sum(1)


def others_divergence(
    teacher_scores: Tensor,
    student_scores: Tensor,
    counted: Tensor,
    log_weight: Tensor,
    log_rest: Tensor,
    log_partition: Tensor,
    temperature: float | Tensor,
) -> Tensor:
    """Σ p·log(p/q) [B] over the entities that are not listed, estimated from some of them.

    The teacher's mass outside of its list is known, and the sample shows how it is spread: p is that mass times a
    softmax of the sample's t/T. The q of the sample and of what is listed add up to one in the same way, if
    ``log_partition`` was made of them, so that the gradient neither pushes nor pulls all scores at once.

    Args:
        teacher_scores: t of the sample [B, M].
        student_scores: z of the sample [B, M].
        counted: which of the sample count [B, M]: not those that are listed.
        log_weight: log of how many entities each of the sample stands for, [B, M] or [B, 1].
        log_rest: log of the teacher's mass outside of its list [B].
        log_partition: log Σ exp(z/T) of the student over all entities [B].
        temperature: T.
    """
    share = (teacher_scores / temperature).masked_fill(~counted, NEVER) + log_weight
    log_mass = log_rest.clamp(min=-80)[:, None] + share.log_softmax(1)
    p = torch.where(counted, log_mass.exp(), 0.0)
    log_q = torch.where(counted, student_scores, 0.0) / temperature - log_partition[:, None]
    return (p * (torch.where(counted, log_mass - log_weight, 0.0) - log_q)).sum(1)


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p ‖ q) [B] of rows of log-probabilities [B, C]; outcomes with NEVER in both do not count."""
    p = log_p.exp()
    return (p * torch.where(p > 0, log_p - log_q, 0.0)).sum(1)


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
