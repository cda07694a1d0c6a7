"""RKD (Park et al., "Relational knowledge distillation", CVPR 2019), on entity vectors: two losses.

The student should place entities to each other as the teacher does: RKD-D compares their pairwise distances, each
divided by its own mean (Eq. 6), RKD-A the cosines of the angles of triplets (Eq. 9), both by smooth L1 (Huber, δ = 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize, smooth_l1_loss

from harness.distill.losses.base import Given, Loss, register
from harness.distill.passes.step import Step
from harness.registry import MethodOptions, option


class RelationalOptions(MethodOptions):
    """Options of both."""

    relational_entities: int = option(64, "entities a step that RKD compares, at most", ge=3, le=10_000)


class DistanceOptions(RelationalOptions):
    """Options of RKD-D."""

    rkd_distance: float = option(25.0, "weight of RKD-D, of pairwise distances", ge=0, le=10_000)


class AngleOptions(RelationalOptions):
    """Options of RKD-A."""

    rkd_angle: float = option(50.0, "weight of RKD-A, of angles of triplets", ge=0, le=10_000)


@dataclass(frozen=True, eq=False)
class Relations:
    """Weighted smooth L1 between a ``relation`` of the student's vectors and that of the teacher's ``vectors`` [E, D].

    Over at most ``most`` distinct entities of a batch: the cost of distances is quadratic in them, of angles cubic.
    """

    relation: Callable[[Tensor], Tensor]
    vectors: Tensor
    most: int
    weight: float = 1.0

    def __call__(self, step: Step) -> Tensor:
        entities = step.entities(self.most)
        if len(entities) < 2:  # which have no distance to divide by
            return step.table.new_zeros(())
        student, teacher = self.relation(step.table[entities]), self.relation(self.vectors[entities])
        return self.weight * smooth_l1_loss(student, teacher)


def distances(points: Tensor) -> Tensor:
    """Distances [n(n-1)/2] of all pairs of points [n, d], divided by their mean."""
    pairwise = torch.pdist(points)
    return pairwise / pairwise.mean().clamp(min=1e-12)


def angles(points: Tensor) -> Tensor:
    """Cosines [n, n, n] of the angle at the first point between the ways to the second and the third, of [n, d]."""
    ways = normalize(points[None, :, :] - points[:, None, :], dim=2)
    return ways @ ways.transpose(1, 2)


def _distances(given: Given, options: DistanceOptions) -> Relations:
    return Relations(distances, given.teacher_entities(), options.relational_entities, options.rkd_distance)


def _angles(given: Given, options: AngleOptions) -> Relations:
    return Relations(angles, given.teacher_entities(), options.relational_entities, options.rkd_angle)


_SHARED: dict[str, Any] = {"needs": ("entities",), "acts": "from the start", "flat": True}
register(Loss("RKD-D", _distances, DistanceOptions, **_SHARED))
register(Loss("RKD-A", _angles, AngleOptions, **_SHARED))
