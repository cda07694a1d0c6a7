"""Metrics of given ranks; the ranks themselves are tested in ``tests/evaluate``."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evaluate import metrics, metrics_by_direction, metrics_by_relation

RANKS = np.array([1.0, 2.0, 3.5, 10.0, 10.5, 400.0])


def test_metrics_of_known_ranks() -> None:
    assert metrics(RANKS) == pytest.approx(
        {
            "mrr": (1 + 1 / 2 + 1 / 3.5 + 1 / 10 + 1 / 10.5 + 1 / 400) / 6,
            "mr": 427 / 6,
            "hits1": 1 / 6,
            "hits3": 2 / 6,
            "hits10": 4 / 6,
        }
    )


@given(st.lists(st.integers(2, 400).map(lambda n: n / 2), min_size=1, max_size=30))
def test_metrics_are_consistent(each: list[float]) -> None:
    found = metrics(np.array(each))
    assert 1 / found["mr"] <= found["mrr"] * (1 + 1e-12)  # the harmonic mean is below the arithmetic
    assert 0 <= found["hits1"] <= found["hits3"] <= found["hits10"] <= 1
    assert found["hits1"] <= found["mrr"] * (1 + 1e-12)


def test_no_ranks_have_no_metrics() -> None:
    assert all(math.isnan(value) for value in metrics(np.zeros(0)).values())
    assert set(metrics(np.zeros(0))) == set(metrics(RANKS))
    assert set(metrics_by_direction(np.zeros(0))) == set(metrics_by_direction(RANKS))


def test_directions_are_the_two_halves() -> None:
    found = metrics_by_direction(RANKS)
    assert {name: found[name] for name in metrics(RANKS)} == metrics(RANKS)
    assert found["tail_mr"] == pytest.approx(6.5 / 3)
    assert found["head_mr"] == pytest.approx(420.5 / 3)
    assert (found["mrr"], found["hits10"]) == pytest.approx(
        tuple((found[f"tail_{name}"] + found[f"head_{name}"]) / 2 for name in ("mrr", "hits10"))
    )


def test_relations_are_told_apart_in_each_direction() -> None:
    # facts of relations 2, 0, 2: tails ask with r, heads with r + 3
    relation = np.array([2, 0, 2, 5, 3, 5])
    found = metrics_by_relation(RANKS, relation, ["a", "b", "c"])
    assert list(found) == ["a", "c"]  # b has no queries
    assert found["a"] == metrics_by_direction(RANKS[[1, 4]])
    assert found["c"] == metrics_by_direction(RANKS[[0, 2, 3, 5]])
    assert found["c"]["tail_mr"] == pytest.approx(4.5 / 2)
    assert found["c"]["head_hits10"] == pytest.approx(1 / 2)
