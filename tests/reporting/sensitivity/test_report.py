"""Grids with planted effects: what the report finds is what was put in, and what it cannot know it does not say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from harness.errors import UserError
from harness.reporting.data.frames import validate_trials
from harness.reporting.output.typst import write
from harness.reporting.sensitivity import effects, failures
from harness.reporting.sensitivity.effects import tukey_range
from harness.reporting.sensitivity.figures import settings_caption, settings_map
from harness.reporting.sensitivity.points import Grid, grid_of
from harness.reporting.sensitivity.report import content
from harness.reporting.sensitivity.selection import best_points, on_test
from harness.reporting.sensitivity.verdicts import judge_settings
from harness.selection import rank_settings
from tests.blank import drawn
from tests.reporting.conftest import Frames, written
from tests.reporting.grid import LAYOUT, LEVELS, label, make, make_grid, results

TABLES = ("levels", "ranges", "pairs", "importance", "variance", "region", "best", "default", "signs")
KINDS = ("effects", "pairs", "importance")
FILES = {
    "grid.pdf",
    "report.html",
    *(f"grid_{t}.{s}" for t in TABLES for s in ("csv", "parquet", "tex")),
    *(f"figures/{f}.{s}" for f in ("region", *(f"ttranse_{k}" for k in KINDS)) for s in ("pdf", "png")),
}


def grid(study: Frames) -> Grid:
    return grid_of(validate_trials(study.trials))


# ---- what was varied ------------------------------------------------------------------------------------------------


def test_factors_points_and_their_base() -> None:
    actual = grid(make_grid(seeds=2, noise=0))
    assert {f.key: f.levels for f in actual.factors} == LEVELS
    assert actual.losses == "L1+L2+L3"
    points = actual.points()
    assert len(points) == 27
    assert (points["seeds"] == 2).all()
    at = points.set_index(["alpha", "beta", "delta"])["difference"]
    assert at[1.0, 0.01, 1.0] == pytest.approx(0.008)
    assert at[0.1, 1.0, 10.0] == pytest.approx(0.0)


def test_the_base_of_a_point_has_its_own_level_of_a_factor_that_acts_in_l1() -> None:
    study = make_grid(lambda *_: 0.001, factors={"alpha": (0.1, 1.0), "temperature": (3.0, 7.0)}, seeds=1, noise=0)
    base = study.trials[study.trials["losses"] == "L1"].iloc[0]
    other = dict(base) | {"arm": "L1 · temperature=3.0", "temperature": 3.0, "valid_mrr": base["valid_mrr"] - 0.01}
    other["trial"] = 99
    trials = pd.concat([study.trials, pd.DataFrame([other])], ignore_index=True)
    trials.loc[trials["arm"] == "L1", ["arm", "temperature"]] = "L1 · temperature=7.0", 7.0
    points = grid_of(trials).points().set_index(["alpha", "temperature"])
    assert points.loc[(0.1, 7.0), "difference"] == pytest.approx(0.001)
    assert points.loc[(0.1, 3.0), "difference"] == pytest.approx(0.011)
    assert points.loc[(1.0, 3.0), "base_arm"] == "L1 · temperature=3.0"


def test_a_study_that_varies_nothing_has_no_such_report(frames: Callable[..., Frames]) -> None:
    with pytest.raises(UserError, match="no factor has two levels"):
        grid_of(frames(facts=20).trials)


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


# ---- settings that work ---------------------------------------------------------------------------------------------


def points(rows: dict[str, tuple[float, float, float]], **more: list[str]) -> pd.DataFrame:
    """Points x = 0, 1, 2 of each backbone with the given differences to an L1 of .3."""
    return pd.DataFrame(
        [
            {"backbone": b, "arm": f"x={x}", "x": x, "mrr": 0.3 + d, "difference": d}
            for b, item in rows.items()
            for x, d in enumerate(item)
        ]
    ).assign(**more)


def test_the_default_is_the_best_in_the_worst_situation() -> None:
    actual = rank_settings(points({"a": (0.010, 0.004, -0.001), "b": (-0.002, 0.003, 0.006)}), ["x"])
    assert actual["x"].tolist() == [1, 2, 0]
    assert actual["default"].tolist() == [True, False, False]
    assert actual["least"].tolist() == pytest.approx([0.003, -0.001, -0.002])
    assert actual["lost"].tolist() == pytest.approx([0.006, 0.011, 0.008])
    assert actual["stable"].tolist() == [True, False, False]
    assert not actual["near_best"].any()


def test_data_sets_are_situations_of_their_own() -> None:
    one = points({"a": (0.010, 0.004, 0.0)}, dataset=["wiki"] * 3)
    other = points({"a": (0.001, 0.002, 0.003)}, dataset=["yago"] * 3)
    actual = rank_settings(pd.concat([one, other], ignore_index=True), ["x"])
    assert actual["x"].tolist() == [1, 0, 2]


def test_points_that_some_backbone_lacks_are_not_recommended() -> None:
    frame = points({"a": (0.010, 0.004, 0.0), "b": (0.010, 0.004, 0.0)})
    actual = rank_settings(frame[~((frame["backbone"] == "b") & (frame["x"] == 0))], ["x"])
    assert actual["x"].tolist() == [1, 2]


def test_without_l1_the_default_loses_least() -> None:
    frame = points({"a": (0.010, 0.006, 0.0), "b": (0.0, 0.004, 0.006)})
    actual = rank_settings(frame.assign(difference=np.nan), ["x"])
    assert actual["x"].tolist()[0] == 1
    assert not actual["beats_base"].any()


def test_best_points_are_chosen_by_validation_and_told_by_test() -> None:
    study = make_grid(seeds=2, noise=0, failed=((2, 0, 0),))
    # a lucky test result must not be chosen
    lucky = study.trials["arm"] == label({"alpha": 0.1, "beta": 1.0, "delta": 0.1})
    study.trials.loc[lucky, "valid_mrr"] -= 0.01
    loaded = results(study)
    best = best_points(grid_of(loaded.trials))
    assert best["rank"].tolist() == [1, 2, 3, 4, 5]
    assert best["mrr"].is_monotonic_decreasing
    # the very best lost a seed, which may have been its bad one
    assert best.loc[0, "arm"] == label({"alpha": 1.0, "beta": 0.01, "delta": 1.0})
    tested = on_test(loaded, best)
    mrr = tested[tested["metric"] == "mrr"].set_index("arm").loc[best["arm"]]
    by_hand = study.trials.groupby("arm")["test_mrr"].mean()
    assert mrr["value"].to_numpy() == pytest.approx(by_hand[best["arm"]].to_numpy())
    assert mrr["difference"].to_numpy() == pytest.approx((by_hand[best["arm"]] - by_hand["L1"]).to_numpy())
    assert mrr["p_holm"].to_numpy() == pytest.approx(np.minimum(mrr["p_holm"], 1))
    assert (mrr["p_holm"] >= mrr["p"]).all()
    assert len(tested) == 25


def test_points_within_the_margin_of_l1_are_equivalent() -> None:
    study = make_grid(lambda *_: 0.0, factors={k: v[:2] for k, v in LEVELS.items()}, facts=300)
    best = best_points(grid_of(study.trials), 1)
    wide = on_test(study.of(replace(LAYOUT, margin=0.3)).results(), best).set_index("metric").loc["mrr"]
    assert wide["verdict"] == "equivalent"
    assert wide["margin"] == pytest.approx(0.3 * wide["base_value"])
    narrow = on_test(study.of(replace(LAYOUT, margin=1e-5)).results(), best).set_index("metric").loc["mrr"]
    assert narrow["verdict"] == "undecided"


def test_the_map_shows_the_worst_case_of_every_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_grid(seeds=2, backbones=("ttranse", "ta-distmult"))
    result = grid(study)
    points = result.points()
    region = rank_settings(points, result.names)
    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (drawn.append(self), save(self, *a, **k)))
    assert settings_map(region, points, result.names, tmp_path / "a")
    panels = drawn[0].axes[:3]
    assert [panel.get_title() for panel in panels] == ["δ = 0.1", "δ = 1", "δ = 10"]
    shown = {
        (
            LEVELS["alpha"][int(text.get_position()[1])],
            LEVELS["beta"][int(text.get_position()[0])],
            level,
        ): text.get_text()
        for panel, level in zip(panels, LEVELS["delta"], strict=True)
        for text in panel.texts
    }
    worst = points.groupby(result.names)["difference"].min() * 1000
    assert {key: float(text.replace("−", "-")) for key, text in shown.items()} == pytest.approx(
        worst.round(1).to_dict()
    )
    assert "Framed" in settings_caption(region, result.names)
    assert "Shaded" in settings_caption(region, result.names[:1])


# ---- signs of failure -----------------------------------------------------------------------------------------------


def test_signs_of_failure_are_counted_by_level() -> None:
    study = make_grid(
        lambda a, b, d: -0.005 if a == 0 else 0.005,
        seeds=2,
        noise=0,
        failed=((0, 0, 0),),
        rising=tuple((1, b, d) for b in range(3) for d in range(3)),
    )
    one = study.trials["arm"] == label({"alpha": 0.5, "beta": 0.1, "delta": 10.0})
    study.trials.loc[one, ["valid_mr", "valid_hits1"]] = 1e6, 1.0
    actual = grid(study)
    counted = failures.counts(actual, failures.marks(actual, study.trials, study.curves))
    at = counted.set_index(["factor", "level", "mode"])[["count", "assessed"]]
    assert at.loc[("alpha", 0.1, "failed")].tolist() == [1, 18]
    assert at.loc[("beta", 0.1, "failed")].tolist() == [0, 18]
    assert at.loc[("alpha", 0.1, "below_base")].tolist() == [17, 17]
    assert at.loc[("alpha", 1.0, "below_base")].tolist() == [0, 18]
    assert at.loc[("alpha", 0.5, "l2_not_falling")].tolist() == [18, 18]
    assert at.loc[("alpha", 1.0, "l2_not_falling")].tolist() == [0, 18]
    full = counted[counted["factor"] == ""].set_index("mode")["count"]
    assert (full["failed"], full["below_base"], full["l2_not_falling"]) == (1, 17, 18)
    study.trials.loc[one, ["valid_hits1", "valid_hits3", "valid_hits10"]] = 0.0
    fewer = failures.counts(actual, failures.marks(actual, study.trials, study.curves))
    assert counted.query("mode == 'rank_against_hits'")["count"].iloc[0] == (
        fewer.query("mode == 'rank_against_hits'")["count"].iloc[0] + 2
    )


def test_without_curves_nothing_is_said_of_l2() -> None:
    study = make_grid(seeds=1)
    actual = grid(study)
    marked = failures.marks(actual, study.trials, study.curves.iloc[:0])
    assert marked["l2_not_falling"].isna().all()


# ---- the claim ------------------------------------------------------------------------------------------------------


def verdict(
    decided: bool = True, high: float = 0.01, tested: tuple[str, ...] = ("better", "better"), one_seed: bool = False,
    least: float = 0.003,
) -> tuple[str, str]:  # fmt: skip
    names = ("ttranse", "ta-distmult")
    ranges = pd.DataFrame(
        [{"backbone": b, "factor": "x", "range": 0.005, "low": 0.001, "high": high, "decided": decided} for b in names]
    ).assign(factor="alpha")
    region = rank_settings(
        pd.DataFrame({"backbone": names, "arm": "p", "alpha": 1.0, "mrr": 0.3, "difference": least}), ["alpha"]
    )
    rows = [
        {"backbone": b, "metric": "mrr", "difference": 0.004, "verdict": v} for b, v in zip(names, tested, strict=True)
    ]
    return judge_settings(ranges, region, pd.DataFrame(rows), ["alpha"], one_seed=one_seed)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({}, "supported"),
        ({"decided": False}, "undecided"),
        ({"tested": ("better", "undecided")}, "undecided"),
        ({"tested": ("better", "worse")}, "contradicted"),
        ({"decided": False, "high": 0.0019}, "contradicted"),
        ({"tested": ("equivalent", "equivalent")}, "equivalent"),
        ({"tested": ("better", "equivalent")}, "partly supported"),
        ({"decided": False, "tested": ("better", "equivalent")}, "undecided"),
        ({"tested": ("", "")}, "not tested"),
    ],
)
def test_verdict_on_the_claim(case: dict[str, Any], expected: str) -> None:
    assert verdict(**case)[0] == expected


def test_one_seed_gives_no_verdict_but_says_what_it_would_read() -> None:
    word, reason = verdict(one_seed=True)
    assert word == "undecided"
    assert "it would read: supported" in reason


# ---- the whole ------------------------------------------------------------------------------------------------------


def test_a_report_is_complete_and_repeatable(tmp_path: Path) -> None:
    study = make_grid(factors={k: v[:2] for k, v in LEVELS.items()}, seeds=2)
    pdf = make(study, tmp_path / "a")
    assert pdf.read_bytes().startswith(b"%PDF-")
    assert written(tmp_path / "a") == FILES
    first = pdf.read_bytes()
    assert make(study, tmp_path / "a").read_bytes() == first
    with drawn():
        assert make(study, tmp_path / "b").stat().st_size > 1.1 * len(first)
    importance = pd.read_csv(tmp_path / "a" / "grid_importance.csv")
    assert importance.groupby("method")["importance"].idxmax().map(importance["factor"]).eq("alpha").all()


def test_one_seed_gaps_failures_and_two_backbones_make_a_report(tmp_path: Path) -> None:
    study = make_grid(
        factors={k: v[:2] for k, v in LEVELS.items()},
        seeds=1,
        backbones=("ttranse", "ta-distmult"),
        failed=((0, 0, 0),),
        missing=((1, 1, 1),),
    )
    study.curves = study.curves.iloc[:0]
    make(study, tmp_path)
    assert "figures/ta-distmult_effects.png" in written(tmp_path)
    signs = pd.read_csv(tmp_path / "grid_signs.csv")
    assert (signs.query("mode == 'failed' and factor.isna()")["count"] == 1).all()
    assert pd.read_parquet(tmp_path / "grid_variance.parquet").empty


def test_a_grid_without_l1_and_evaluators_makes_a_report(tmp_path: Path) -> None:
    study = make_grid(factors={"alpha": (0.1, 1.0), "dim": (5, 25)}, seeds=2, base=False)
    write(content(study.of(LAYOUT)), tmp_path)
    default = pd.read_csv(tmp_path / "grid_default.csv")
    assert default["difference"].isna().all()
    assert "figures/region.pdf" not in written(tmp_path)


@pytest.mark.usefixtures("full_disk")
def test_after_an_error_the_folder_is_as_before(tmp_path: Path) -> None:
    (tmp_path / "grid.pdf").write_text("older")
    with pytest.raises(UserError, match="No space left on device; name another folder"):
        make(make_grid(factors={"alpha": (0.1, 1.0), "beta": (0.1, 1.0)}, seeds=1), tmp_path)
    assert written(tmp_path) == {"grid.pdf"}
    assert (tmp_path / "grid.pdf").read_text() == "older"


def test_ranks_that_cannot_be_right_stop_the_report(tmp_path: Path) -> None:
    study = make_grid(factors={"alpha": (0.1, 1.0), "beta": (0.1, 1.0)}, seeds=1)
    study.ranks[3] = study.ranks[3].assign(rank=study.ranks[3]["rank"] * 2)
    with pytest.raises(UserError, match="its ranks give"):
        make(study, tmp_path / "report")
    assert not (tmp_path / "report").exists()
