"""RCE-KD (Zhu and Zhang, "Rejuvenating cross-entropy loss in knowledge distillation", 2025, arXiv 2509.20989).

RCE-KD = w · T² · KL(p^A ‖ q^A),   A = the teacher's best entities of a query ∪ the student's own best

p^A and q^A are softmax(t/T) and softmax(z/T) over A alone. The paper proves that a cross-entropy over a subset bounds
the NDCG there only if the subset holds all that the student ranks above its members. The student's best are
searched again every few epochs, from the second on.

Our reading is the simplest that meets the condition on the student's side: the union. The paper splits the teacher's
best by whether the student ranks them highly too, samples what completes the second part, and weighs both losses.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.distill.losses.base import Given, loss, rivals
from harness.distill.passes.step import Step
from harness.distill.passes.terms import NEVER, divergence
from harness.models.base import scores
from harness.models.scoring.candidates import candidate_scores
from harness.registry import MethodOptions, option

#: queries whose best entities are searched at a time
_ROWS = 128


class RCEKDOptions(MethodOptions):
    """Options of RCE-KD; the teacher's best are those of ``loss.targets``."""

    weight: float = option(1.0, "weight of RCE-KD's T²·KL", ge=0, le=1000)
    student: int = option(64, "the student's best entities a query in RCE-KD", ge=1, le=10_000)
    every: int = option(4, "epochs between new lists of the student's best", ge=1, le=10_000)


@loss(
    "RCE-KD",
    label="RCE-KD",
    version=1,
    options=RCEKDOptions,
    needs=("teacher",),
    acts="from the start",
    excludes=rivals("RCE-KD"),
)
class Union:
    """The weighted divergence over both lists; keeps each query's list of the student's best.

    ``ids`` int32 [Q, S], with the teacher's log-probabilities ``log_p`` [Q, S] of them, NEVER where they are on the
    teacher's list or not found yet. A query's list is renewed when it is trained on, by its count of ``visits`` [Q].
    """

    def __init__(self, given: Given, options: RCEKDOptions) -> None:
        soft, self.options = given.soft_targets(), options
        n_queries, size = len(soft.ids), min(options.student, given.n_entities)
        self.ids = torch.zeros(n_queries, size, dtype=torch.int32, device=soft.ids.device)
        self.log_p = torch.full((n_queries, size), NEVER, dtype=soft.log_p.dtype, device=soft.ids.device)
        self.visits = torch.zeros(n_queries, dtype=torch.int32, device=soft.ids.device)

    def __call__(self, step: Step) -> Tensor:
        """The loss of a batch, a scalar: a mean over its queries."""
        assert step.soft is not None
        soft, index, t = step.soft, step.index, step.temperature
        visits = self.visits[index]
        if ((visits > 0) & ((visits - 1) % self.options.every == 0)).any():  # of the whole batch: epochs visit all once
            self._renew(step)
        self.visits[index] = visits + 1
        log_p = torch.cat([soft.log_p[index], self.log_p[index]], 1)
        ids = torch.cat([soft.ids[index], self.ids[index]], 1)
        z = candidate_scores(step.model, step.query, step.table, ids) / t
        log_q = z.masked_fill(log_p < NEVER / 2, NEVER).log_softmax(1)
        return self.options.weight * t**2 * divergence(log_p.log_softmax(1), log_q).mean()

    @torch.no_grad()
    def _renew(self, step: Step) -> None:
        """Find the student's best entities of the batch's queries."""
        assert step.soft is not None
        listed, parts = step.soft.ids[step.index], []
        for query in step.query.split(_ROWS):
            z = scores(query, step.table, step.model.kernel, step.model.scale())
            parts.append(z.topk(self.ids.shape[1], 1).indices)
        best = torch.cat(parts)
        repeated = (best[:, :, None] == listed[:, None, :]).any(2)
        self.ids[step.index] = best.int()
        self.log_p[step.index] = step.unlisted_log_p(best).masked_fill(repeated, NEVER).to(self.log_p.dtype)
