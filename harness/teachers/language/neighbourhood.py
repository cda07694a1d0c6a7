"""What training facts say of entities, as vectors, with those left out that a query asks for.

A text of an entity's facts would give away the answers of the training queries about it, and of no test query: a scorer
would learn to read them off. So each statement of an entity has a vector of its own, and an entity has the sum
of its statements' vectors without those of the facts that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from harness.data import TemporalGraph
from harness.models.batch import QueryTensors
from harness.teachers.language.texts import statements


class Neighbourhood(nn.Module):
    """The statements of the training facts about each entity.

    Args:
        graph: whose training facts.
        vectors: of its statements [S, c], in the order of `harness.teachers.language.texts.statements`.
    """

    vectors: Tensor
    pairs: Tensor
    total: Tensor
    count: Tensor

    def __init__(self, graph: TemporalGraph, vectors: Tensor) -> None:
        super().__init__()
        self.n_entities, self.n_relations = len(graph.entities), len(graph.relations)
        pairs = torch.from_numpy(statements(graph)[1])
        self.register_buffer("vectors", vectors, persistent=False)
        self.register_buffer("pairs", pairs[:, 0] * self.n_entities + pairs[:, 1], persistent=False)
        self.register_buffer("total", torch.zeros(self.n_entities, vectors.shape[1]), persistent=False)
        self.register_buffer("count", torch.zeros(self.n_entities), persistent=False)
        facts = graph.train
        self._add(torch.from_numpy(np.stack([facts.head, facts.relation, facts.tail], 1)), sign=1.0)

    def _add(self, facts: Tensor, sign: float) -> None:
        """Add the statements of facts (head, relation, tail) [N, 3] to the sums of their entities, with a sign."""
        head, relation, tail = facts.unbind(1)
        entity = torch.cat([head, tail])
        pairs = torch.cat([relation * self.n_entities + tail, (relation + self.n_relations) * self.n_entities + head])
        self.total = self.total.index_add(0, entity, self.vectors[torch.searchsorted(self.pairs, pairs)], alpha=sign)
        self.count = self.count.index_add(0, entity, torch.full((len(entity),), sign, device=entity.device))

    def of(self, rows: Tensor | slice) -> Tensor:
        """The sums of the statements of some entities over the roots of their numbers, [B, c]; 0 without any.

        Sums of vectors at unit variance are then at unit variance, whatever their number.
        """
        return self.total[rows] / self.count[rows].clamp(min=1).sqrt()[:, None]

    @contextmanager
    def without(self, batch: QueryTensors) -> Iterator[None]:
        """While it lasts, the facts that training queries ask for are left out, of both of their entities.

        A fact that is asked in both directions is left out once, and others that differ in their time alone stay.
        """
        total, count = self.total, self.count
        is_inverse = batch.relation >= self.n_relations
        relation = batch.relation - self.n_relations * is_inverse
        head = torch.where(is_inverse, batch.answer, batch.subject)
        tail = torch.where(is_inverse, batch.subject, batch.answer)
        facts = torch.cat([torch.stack([head, relation, tail], 1), batch.time], 1).unique(dim=0)
        self._add(facts[:, :3], sign=-1.0)
        try:
            yield
        finally:
            self.total, self.count = total, count
