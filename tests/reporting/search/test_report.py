"""Searches with planted effects: what the report finds is what was put in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.errors import UserError
from harness.reporting.data.results import INSIDE, is_search
from harness.reporting.kinds import kind_of
from harness.reporting.search.report import judge_temperature
from harness.reporting.search.trace import Trace, curves, sobol, temperature, trace_of
from tests.blank import drawn
from tests.reporting.conftest import Frames, importance_by_hand, metrics, written
from tests.reporting.searches import LAYOUT, make_search

TABLES = ("configurations", "factors", "importance", "sobol", "temperature", "confirmed")


def trace(**options: Any) -> Trace:
    study, meta = make_search(**options)
    return trace_of(study.trials[study.trials["role"].isin(INSIDE)], meta["search"])


def make(study: Frames, meta: dict[str, Any], output: Path) -> Path:
    frames = study.of(LAYOUT, meta, importance_by_hand)
    return kind_of("sensitivity", study.trials).report(frames, output)


def test_configurations_are_means_over_the_seeds_they_have() -> None:
    actual = trace(noise=0, pruned=(3,), failed=(5,))
    mine = actual.frame.set_index("number")
    assert mine["state"].value_counts().to_dict() == {"complete": 28, "given up": 1, "failed": 1}
    assert mine.loc[[3, 5, 7], "seeds"].tolist() == [1, 2, 3]
    assert actual.names == ["alpha", "temperature", "stage1_epochs"]
    # the base has the same seeds: what was given up early is compared with L1 of these
    gain = 0.004 - 0.004 * np.log10(mine["alpha"]) ** 2 - 0.006 * np.log(mine["temperature"] / 7) ** 2
    assert mine["difference"].to_numpy() == pytest.approx(gain.to_numpy())


def test_a_cell_that_failed_and_was_tried_again_counts_once() -> None:
    study, meta = make_search(noise=0)
    again = study.trials[study.trials["role"] == "search"].head(1).assign(state="failed", trial=999)
    inside = pd.concat([study.trials[study.trials["role"].isin(INSIDE)], again])
    assert (trace_of(inside, meta["search"]).frame["state"] == "complete").all()


def test_fitted_curves_find_the_planted_optimum() -> None:
    tests, lines = curves(trace())
    mine = tests.set_index("factor")
    assert mine["decided"].to_dict() == {"alpha": True, "temperature": True, "stage1_epochs": False}
    assert mine.loc["alpha", "best"] == pytest.approx(1, rel=0.3)
    assert mine.loc["temperature", "best"] == pytest.approx(7, rel=0.2)
    assert mine.loc["alpha", "range"] == pytest.approx(0.016, rel=0.15)
    assert (lines["low"] <= lines["mean"]).all()


def test_too_few_configurations_have_no_curves() -> None:
    tests, lines = curves(trace(trials=8))
    assert tests.empty
    assert lines.empty


def test_sobol_indices_are_those_of_the_planted_function() -> None:
    """An additive function whose parts have variances in the ratio 4 : 1 on the unit cube."""
    linear = trace(
        gain=lambda alpha, temperature, stage1_epochs: 0.002 * np.log10(alpha) / 3 + 0.001 * stage1_epochs / 12,
        sampler="qmc", trials=64, seeds=1, noise=0,
    )  # fmt: skip
    actual = sobol(linear).set_index("factor")
    # α is a uniform number times .002, and the switch one of seven times .001
    alpha, switch = 0.002**2 / 12, 0.001**2 * 4 / 36
    assert actual.loc["alpha", "first"] == pytest.approx(alpha / (alpha + switch), abs=0.05)
    assert actual.loc["stage1_epochs", "total"] == pytest.approx(switch / (alpha + switch), abs=0.05)
    assert actual.loc["temperature", "total"] == pytest.approx(0, abs=0.01)
    assert (actual["blocks"] == 64).all()
    # each time the same
    pd.testing.assert_frame_equal(sobol(linear).set_index("factor"), actual)


def test_blocks_with_a_gap_and_cells_that_configurations_share() -> None:
    study, meta = make_search(sampler="qmc", trials=8, seeds=1, failed=(12,))
    shared = study.trials.duplicated(["alpha", "temperature", "stage1_epochs"]) & (study.trials["role"] == "search")
    assert shared.any()
    kept = study.trials[~shared | (study.trials["configuration"] == 12)]
    actual = sobol(trace_of(kept[kept["role"].isin(INSIDE)], meta["search"]))
    assert (actual["blocks"] == 7).all()
    assert sobol(trace()).empty


def test_temperature_is_judged_against_seven() -> None:
    bands = temperature(trace(trials=60), 0.01).set_index("band")
    assert bands["verdict"].to_dict() == {"below 4.5": "worse", "around 7": "", "above 10.5": "worse"}
    assert judge_temperature(bands.reset_index(), one_seed=False)[0] == "supported"
    verdict, reason = judge_temperature(bands.reset_index(), one_seed=True)
    assert verdict == "undecided"
    assert "it would read: supported" in reason


def test_a_rising_effect_of_temperature_contradicts() -> None:
    rising = trace(gain=lambda alpha, temperature, stage1_epochs: 0.003 * np.log(temperature), trials=60)
    assert judge_temperature(temperature(rising, 0.01), one_seed=False)[0] == "contradicted"
    flat = trace(gain=lambda alpha, temperature, stage1_epochs: 0.0, trials=60)
    assert judge_temperature(temperature(flat, 1e-6), one_seed=False)[0] == "undecided"
    few = trace(trials=6)
    assert judge_temperature(temperature(few, 0.01), one_seed=False)[0] == "not tested"


def test_a_report_is_complete_and_repeatable(tmp_path: Path) -> None:
    study, meta = make_search(pruned=(3, 4), failed=(5,), backbones=("ttranse", "ta-distmult"), seeds=2)
    assert is_search(study.trials)
    pdf = make(study, meta, tmp_path)
    first = pdf.read_bytes()
    assert make(study, meta, tmp_path).read_bytes() == first
    with drawn():
        assert make(study, meta, tmp_path).stat().st_size > 1.1 * len(first)
    names = written(tmp_path)
    assert {f"sweep_{t}.{s}" for t in TABLES for s in ("csv", "parquet", "tex")} < names
    assert {f"figures/ta-distmult_{k}.png" for k in ("history", "factors", "indices")} < names
    confirmed = pd.read_csv(tmp_path / "sweep_confirmed.csv").query("metric == 'mrr'")
    by_hand = study.trials[study.trials["seed"] >= 1000].groupby(["backbone", "arm"])["test_mrr"].mean()
    assert len(confirmed) == 6
    for row in confirmed.itertuples():
        assert row.value == pytest.approx(by_hand[row.backbone, row.arm])
        assert row.difference == pytest.approx(by_hand[row.backbone, row.arm] - by_hand[row.backbone, "L1"])


def test_winners_are_compared_with_l1_at_their_own_temperature(tmp_path: Path) -> None:
    study, meta = make_search(seeds=2, facts=40)
    winner = study.trials.loc[study.trials["role"] == "confirm", "arm"].iloc[0]
    own = study.trials["seed"].ge(1000) & (study.trials["losses"] == "L1")
    again = study.trials[own].assign(arm="L1 · temperature=4", role="confirm", trial=[900, 901])
    ranks = {
        900 + k: study.ranks[label].assign(rank=study.ranks[label]["rank"] + 1) for k, label in enumerate(again.index)
    }
    again.index = pd.Index([900, 901])
    for label, frame in ranks.items():
        for name, value in metrics("test", frame["rank"].to_numpy()).items():
            again.loc[label, name] = value
    study.trials = pd.concat([study.trials, again])
    study.trials.loc[study.trials["arm"] == winner, "base"] = "L1 · temperature=4"
    study.ranks |= ranks
    make(study, meta, tmp_path)
    confirmed = pd.read_csv(tmp_path / "sweep_confirmed.csv").query("metric == 'mrr'").set_index("arm")
    means = study.trials[study.trials["seed"] >= 1000].groupby("arm")["test_mrr"].mean()
    assert confirmed.pop("base").value_counts().to_dict() == {"L1": 2, "L1 · temperature=4": 1}
    assert confirmed.loc[winner, "difference"] == pytest.approx(means[winner] - means["L1 · temperature=4"])


def test_few_configurations_of_one_seed_make_a_report(tmp_path: Path) -> None:
    study, meta = make_search(trials=6, seeds=1, base=False, confirm=1)
    make(study, meta, tmp_path)
    assert "figures/ttranse_history.pdf" in written(tmp_path)
    assert pd.read_csv(tmp_path / "sweep_confirmed.csv")["difference"].isna().all()


def test_a_search_without_a_result_says_so(tmp_path: Path) -> None:
    study, meta = make_search(trials=2, seeds=1, failed=(0, 1))
    with pytest.raises(UserError, match="no configuration of the search has a result"):
        make(study, meta, tmp_path / "report")


def test_temperatures_that_make_no_difference_are_equivalent() -> None:
    flat = trace(gain=lambda **_: 0.002, trials=60)
    bands = temperature(flat, 0.01).set_index("band")
    assert bands["verdict"].to_dict() == {"below 4.5": "equivalent", "around 7": "", "above 10.5": "equivalent"}
    assert bands.loc["below 4.5", "margin"] == pytest.approx(0.01 * flat.frame["mrr"].mean())
    assert judge_temperature(bands.reset_index(), one_seed=False)[0] == "equivalent"
    assert set(temperature(flat, 1e-6)["verdict"]) == {"undecided", ""}
