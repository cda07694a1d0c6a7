"""RKD (Park et al., "Relational knowledge distillation", CVPR 2019), on entity vectors.

The student should place entities to each other as the teacher does: RKD-D compares their pairwise distances, each
divided by its own mean (Eq. 6), RKD-A the cosines of the angles of triplets (Eq. 9), both by smooth L1 (Huber, δ = 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize, smooth_l1_loss

from harness.distill.step import Step


@dataclass(frozen=True, eq=False)
class Relations:
    """Smooth L1 between a ``relation`` of the student's vectors and that of the teacher's ``vectors`` [E, D].

    Over at most ``most`` distinct entities of a batch: the cost of distances is quadratic in them, of angles cubic.
    """

    relation: Callable[[Tensor], Tensor]
    vectors: Tensor
    most: int

    def __call__(self, step: Step) -> Tensor:
        entities = step.entities(self.most)
        if len(entities) < 2:  # which have no distance to divide by
            return step.table.new_zeros(())
        return smooth_l1_loss(self.relation(step.table[entities]), self.relation(self.vectors[entities]))


def distances(points: Tensor) -> Tensor:
    """Distances [n(n-1)/2] of all pairs of points [n, d], divided by their mean."""
    found = torch.pdist(points)
    return found / found.mean().clamp(min=1e-12)


def angles(points: Tensor) -> Tensor:
    """Cosines [n, n, n] of the angle at the first point between the ways to the second and the third, of [n, d]."""
    ways = normalize(points[None, :, :] - points[:, None, :], dim=2)
    return ways @ ways.transpose(1, 2)
