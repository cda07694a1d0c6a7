"""What a store holds of one study, and the life of a trial in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pandas as pd
import pytest
from rich.console import Console

from harness.data import load
from harness.design import cells
from harness.design import files as designs
from harness.design.cells import Run
from harness.design.schema import FRESH
from harness.engine import coordinator as execute
from harness.engine.scheduler import Listener
from harness.engine.task import Outcome, Task
from harness.store import frames
from harness.store.database.leases import Leases
from harness.store.database.optuna_private import system_attributes
from harness.store.factors import parameters
from harness.store.notes import note_of
from harness.store.store import Store
from harness.store.study import StudyStore, open_study
from harness.trial.stages import Context
from tests.store.samples import COUNTS, opened, result


def test_how_a_cell_ended_since_the_study_was_opened(url: str, run: Run) -> None:
    study, spec, other = opened(url, run), *run.specs[:2]
    assert study.ended(spec.key()) is None
    running = study.begin(spec, {})
    study.fail(study.begin(other, {}), "for a reason")
    assert study.ended(spec.key()) is None
    study.fail(running, "interrupted: its coordinator ended before it")
    assert study.ended(spec.key()) is None
    failed = study.begin(spec, {})
    study.fail(failed, "the loss became nan")
    assert getattr(study.ended(spec.key()), "number", None) == failed.number
    complete = study.begin(spec, {})
    study.finish(complete, result())
    outcome = study.ended(spec.key())
    assert outcome is not None
    assert (outcome.number, outcome.value) == (complete.number, result().metrics["valid_mrr"])
    assert opened(url, run).ended(spec.key()) is None  # of a coordinator that came later it is no news


def test_a_cell_that_another_coordinator_had_begun_before_this_one_came_is_seen_to_end(url: str, run: Run) -> None:
    first, spec = opened(url, run), run.specs[0]
    trial = first.begin(spec, {})
    late = StudyStore(run, first.study, first.store)
    assert late.ended(spec.key()) is None
    first.finish(trial, result())
    assert getattr(late.ended(spec.key()), "number", None) == trial.number


def test_value_of_a_trial_is_its_validation_mrr_and_factors_are_parameters(url: str, run: Run) -> None:
    study = opened(url, run)
    study.finish(study.begin(run.specs[4], {}), result())
    trial = optuna.load_study(study_name=run.study_name, storage=url).trials[0]
    assert trial.value == pytest.approx(result().metrics["valid_mrr"])
    assert trial.params["arm"] == "L1+L2+L3"
    assert trial.params.keys() == {"arm", "backbone", "seed"}
    assert trial.distributions["arm"].choices == ("none", "L1", "L1+L2", "L1+L3", "L1+L2+L3")
    assert (trial.distributions["seed"].low, trial.distributions["seed"].high) == (0, run.seeds - 1)
    assert trial.intermediate_values == {1: 0.3}


def test_the_best_trial_is_a_student(url: str, run: Run) -> None:
    study = opened(url, run)
    teacher = next(spec for spec in run.specs if spec.arm == "teacher")
    for spec, mrr in ((run.specs[0], 0.3), (teacher, 0.9), (run.specs[1], 0.4)):
        outcome = result()
        outcome.metrics["valid_mrr"] = mrr
        study.finish(study.begin(spec, {}), outcome)
    best = optuna.load_study(study_name=run.study_name, storage=url).best_trial
    assert (best.value, best.params["arm"]) == (0.4, run.specs[1].arm)


def test_teachers_are_in_a_study_of_their_own(url: str, run: Run) -> None:
    study = opened(url, run)
    teacher = next(spec for spec in run.specs if spec.arm == "teacher")
    for spec in (run.specs[0], teacher):
        study.finish(study.begin(spec, {}), result())
    (trial,) = optuna.load_study(study_name=f"{run.study_name}-teachers", storage=url).trials
    assert trial.params == {"arm": "teacher", "backbone": "ttranse"}
    trials, curves, load_ranks = frames.load(url, "ablation", "lahman")
    assert trials["arm"].tolist() == ["none", "teacher"]
    assert trials["trial"].is_unique
    assert trials["study_name"].unique().tolist() == curves["study_name"].unique().tolist() == [run.study_name]
    assert len(load_ranks(1)) == 4
    assert study.complete() == {run.specs[0].key(), teacher.key()}


def test_factors_of_a_grid_are_parameters_with_their_ranges() -> None:
    design = designs.load("grid")
    run = cells.plan(design, dataset="lahman", data_digest="d", backbones=["ttranse"], preset="quick")
    levels = run.design.presets["quick"].grid or design.grid
    varied = {name for name in levels if len(levels[name]) > 1}
    full, base = (next(spec for spec in run.specs if spec.arm == arm) for arm in ("L1+L2+L3", "L1"))
    factors, distributions = parameters(run, full)
    assert factors.keys() - {"arm", "backbone", "seed"} == varied
    for name in varied:
        assert (distributions[name].low, distributions[name].high) == (min(levels[name]), max(levels[name]))
        assert factors[name] in levels[name]
    assert parameters(run, base)[0].keys() == {"arm", "backbone", "seed"}
    fresh, ranges = parameters(run, full.model_copy(update={"seed": FRESH}))
    assert fresh == {name: value for name, value in factors.items() if name != "seed"} | {"fresh seed": FRESH}
    assert ranges["fresh seed"].low == FRESH


@pytest.mark.parametrize("name", designs.files())
def test_a_note_says_what_a_study_asks_and_what_its_trials_are_called(name: str) -> None:
    design = designs.load(name)
    run = cells.plan(design, dataset="lahman", data_digest="0", backbones=["ttranse"], preset="default")
    note = note_of(run, {"training facts": 12_345})
    assert note.startswith(f"# {design.title}\n\n{design.about}\n")
    assert "12,345 training facts" in note
    for label in (*design.arms, *design.variants, *design.references, *design.grid, *design.claims):
        assert label in note
    assert ("`-seeds`" in note) == (run.search is not None)


def test_failed_cell_keeps_its_reason_and_is_wanted_again(url: str, run: Run) -> None:
    study = opened(url, run)
    study.fail(study.begin(run.specs[0], {}), "the loss became nan in epoch 2", "Traceback ...")
    assert study.complete() == set()
    trials, _, _ = frames.load(url, "ablation", "lahman")
    assert trials.iloc[0][["state", "reason"]].tolist() == ["failed", "the loss became nan in epoch 2"]


def test_what_a_dead_coordinator_left_is_closed(url: str, run: Run) -> None:
    study = opened(url, run)
    teacher = next(spec for spec in run.specs if spec.arm == "teacher")
    for spec in (run.specs[0], teacher):
        study.begin(spec, {})  # running for ever
    again = opened(url, run)
    assert [trial.state.name for trial in again.trials()] == ["FAIL", "FAIL"]
    trial = again.begin(run.specs[1], {})
    assert trial.user_attrs["cell"] == run.specs[1].key()
    again.finish(trial, result())
    assert again.complete() == {run.specs[1].key()}


def test_a_trial_of_another_program_is_closed_and_left_out(url: str, run: Run) -> None:
    study = opened(url, run)
    study.study.ask()
    study.study.tell(study.study.ask(), 0.5)
    study.finish(study.begin(run.specs[0], {}), result())
    again = opened(url, run)
    assert [trial.state.name for trial in again.study.trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert again.complete() == {run.specs[0].key()}
    assert frames.load(url, "ablation", "lahman")[0]["cell"].tolist() == [run.specs[0].key()]


def files(study: StudyStore) -> set[Path]:
    return {path for path in study.store.artifacts.iterdir() if path.name != ".lock"}


def test_files_of_a_trial_that_was_cut_off_are_removed(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a coordinator leaves that is killed when the file is there and the database has not got the result."""
    study = opened(url, run)
    study.finish(study.begin(run.specs[0], {}), result())
    study.fold()
    kept = files(study)
    cut_off = study.begin(run.specs[1], {})
    (study.store.artifacts / "of another store").touch()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study.store.storage, "set_trial_state_values", killed)
    with pytest.raises(KeyboardInterrupt):
        study.finish(cut_off, result())
    assert len(files(study) - kept) == 2
    again = opened(url, run)
    assert again.study.trials[1].user_attrs["reason"].startswith("interrupted")
    assert files(study) - kept == {study.store.artifacts / "of another store"}
    assert kept <= files(study)


def test_queries_are_stored_once(url: str, run: Run) -> None:
    study, other = (open_study(Store(url), one, "", COUNTS) for one in (run, replace(run, study_name="other")))
    queries = pd.DataFrame({"query": [0, 1], "degree": [3, 4]})
    for one in (study, other, study):
        one.attach(queries)
    (path,) = study.store.artifacts.iterdir()
    pd.testing.assert_frame_equal(pd.read_parquet(path), queries)
    assert study.study.user_attrs["queries"] == other.study.user_attrs["queries"] == path.name


def test_a_result_that_another_coordinator_took_is_dropped(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither counts nor is told; the cell waits for what comes of it there."""
    store, said = Store(url), list[str]()
    first = next(spec for spec in run.specs if spec.arm == "none")

    def lost(tasks: list[Task], _: object, listener: Listener, __: int) -> None:
        task = next(task for task in tasks if task.id == first.key())
        listener.started(task)
        monkeypatch.setattr(Leases, "keep", lambda *_: False)
        said.append(listener.finished(task, Outcome(result=result())))
        monkeypatch.undo()
        listener.started(task)
        said.append(listener.finished(task, Outcome(result=result())))

    monkeypatch.setattr(execute.pool, "run", lost)
    graph = load("lahman")
    plans = execute.plans(run.specs, graph.digest, "cpu")
    context = Context(Path("cache"))
    tally = execute.execute(run, plans, graph, store, context, 1, "command", Console(quiet=True))
    assert said == ["elsewhere", "here"]
    assert (tally.added, tally.failed) == (1, 0)
    states = [trial.state.name for trial in optuna.load_study(study_name=run.study_name, storage=url).trials]
    assert states == ["FAIL", "COMPLETE"]


def test_study_tells_the_dashboard_what_it_is(url: str, run: Run) -> None:
    opened(url, run).describe(run)
    opened_study = opened(url, run)
    study = opened_study.study
    attributes = system_attributes(opened_study.store.storage, study)
    assert any("What each distillation loss adds" in str(v) for k, v in attributes.items() if k.startswith("dashboard"))
    assert study.user_attrs["claims"] == ["C2", "C6", "C21"]


def test_cell_whose_worker_died_stays_one_trial(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = load("lahman")
    seen: list[str] = []

    def twice(tasks: list[Task], _: object, listener: Listener, __: int) -> None:
        task = next(task for task in tasks if task.stage is None)
        listener.started(task)
        listener.started(task)
        seen.append(task.spec.arm)
        listener.finished(task, Outcome(failure="its worker was killed twice (out of memory?)"))

    monkeypatch.setattr(execute.pool, "run", twice)
    plans = execute.plans(run.specs, graph.digest, "cpu")
    context = Context(Path("cache"))
    tally = execute.execute(run, plans, graph, Store(url), context, 1, "command", Console(quiet=True))
    assert (tally.failed, len(seen)) == (1, 1)
    (trial,) = optuna.load_study(study_name=run.study_name, storage=url).trials
    assert (trial.state.name, trial.user_attrs["reason"].split(" (")[0]) == ("FAIL", "its worker was killed twice")
