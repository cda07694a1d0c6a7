"""Vectors of complex numbers as real ones, and what backbones of such vectors share.

The first half of a row are real parts, the second imaginary parts.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from harness.errors import UserError
from harness.models.base import Backbone
from harness.registry import MethodOptions, option


def product(a: Tensor, b: Tensor) -> Tensor:
    """a ∘ b [B, d], number by number."""
    (a_re, a_im), (b_re, b_im) = a.chunk(2, -1), b.chunk(2, -1)
    return torch.cat([a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re], -1)


def conjugate(a: Tensor) -> Tensor:
    """ā [B, d]."""
    re, im = a.chunk(2, -1)
    return torch.cat([re, -im], -1)


def cubed(a: Tensor) -> Tensor:
    """Σ|a|³ over all complex numbers, a scalar: the part of a factor in the N3 penalty (Lacroix et al., 2018)."""
    re, im = a.chunk(2, -1)
    # 1e-12: a root has no slope at 0
    return (re.square() + im.square() + 1e-12).pow(1.5).sum()


class PenaltyOptions(MethodOptions):
    """What the penalty of a complex backbone is taken of."""

    later = frozenset({"penalty", "smoothness"})
    penalty: Literal["query", "factors"] = option(
        "query", "N3 of entities and of the query vector, or of entities, twice, and the relation's factors"
    )
    smoothness: float = option(0.0, "weight, beside N3, of Λ3: of the steps between neighbouring times", ge=0, le=1000)


class ComplexBackbone(Backbone):
    """A backbone of complex vectors: entities and times [., d], relations of as many or more, and their penalties.

    N3 of factors, 2 Σ|s|³ + Σ|r ∘ τ|³ + 2 Σ|o|³ for TComplEx, is that of Lacroix et al. (2020), with the weights of
    their code. N3 over the query, Σ|s|³ + Σ|s ∘ r ∘ τ|³ + Σ|o|³, is our reading. Smoothness is Λ3 of the same paper,
    Σ|τ_{i+1} - τ_i|³ / (T - 1) over all times.
    """

    options = PenaltyOptions
    kernel = "dot"
    time_input: ClassVar[Literal["classes"]] = "classes"
    #: how many vectors a relation has
    relation_vectors: ClassVar[int] = 1
    #: standard deviation of initial values
    spread: ClassVar[float] = 0.1

    def __init__(
        self,
        n_entities: int,
        n_relations: int,
        n_times: int,
        dim: int,
        penalty: str = "query",
        smoothness: float = 0.0,
    ) -> None:
        super().__init__()
        if dim % 2:
            name = type(self).__name__.lower()
            raise UserError(f"backbone {name}: dim={dim} is odd, and complex vectors have two reals a number")
        self.of_factors, self.smoothness = penalty == "factors", smoothness
        self.entity = nn.Embedding(n_entities, dim)
        self.relation = nn.Embedding(2 * n_relations, self.relation_vectors * dim)
        self.time = nn.Embedding(n_times, dim)
        for table in (self.entity, self.relation, self.time):
            nn.init.normal_(table.weight, std=self.spread)

    def factors(self, relation: Tensor, time: Tensor) -> tuple[Tensor, ...]:
        """What stands between the entities in a score, for relations as vectors [B, k] and int64 times [B, L]."""
        raise NotImplementedError(type(self).__name__)  # each has its own

    def penalty(self, query: Tensor, subject: Tensor, answer: Tensor) -> Tensor:
        entities = cubed(subject) + cubed(answer)
        return (2 * entities if self.of_factors else entities + cubed(query)) / len(query)

    def penalty_beside_entities(self, relation: Tensor, time: Tensor) -> Tensor | float:
        total: Tensor | float = 0.0
        if self.of_factors:
            factors = self.factors(self.relation_table()[relation], time)
            total = torch.stack([cubed(factor) for factor in factors]).sum() / len(relation)
        if self.smoothness:
            steps = self.time.weight.diff(dim=0)
            total = total + self.smoothness * cubed(steps) / max(len(steps), 1)
        return total
