"""Winners of a grid that were trained anew: test results of their own, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pypdf import PdfReader

from harness.reporting.sensitivity.report import Numbers, judged, loaded, numbers_of
from harness.vocabulary import FRESH_SEEDS
from tests.reporting.conftest import Frames, written
from tests.reporting.grid import LAYOUT, LEVELS, label, make, make_grid, results


def retrained(study: Frames, fresh: Frames, arms: tuple[str, ...]) -> Frames:
    """A grid with some of its arms trained anew, as another grid has them."""
    mine = fresh.trials[fresh.trials["arm"].isin(arms)].copy()
    numbers = range(len(study.trials), len(study.trials) + len(mine))
    ranks = {number: fresh.ranks[int(label)] for number, label in zip(numbers, mine.index, strict=True)}
    mine = mine.assign(trial=[*numbers], seed=mine["seed"] + 1000, arm=mine["arm"] + FRESH_SEEDS, role="confirm")
    return Frames(pd.concat([study.trials, mine], ignore_index=True), study.curves, study.ranks | ranks)


def test_winners_trained_anew_have_results_of_their_own(tmp_path: Path) -> None:
    grid = {k: v[:2] for k, v in LEVELS.items()}
    both = ("ttranse", "ta-distmult")
    study = make_grid(factors=grid, seeds=2, backbones=both)
    best = label({"alpha": 0.5, "beta": 0.01, "delta": 0.1})
    # what shone on the grid does nothing for other seeds
    fresh = make_grid(lambda *_: 0.0, factors=grid, seeds=3, backbones=both, facts=60)
    actual = retrained(study, fresh, ("L1", best))
    make(study, tmp_path / "before")
    make(actual, tmp_path / "after")
    assert written(tmp_path / "after") - written(tmp_path / "before") == {
        f"grid_winners.{kind}" for kind in ("csv", "parquet", "tex")
    }
    for table in ("levels", "ranges", "pairs", "importance", "variance", "region", "best", "signs"):
        before, after = (pd.read_parquet(tmp_path / item / f"grid_{table}.parquet") for item in ("before", "after"))
        pd.testing.assert_frame_equal(before, after)
    winners = pd.read_csv(tmp_path / "after" / "grid_winners.csv").query("metric == 'mrr'")
    assert winners["arm"].tolist() == [best + FRESH_SEEDS] * 2
    for _, row in winners.iterrows():
        mine = [
            fresh.trials[(fresh.trials["backbone"] == row["backbone"]) & (fresh.trials["arm"] == arm)][
                "test_mrr"
            ].mean()
            for arm in (best, "L1")
        ]
        assert row["value"] == pytest.approx(mine[0])
        assert row["difference_test"] == pytest.approx(mine[0] - mine[1])
        assert row["seeds_test"] == 3


def test_a_default_that_was_trained_anew_is_tested_so() -> None:
    grid = {k: v[:2] for k, v in LEVELS.items()}
    study, fresh = make_grid(factors=grid, seeds=2), make_grid(lambda *_: 0.0, factors=grid, seeds=3)
    default = measured(study).region.iloc[0]["arm"]
    with_it, without = retrained(study, fresh, ("L1", default)), retrained(study, fresh, (default,))
    assert measured(study).fresh_default == measured(without).fresh_default == 0
    actual = measured(with_it)
    assert actual.fresh_default == 3
    assert set(actual.default_on_test["arm"]) == {default + FRESH_SEEDS}
    assert "in confirmation runs" in judged(results(study), actual)[0].reason
    assert "in confirmation runs" not in judged(results(study), measured(study))[0].reason


def test_what_is_not_whole_yet_is_no_winner_and_stops_no_report(tmp_path: Path) -> None:
    grid = {k: v[:2] for k, v in LEVELS.items()}
    study, fresh = make_grid(factors=grid, seeds=2), make_grid(factors=grid, seeds=3)
    arms = [label({"alpha": alpha, "beta": 0.01, "delta": 0.1}) for alpha in (0.1, 0.5)]
    actual = retrained(study, fresh, ("L1", *arms))
    mine = actual.trials
    is_former = (mine["arm"] == arms[0] + FRESH_SEEDS) & (mine["seed"] > 1000)  # among the best of one seed
    lost = mine[mine["arm"] == arms[1] + FRESH_SEEDS].iloc[0].to_dict() | {"trial": 999, "seed": 1003}
    lost |= {"state": "failed", "reason": "the loss became nan in epoch 3", "valid_mrr": np.nan, "test_mrr": np.nan}
    actual.trials = pd.concat([mine[~is_former], pd.DataFrame([lost])])
    assert measured(actual).winners["arm"].tolist() == [arms[1] + FRESH_SEEDS]
    text = "".join(page.extract_text() for page in PdfReader(make(actual, tmp_path)).pages)
    assert "the loss became nan in epoch 3" in text
    assert "points: 1 on TTransE; fresh seeds: 3" in text


def test_one_fresh_seed_gives_no_verdict() -> None:
    grid = {k: v[:2] for k, v in LEVELS.items()}
    study = make_grid(factors=grid, seeds=3)
    default = measured(study).region.iloc[0]["arm"]
    one = retrained(study, make_grid(factors=grid, seeds=1), ("L1", default))
    assert "with one seed this is no verdict" in judged(results(study), measured(one))[0].reason
    assert "with one seed" not in judged(results(study), measured(study))[0].reason


def measured(study: Frames) -> Numbers:
    mine, again = loaded(study.of(LAYOUT))
    return numbers_of(mine, again)
