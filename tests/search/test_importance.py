"""Importances of planted factors."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from harness.search.importance import importances


def grid(levels: int = 4) -> pd.DataFrame:
    return pd.DataFrame(list(itertools.product([0.01, 0.1, 0.5, 1.0][:levels], repeat=3)), columns=["a", "b", "c"])


def test_the_planted_factor_comes_first_by_both_methods() -> None:
    points, random = grid(), np.random.default_rng(0)
    rank = points.rank(method="dense")
    values = 0.3 + 0.004 * rank["b"] + 0.001 * rank["a"] + random.normal(0, 0.0003, len(points))
    table = importances(points, values, repeats=3, resamples=5)
    for _, of_method in table.groupby("method"):
        shares = of_method.set_index("factor")["importance"]
        assert shares.idxmax() == "b"
        assert shares["a"] > shares["c"] or shares["b"] > 0.9
        assert shares.sum() == 1 or abs(shares.sum() - 1) < 1e-9
    assert (table["low"] <= table["high"]).all()
    forest = table[table["method"] == "fANOVA"]
    assert (forest["repeats"] == 3).all()
    assert forest["seed_sd"].gt(0).any()
    again = importances(points, values, repeats=3, resamples=5)
    pd.testing.assert_frame_equal(table, again)


def test_continuous_factors() -> None:
    random = np.random.default_rng(1)
    points = pd.DataFrame(random.uniform(size=(40, 2)), columns=["x", "y"])
    table = importances(points, points["y"] ** 2, repeats=2, resamples=3)
    assert table.query("factor == 'y'")["importance"].gt(0.8).all()


def test_equal_values_and_few_points_say_nothing() -> None:
    points = grid(2)
    table = importances(points, pd.Series(np.full(8, 0.3)), repeats=2, resamples=2)
    assert table["importance"].isna().all()
    assert importances(points.head(3), pd.Series([0.1, 0.2, 0.3])).empty
