"""What facts say of entities: training facts alone, and never the one that is asked for."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.data import TemporalGraph, Timeline
from harness.distill.training.loop import Schedule, train
from harness.models.base import Backbone
from harness.models.batch import QueryTensors
from harness.teachers.ensemble import Ensemble
from harness.teachers.language.neighbourhood import Neighbourhood
from harness.teachers.language.texts import entity_texts, statements
from harness.teachers.semantic import SemanticScorer
from harness.teachers.targets import score_targets
from tests.teachers.conftest import facts, small_graph


def vectors(graph: TemporalGraph) -> Tensor:
    """A vector for each statement, by its text: the same in graphs that differ in other facts."""
    seeds = (sum(text.encode()) for text in statements(graph)[0])
    return torch.stack([torch.randn(6, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def expected(graph: TemporalGraph, left_out: set[int]) -> Tensor:
    """The neighbourhood of all entities without some training facts, statement by statement."""
    _, pairs = statements(graph)
    of = {(int(r), int(e)): vector for (r, e), vector in zip(pairs, vectors(graph), strict=True)}
    train, n = graph.train, len(graph.relations)
    said: dict[int, list[Tensor]] = defaultdict(list)
    for k in set(range(len(train))) - left_out:
        head, relation, tail = int(train.head[k]), int(train.relation[k]), int(train.tail[k])
        said[head].append(of[relation, tail])
        said[tail].append(of[relation + n, head])
    zero = torch.zeros(6)
    rows = [torch.stack(said[k]).sum(0) / len(said[k]) ** 0.5 if said[k] else zero for k in range(len(graph.entities))]
    return torch.stack(rows)


def asked(graph: TemporalGraph, *rows: int, inverse: bool = False) -> QueryTensors:
    """Training facts as queries; the classes of time are their starts and ends."""
    train, index = graph.train, np.array(rows)
    head, relation, tail, start, end = (
        torch.from_numpy(part[index]) for part in (train.head, train.relation, train.tail, train.start, train.end)
    )
    time = torch.stack([start, end], 1)
    if inverse:
        return QueryTensors(tail, relation + len(graph.relations), time, head)
    return QueryTensors(head, relation, time, tail)


def both(one: QueryTensors, other: QueryTensors) -> QueryTensors:
    return QueryTensors(*(torch.cat([a, b]) for a, b in zip(vars(one).values(), vars(other).values(), strict=True)))


def test_statements_are_of_training_facts_alone(graph: TemporalGraph) -> None:
    texts, pairs = statements(graph)
    names = entity_texts(graph)
    assert f"residence {names[1]}" in texts
    assert f"inverse of P1 {names[0]}" in texts
    assert len(texts) == len(pairs) == len(set(map(tuple, pairs.tolist())))
    other = facts((5, 0, 1, 1900, 1900), (4, 1, 6, 1900, 1901), (3, 0, 1, 1700, 1800))
    changed = statements(small_graph(valid=other, test=other))
    assert changed[0] == texts
    assert np.array_equal(changed[1], pairs)


@pytest.mark.parametrize("inverse", [False, True])
def test_facts_that_are_asked_for_are_left_out_of_both_entities(graph: TemporalGraph, inverse: bool) -> None:
    """Facts 1 and 2 differ in their time alone: one of them says what the other does."""
    stated, everything = Neighbourhood(graph, vectors(graph)), slice(None)
    torch.testing.assert_close(stated.of(everything), expected(graph, set()))
    with stated.without(asked(graph, 1, 6, inverse=inverse)):
        torch.testing.assert_close(stated.of(everything), expected(graph, {1, 6}))
    torch.testing.assert_close(stated.of(everything), expected(graph, set()))


def test_a_fact_asked_in_both_directions_is_left_out_once(graph: TemporalGraph) -> None:
    stated = Neighbourhood(graph, vectors(graph))
    with stated.without(both(asked(graph, 0, 7), asked(graph, 7, inverse=True))):
        torch.testing.assert_close(stated.of(torch.tensor([6, 1])), expected(graph, {0, 7})[[6, 1]])


@pytest.fixture
def scorer(graph: TemporalGraph) -> SemanticScorer:
    torch.manual_seed(0)
    white = torch.randn(len(graph.entities), 5), torch.randn(2 * len(graph.relations), 5)
    return SemanticScorer(*white, n_times=2, dim=6, neighbourhood=Neighbourhood(graph, vectors(graph)))


def test_training_never_reads_the_facts_of_its_batch(graph: TemporalGraph, scorer: SemanticScorer) -> None:
    queries, seen = asked(graph, *range(8)), []

    def objective(model: Backbone, batch: QueryTensors, index: Tensor, _: object) -> dict[str, Tensor]:
        torch.testing.assert_close(scorer.neighbourhood.of(slice(None)), expected(graph, set(index.tolist())))  # type: ignore[union-attr]
        seen.extend(index.tolist())
        return {"loss": model.entity_table().square().mean()}

    validated = []
    train(scorer, queries, objective, Schedule(1, 3, "adam", 0.01, 0), lambda model: float(not validated.append(model)))
    assert sorted(seen) == list(range(8))
    torch.testing.assert_close(scorer.neighbourhood.of(slice(None)), expected(graph, set()))  # type: ignore[union-attr]


@pytest.mark.parametrize("in_ensemble", [False, True])
def test_scores_for_students_leave_them_out(graph: TemporalGraph, scorer: SemanticScorer, in_ensemble: bool) -> None:
    model: Backbone = Ensemble([scorer], Timeline("year", np.arange(1900, 1905))) if in_ensemble else scorer
    queries = asked(graph, 0)
    queries.time.zero_()  # its classes, of which the scorer knows two
    with scorer.without(queries), torch.no_grad():
        wanted = scorer.entity_table() @ scorer.encode(queries.subject, queries.relation, queries.time)[0]
    targets = score_targets(model, queries, len(graph.entities), seed=0)
    torch.testing.assert_close(targets.scores[0], wanted[targets.ids[0].long()])
