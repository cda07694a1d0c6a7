"""The simulated study: its workers sleep and make results up; all else is a real study, resumed, reported and shown."""

from __future__ import annotations

import time
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.bench import app, sleepers
from harness.bench.commands import simulate
from harness.bench.options import Simulate
from harness.data import load
from harness.engine.task import Task
from harness.errors import UserError
from harness.reporting.data.frames import ranked
from harness.store import frames
from harness.trial.spec import TrialSpec
from tests.bench.samples import assert_positive, figures
from tests.toy import write_dataset

#: cells of a seed of study grid, and of the smaller one that stands for it
CELLS, FEW = 65, 7


@pytest.fixture
def place(tmp_path: Path) -> simulate.Place:
    options = Simulate(dataset=str(write_dataset(tmp_path / "toy")), jobs=8, seconds=0.001)
    return simulate.Place(CELLS, options, f"sqlite:///{tmp_path / 'harness.db'}", tmp_path)


def test_sleepers_end_after_a_sampled_time(place: simulate.Place) -> None:
    workers = sleepers.Sleepers(8, 0.02, sleepers.Results(load(place.options.dataset)))
    began = time.perf_counter()
    todo = [Task(f"{k:x}", TrialSpec(), "stage1" if k == 3 else None) for k in range(8)]
    futures = [workers.submit([task]) for task in todo]
    wait(futures, timeout=10)
    outcomes = [future.result()[0] for future in futures]
    assert time.perf_counter() - began >= max(outcome.seconds for outcome in outcomes)
    assert len({outcome.seconds for outcome in outcomes}) == 8
    assert [outcome.result is None for outcome in outcomes] == [task.stage is not None for task in todo]
    assert workers.first >= began


def test_a_simulated_study_is_resumed_and_read_like_any_other(
    place: simulate.Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulate, "STUDY", "ablation")
    few = replace(place, trials=FEW)
    first, some, none = (simulate._run(few, missing, fresh) for missing, fresh in ((3, True), (0, False), (0, False)))
    assert [summary["trials"] for summary in (first, some, none)] == [FEW - 3, FEW, FEW]
    assert first["cpu_ms"] > 0
    assert some["first_task"] < some["seconds"]
    assert none["per_second"] == 0
    trials, curves, load_ranks = frames.load(place.url, "ablation", place.options.dataset, place.artifacts)
    assert trials["state"].eq("complete").all()
    assert len(curves) == FEW * sleepers.EPOCHS
    ranked(load_ranks(trials.index[4]), trials.iloc[4])  # which refuses metrics that are not those of the ranks
    assert trials["test_mrr"].nunique() > FEW // 2
    with pytest.raises(UserError, match="holds studies, with which simulated trials would mix"):
        simulate._run(few, 0, True)


@pytest.mark.slow
def test_the_command(tmp_path: Path, place: simulate.Place) -> None:
    options = (
        "--dataset",
        place.options.dataset,
        "--trials",
        "66",
        "--jobs",
        "8",
        "--seconds",
        "0.001",
        "--missing",
        "9",
    )
    (row,) = figures(tmp_path, "simulate", *options, "--figure", str(tmp_path / "growth.png"))["rows"]
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    assert (row["trials"], row["missing"]) == (2 * CELLS, 9)
    speeds = ("per_second", "wall_ms", "last_ms", "cpu_ms", "resume_seconds", "missing_seconds")
    shown = ("report_seconds", "frames_seconds", "dashboard_list_seconds", "dashboard_seconds", "dashboard_peak_mib")
    assert_positive(row, *speeds, *shown, "peak_mib", "report_peak_mib", "store_kib", "artifacts_kib")
    assert_positive(row, "resume_cpu_seconds", "report_cpu_seconds")
    assert row["frames_seconds"] < row["report_seconds"]


def test_a_store_holds_one_simulation() -> None:
    done = CliRunner().invoke(app, ["simulate", "--trials", "2", "--trials", "3", "--storage", "sqlite:///a.db"])
    assert isinstance(done.exception, UserError)
    assert "give --trials once" in str(done.exception)
