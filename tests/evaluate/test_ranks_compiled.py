"""Both ways of counting, tensor operations and compiled code: ties of equal vectors, what is not finite, real data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from harness import evaluate
from harness.data import KnownAnswers, TemporalGraph, Timeline, both_directions
from harness.evaluate import NotFiniteError, RankTask, ranks
from harness.models import BACKBONES, Backbone
from harness.models.base import Kernel
from harness.models.batch import QueryTensors

KERNELS: tuple[Kernel, ...] = ("dot", "l2", "l1")
#: two vectors whose scores differ less than this, relative to the largest, may come out in either order
ROUNDING = 1e-5


class Points(Backbone):
    """Query k is row k of ``query`` [Q, d]; entities are ``table`` [E, d]."""

    time_input = "classes"

    def __init__(self, query: Tensor, table: Tensor, kernel: Kernel, scale: float = 1.0) -> None:
        super().__init__()
        self.query, self.kernel, self.factor = query, kernel, scale
        self.entity = nn.Embedding.from_pretrained(table)

    def encode(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        return self.query[subject]

    def scale(self) -> Tensor:
        return torch.tensor(self.factor, dtype=self.query.dtype)


def task(answer: Tensor, left_out: NDArray[np.bool_] | None = None) -> RankTask:
    """Query k asks for ``answer`` [Q]; ``left_out`` [Q, E] are other known answers."""
    size = len(answer)
    row, entity = np.zeros((2, 0), np.int64) if left_out is None else np.array(left_out.nonzero())
    asked = QueryTensors(torch.arange(size), torch.zeros_like(answer), torch.zeros(size, 2, dtype=torch.long), answer)
    return RankTask(asked, torch.from_numpy(row), torch.from_numpy(entity), None, size)


def double_scores(model: Points) -> NDArray[np.float64]:
    """[Q, E], written out."""
    query, table = (x.double().numpy() for x in (model.query, model.entity.weight))
    if model.kernel == "dot":
        return query @ table.T
    difference = query[:, None] - table
    return -np.abs(difference).sum(-1) if model.kernel == "l1" else -np.sqrt((difference**2).sum(-1))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kernel", KERNELS)
@settings(max_examples=40, deadline=None)
@given(
    entities=st.integers(1, 300),
    vectors=st.integers(1, 6),
    dim=st.integers(1, 70),
    queries=st.integers(1, 70),
    share=st.sampled_from([0.0, 0.1, 0.9]),
    batch=st.none() | st.integers(1, 40),
    seed=st.integers(0, 10**6),
)
def test_equal_vectors_tie(
    kernel: Kernel,
    entities: int,
    vectors: int,
    dim: int,
    queries: int,
    share: float,
    batch: int | None,
    seed: int,
) -> None:
    """Few distinct vectors, whose sums round differently in another order, in any place of the table."""
    random = np.random.default_rng(seed)
    which = random.integers(vectors, size=entities)
    table = torch.from_numpy(random.normal(size=(vectors, dim))).float()
    query = torch.from_numpy(random.normal(size=(queries, dim))).float()
    z = double_scores(Points(query, table, kernel))
    gaps = np.diff(np.sort(z, axis=1), axis=1)
    clear = (gaps > ROUNDING * (1 + np.abs(z).max())).all(1)

    answer = random.integers(entities, size=queries)
    left_out = random.random((queries, entities)) < share
    left_out[np.arange(queries), answer] = False
    other, mine = z[:, which], z[np.arange(queries), which[answer]][:, None]
    better = ((other > mine) & ~left_out).sum(1)
    equal = ((which == which[answer][:, None]) & ~left_out).sum(1) - 1

    actual = ranks(Points(query, table[which], kernel), task(torch.from_numpy(answer), left_out), batch)
    np.testing.assert_array_equal(actual[clear], (1 + better + equal / 2)[clear])


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("entities", [12_554, 10_623, 7_128, 1_007])
@pytest.mark.parametrize("kernel", KERNELS)
def test_copies_of_one_entity_get_the_rank_of_chance(kernel: Kernel, entities: int) -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(40, 25, generator=generator)
    table = torch.randn(1, 25, generator=generator).expand(entities, -1).contiguous()
    answer = torch.randint(entities, (40,), generator=generator)
    np.testing.assert_array_equal(ranks(Points(query, table, kernel), task(answer)), (1 + entities) / 2)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_query_that_is_not_finite_stops_ranking(kernel: Kernel, value: float) -> None:
    query = torch.ones(1500, 3)
    query[1300, 1] = value
    with pytest.raises(NotFiniteError, match="not finite"):
        ranks(Points(query, torch.rand(5, 3), kernel), task(torch.zeros(1500, dtype=torch.long)))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("kernel", "size", "scale"),
    [
        ("dot", 1e20, 1.0),
        ("dot", 1e15, 1e10),
        ("l2", 1e20, 1.0),
        ("l2", 1.0, float("inf")),
        ("l2", 1e10, 1e30),
        ("l1", 1.0, float("nan")),
    ],
)
def test_scores_that_overflow_stop_ranking(kernel: Kernel, size: float, scale: float) -> None:
    """Vectors are finite and scores are not."""
    query, table = size * torch.tensor([[1.0, 2.0]]), -size * torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(NotFiniteError):
        ranks(Points(query, table, kernel, scale), task(torch.tensor([1])))


@pytest.mark.usefixtures("way")
def test_large_numbers_with_finite_scores_are_ranked() -> None:
    table = 1e25 * torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.0, 0.0]])
    query = 1e-25 * torch.tensor([[1.0, 1.0], [-1.0, 1.0]])
    np.testing.assert_array_equal(ranks(Points(query, table, "dot"), task(torch.tensor([2, 0]))), [2, 1])


@pytest.mark.usefixtures("way")
def test_a_scale_rounded_to_zero_scores_all_alike() -> None:
    model = Points(torch.rand(2, 3), torch.rand(7, 3), "l2", scale=0.0)
    np.testing.assert_array_equal(ranks(model, task(torch.tensor([2, 0]))), 4)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("where", ["answer", "known"])
def test_what_is_not_an_entity_is_refused(where: str) -> None:
    wanted = task(torch.tensor([7 if where == "answer" else 0]))
    if where == "known":
        wanted = RankTask(wanted.queries, torch.tensor([0]), torch.tensor([7]), None, 1)
    with pytest.raises((IndexError, RuntimeError), match=r"out of bounds|not an entity"):
        ranks(Points(torch.rand(1, 3), torch.rand(7, 3), "dot"), wanted)


@pytest.mark.parametrize(
    ("way", "dtype", "compiled"),
    [("compiled", torch.float32, True), ("compiled", torch.float64, False), ("tensors", torch.float32, False)],
    indirect=["way"],
)
def test_compiled_code_counts_large_problems_in_single_precision(
    way: str, dtype: torch.dtype, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []

    def rank_of(z: Tensor, answer: Tensor, *known: Tensor) -> Tensor:
        counted.append(len(answer))
        return torch.ones(len(answer), dtype=torch.float64)

    monkeypatch.setattr(evaluate, "rank_of", rank_of)
    model = Points(torch.tensor([[0.0, 1.0]], dtype=dtype), torch.tensor([[0, 1], [1, 2]], dtype=dtype), "dot")
    assert ranks(model, task(torch.tensor([0]))) == (2 if compiled else 1)
    assert counted == ([] if compiled else [1])


@pytest.mark.parametrize(
    ("name", "options"), [("ttranse", {"norm": "l2"}), ("ttranse", {"norm": "l1"}), ("ta-distmult", {})]
)
def test_both_ways_agree_on_real_data(
    name: str, options: dict[str, Any], real_data: Callable[[str], TemporalGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = real_data("yago")
    timeline = Timeline.build(graph)
    torch.manual_seed(0)
    model = BACKBONES[name](len(graph.entities), len(graph.relations), timeline.n_classes, 25, **options)
    queries = both_directions(graph.valid, len(graph.relations))
    wanted = RankTask.build(queries, KnownAnswers(graph), timeline, "classes")
    assert len(queries) * len(graph.entities) >= evaluate.COMPILED_FROM
    actual = ranks(model, wanted)
    monkeypatch.setattr(evaluate, "COMPILED_FROM", 1 << 62)
    expected = ranks(model, wanted)
    np.testing.assert_allclose(actual, expected, rtol=1e-3)  # rounding swaps neighbours
    assert (actual == expected).mean() > 0.98
    assert evaluate.metrics(actual)["mrr"] == pytest.approx(evaluate.metrics(expected)["mrr"], rel=1e-6)
