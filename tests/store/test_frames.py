"""What a store returns as data frames."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.design.cells import Run
from harness.errors import UserError
from harness.store import frames
from harness.store.files.artifacts import CURVES, RANKS, study_file
from harness.store.store import Store
from harness.store.study import open_study
from harness.trial.provenance import provenance
from tests.store.samples import COUNTS, opened, result


def test_finished_cell_comes_back_as_frames(url: str, run: Run) -> None:
    study = opened(url, run)
    spec = run.specs[2]
    trial = study.begin(spec, {**provenance(), "preset": "quick", "threads": 1})
    study.finish(trial, result())
    assert study.complete() == {spec.key()}

    trials, curves, load_ranks = frames.load(url, "ablation", "lahman")
    row = trials.iloc[0]
    assert (row["arm"], row["seed"], row["state"], row["study_name"]) == ("L1+L2", 0, "complete", run.study_name)
    assert row["alpha"] == spec.loss.alpha
    assert row["test_mrr"] == pytest.approx(result().metrics["test_mrr"])
    assert row["seconds_stage1"] == 1.5
    assert curves.iloc[0][["arm", "epoch", "valid_mrr"]].tolist() == ["L1+L2", 1, 0.3]
    ranks = load_ranks(trials.index[0])
    assert ranks["rank"].tolist() == [1.0, 4.0, 2.5, 10.0]
    assert ranks["direction"].tolist() == ["tail", "tail", "head", "head"]
    assert ranks["relation"].tolist() == ["plays for", "manages"] * 2
    about = {"command": "python -m harness.study ablation", "data": COUNTS}
    assert trials.attrs["meta"] == {run.study_name: about}


def test_each_design_keeps_its_own_command(url: str, run: Run) -> None:
    other = replace(run, study_name=f"{run.study_name}-other")
    with Store(url).only_writer():
        for some_run, command in ((run, "first"), (other, "second")):
            study = open_study(Store(url), some_run, command, COUNTS)
            study.finish(study.begin(some_run.specs[0], {}), result())
    trials, _, _ = frames.load(url, "ablation", "lahman")
    assert {name: about["command"] for name, about in trials.attrs["meta"].items()} == {
        run.study_name: "first",
        other.study_name: "second",
    }
    one, _, _ = frames.load(url, "ablation", "lahman", design=other.study_name)
    assert one["study_name"].tolist() == [other.study_name]
    assert one.attrs["meta"].keys() == {other.study_name}


def test_a_study_without_any_finished_trial_is_a_users_error(url: str, run: Run) -> None:
    opened(url, run)
    with pytest.raises(UserError, match="has no finished trial yet; run: "):
        frames.load(url, "ablation", "lahman")


def test_weights_that_do_not_act_are_no_columns(url: str, run: Run) -> None:
    study = opened(url, run)
    for spec in run.specs:
        study.finish(study.begin(spec, {}), result())
    trials = frames.load(url, "ablation", "lahman")[0].set_index("arm")
    acting = {str(arm): set(row.dropna().index) for arm, row in trials.iterrows()}
    assert acting["none"].isdisjoint({"alpha", "beta", "delta", "temperature", "hard_weight"})
    assert acting["L1+L2"] - acting["L1"] == {"alpha", "delta"}
    assert acting["L1+L3"] - acting["L1"] == {"beta"}
    assert trials.loc["teacher", "dim"] == run.specs[-2].teacher.dim


def test_reading_what_is_not_there(url: str, run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        frames.load(url, "ablation", "lahman")
    opened(url, run)
    with pytest.raises(UserError, match=r"no study 'ablation' on 'wiki'; it holds: ablation on lahman; run: python"):
        frames.load(url, "ablation", "wiki")


def test_lost_artifacts_are_named(url: str, run: Run) -> None:
    study = opened(url, run)
    study.finish(study.begin(run.specs[0], {}), result())
    study.fold()
    (study.store.artifacts / study_file(run.study_name, RANKS)).unlink()
    trials, _, load_ranks = frames.load(url, "ablation", "lahman")
    with pytest.raises(UserError, match=r"ranks of trial 0 .*cannot be read"):
        load_ranks(trials.index[0])
    (study.store.artifacts / study_file(run.study_name, CURVES)).unlink()
    with pytest.raises(UserError, match=r"learning curves .*cannot be read"):
        frames.load(url, "ablation", "lahman")


def test_a_copy_of_a_store_does_not_remove_files_of_the_original(url: str, run: Run, tmp_path: Path) -> None:
    """Copied beside it while a trial ran: to the copy, that one was cut off. What both have, both read."""
    study = opened(url, run)
    study.finish(study.begin(run.specs[1], {}), result())
    trial = study.begin(run.specs[0], {})
    shutil.copyfile(tmp_path / "runs" / "harness.db", tmp_path / "runs" / "copy.db")
    study.finish(trial, result(1.0))
    copy = opened(url.replace("harness.db", "copy.db"), run)
    assert [trial.state.name for trial in copy.study.trials] == ["COMPLETE", "FAIL"]
    copy.finish(copy.begin(run.specs[0], {}), result(2.0))
    for either in (copy, study):
        either.fold()
    for either, shift in ((study, 1.0), (copy, 2.0)):
        trials, curves, load_ranks = frames.load(either.store.url, "ablation", "lahman")
        done = trials[trials["state"] == "complete"]
        assert sorted(load_ranks(label)["rank"].iloc[0] for label in done.index) == [1.0, 1.0 + shift]
        assert len(curves) == 2


def test_what_other_protocols_give_and_means_of_ranks_come_back(url: str, run: Run) -> None:
    study, ranks = opened(url, run), np.array([1.0, 4.375, 2.5, 10 + 1 / 3])
    kept = replace(result(), by_protocol={"same-interval": {"mrr": 1 / 3, "mr": 7.5}, "expanded": {"mrr": math.nan}})
    kept.ranks["rank"] = ranks
    study.finish(study.begin(run.specs[0], {}), kept)
    study.fold()
    trials, _, load_ranks = frames.load(url, "ablation", "lahman")
    row = trials.iloc[0]
    assert (row["test_same-interval_mrr"], row["test_same-interval_mr"]) == (0.333333, 7.5)
    assert not [name for name in trials if "expanded" in name]
    assert load_ranks(trials.index[0])["rank"].tolist() == pytest.approx(ranks.tolist(), rel=1e-7)
    assert load_ranks(trials.index[0])["rank"].tolist()[::2] == [1.0, 2.5]
