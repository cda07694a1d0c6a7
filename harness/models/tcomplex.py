"""TComplEx (Lacroix, Obozinski & Usunier, "Tensor decompositions for temporal KB completion", ICLR 2020).

f(s, r, o, τ) = Re⟨s ∘ r ∘ τ, ō⟩ over complex vectors (Eq. 3), that is, a product of the real vectors (Re, Im).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from harness.models.base import Recipe, backbone
from harness.models.complex_numbers import ComplexBackbone, product


@backbone("tcomplex", version=1)
class TComplEx(ComplexBackbone):
    """TComplEx. Our reading: an interval's τ is the mean of the vectors of its start and end class; reciprocal
    relations ask for heads.
    """

    student_recipe: ClassVar[Recipe] = Recipe(optimizer="adagrad", learning_rate=0.2, regularization=0.1)
    teacher_recipe: ClassVar[Recipe] = Recipe(optimizer="adagrad", learning_rate=0.1, regularization=0.2)

    def encode_vectors(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        return product(subject, *self.factors(relation, time))

    def factors(self, relation: Tensor, time: Tensor) -> tuple[Tensor, ...]:
        return (product(relation, self.time(time).mean(1)),)
