"""Metrics of given ranks; the ranks themselves are tested in ``tests/evaluate``."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evaluate import metrics, metrics_by_direction

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
def test_metrics_are_consistent(one: list[float]) -> None:
    computed = metrics(np.array(one))
    assert 1 / computed["mr"] <= computed["mrr"] * (1 + 1e-12)  # the harmonic mean is below the arithmetic
    assert 0 <= computed["hits1"] <= computed["hits3"] <= computed["hits10"] <= 1
    assert computed["hits1"] <= computed["mrr"] * (1 + 1e-12)


def test_no_ranks_have_no_metrics() -> None:
    assert all(math.isnan(value) for value in metrics(np.zeros(0)).values())
    assert set(metrics(np.zeros(0))) == set(metrics(RANKS))
    assert set(metrics_by_direction(np.zeros(0))) == set(metrics_by_direction(RANKS))


def test_directions_are_the_two_halves() -> None:
    computed = metrics_by_direction(RANKS)
    assert {name: computed[name] for name in metrics(RANKS)} == metrics(RANKS)
    assert computed["tail_mr"] == pytest.approx(6.5 / 3)
    assert computed["head_mr"] == pytest.approx(420.5 / 3)
    assert (computed["mrr"], computed["hits10"]) == pytest.approx(
        tuple((computed[f"tail_{name}"] + computed[f"head_{name}"]) / 2 for name in ("mrr", "hits10"))
    )
