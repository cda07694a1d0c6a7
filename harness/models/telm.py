"""TeLM (Xu, Chen, Nayyeri & Lehmann, "Temporal knowledge graph completion using a linear temporal regularizer and
multivector embeddings", NAACL 2021).

f(s, r, o, τ) = ⟨s ⊗ r ⊗ τ ⊗ ō⟩₀ over multivectors a + b e₁ + c e₂ + d e₁e₂ of the plane, whose product ⊗ is geometric
(e₁² = e₂² = 1, e₁e₂ = -e₂e₁) and whose conjugate ō turns the signs of all but a; ⟨·⟩₀ is the part without e.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from harness.errors import UserError
from harness.models.base import Backbone, Recipe, backbone


def geometric(x: Tensor, y: Tensor) -> Tensor:
    """x ⊗ y [B, d], multivector by multivector: the quarters of a row are their parts for 1, e₁, e₂ and e₁e₂."""
    (a, b, c, d), (p, q, r, s) = x.chunk(4, -1), y.chunk(4, -1)
    parts = (
        a * p + b * q + c * r - d * s,
        a * q + b * p - c * s + d * r,
        a * r + c * p + b * s - d * q,
        a * s + d * p + b * r - c * q,
    )
    return torch.cat(parts, -1)


def _cubed(x: Tensor) -> Tensor:
    """Σ|x|³ over all multivectors, a scalar."""
    squares = x.square().reshape(*x.shape[:-1], 4, -1).sum(-2)
    return (squares + 1e-12).pow(1.5).sum()  # a root has no slope at 0


@backbone("telm", version=1)
class TeLM(Backbone):
    """TeLM. Our reading: an interval's τ is the mean of the vectors of its start and end class, instead of a relation
    for either; reciprocal relations ask for heads; without the linear temporal regulariser.
    """

    kernel = "dot"
    time_input = "classes"
    student_recipe: ClassVar[Recipe] = Recipe(optimizer="adagrad", learning_rate=0.2, regularization=0.1)
    teacher_recipe: ClassVar[Recipe] = Recipe(optimizer="adagrad", learning_rate=0.1, regularization=0.2)

    def __init__(self, n_entities: int, n_relations: int, n_times: int, dim: int) -> None:
        super().__init__()
        if dim % 4:
            raise UserError(f"backbone telm: dim={dim} is no multiple of 4, and a multivector has four reals")
        self.entity = nn.Embedding(n_entities, dim)
        self.relation = nn.Embedding(2 * n_relations, dim)
        self.time = nn.Embedding(n_times, dim)
        for table in (self.entity, self.relation, self.time):
            nn.init.normal_(table.weight, std=0.1)

    def encode_vectors(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        one, first, second, both = geometric(geometric(subject, relation), self.time(time).mean(1)).chunk(4, -1)
        return torch.cat([one, -first, -second, both], -1)  # (e₁e₂)² is -1, so that the sign of ō's last part is undone

    def penalty(self, query: Tensor, subject: Tensor, answer: Tensor) -> Tensor:
        """N3 of subject, query and answer, batch mean, as for the complex models."""
        return (_cubed(subject) + _cubed(query) + _cubed(answer)) / len(query)
