from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.artifacts import get_all_artifact_meta
from rich.console import Console

from harness.data import load
from harness.design import cells
from harness.design import files as designs
from harness.design.cells import Run
from harness.engine import coordinator as execute
from harness.engine.scheduler import Listener
from harness.engine.task import Outcome, Task
from harness.errors import UserError
from harness.store import frames
from harness.store.dashboard import parameters
from harness.store.database import safe, sqlite_file
from harness.store.locks import Claims
from harness.store.notes import note_of
from harness.store.store import Store, StudyStore
from harness.trial.provenance import provenance
from harness.trial.run import TrialResult
from harness.trial.stages import Context

COUNTS = {"training facts": 10, "test facts": 2}


@pytest.fixture
def run() -> Run:
    design = designs.load("ablation")
    return cells.plan(design, dataset="lahman", data_digest="d", backbones=["ttranse"], preset="quick")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/runs/harness.db"


def result(shift: float = 0.0) -> TrialResult:
    rank = np.array([1.0, 4.0, 2.5, 10.0]) + shift
    metrics = {"mrr": (1 / rank).mean(), "mr": rank.mean(), **{f"hits{k}": (rank <= k).mean() for k in (1, 3, 10)}}
    return TrialResult(
        data_digest="d",
        metrics={f"{split}_{name}": float(value) for split in ("valid", "test") for name, value in metrics.items()},
        ranks={
            "query": np.arange(4),
            "direction": np.array([0, 0, 1, 1], np.int8),
            "relation": np.array([0, 1, 0, 1], np.int32),
            "rank": rank,
        },
        curve=[{"stage": 1, "epoch": 1, "updates": 5, "loss": 2.0, "valid_mrr": 0.3}],
        seconds={"stage1": 1.5},
        peak_mib={"stage1": 300.0},
        built_seconds={"stage1": 1.4},
        updates=5,
        best_epoch=1,
    )


def opened(url: str, run: Run) -> StudyStore:
    return Store(url).open(run, "python -m harness.study ablation", COUNTS)


def test_how_a_cell_ended_since_the_study_was_opened(url: str, run: Run) -> None:
    study, spec, other = opened(url, run), *run.cells[:2]
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
    study.finish(complete, result(), ["a", "b"])
    found = study.ended(spec.key())
    assert found is not None
    assert (found.number, found.value) == (complete.number, result().metrics["valid_mrr"])
    assert opened(url, run).ended(spec.key()) is None  # of a coordinator that came later it is no news


def test_finished_cell_comes_back_as_frames(url: str, run: Run) -> None:
    study = opened(url, run)
    spec = run.cells[2]
    trial = study.begin(spec, {**provenance(), "preset": "quick", "threads": 1})
    study.finish(trial, result(), ["plays for", "manages"])
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
    names = {m.filename: m.artifact_id for m in get_all_artifact_meta(trial, storage=study.store.storage)}
    by_relation = pd.read_csv(study.store.artifacts / names["relations.csv"], index_col="relation")
    assert by_relation.loc["plays for", ["tail_mr", "head_mr"]].tolist() == [1.0, 2.5]
    about = {"command": "python -m harness.study ablation", "data": COUNTS}
    assert trials.attrs["meta"] == {run.study_name: about}


def test_each_design_keeps_its_own_command(url: str, run: Run) -> None:
    other = replace(run, study_name=f"{run.study_name}-other")
    with Store(url).only_writer():
        for each, command in ((run, "first"), (other, "second")):
            study = Store(url).open(each, command, COUNTS)
            study.finish(study.begin(each.cells[0], {}), result(), ["a", "b"])
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


def test_value_of_a_trial_is_its_validation_mrr_and_factors_are_parameters(url: str, run: Run) -> None:
    study = opened(url, run)
    study.finish(study.begin(run.cells[4], {}), result(), ["a", "b"])
    trial = optuna.load_study(study_name=run.study_name, storage=url).trials[0]
    assert trial.value == pytest.approx(result().metrics["valid_mrr"])
    assert trial.params["arm"] == "L1+L2+L3"
    assert {"backbone", "seed", "dim", "alpha", "beta", "delta", "temperature"} <= trial.params.keys()
    assert trial.intermediate_values == {1: 0.3}


def test_the_best_trial_is_a_student(url: str, run: Run) -> None:
    study = opened(url, run)
    teacher = next(spec for spec in run.cells if spec.arm == "teacher")
    for spec, mrr in ((run.cells[0], 0.3), (teacher, 0.9), (run.cells[1], 0.4)):
        found = result()
        found.metrics["valid_mrr"] = mrr
        study.finish(study.begin(spec, {}), found, ["a", "b"])
    best = optuna.load_study(study_name=run.study_name, storage=url).best_trial
    assert (best.value, best.params["arm"]) == (0.4, run.cells[1].arm)


def test_factors_that_do_not_act_are_left_out(run: Run) -> None:
    acting = {spec.arm: set(parameters(spec)[0]) for spec in run.cells}
    assert acting["none"] == {"arm", "backbone", "seed", "dim"}
    language = {"order", "finetune", "vectors"}
    assert acting["L1+L2"] - acting["L1"] == {"alpha", "alignment", "delta", "outliers", "fusion"} | language
    assert acting["L1+L3"] - acting["L1"] == {"beta"} | language
    assert parameters(run.cells[-2])[0]["dim"] == run.cells[-2].teacher.dim


@pytest.mark.parametrize("name", designs.files())
def test_a_note_says_what_a_study_asks_and_what_its_trials_are_called(name: str) -> None:
    design = designs.load(name)
    run = cells.plan(design, dataset="lahman", data_digest="0", backbones=["ttranse"], preset="default")
    note = note_of(run, {"training facts": 12_345})
    assert note.startswith(f"# {design.title}\n\n{design.about}\n")
    assert "12,345 training facts" in note
    for label in (*design.arms, *design.variants, *design.references, *design.grid, *design.claims):
        assert label in note
    assert ("`configuration`" in note) == (run.search is not None)


def test_failed_cell_keeps_its_reason_and_is_wanted_again(url: str, run: Run) -> None:
    study = opened(url, run)
    study.fail(study.begin(run.cells[0], {}), "the loss became nan in epoch 2", "Traceback ...")
    assert study.complete() == set()
    trials, _, _ = frames.load(url, "ablation", "lahman")
    assert trials.iloc[0][["state", "reason"]].tolist() == ["failed", "the loss became nan in epoch 2"]


def test_what_a_dead_coordinator_left_is_closed(url: str, run: Run) -> None:
    study = opened(url, run)
    study.begin(run.cells[0], {})  # running for ever
    study.study.enqueue_trial({"arm": "L1"}, user_attrs={"cell": "x"})  # died before asking
    again = opened(url, run)
    states = [trial.state.name for trial in again.study.trials]
    assert states == ["FAIL", "FAIL"]
    trial = again.begin(run.cells[1], {})
    assert trial.user_attrs["cell"] == run.cells[1].key()
    again.finish(trial, result(), ["a", "b"])
    assert again.complete() == {run.cells[1].key()}


def test_files_of_a_trial_that_was_cut_off_are_removed(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a coordinator leaves that is killed when the files are there and the database has not got the result."""
    study = opened(url, run)
    study.finish(study.begin(run.cells[0], {}), result(), ["a", "b"])
    kept = set(study.store.artifacts.iterdir())
    cut_off = study.begin(run.cells[1], {})
    (study.store.artifacts / "of another store").touch()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study.study, "tell", killed)
    with pytest.raises(KeyboardInterrupt):
        study.finish(cut_off, result(), ["a", "b"])
    assert len(set(study.store.artifacts.iterdir()) - kept) == 4
    again = opened(url, run)
    assert again.study.trials[1].user_attrs["reason"].startswith("interrupted")
    assert set(study.store.artifacts.iterdir()) - kept == {study.store.artifacts / "of another store"}
    assert kept <= set(study.store.artifacts.iterdir())


def test_a_copy_of_a_store_does_not_remove_files_of_the_original(url: str, run: Run, tmp_path: Path) -> None:
    """Copied beside it while a trial ran: to the copy, that one was cut off."""
    study = opened(url, run)
    trial = study.begin(run.cells[0], {})
    shutil.copyfile(tmp_path / "runs" / "harness.db", tmp_path / "runs" / "copy.db")
    study.finish(trial, result(), ["a", "b"])
    before = set(study.store.artifacts.iterdir())
    copy = opened(url.replace("harness.db", "copy.db"), run)
    assert copy.study.trials[0].state.name == "FAIL"
    assert set(copy.store.artifacts.iterdir()) == before


def test_queries_are_stored_once(url: str, run: Run) -> None:
    study, other = opened(url, run), opened(url, replace(run, study_name="other"))
    queries = pd.DataFrame({"query": [0, 1], "degree": [3, 4]})
    for each in (study, other, study):
        each.attach(queries)
    (path,) = study.store.artifacts.iterdir()
    pd.testing.assert_frame_equal(pd.read_parquet(path), queries)
    assert study.study.user_attrs["queries"] == other.study.user_attrs["queries"] == path.name


def test_a_result_that_another_coordinator_took_is_dropped(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither counts nor is told; the cell waits for what comes of it there."""
    store, said = Store(url), list[str]()
    first = next(spec for spec in run.cells if spec.arm == "none")

    def lost(tasks: list[Task], _: object, listener: Listener, __: int) -> None:
        task = next(task for task in tasks if task.id == first.key())
        listener.started(task)
        monkeypatch.setattr(Claims, "keep", lambda *_: False)
        said.append(listener.finished(task, Outcome(result=result())))
        monkeypatch.undo()
        listener.started(task)
        said.append(listener.finished(task, Outcome(result=result())))

    monkeypatch.setattr(execute.pool, "run", lost)
    graph = load("lahman")
    plans = execute.plans(run.cells, graph.digest, "cpu")
    context = Context(Path("cache"))
    tally = execute.execute(run, plans, graph, store, context, 1, "command", Console(quiet=True))
    assert said == ["elsewhere", "here"]
    assert (tally.added, tally.failed) == (1, 0)
    states = [trial.state.name for trial in optuna.load_study(study_name=run.study_name, storage=url).trials]
    assert states == ["FAIL", "COMPLETE"]


def test_one_writer(url: str) -> None:
    with Store(url).only_writer(), pytest.raises(UserError, match="another study is writing"), Store(url).only_writer():
        pass
    with Store(url).only_writer():
        pass


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "is not a URL"),
        ("sqlite://", "names no file"),
        ("nosuchdb://host/x", "cannot be opened"),
        ("sqlite:////proc/forbidden/harness.db", "cannot be opened"),
        ("postgresql+psycopg://user:secret@127.0.0.1:1/db", "cannot be opened"),
    ],
)
def test_storage_that_cannot_be_opened(url: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Store(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("hello, this is not a database at all, whatever its name says")
    with pytest.raises(UserError, match="cannot be opened"):
        Store(f"sqlite:///{tmp_path}/x.db")


def test_safe_hides_the_password() -> None:
    assert safe("postgresql://u:secret@host/db") == "postgresql://u:***@host/db"
    assert sqlite_file("postgresql://u:secret@host/db") is None


def test_reading_what_is_not_there(url: str, run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        frames.load(url, "ablation", "lahman")
    opened(url, run)
    with pytest.raises(UserError, match=r"no study 'ablation' on 'wiki'; it holds: ablation on lahman; run: python"):
        frames.load(url, "ablation", "wiki")


def test_newer_store_is_refused(url: str, run: Run) -> None:
    study = opened(url, run)
    study.study.set_user_attr("schema", 99)
    with pytest.raises(UserError, match="newer version"):
        frames.load(url, "ablation", "lahman")


def test_lost_artifact_is_named(url: str, run: Run) -> None:
    study = opened(url, run)
    study.finish(study.begin(run.cells[0], {}), result(), ["a", "b"])
    for path in study.store.artifacts.iterdir():
        if path.read_bytes().startswith(b"PAR1"):
            path.unlink()
    trials, _, load_ranks = frames.load(url, "ablation", "lahman")
    with pytest.raises(UserError, match="ranks of trial 0"):
        load_ranks(trials.index[0])


def test_study_tells_the_dashboard_what_it_is(url: str, run: Run) -> None:
    opened(url, run).describe(run)
    study = opened(url, run).study
    attributes = study._storage.get_study_system_attrs(study._study_id)
    assert any("What each distillation loss adds" in str(v) for k, v in attributes.items() if k.startswith("dashboard"))
    assert study.user_attrs["claims"] == ["C2", "C6"]


def test_full_disk_ends_with_one_line(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SQLite says when it cannot write reaches the user as one line, not as a traceback."""
    store = Store(url)
    graph = load("lahman")

    def full(*_: object) -> None:
        raise optuna.exceptions.StorageInternalError("x") from OSError("database or disk is full")

    monkeypatch.setattr(execute.pool, "run", full)
    plans = execute.plans(run.cells, graph.digest, "cpu")
    with pytest.raises(UserError, match=r"cannot be written .*disk is full"):
        execute.execute(run, plans, graph, store, Context(Path("cache")), 1, "command", Console(quiet=True))


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
    plans = execute.plans(run.cells, graph.digest, "cpu")
    context = Context(Path("cache"))
    tally = execute.execute(run, plans, graph, Store(url), context, 1, "command", Console(quiet=True))
    assert (tally.failed, len(seen)) == (1, 1)
    (trial,) = optuna.load_study(study_name=run.study_name, storage=url).trials
    assert (trial.state.name, trial.user_attrs["reason"].split(" (")[0]) == ("FAIL", "its worker was killed twice")
