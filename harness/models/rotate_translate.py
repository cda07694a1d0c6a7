"""Rotation, translation and a bias an entity, after RotE (Chami et al., "Low-dimensional hyperbolic knowledge graph
embeddings", ACL 2020), with a translation in time as in TTransE.

f(s, r, o, τ) = -‖Rot(r)·s + r + τ - o‖ over all numbers of an entity but the last, whose square is added to that of the
distance: a bias of the entity that it brings wherever it is the answer.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from harness.errors import UserError
from harness.models.base import Backbone, Recipe, backbone


@backbone("rotate-translate", version=1)
class RotateTranslate(Backbone):
    """Pairs of numbers turn by an angle of the relation; a number without a partner is moved only. A relation's row is
    its translation and its angles.

    Our reading: RotE adds biases to a squared distance; here a bias is a coordinate that queries have at 0, so that
    ranking is that of a distance. An interval's τ is the mean of the vectors of its start and end class; the distance
    has a learned positive scale, as in TTransE.
    """

    kernel = "l2"
    time_input = "classes"
    student_recipe: ClassVar[Recipe] = Recipe(optimizer="adam", learning_rate=0.05, regularization=0.0003)
    teacher_recipe: ClassVar[Recipe] = Recipe(optimizer="adam", learning_rate=0.003, regularization=0.0)

    def __init__(self, n_entities: int, n_relations: int, n_times: int, dim: int) -> None:
        super().__init__()
        if dim < 3:
            raise UserError(f"backbone rotate-translate: dim={dim} is too small; two numbers turn and one is a bias")
        self.entity = nn.Embedding(n_entities, dim)
        self.relation = nn.Embedding(2 * n_relations, dim + (dim - 1) // 2)
        self.time = nn.Embedding(n_times, dim)
        self.log_scale = nn.Parameter(torch.tensor(3.0))
        for table in (self.entity, self.relation, self.time):
            nn.init.normal_(table.weight, std=0.02)

    def encode_vectors(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        dim = subject.shape[1]
        translation, angle = relation[:, :dim], relation[:, dim:]
        half = angle.shape[1]
        x, y, cos, sin = subject[:, :half], subject[:, half : 2 * half], angle.cos(), angle.sin()
        turned = torch.cat([cos * x - sin * y, sin * x + cos * y, subject[:, 2 * half :]], 1)
        moved = turned + translation + self.time(time).mean(1)
        return torch.cat([moved[:, :-1], torch.zeros_like(moved[:, -1:])], 1)

    def penalty(self, query: Tensor, subject: Tensor, answer: Tensor) -> Tensor:
        """s²·(‖h‖² + ‖q - h‖² + ‖t‖²), batch mean, with s the scale of the scores, as in TTransE."""
        squares = subject.square().sum() + (query - subject).square().sum() + answer.square().sum()
        return self.scale().square() * squares / len(query)

    def scale(self) -> Tensor:
        return self.log_scale.exp()
