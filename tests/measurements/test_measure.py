"""Which measurements a study asks for, and how they get into its store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.design import cells
from harness.design import files as designs
from harness.design.cells import Run
from harness.engine import local_workers
from harness.engine.coordinator import Plans, plans
from harness.engine.local_workers import in_a_fresh_process
from harness.measurements import measure as module
from harness.measurements.measure import Measurement, measure, wanted
from harness.reporting.cost.numbers import SCHEMAS
from harness.store.store import Store
from harness.store.study import open_study
from harness.trial.inputs import graph_of
from harness.trial.run import run_trial
from harness.trial.stages import Context

CHANGES = {
    "time": {"size": 40},
    "student": {"dim": 8, "epochs": 2, "stage1_epochs": 1},
    "teacher": {"dim": 16, "epochs": 1},
    "semantic": {"dim": 8, "components": 8, "epochs": 1},
    "loss": {"targets": 16},
}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Callable[..., Run]:
    from tests.toy import write_dataset

    folder = write_dataset(tmp_path_factory.mktemp("measured") / "toy")

    def of(preset: str = "quick", seeds: int = 1, backbones: tuple[str, ...] = ("ttranse",), arms: Any = ()) -> Run:
        changes = {**CHANGES, "llm": {"model": str(tiny_encoder), "finetune": "none"}}
        return cells.plan(
            designs.load("cost"),
            dataset=str(folder),
            data_digest=graph_of(str(folder), None).digest,
            backbones=backbones,
            preset=preset,
            seeds=seeds,
            arms=arms,
            changes=changes,
        )

    return of


def planned(run: Run) -> Plans:
    return plans(run.specs, graph_of(run.dataset, None).digest, "cpu")


def asked(run: Run, context: Context, complete: set[str] | None = None) -> list[Measurement]:
    done = {spec.key() for spec in run.specs} if complete is None else complete
    return wanted(run, planned(run), run.design.measured(run.preset), done, context)


def test_each_stage_is_measured_once(runs: Callable[..., Run], context: Context) -> None:
    run = runs("default", seeds=2, backbones=("ttranse", "ta-distmult"))
    measurements = asked(run, context)
    names = [one.name for one in measurements]
    assert len(set(names)) == len(names)
    stages = [one for one in measurements if one.kind == "stage"]
    by_stage: dict[object, int] = {}
    for one in stages:
        by_stage[one.arguments[1]] = by_stage.get(one.arguments[1], 0) + 1
    assert by_stage == {
        # of two backbones, which share the language model
        "teacher": 2,
        "targets": 2,
        "teacher-vectors": 2,
        "encode": 1,
        "semantic": 1,
        "llm-targets": 1,
        # and three batch sizes; L1 and the full method share stage 1
        "stage1": 12,
        "student": 18,
        "loop": 2,
    }
    assert {one.arguments[0].seed for one in stages} == {0}
    semantic = next(one for one in stages if one.arguments[1] == "semantic")
    labels = {run.labels[cell].split(" ")[0] for cell in semantic.trials}
    assert labels == {"L1+L2+L3", "llm-teacher"}


def test_students_of_the_usual_batch_size_stand_for_all(runs: Callable[..., Run], context: Context) -> None:
    by_kind = {one.kind: one for one in asked(runs(seeds=2), context) if one.kind != "stage"}
    assert list(by_kind) == ["inference", "export", "loop"]
    (spec, _, is_trained) = by_kind["loop"].arguments
    assert (spec.arm, spec.student.batch_size, spec.seed, is_trained) == ("L1+L2+L3", 512, 0, False)
    specs = by_kind["inference"].arguments[0]
    assert [one.arm for one in specs] == ["none", "L1+L2+L3", "teacher", "llm-teacher"]
    full = [one for one in asked(runs("full", seeds=2), context) if one.kind == "loop"]
    assert [(one.arguments[0].seed, one.arguments[2]) for one in full] == [(0, True), (1, True)]


def test_only_what_complete_cells_allow(runs: Callable[..., Run], context: Context) -> None:
    run = runs()
    plain = {spec.key() for spec in run.specs if spec.arm == "none"}
    measurements = asked(run, context, plain)
    assert {one.kind for one in measurements} == {"stage", "inference"}
    assert {one.arguments[1] for one in measurements if one.kind == "stage"} == {"stage1", "student"}
    assert asked(run, context, set()) == []


def test_the_lowest_seed_that_is_complete_is_measured(runs: Callable[..., Run], context: Context) -> None:
    run = runs(seeds=2)
    lost = {spec.key() for spec in run.specs if spec.arm == "none" and spec.seed == 0}
    measurements = asked(run, context, {spec.key() for spec in run.specs} - lost)
    (specs,) = (one.arguments[0] for one in measurements if one.kind == "inference")
    assert [(spec.arm, spec.seed) for spec in specs] == [
        ("none", 1),
        ("L1+L2+L3", 0),
        ("teacher", 0),
        ("llm-teacher", 0),
    ]


def test_what_failed_is_tried_again_and_the_rest_is_not(
    runs: Callable[..., Run], tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs(arms=("none",))
    calls: list[str] = []
    broken = {"stage1"}

    def direct(call: Callable[..., Any], *arguments: Any) -> Any:
        calls.append(str(arguments[1]) if call is module.stage else call.__name__)
        if calls[-1] in broken:
            raise MemoryError("its process was killed\n(out of memory?)")
        return [{"stage": calls[-1], "seconds": 1.0}]

    monkeypatch.setattr(module, "in_a_fresh_process", direct)
    store = Store(f"sqlite:///{tmp_path}/harness.db")
    graph, console = graph_of(run.dataset, None), Console(quiet=True)
    with store.only_writer():
        study = open_study(store, run, "", {})
        for spec in run.specs[:1]:
            study.finish(study.begin(spec, {}), run_trial(spec, context))

    def go() -> dict[str, dict[str, Any]]:
        measure(run, planned(run), graph, store, context, "", console)
        return study.measured()

    first = go()
    assert sorted(calls) == ["inference", "stage1", "student"]
    (lost,) = (record for record in first.values() if record["reason"])
    assert lost["reason"] == "MemoryError: its process was killed (out of memory?)"
    assert lost["rows"] == []
    assert "out of memory" in lost["traceback"]
    (good,) = (record for name, record in first.items() if name.startswith("student:"))
    assert good["rows"] == [{"stage": "student", "seconds": 1.0}]
    assert good["cells"] == [run.specs[0].key()]
    assert good["machine"]

    calls.clear()
    broken.clear()
    assert not [record for record in go().values() if record["reason"]]
    assert calls == ["stage1"]
    calls.clear()
    go()
    assert calls == []
    # other code measures anew, and what it says takes the place of what was there
    monkeypatch.setattr(module, "VERSIONS", dict.fromkeys(module.VERSIONS, 2))
    assert len(go()) == 3
    assert len(calls) == 3


def test_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one returns, and begins with: `test_a_fresh_process_has_the_plugins_of_this_one`."""

    def fail() -> None:
        raise ValueError(f"in {os.getpid()}")

    def die(note: Path) -> None:
        note.write_text(str(os.getpid()))
        signal.raise_signal(signal.SIGKILL)

    monkeypatch.setattr(local_workers, "_initialise", lambda *_: None)  # which takes seconds
    with pytest.raises(ValueError, match=r"in \d+") as failed:
        in_a_fresh_process(fail)
    with pytest.raises(MemoryError, match=r"was killed \(out of memory\?: \{SIGKILL"):
        in_a_fresh_process(die, tmp_path / "note")
    assert len({os.getpid(), int((tmp_path / "note").read_text()), int(str(failed.value).split()[-1])}) == 3


def test_a_process_gives_its_semaphores_back() -> None:
    keep = "import builtins, multiprocessing; builtins.kept = multiprocessing.RLock()"
    code = (
        "from harness.engine import local_workers\n"
        "local_workers._initialise = lambda *_: None\n"
        f"local_workers.in_a_fresh_process(exec, {keep!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_every_kind_has_a_version() -> None:
    assert set(module.VERSIONS) == set(SCHEMAS)
