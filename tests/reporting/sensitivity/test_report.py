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

from harness.errors import UserError
from harness.reporting.data.frames import validate_trials
from harness.reporting.output.typst import write
from harness.reporting.sensitivity import failures
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


def test_ranks_that_cannot_be_right_stop_the_report(tmp_path: Path) -> None:
    study = make_grid(factors={"alpha": (0.1, 1.0), "beta": (0.1, 1.0)}, seeds=1)
    study.ranks[3] = study.ranks[3].assign(rank=study.ranks[3]["rank"] * 2)
    with pytest.raises(UserError, match="its ranks give"):
        make(study, tmp_path / "report")
    assert not (tmp_path / "report").exists()
