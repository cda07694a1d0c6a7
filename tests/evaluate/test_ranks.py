"""What ranking promises besides the right numbers: ties, scores that are not finite, batches, empty splits, times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from harness.data import UNKNOWN, KnownAnswers, Queries, TemporalGraph, Timeline, both_directions
from harness.evaluate import PROTOCOLS, NotFiniteError, RankTask, query_tensors, rank_of, ranks
from harness.models import BACKBONES, Backbone
from harness.vocabulary import PAPERS_BACKBONES

ENTITIES = 9


@pytest.fixture(scope="module")
def graph(make_graph: Callable[..., TemporalGraph]) -> TemporalGraph:
    train = [(0, 0, 1, 1990, 1991), (0, 0, 2, 1991, 1995), (3, 1, 4, None, 1999), (5, 1, 4, 2003, None)]
    test = [(0, 0, 3, 1991, 1993), (3, 1, 5, None, None), (6, 0, 7, 1999, 1999)]
    return make_graph(ENTITIES, 2, train, [], test)


@pytest.fixture(scope="module")
def timeline(graph: TemporalGraph) -> Timeline:
    return Timeline.build(graph, "width", 1)


def task(graph: TemporalGraph, timeline: Timeline, protocol: str = "time-aware", split: str = "test") -> RankTask:
    queries = both_directions(graph.splits[split], len(graph.relations))
    return RankTask.build(queries, KnownAnswers(graph), timeline, "classes", protocol)


def backbone(name: str, timeline: Timeline, dim: int = 4) -> Backbone:
    torch.manual_seed(0)
    return BACKBONES[name](ENTITIES, 2, timeline.n_classes, dim)


def test_ties_get_the_mean_of_the_best_and_the_worst_rank() -> None:
    z = torch.tensor([[5.0, 3.0, 3.0, 3.0, 1.0], [2.0, 2.0, 2.0, 2.0, 2.0]])
    nothing = torch.zeros(0, dtype=torch.long)
    assert rank_of(z, torch.tensor([2, 0]), nothing, nothing).tolist() == [3.0, 3.0]
    # leaving out entity 1 (a tie) and 0 (a better one) of the first query, entities 1 to 3 of the second
    row, entity = torch.tensor([0, 0, 1, 1, 1]), torch.tensor([1, 0, 1, 2, 3])
    assert rank_of(z, torch.tensor([2, 0]), row, entity).tolist() == [1.5, 1.5]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", BACKBONES)
def test_a_model_that_scores_all_alike_gets_the_rank_of_chance(
    name: str, graph: TemporalGraph, timeline: Timeline
) -> None:
    model = backbone(name, timeline)
    torch.nn.init.zeros_(model.entity.weight)
    np.testing.assert_array_equal(ranks(model, task(graph, timeline, "raw")), (1 + ENTITIES) / 2)
    filtered = task(graph, timeline, "static")
    left_out = np.bincount(filtered.row, minlength=len(filtered.queries))
    assert left_out.max() == 2
    np.testing.assert_array_equal(ranks(model, filtered), (1 + ENTITIES - left_out) / 2)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("entity", [3, 8], ids=["an answer", "in no fact"])
@pytest.mark.parametrize("name", PAPERS_BACKBONES)
def test_one_score_that_is_not_finite_stops_ranking(
    name: str, entity: int, value: float, protocol: str, graph: TemporalGraph, timeline: Timeline
) -> None:
    model, wanted = backbone(name, timeline), task(graph, timeline, protocol)
    model.entity.weight.data[entity, 0] = value
    with pytest.raises(NotFiniteError, match="not finite"):
        ranks(model, wanted)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", PAPERS_BACKBONES)
def test_batches_do_not_matter(name: str, protocol: str, graph: TemporalGraph, timeline: Timeline) -> None:
    model, wanted = backbone(name, timeline), task(graph, timeline, protocol)
    expected = ranks(model, wanted)
    for size in (1, 2, 5, 6, 7):
        np.testing.assert_array_equal(ranks(model, wanted, size), expected)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_empty_split_has_no_ranks(protocol: str, graph: TemporalGraph, timeline: Timeline) -> None:
    actual = ranks(backbone("ttranse", timeline), task(graph, timeline, protocol, "valid"))
    assert actual.shape == (0,)
    assert actual.dtype == np.float64


@pytest.mark.usefixtures("way")
def test_ranking_leaves_the_model_as_it_was(graph: TemporalGraph, timeline: Timeline) -> None:
    model = backbone("ta-distmult", timeline)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for training in (True, False):
        model.train(training)
        ranks(model, task(graph, timeline))
        assert model.training is training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_unknown_protocol_is_refused(graph: TemporalGraph, timeline: Timeline) -> None:
    with pytest.raises(ValueError, match="unknown protocol 'filtered'"):
        task(graph, timeline, "filtered")


def test_a_missing_end_reuses_the_other(timeline: Timeline) -> None:
    one = np.zeros(4, np.int64)
    start = np.array([1991, UNKNOWN, 1995, UNKNOWN])
    end = np.array([1995, 1995, UNKNOWN, UNKNOWN])
    time = query_tensors(Queries(one, one, one, start, end), timeline, "classes").time
    early, late = timeline.classes(np.array([1991, 1995])).tolist()
    assert time.tolist() == [[early, late], [late, late], [late, late], [0, 0]]


@pytest.mark.parametrize(("granularity", "times"), [("year", [-43, 2014]), ("day", [735_000, 735_400])])
def test_tokens_of_the_start_come_before_those_of_the_end(granularity: Any, times: list[int]) -> None:
    timeline = Timeline(granularity, np.array([times[1]]))
    one = np.zeros(1, np.int64)
    time = query_tensors(Queries(one, one, one, np.array(times[:1]), np.array(times[1:])), timeline, "tokens").time
    assert time.shape == (1, 10 if granularity == "year" else 14)
    np.testing.assert_array_equal(time.reshape(2, -1), timeline.tokens(np.array(times)))
    assert 0 < time.min() <= time.max() < timeline.n_tokens
