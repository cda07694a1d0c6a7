"""L3: supervised on predictions made with the language model's encodings of entity and relation.

The query's subject and relation are replaced by what the language model says of them, E(h) and E(r), mapped into
the student's space; the candidates are the *student's own* entity vectors, so the gradient reaches the student (our
reading).
"""

from __future__ import annotations

from torch import Tensor, nn

from harness.distill.response import cross_entropy
from harness.distill.sampled import Candidates, Weighted, sampled_losses
from harness.distill.softmax import log_partition
from harness.models.base import Backbone
from harness.models.batch import QueryTensors
from harness.models.candidates import candidate_scores


class SemanticAdapter(nn.Module):
    """Maps encodings E(p) in (0, 1) to the student's space; learned in stage 2 and dropped afterwards.

    ``entities`` [E, m] and ``relations`` [2R, m] are the encodings σ(w·LLM(p) + b) of the LLM teacher (Eq. 6).
    """

    entities: Tensor
    relations: Tensor

    def __init__(self, entities: Tensor, relations: Tensor, dim: int) -> None:
        super().__init__()
        self.register_buffer("entities", entities - entities.mean(0), persistent=False)
        self.register_buffer("relations", relations - relations.mean(0), persistent=False)
        self.entity_map = nn.Linear(entities.shape[1], dim)
        self.relation_map = nn.Linear(relations.shape[1], dim)

    def forward(self, subject: Tensor, relation: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors in the student's space, two of [B, d], for int64 subject and relation [B]."""
        return self.entity_map(self.entities[subject]), self.relation_map(self.relations[relation])


def semantic_cross_entropy(
    student: Backbone,
    adapter: SemanticAdapter,
    batch: QueryTensors,
    table: Tensor,
    index: Tensor,
    candidates: Candidates | None = None,
) -> Tensor:
    """-log softmax(z')[answer], batch mean, where z' scores the LLM-encoded query against the student's ``table``.

    ``candidates`` are those whose scores stand for all in the sum of the softmax (see ``sampled``), with ``index`` as
    there; None: all entities do.
    """
    subject, relation = adapter(batch.subject, batch.relation)
    query = student.encode_vectors(subject, relation, batch.time)
    scale, kernel = student.scale(), student.kernel
    if candidates is not None:
        return sampled_losses(query, table, scale, kernel, batch.answer, index, candidates, Weighted())[0]
    partition = log_partition(query, table, scale, kernel)
    gold = candidate_scores(student, query, table, batch.answer[:, None])[:, 0]
    return cross_entropy(gold, partition[:, 0])
