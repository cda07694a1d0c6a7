"""TTransE (Leblay & Chekol, "Deriving validity time in knowledge graph", WWW 2018 Companion).

A fact holds when head, relation and time add up to the tail:  f(h, r, t, τ) = -‖h + r + τ - t‖.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from harness.models.base import Backbone, Kernel, Recipe, backbone
from harness.registry import MethodOptions, option


class TTransEOptions(MethodOptions):
    """Options of TTransE."""

    norm: Literal["l2", "l1"] = option("l2", "norm of the distance; of TTransE alone")


@backbone("ttranse", version=1)
class TTransE(Backbone):
    """TTransE with the L2 (default) or L1 norm.

    Our reading: an interval's τ is the mean of the vectors of its start and end class; the norm is multiplied by a
    learned positive scale, without which a softmax over distances cannot become sharp; heads are asked for with
    reciprocal relations (Lacroix et al., 2018), so both directions are one formula.
    """

    time_input = "classes"
    options, flat = TTransEOptions, True
    student_recipe: ClassVar[Recipe] = Recipe(optimizer="adam", learning_rate=0.05, regularization=0.0003)
    teacher_recipe: ClassVar[Recipe] = Recipe(optimizer="adam", learning_rate=0.003, regularization=0.0)

    def __init__(
        self, n_entities: int, n_relations: int, n_times: int, dim: int, norm: Literal["l2", "l1"] = "l2"
    ) -> None:
        super().__init__()
        self.kernel: Kernel = norm
        self.entity = nn.Embedding(n_entities, dim)
        self.relation = nn.Embedding(2 * n_relations, dim)
        self.time = nn.Embedding(n_times, dim)
        self.log_scale = nn.Parameter(torch.tensor(3.0 if norm == "l2" else 1.0))
        for table in (self.entity, self.relation, self.time):
            nn.init.normal_(table.weight, std=0.02)  # narrow: a wide start memorises

    def encode_vectors(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        points: Tensor = self.time(time)
        return subject + relation + points.mean(1)

    def penalty(self, query: Tensor, subject: Tensor, answer: Tensor) -> Tensor:
        """s²·(‖h‖² + ‖r + τ‖² + ‖t‖²), batch mean, with s the scale of the scores: shrinking all vectors while s grows
        leaves the scores, and so the penalty, as they are. Stands in for the paper's constraint ‖e‖ <= 1.
        """
        translation = query - subject
        squares = subject.square().sum() + translation.square().sum() + answer.square().sum()
        return self.scale().square() * squares / len(query)

    def scale(self) -> Tensor:
        return self.log_scale.exp()
