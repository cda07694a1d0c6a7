"""Gaps in time: against a plain version, without the query's own fact, and beside other members of an ensemble."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from harness.data import UNKNOWN, TemporalGraph
from harness.data.graph import Facts
from harness.errors import UserError
from harness.models.base import scores
from harness.models.batch import QueryTensors
from harness.teachers.ensemble import Ensemble
from harness.teachers.gaps import Gaps
from harness.trial.run import run_trial, scored_model
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages
from tests.plain_gaps import both_ways, plain_score
from tests.toy import context, dataset, spec, taught_by

__all__ = ["context", "dataset", "spec"]

pytestmark = pytest.mark.compiles


@pytest.fixture
def graph(spec: TrialSpec, context: Context) -> TemporalGraph:
    """The toy, some of whose ends are not known, and some of whose facts are there twice."""
    graph = Stages(spec, context).graph
    columns = {name: np.concatenate([column, column[:20]]) for name, column in graph.train.columns.items()}
    columns["end"][::3] = UNKNOWN
    columns["start"][::9] = UNKNOWN
    columns["start"][-10:] += 2
    return replace(graph, train=Facts(**columns).in_order())


def random_weights(model: Gaps) -> torch.Tensor:
    return torch.randn(model.weights.shape, generator=torch.Generator().manual_seed(0))


def test_scores_are_those_of_a_plain_version(graph: TemporalGraph) -> None:
    model, facts = Gaps.of(graph), both_ways(graph)
    model.weights.data.copy_(random_weights(model))
    asked = [(3, 0, 1931, 1934), (3, 5, 1800, 1950), (7, 2, 1990, 1990), (0, 7, UNKNOWN, UNKNOWN), (3, 0, 1931, 1931)]
    columns = torch.tensor(asked)
    z = model.direct_scores(columns[:, 0], columns[:, 1], columns[:, 2:])
    expected = [
        [plain_score(facts, model.weights.detach().numpy(), s, r, t, e) for e in range(40)] for s, r, t, _ in asked
    ]
    torch.testing.assert_close(z, torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_a_training_querys_fact_is_left_out(graph: TemporalGraph) -> None:
    """Its scores are those of a model that never saw the fact: nothing leaks into training, nor into targets."""
    model, facts = Gaps.of(graph), both_ways(graph)
    model.weights.data.copy_(random_weights(model))
    one = graph.train.columns
    for row in (0, 5, 30, len(graph.train) - 1):
        without = Facts(**{field.name: np.delete(one[field.name], row) for field in fields(Facts)})
        other = Gaps.of(replace(graph, train=without))
        other.weights.data.copy_(model.weights.data)
        for s, r, o, start, end in (facts[row], facts[row + len(graph.train)]):
            asked = torch.tensor([s]), torch.tensor([r]), torch.tensor([[start, end]])
            left_out = model.direct_scores(*asked, torch.tensor([o]))
            torch.testing.assert_close(left_out, other.direct_scores(*asked), rtol=1e-4, atol=1e-4)
            assert not torch.allclose(left_out, model.direct_scores(*asked))


def test_gradient_is_that_of_finite_differences(graph: TemporalGraph) -> None:
    """In any order of the queries, since those of one relation and time share their work."""
    model = Gaps.of(graph)
    start, end = graph.train.time_points()
    columns = graph.train.head, graph.train.relation, np.stack([start, end], 1), graph.train.tail
    queries = QueryTensors(*map(torch.from_numpy, columns))[:60]
    start_weights = random_weights(model) * 0.3
    model.weights.data.copy_(start_weights)
    model.loss(queries)
    gradient = model.weights.grad
    assert gradient is not None
    shuffled = queries[torch.randperm(60, generator=torch.Generator().manual_seed(1))]
    model.loss(shuffled)
    torch.testing.assert_close(model.weights.grad, gradient, rtol=1e-4, atol=1e-6)
    model.weights.data.copy_(random_weights(model) * 1000)  # answers of probability 0, as floats have it
    assert np.isfinite(model.loss(queries))
    for seed in range(3):
        direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(seed + 7))
        losses = []
        for step in (0.01, -0.01):
            model.weights.data.copy_(start_weights + step * direction)
            losses.append(model.loss(queries))
        assert (losses[0] - losses[1]) / 0.02 == pytest.approx(float((gradient * direction).sum()), rel=0.02, abs=2e-3)


def test_an_ensemble_adds_gaps_and_teaches(spec: TrialSpec, context: Context) -> None:
    teacher = scored_model(taught_by(spec, "ensemble", "teacher", members="tcomplex,gaps"), context)
    assert isinstance(teacher, Ensemble)
    product, gaps = teacher.each()
    stages = Stages(spec, context)
    points, classes = (stages.inputs.training(view)[:9] for view in ("points", "classes"))
    asked = points.subject, points.relation, points.time, points.answer
    with torch.no_grad():
        query = product.encode(classes.subject, classes.relation, classes.time)
        z = scores(query, product.entity_table(), "dot", product.scale())
        expected = teacher.weights[0] * z + teacher.weights[1] * gaps.direct_scores(*asked)
        torch.testing.assert_close(teacher.direct_scores(*asked), expected)
    student = taught_by(spec, "ensemble", members="tcomplex,gaps")
    assert student.loss.others == "merged"  # there are no vectors to estimate them from
    assert run_trial(student, context).metrics["test_mrr"] > 0
    other = student.model_copy(update={"backbone": "ttranse"}).acting()
    assert Stages(other, context).plan.keys["teacher"] == Stages(student, context).plan.keys["teacher"]
    with pytest.raises(UserError, match="FitNet needs 'entities'"):
        run_trial(taught_by(spec, "ensemble", "L1+FitNet", members="tcomplex,gaps"), context)


def test_gaps_alone_are_a_reference_row(spec: TrialSpec, context: Context) -> None:
    result = run_trial(spec.model_copy(update={"arm": "gaps"}).acting(), context)
    assert result.metrics["test_mrr"] > 0.2  # chance is .1
    assert result.curve[-1]["loss"] < result.curve[0]["loss"]
    assert result.stored_bytes == {}
