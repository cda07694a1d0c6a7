"""The LLM teacher's head: encodings E(p) = σ(w_p · LLM(p) + b_p) (Eq. 6) and the scoring function f_LLM (Eq. 7-9).

There are no free entity vectors: all that this teacher knows of an entity is the language model's vectors of its label
and, with neighbourhood texts, of what training facts say of it.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.distill.passes.sampled import Candidates
from harness.distill.passes.terms import cross_entropy
from harness.distill.training.objective import Distillation
from harness.models.base import Backbone, Kernel
from harness.models.batch import QueryTensors
from harness.teachers.language.neighbourhood import Neighbourhood

#: components with less than this share of the largest variance are rounding errors of the language model's arithmetic
_NOISE = 1e-6


def whiten(vectors: Tensor, components: int) -> Tensor:
    """Principal components of ``vectors`` [N, d] at unit variance: float32 [N, c], c <= min(components, d, N - 1).

    An affine map, so E(p) stays a sigmoid of an affine map of LLM(p); without it a handful of directions that all names
    share drown their differences. Directions without variance are left out (one column of zeros, if all are):
    scaled to unit variance they would be amplified rounding errors. Computed in double precision, each component's
    sign fixed: the same on every run.
    """
    centred = vectors.double() - vectors.double().mean(0)
    values, directions = torch.linalg.eigh(centred.T @ centred / max(len(vectors) - 1, 1))
    values, directions = values.flip(0)[:components], directions.flip(1)[:, :components]
    scale = vectors.double().square().sum(1).mean()
    kept = values > _NOISE * torch.maximum(values[0], _NOISE * scale)
    if not kept.any():
        return torch.zeros(len(vectors), 1)
    values, directions = values[kept], directions[:, kept]
    directions = directions * torch.sign(directions.gather(0, directions.abs().argmax(0, keepdim=True)))
    whitened: Tensor = centred @ directions / values.sqrt()
    return whitened.float()


def control(vectors: Tensor, kind: str, seed: int) -> Tensor:
    """Vectors [N, d] without any information on the names they stand for, with which LLM(p) is compared.

    Args:
        vectors: those of the language model.
        kind: "shuffled", the same vectors, each given to a name at random; or "random", normal ones of the same length.
        seed: of the choice.
    """
    generator = torch.Generator().manual_seed(seed)
    if kind == "shuffled":
        return vectors[torch.randperm(len(vectors), generator=generator)]
    noise = torch.randn(vectors.shape, generator=generator)
    length: Tensor = vectors.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True)
    return noise * length


class SemanticScorer(Backbone):
    """f_LLM(h, r, ?, τ) = ⟨g(E(h), E(r), τ), 2E(t) - 1⟩ with a two-layer perceptron g.

    Our reading of Eq. 7-9, which only state that a scoring function runs over the encoded head, relation and tail. The
    time enters as the mean of the vectors of its start and end class.

    Args:
        entities: language-model vectors of the entities [E, d], see ``whiten``.
        relations: those of the relations and their reciprocals [2R, d'].
        n_times: number of time classes.
        dim: dimension of E(p).
        neighbourhood: what training facts say of the entities, which E(p) then reads beside their vectors.
        dropout: share of what E(p) and g read that is dropped in training.
    """

    kernel: Kernel = "dot"
    time_input = "classes"

    entity_vectors: Tensor
    relation_vectors: Tensor

    def __init__(
        self,
        entities: Tensor,
        relations: Tensor,
        n_times: int,
        dim: int,
        neighbourhood: Neighbourhood | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("entity_vectors", entities, persistent=False)
        self.register_buffer("relation_vectors", relations, persistent=False)
        self.entity_map = nn.Linear(entities.shape[1], dim)
        self.relation_map = nn.Linear(relations.shape[1], dim)
        self.time = nn.Embedding(n_times, dim)
        self.g = nn.Sequential(nn.Linear(3 * dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        nn.init.zeros_(self.time.weight)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.neighbourhood = neighbourhood
        if neighbourhood is not None:
            self.neighbourhood_map = nn.Linear(neighbourhood.vectors.shape[1], dim, bias=False)

    def encodings(self) -> tuple[Tensor, Tensor]:
        """E(p) of all entities [E, dim] and of all relations [2R, dim], in (0, 1)."""
        return self.encoded(slice(None)), self.relation_map(self.relation_vectors).sigmoid()

    def encoded(self, rows: Tensor | slice) -> Tensor:
        """E(p) of some entities [B, dim]."""
        affine = self.entity_map(self.dropout(self.entity_vectors[rows]))
        if self.neighbourhood is not None:
            affine = affine + self.neighbourhood_map(self.dropout(self.neighbourhood.of(rows)))
        encoded: Tensor = affine.sigmoid()
        return encoded

    @property
    def reads_facts(self) -> bool:
        return self.neighbourhood is not None

    def without(self, batch: QueryTensors) -> AbstractContextManager[None]:
        return nullcontext() if self.neighbourhood is None else self.neighbourhood.without(batch)

    def entity_table(self) -> Tensor:
        return 2 * self.encoded(slice(None)) - 1

    def relation_table(self) -> Tensor:
        return 2 * torch.sigmoid(self.relation_map(self.relation_vectors)) - 1

    def scale(self) -> Tensor:
        return torch.ones((), device=self.time.weight.device)

    def encode(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        # only the rows that are asked for: ranking calls this once a batch
        return self.encode_vectors(2 * self.encoded(subject) - 1, self.relation_table()[relation], time)

    def encode_vectors(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        query: Tensor = self.g(self.dropout(torch.cat([subject, relation, self.time(time).mean(1)], dim=1)))
        return query

    def penalty(self, query: Tensor, subject: Tensor, answer: Tensor) -> Tensor:
        """N3 of the query alone, Σ|q|³, batch mean: entity vectors are bounded."""
        return query.abs().pow(3).sum() / len(query)


@dataclass(frozen=True, eq=False)
class FrequentFirst:
    """Cross-entropy of a `SemanticScorer` over the most frequent answers and random ones, which stand for all others.

    An estimate with little variance, since frequent answers have most of the probability, and cheap: all queries of a
    step share what is scored, and E(p) is made of the entities of the step alone. A true answer is scored once, and
    by itself. Where a step has no candidates, all entities are scored.

    Args:
        frequent: the most frequent answers, int64 [K].
        n_entities: number of all entities.
        regularization: weight of the scorer's penalty.
    """

    frequent: Tensor
    n_entities: int
    regularization: float = 0.0

    def __call__(
        self, model: Backbone, batch: QueryTensors, index: Tensor, candidates: Candidates | None
    ) -> dict[str, Tensor]:
        if candidates is None:
            return Distillation(regularization=self.regularization)(model, batch, index)
        assert isinstance(model, SemanticScorer)
        drawn = candidates.shared[~torch.isin(candidates.shared, self.frequent)]
        scored, rest = torch.cat([self.frequent, drawn]), self.n_entities - len(self.frequent)
        read, at = torch.unique(torch.cat([batch.subject, batch.answer, scored]), return_inverse=True)
        size = len(batch.answer)
        subject, answer, table = (2 * model.encoded(read) - 1)[at].split([size, size, len(scored)])
        query = model.query(subject, batch.relation, batch.time)
        z, gold = query @ table.T, (query * answer).sum(1)
        z[:, len(self.frequent) :] += math.log(max(rest, 1) / max(len(drawn), 1))
        others = z.masked_fill(batch.answer[:, None] == scored, -torch.inf).logsumexp(1)
        terms = {"loss_ce": cross_entropy(gold, torch.logaddexp(others, gold))}
        if self.regularization:
            terms["penalty"] = self.regularization * model.penalty(query, subject, answer)
        return terms


def most_frequent(answers: Tensor, n_entities: int, size: int) -> Tensor:
    """The ``size`` entities that most of ``answers`` int64 [Q] name, int64 [min(size, n_entities)]."""
    return torch.bincount(answers, minlength=n_entities).argsort(descending=True, stable=True)[:size]
