"""TNTComplEx (Lacroix, Obozinski & Usunier, "Tensor decompositions for temporal KB completion", ICLR 2020).

f(s, r, o, τ) = Re⟨s ∘ (r ∘ τ + r'), ō⟩ over complex vectors (Eq. 6): r' is the part of a relation that time does not
change.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from harness.models.base import Backbone, Recipe, backbone
from harness.models.complex_numbers import cubed, product, refuse_odd


@backbone("tntcomplex", version=1)
class TNTComplEx(Backbone):
    """TNTComplEx; a relation's row is (r, r'). Our reading: an interval's τ is the mean of the vectors of its start and
    end class; reciprocal relations ask for heads.
    """

    kernel = "dot"
    time_input = "classes"
    student_recipe: ClassVar[Recipe] = Recipe(optimizer="adagrad", learning_rate=0.2, regularization=0.03)
    teacher_recipe: ClassVar[Recipe] = Recipe(optimizer="adagrad", learning_rate=0.1, regularization=0.1)

    def __init__(self, n_entities: int, n_relations: int, n_times: int, dim: int) -> None:
        super().__init__()
        refuse_odd("tntcomplex", dim)
        self.entity = nn.Embedding(n_entities, dim)
        self.relation = nn.Embedding(2 * n_relations, 2 * dim)
        self.time = nn.Embedding(n_times, dim)
        for table in (self.entity, self.relation, self.time):
            nn.init.normal_(table.weight, std=0.1)

    def encode_vectors(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        changing, lasting = relation.chunk(2, -1)
        return product(subject, product(changing, self.time(time).mean(1)) + lasting)

    def penalty(self, query: Tensor, subject: Tensor, answer: Tensor) -> Tensor:
        """N3: Σ|s|³ + Σ|s ∘ (r ∘ τ + r')|³ + Σ|o|³ over complex numbers, batch mean."""
        return (cubed(subject) + cubed(query) + cubed(answer)) / len(query)
