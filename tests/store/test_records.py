"""What trials of a study have in common, which the study tells once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from harness.design import cells
from harness.design import files as designs
from harness.design.cells import Run
from harness.store import frames
from harness.store.records import unpacked
from harness.trial.spec import TrialSpec
from tests.store.test_store import opened, result


@pytest.fixture
def run() -> Run:
    design = designs.load("ablation")
    return cells.plan(design, dataset="lahman", data_digest="d", backbones=["ttranse"], preset="quick")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/runs/harness.db"


def test_what_trials_have_in_common_is_told_once(url: str, run: Run) -> None:
    study = opened(url, run)
    about = {"environment": {"torch": "2.13.0", "device": "cpu"}, "preset": "quick", "data_digest": "d"}
    for spec in run.cells[:3]:
        study.finish(study.begin(spec, about), result(), ["a", "b"])
    again = opened(url, run)  # by another machine
    about["environment"] = {"torch": "2.13.0", "device": "cuda"}
    again.finish(again.begin(run.cells[3], about), result(), ["a", "b"])
    told = [trial.user_attrs for trial in again.study.trials]
    assert {each["common"] for each in told} == {name.removeprefix("common:") for name in again.records}
    assert len(again.records) == 1
    assert all("preset" not in each and "data_digest" not in each for each in told)
    first, other = (spec.model_dump(mode="json") for spec in run.cells[:2])
    assert "spec" not in told[0]
    assert told[1]["spec"].keys() == {name for name in first if first[name] != other[name]} != first.keys()
    assert [each.get("environment") for each in told] == [None, None, None, {"device": "cuda"}]
    trials, _, _ = frames.load(url, "ablation", "lahman")
    assert [TrialSpec.model_validate_json(spec) for spec in trials["spec"]] == list(run.cells[:4])
    assert trials["device"].tolist() == ["cpu"] * 3 + ["cuda"]
    assert trials["data_digest"].tolist() == ["d"] * 4
    params = [trial.params for trial in again.study.trials]
    assert again.done() == [one | unpacked(each, again.records) for one, each in zip(params, told, strict=True)]


def test_data_that_a_worker_read_otherwise_are_told(url: str, run: Run) -> None:
    study = opened(url, run)
    study.finish(study.begin(run.cells[0], {"data_digest": "d"}), replace(result(), data_digest="other"), ["a", "b"])
    assert frames.load(url, "ablation", "lahman")[0]["data_digest"].tolist() == ["other"]


def test_coordinators_that_begin_at_once_share_each_their_own(url: str, run: Run) -> None:
    one, other = opened(url, run), opened(url, run)  # neither knows the record of the other
    for study, spec, device in ((one, run.cells[0], "cpu"), (other, run.cells[1], "cuda"), (one, run.cells[2], "cpu")):
        study.finish(study.begin(spec, {"environment": {"device": device}}), result(), ["a", "b"])
    assert frames.load(url, "ablation", "lahman")[0]["device"].tolist() == ["cpu", "cuda", "cpu"]


def test_a_record_that_is_added_while_a_report_reads_is_found(
    url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = opened(url, run)
    study.finish(study.begin(run.cells[0], {}), result(), ["a", "b"])
    every = optuna.Study.get_trials

    def meanwhile(self: optuna.Study, *arguments: object, **options: object) -> list[optuna.trial.FrozenTrial]:
        monkeypatch.undo()
        again = opened(url, run)
        again.finish(again.begin(run.cells[1], {"environment": {"torch": "2.13.0"}}), result(), ["a", "b"])
        other = opened(url, run)
        other.records.clear()  # as if nobody had told it yet
        other.finish(other.begin(run.cells[2], {"environment": {"torch": "2.13.0"}}), result(), ["a", "b"])
        return every(self, *arguments, **options)

    monkeypatch.setattr(optuna.Study, "get_trials", meanwhile)
    assert len(frames.load(url, "ablation", "lahman")[0]) == 3
