"""L3: supervised on predictions made with the language model's encodings of entity and relation.

The query's subject and relation are replaced by the language model's encodings E(h) and E(r) (Eq. 6), mapped into the
student's space; the candidates are the *student's own* entity vectors, so the gradient reaches the student (our
reading).
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from harness.distill.losses.base import Given, Loss, register
from harness.distill.passes.step import Step
from harness.registry import MethodOptions, option


class L3Options(MethodOptions):
    """Options of L3."""

    beta: float = option(0.3, "weight of L3, supervised on LLM encodings", ge=0, le=1000)
    semantic_share: float = option(0.25, "share of each batch that L3 is taken over", gt=0, le=1)


class SemanticAdapter(nn.Module):
    """Maps encodings E(p) in (0, 1) to the student's space; learned in stage 2 and dropped afterwards.

    ``entities`` [E, m] and ``relations`` [2R, m] are the encodings σ(w·LLM(p) + b) of the LLM teacher (Eq. 6).
    """

    entities: Tensor
    relations: Tensor

    def __init__(self, entities: Tensor, relations: Tensor, dim: int, relation_dim: int | None = None) -> None:
        super().__init__()
        self.register_buffer("entities", entities - entities.mean(0), persistent=False)
        self.register_buffer("relations", relations - relations.mean(0), persistent=False)
        self.entity_map = nn.Linear(entities.shape[1], dim)
        self.relation_map = nn.Linear(relations.shape[1], relation_dim or dim)

    def forward(self, subject: Tensor, relation: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors in the student's spaces, [B, d] and [B, k], for int64 subject and relation [B]."""
        return self.entity_map(self.entities[subject]), self.relation_map(self.relations[relation])


def semantic_queries(step: Step, adapter: SemanticAdapter, share: float = 1.0) -> Tensor:
    """LLM-encoded query vectors [b, d] of the first queries of a batch, a ``share`` of it."""
    batch = step.batch[slice(math.ceil(share * len(step.batch)))]
    subject, relation = adapter(batch.subject, batch.relation)
    return step.model.encode_vectors(subject, relation, batch.time)


def semantic_cross_entropy(step: Step, adapter: SemanticAdapter, share: float = 1.0) -> Tensor:
    """-log softmax(z')[answer], mean over a ``share`` of the batch, where z' scores the LLM-encoded query."""
    query = semantic_queries(step, adapter, share)
    return step.cross_entropy(query, slice(len(query)))


def _prepare(given: Given, options: L3Options) -> dict[str, Any]:
    adapter = given.seeded("adapter", lambda: SemanticAdapter(*given.encodings(), given.dim, given.relation_dim))
    return {"adapter": adapter, "beta": options.beta, "semantic_share": options.semantic_share}


register(Loss("L3", _prepare, L3Options, needs=("llm",), flat=True))
