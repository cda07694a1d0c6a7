"""TIMEPLEX, base model (Jain, Rathi, Mausam & Chakrabarti, "Temporal KB completion: new algorithms and evaluation
protocols", EMNLP 2020).

f(s, r, o, τ) = Re⟨s ∘ r, ō⟩ + α Re⟨s ∘ r_st, τ̄⟩ + β Re⟨o ∘ r_ot, τ̄⟩ + γ Re⟨s ∘ τ, ō⟩ over complex vectors (Eq. 4).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from harness.models.base import Recipe, backbone
from harness.models.complex_numbers import ComplexBackbone, PenaltyOptions, product
from harness.registry import option


class TimeplexOptions(PenaltyOptions):
    """Options of TIMEPLEX: weights of its products with time, and of its penalty."""

    object_time: float = option(5.0, "weight of the product of object, relation and time", ge=0, le=100)
    subject_object_time: float = option(5.0, "weight of the product of subject, object and time", ge=0, le=100)


@backbone("timeplex", version=1)
class Timeplex(ComplexBackbone):
    """TIMEPLEX without recurrence and gap features; a relation's row is (r, r_ot').

    The product of subject and time is the same for all answers and left out. Our reading: Re⟨o ∘ r_ot, τ̄⟩ is written
    as Re⟨τ ∘ r_ot', ō⟩, which has the same functions; an interval's τ is the mean of the vectors of its start and end
    class; reciprocal relations ask for heads.
    """

    weights: Tensor
    options = TimeplexOptions
    relation_vectors = 2
    spread = 0.05
    student_recipe: ClassVar[Recipe] = Recipe(optimizer="adagrad", learning_rate=0.2, regularization=0.1)
    teacher_recipe: ClassVar[Recipe] = Recipe(optimizer="adagrad", learning_rate=0.1, regularization=0.2)

    def __init__(
        self,
        n_entities: int,
        n_relations: int,
        n_times: int,
        dim: int,
        object_time: float = 5.0,
        subject_object_time: float = 5.0,
        penalty: str = "query",
        smoothness: float = 0.0,
    ) -> None:
        super().__init__(n_entities, n_relations, n_times, dim, penalty, smoothness)
        # in the state, so that whoever has the state needs no options
        self.register_buffer("weights", torch.tensor([object_time, subject_object_time]))

    def encode_vectors(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        of_both, of_object = relation.chunk(2, -1)
        moment: Tensor = self.time(time).mean(1)
        of_subject = product(subject, of_both + self.weights[1] * moment)
        return of_subject + self.weights[0] * product(moment, of_object)

    def factors(self, relation: Tensor, time: Tensor) -> tuple[Tensor, ...]:
        """r, r_ot' and τ, each in products of its own."""
        return *relation.chunk(2, -1), self.time(time).mean(1)
