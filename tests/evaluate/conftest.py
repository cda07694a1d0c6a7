"""A model whose scores are a table, and small graphs, so that ranks can be checked by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness import evaluate
from harness.data import UNKNOWN, Facts, TemporalGraph, Vocabulary
from harness.models import Backbone

#: head, relation, tail, start, end; None for an end that is not known
Fact = tuple[int, int, int, int | None, int | None]


class TableModel(Backbone):
    """Scores looked up in ``table`` [S, 2R, C, C, E] by subject, relation, start class and end class.

    The entity vectors are the unit vectors, so the inner product gives every entry back exactly.
    """

    kernel = "dot"
    time_input = "classes"

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table
        self.entity = nn.Embedding.from_pretrained(torch.eye(table.shape[-1], dtype=table.dtype))

    def encode(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        return self.table[subject, relation, time[:, 0], time[:, 1]]


@pytest.fixture(scope="session")
def table_model() -> type[TableModel]:
    return TableModel


@pytest.fixture(scope="module", params=["tensors", "compiled"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both ways of counting, whatever the size of a problem."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "COMPILED_FROM", 0 if request.param == "compiled" else 1 << 62)
        yield request.param


def _facts(facts: Iterable[Fact]) -> Facts:
    rows = [[UNKNOWN if value is None else value for value in fact] for fact in facts]
    return Facts(*np.array(rows, np.int64).reshape(-1, 5).T.copy())


@pytest.fixture(scope="session")
def make_graph() -> Callable[..., TemporalGraph]:
    """``make_graph(n_entities, n_relations, train, valid, test)`` with facts as tuples."""

    def make(
        n_entities: int, n_relations: int, train: list[Fact], valid: list[Fact], test: list[Fact]
    ) -> TemporalGraph:
        entities = tuple(f"e{k}" for k in range(n_entities))
        relations = tuple(f"r{k}" for k in range(n_relations))
        return TemporalGraph(
            "small",
            "year",
            Vocabulary(entities, entities),
            Vocabulary(relations, relations),
            _facts(train),
            _facts(valid),
            _facts(test),
            digest="",
        )

    return make
