"""TNTComplEx (Lacroix, Obozinski & Usunier, "Tensor decompositions for temporal KB completion", ICLR 2020).

f(s, r, o, τ) = Re⟨s ∘ (r ∘ τ + r'), ō⟩ over complex vectors (Eq. 6): r' is the part of a relation that time does not
change.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from harness.models.base import Recipe, backbone
from harness.models.complex_numbers import ComplexBackbone, product


@backbone("tntcomplex", version=1)
class TNTComplEx(ComplexBackbone):
    """TNTComplEx; a relation's row is (r, r'). Our reading: an interval's τ is the mean of the vectors of its start and
    end class; reciprocal relations ask for heads.
    """

    relation_vectors = 2
    student_recipe: ClassVar[Recipe] = Recipe(optimizer="adagrad", learning_rate=0.2, regularization=0.03)
    teacher_recipe: ClassVar[Recipe] = Recipe(optimizer="adagrad", learning_rate=0.1, regularization=0.1)

    def encode_vectors(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        changing, lasting = self.factors(relation, time)
        return product(subject, changing + lasting)

    def factors(self, relation: Tensor, time: Tensor) -> tuple[Tensor, ...]:
        changing, lasting = relation.chunk(2, -1)
        return product(changing, self.time(time).mean(1)), lasting
