"""Main effects, ranges and shares of variance of grids with planted effects: what is found is what was put in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from harness.reporting.data.frames import validate_trials
from harness.reporting.sensitivity import effects
from harness.reporting.sensitivity.effects import tukey_range
from harness.reporting.sensitivity.points import Grid, grid_of
from tests.reporting.conftest import Frames
from tests.reporting.grid import LEVELS, make_grid


def grid(study: Frames) -> Grid:
    return grid_of(validate_trials(study.trials))


# ---- effects --------------------------------------------------------------------------------------------------------


def test_main_effects_are_those_that_were_planted() -> None:
    actual = grid(make_grid(seeds=3))
    levels = effects.levels(actual).set_index(["factor", "level"])
    for factor, planted in (("alpha", (0.001, 0.004, 0.007)), ("beta", (0.005, 0.004, 0.003)), ("delta", (0.004,) * 3)):
        for level, value in zip(LEVELS[factor], planted, strict=True):
            row = levels.loc[(factor, level)]
            assert row["difference"] == pytest.approx(value, abs=2e-4)
            assert row["difference_low"] <= row["difference"] <= row["difference_high"]
            assert row["mean"] - row["base"] == pytest.approx(row["difference"])
            assert (row["points"], row["seeds"], row["interval"]) == (9, 3, "seeds")
    ranges = effects.ranges(actual).set_index("factor")
    assert ranges.loc["alpha", "range"] == pytest.approx(0.006, abs=2e-4)
    assert (ranges.loc["alpha", "best"], ranges.loc["alpha", "worst"]) == (1.0, 0.1)
    assert ranges["decided"].to_dict() == {"alpha": True, "beta": True, "delta": False}
    assert (ranges["p_holm"] >= ranges["p"]).all()


def test_the_interval_of_a_level_is_students_over_seeds() -> None:
    study = make_grid(seeds=4)
    mine = study.trials[(study.trials["losses"] != "L1") & (study.trials["alpha"] == 0.5)]
    seeds = mine.groupby("seed")["valid_mrr"].mean()
    low, high = stats.t.interval(0.95, 3, seeds.mean(), stats.sem(seeds))
    row = effects.levels(grid(study)).set_index(["factor", "level"]).loc[("alpha", 0.5)]
    assert (row["low"], row["high"]) == pytest.approx((low, high))


def test_the_range_of_two_levels_is_the_paired_t_test() -> None:
    values = np.random.default_rng(1).normal(size=(2, 6)) + 3 * np.random.default_rng(2).normal(size=6)
    actual, theirs = tukey_range(values), stats.ttest_rel(*values)
    assert actual.p == pytest.approx(theirs.pvalue, rel=1e-4)
    low, high = theirs.confidence_interval()
    assert {round(abs(actual.low), 6), round(actual.high, 6)} == {round(abs(low), 6), round(abs(high), 6)}
    assert actual.estimate == pytest.approx(abs(values[0].mean() - values[1].mean()))


def test_a_range_without_noise_or_blocks() -> None:
    nothing = tukey_range(np.ones((3, 4)))
    assert (nothing.estimate, nothing.p) == (0.0, 1.0)
    assert np.isnan(tukey_range(np.ones((3, 1))).low)


@pytest.mark.slow
def test_the_range_of_no_effect_is_decided_in_one_of_twenty() -> None:
    random = np.random.default_rng(0)
    p = [tukey_range(random.normal(size=(3, 4)) + random.normal(size=4)).p for _ in range(300)]
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


def test_variance_is_split_as_it_was_planted() -> None:
    parts = effects.variance(grid(make_grid(seeds=3, noise=0.0002))).set_index("source")
    alpha, beta = 0.003**2 * 2 / 3, 0.001**2 * 2 / 3
    total = alpha + beta + 0.0002**2
    assert parts.loc["alpha", "omega_sq"] == pytest.approx(alpha / total, abs=0.02)
    assert parts.loc["beta", "omega_sq"] == pytest.approx(beta / total, abs=0.02)
    assert (parts.loc[["alpha:beta", "beta:delta", "alpha:beta:delta"], "omega_sq"] < 0.002).all()
    assert parts["share"].sum() == pytest.approx(1)
    assert np.isnan(parts.loc["seed", "share"])
    assert parts["df"].sum() == 27 * 3 - 1


def test_sums_of_squares_are_those_of_statsmodels() -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, 4, 2))
    frame = pd.DataFrame([(*map(str, at), value) for at, value in np.ndenumerate(values)], columns=[*"abcd", "y"])
    theirs = anova_lm(ols("y ~ (C(a) + C(b) + C(c) + C(d)) ** 3", frame).fit(), typ=1)
    theirs = theirs.rename(index={"Residual": "C(a):C(b):C(c):C(d)"})  # one value a cell
    mine = effects.sums_of_squares(values)
    assert len(mine) == len(theirs) == 15
    for chosen, part in mine.items():
        row = theirs.loc[":".join(f"C({'abcd'[axis]})" for axis in sorted(chosen))]
        assert part == (pytest.approx(row["sum_sq"]), row["df"])


@pytest.mark.parametrize("seeds", [1, 3])
def test_main_effects_and_the_variance_have_one_error(seeds: int) -> None:
    """Of two levels the studentised range is the t test, and F its square: the p values are the same."""
    study = make_grid(factors={k: v[:2] for k, v in LEVELS.items()}, seeds=seeds, noise=0.004)
    table = effects.ranges(grid(study)).merge(effects.variance(grid(study)), left_on="factor", right_on="source")
    assert len(table) == 3
    assert table["p_x"].to_numpy() == pytest.approx(table["p_y"].to_numpy(), rel=1e-3)


def test_a_planted_interaction_is_found_and_is_no_main_effect() -> None:
    """Better where the positions of α and δ are equal, worse elsewhere: both main effects are nothing."""
    study = make_grid(lambda a, b, d: 0.004 * ((a == d) - 1 / 3), seeds=3)
    actual = grid(study)
    assert not effects.ranges(actual)["decided"].any()
    parts = effects.variance(actual).set_index("source")["share"]
    assert parts["alpha:delta"] > 0.9
    maps = effects.pairs(actual).set_index(["first", "second", "first_level", "second_level"])["difference"]
    assert maps["alpha", "delta", 1.0, 10.0] == pytest.approx(0.0027, abs=3e-4)
    assert maps["alpha", "delta", 1.0, 0.1] == pytest.approx(-0.0013, abs=3e-4)
    assert maps["alpha", "beta", 1.0, 0.1] == pytest.approx(0.0, abs=3e-4)


def test_gaps_do_not_mix_up_factors() -> None:
    """The points that are missing have the best α at the worst β: means of what is left would favour that β."""
    gaps = [(2, 2, d) for d in range(3)] + [(1, 2, 0)]
    study = make_grid(seeds=2, noise=0, missing=gaps[:2], failed=gaps[2:])
    actual = grid(study)
    ranges = effects.ranges(actual).set_index("factor")
    assert ranges.loc["beta", "range"] == pytest.approx(0.002, abs=1e-9)
    assert ranges.loc["alpha", "range"] == pytest.approx(0.006, abs=1e-9)
    assert actual.missing("ttranse") == 4
    assert effects.variance(actual).empty
    assert len(actual.points()) == 23


def test_a_level_at_which_all_fails_is_left_out() -> None:
    lost = [(2, b, d) for b in range(3) for d in range(3)]
    actual = grid(make_grid(seeds=1, noise=0, failed=lost))
    ranges = effects.ranges(actual).set_index("factor")
    assert ranges.loc["alpha", ["range", "best"]].tolist() == pytest.approx([0.003, 0.5])
    assert 1.0 not in set(effects.levels(actual).query("factor == 'alpha'")["level"])


def test_one_seed_is_set_against_the_other_factors() -> None:
    actual = grid(make_grid(seeds=1))
    levels, ranges = effects.levels(actual), effects.ranges(actual).set_index("factor")
    assert set(levels["interval"]) == {"points"}
    assert (ranges["blocks"] == 9).all()
    assert ranges["decided"].to_dict() == {"alpha": True, "beta": True, "delta": False}
