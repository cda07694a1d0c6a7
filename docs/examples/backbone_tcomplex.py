"""TComplEx (Lacroix, Obozinski & Usunier, "Tensor decompositions for temporal KB completion", ICLR 2020) as a plugin.

f(s, r, o, τ) = Re⟨s ∘ r ∘ τ, ō⟩ over complex vectors (Eq. 3), that is, a product of the real vectors (Re, Im).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from harness.errors import UserError
from harness.models import Backbone, Recipe, backbone


def _times(a: Tensor, b: Tensor) -> Tensor:
    """Complex products of rows [B, d], whose first half is real and whose second half is imaginary."""
    (a_re, a_im), (b_re, b_im) = a.chunk(2, 1), b.chunk(2, 1)
    return torch.cat([a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re], 1)


@backbone("my-tcomplex", label="TComplEx", version=1)
class TComplEx(Backbone):
    """TComplEx; an interval's τ is the mean of the vectors of its start and end class (our reading)."""

    kernel = "dot"
    time_input = "classes"
    student_recipe: ClassVar[Recipe] = Recipe(optimizer="adagrad", learning_rate=0.2, regularization=0.01)
    teacher_recipe: ClassVar[Recipe] = Recipe(optimizer="adagrad", learning_rate=0.1, regularization=0.005)

    def __init__(self, n_entities: int, n_relations: int, n_times: int, dim: int) -> None:
        super().__init__()
        if dim % 2:
            raise UserError(f"backbone my-tcomplex: dim={dim} is odd, and complex vectors have two reals a number")
        self.entity = nn.Embedding(n_entities, dim)
        self.relation = nn.Embedding(2 * n_relations, dim)
        self.time = nn.Embedding(n_times, dim)
        for table in (self.entity, self.relation, self.time):
            nn.init.normal_(table.weight, std=0.1)

    def encode_vectors(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        """Query vectors [B, d]."""
        return _times(_times(subject, relation), self.time(time).mean(1))

    def penalty(self, query: Tensor, subject: Tensor, answer: Tensor) -> Tensor:
        """N3 (Eq. 4): Σ|s|³ + Σ|s ∘ r ∘ τ|³ + Σ|o|³ over complex numbers, batch mean."""
        moduli = (torch.stack(x.chunk(2, 1)).square().sum(0).add(1e-12).sqrt() for x in (subject, query, answer))
        return torch.stack([m.pow(3).sum() for m in moduli]).sum() / len(query)
