"""What a cell costs the store in transactions, and that each of them leaves a store that resumes."""

from __future__ import annotations

import hashlib
import itertools
import math
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from harness.design.cells import Run
from harness.store import frames
from harness.store.factors import parameters
from harness.store.files.artifacts import Evidence, key_of
from harness.store.records import unpacked
from harness.store.store import Store
from harness.store.study import StudyStore, open_study
from harness.trial.provenance import provenance
from harness.trial.run import TrialResult
from harness.trial.spec import TrialSpec
from tests.postgresql import Server
from tests.store.samples import COUNTS, QUERIES, result

ABOUT = {**provenance(), "preset": "quick", "threads": 1, "protocol": "time-aware", "started": "2026-01-01T00:00:00"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/runs/harness.db")


def opened(store: Store, run: Run) -> StudyStore:
    study = open_study(store, run, "python -m harness.study ablation", COUNTS)
    study.attach(QUERIES)
    return study


def real_result() -> TrialResult:
    """As many numbers as a real trial has: three directions of two splits, nine stages, sixteen epochs."""
    actual = result()
    sides = {name.replace("_", f"_{side}_"): v for name, v in actual.metrics.items() for side in ("tail", "head")}
    actual.metrics |= sides
    stages = ("data", "teacher", "finetune", "encode", "semantic", "targets", "llm-targets", "stage1", "stage2")
    actual.seconds, actual.peak_mib = dict.fromkeys(stages, 1.0), dict.fromkeys(stages, 300.0)
    actual.built_seconds = {"teacher": 30.0, "finetune": math.nan}
    actual.curve = [{"stage": 1, "epoch": e, "updates": e, "loss": 2.0, "valid_mrr": 0.3} for e in range(1, 17)]
    return actual


def naively(study: StudyStore, spec: TrialSpec, result: TrialResult) -> None:
    """A cell as Optuna's own methods write it: asked for, and each attribute for itself."""
    factors, distributions = parameters(study.run, spec)
    study.study.enqueue_trial(factors)
    trial = study.study.ask(fixed_distributions=distributions)
    for row in result.curve:
        trial.report(row["valid_mrr"], int(row["epoch"]))
    attributes = {**result.metrics, "cell": "x", "spec": spec.model_dump(mode="json"), **ABOUT}
    for key, value in {**attributes, **{f"seconds_{k}": v for k, v in result.seconds.items()}}.items():
        trial.set_user_attr(key, value)
    study.study.tell(trial, result.metrics["valid_mrr"])


@contextmanager
def commits(store: Store) -> Iterator[list[str]]:
    """Everything that the storage's database commits inside, reading included."""
    seen: list[str] = []

    def commit(_: Connection) -> None:
        seen.append("commit")

    event.listen(store.storage.engine, "commit", commit)
    try:
        yield seen
    finally:
        event.remove(store.storage.engine, "commit", commit)


@pytest.mark.slow
def test_transactions_of_a_cell_on_postgresql(postgresql: Server, run: Run, tmp_path: Path) -> None:
    store = Store(postgresql.database("cells"), tmp_path / "artifacts")
    try:
        test_transactions_of_a_cell(store, run)
        again = opened(store, run)
        again.begin(run.specs[0], ABOUT)
        other = opened(store, run)
        assert [trial.state.name for trial in other.study.trials][-1] == "RUNNING"  # somebody works on it
        again.leases.close()  # as if that coordinator had died
        assert opened(store, run).complete() == {run.specs[k].key() for k in (3, 4)}
        assert [trial.state.name for trial in again.study.trials] == ["COMPLETE", "COMPLETE", "FAIL", "FAIL"]
    finally:
        store.close()


def test_transactions_of_a_cell(store: Store, run: Run) -> None:
    study = opened(store, run)
    with commits(store) as before:
        naively(study, run.specs[4], real_result())
    assert len(before) > 60  # the counter sees what Optuna commits
    with commits(store) as begun:
        trial = study.begin(run.specs[3], ABOUT)
    with commits(store) as finished:
        study.finish(trial, real_result())
    assert begun
    assert finished
    assert len(begun) + len(finished) <= 6
    with commits(store) as failed:
        study.fail(study.begin(run.specs[2], ABOUT), "the loss became nan", "Traceback ...")
    assert 2 <= len(failed) <= 6
    # and all of it was written
    old, new, lost = store.storage.get_all_trials(store.storage.get_study_id_from_name(run.study_name))
    assert old.user_attrs.keys() <= unpacked(new.user_attrs, study.records).keys()
    assert unpacked(new.user_attrs, study.records)["test_tail_mrr"] == real_result().metrics["test_tail_mrr"]
    assert len(new.intermediate_values) == 16
    assert (new.params["arm"], new.state.name, lost.state.name) == ("L1+L3", "COMPLETE", "FAIL")
    assert lost.user_attrs["reason"] == "the loss became nan"


def test_resuming_costs_few_transactions(store: Store, run: Run) -> None:
    opened(store, run)
    with commits(again := Store(store.url)) as seen:
        opened(again, run)
    assert 1 <= len(seen) <= 18


def test_running_cell_is_seen_by_others_with_its_factors(store: Store, run: Run) -> None:
    study = opened(store, run)
    study.begin(run.specs[4], ABOUT)
    (seen,) = optuna.load_study(study_name=run.study_name, storage=store.url).trials
    assert seen.state.name == "RUNNING"
    assert seen.datetime_start is not None
    assert seen.params == {"arm": "L1+L2+L3", "backbone": "ttranse", "seed": 0}
    assert seen.user_attrs["cell"] == run.specs[4].key()
    assert seen.user_attrs["started"] == ABOUT["started"]


def test_killed_anywhere_a_store_resumes(store: Store, run: Run, tmp_path: Path) -> None:
    """What lies on the disk before and after each commit is what a ``kill -9`` leaves there."""
    snapshots: dict[str, Path] = {}

    def snapshot(_: Connection) -> None:
        assert store.file is not None
        files = sorted(store.file.parent.glob("harness.db*"))
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
        if digest not in snapshots:
            snapshots[digest] = tmp_path / f"killed{len(snapshots)}"
            shutil.copytree(store.file.parent, snapshots[digest])

    study = opened(store, run)
    spec = run.specs[1]
    engine = store.storage.engine
    for name in ("begin", "commit"):
        event.listen(engine, name, snapshot)
    study.finish(study.begin(spec, ABOUT), real_result())
    for name in ("begin", "commit"):
        event.remove(engine, name, snapshot)
    with engine.connect() as connection:
        snapshot(connection)

    actual = []
    for folder in snapshots.values():
        url = f"sqlite:///{folder}/harness.db"
        with sqlite3.connect(folder / "harness.db") as raw:
            states = [state for (state,) in raw.execute("SELECT state FROM trials")]
        again = opened(Store(url), run)
        actual.append((states, again.complete()))
        if again.complete():
            trials, curves, load_ranks = frames.load(url, "ablation", "lahman")
            assert trials["test_mrr"].notna().all()
            assert (len(curves), len(load_ranks(trials.index[0]))) == (16, 4)
        else:  # wanted again, and nothing is in its way
            again.finish(again.begin(spec, ABOUT), real_result())
            assert again.complete() == {spec.key()}
        assert not [trial for trial in again.study.trials if not trial.state.is_finished()]
    kinds = [kind for kind, _ in itertools.groupby(actual)]
    assert kinds == [([], set()), (["RUNNING"], set()), (["COMPLETE"], {spec.key()})]


def test_failure_in_the_middle_leaves_the_cell_running(store: Store, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    study = opened(store, run)
    trial = study.begin(run.specs[0], ABOUT)

    def ending(*_: object) -> None:
        raise RuntimeError("halfway")

    with monkeypatch.context() as patch:
        patch.setattr(store.storage, "set_trial_state_values", ending)
        with pytest.raises(RuntimeError, match="halfway"):
            study.finish(trial, real_result())
    (left,) = study.study.trials
    assert (left.state.name, left.intermediate_values) == ("RUNNING", {})
    assert "test_mrr" not in left.user_attrs
    study.fail(trial, "interrupted")  # as the coordinator does; it works on after a failure
    assert study.study.trials[0].user_attrs["reason"] == "interrupted"


def test_a_result_is_stored_whole_at_the_second_attempt(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the server is lost in the middle of the first."""
    study, attempts = opened(store, run), list[int]()
    end = store.storage.set_trial_state_values

    def lost(*arguments: Any) -> bool:
        attempts.append(1)
        if len(attempts) == 1:
            raise OperationalError("UPDATE", {}, ConnectionError("the server closed the connection"))
        return end(*arguments)

    monkeypatch.setattr(store.storage, "set_trial_state_values", lost)
    study.retry_timeout = 10
    trial = study.begin(run.specs[0], ABOUT)
    assert study.finish(trial, real_result())
    (stored,) = optuna.load_study(study_name=run.study_name, storage=store.url).trials
    assert stored.state.name == "COMPLETE"
    assert len(attempts) == 2
    assert stored.intermediate_values == dict.fromkeys(range(1, 17), 0.3)
    assert unpacked(stored.user_attrs, study.records)["test_tail_mrr"] == real_result().metrics["test_tail_mrr"]
    assert Evidence(store.artifacts, run.study_name).doubled(key_of(stored)).tolist() == [2, 8, 5, 20]


def test_a_record_is_stored_at_the_second_attempt(store: Store, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What trials share goes with the first of them, and is not taken for told if that one was not."""
    study, attempts = opened(store, run), list[int]()
    create = store.storage.create_new_trial

    def lost(*arguments: object) -> int:
        attempts.append(1)
        if len(attempts) == 1:
            raise OperationalError("INSERT", {}, ConnectionError("the server closed the connection"))
        return create(*arguments)

    monkeypatch.setattr(store.storage, "create_new_trial", lost)
    study.retry_timeout = 10
    study.begin(run.specs[0], ABOUT)
    assert len(attempts) == 2
    (again,) = opened(store, run).study.trials
    assert unpacked(again.user_attrs, study.study.user_attrs)["preset"] == "quick"


def test_full_disk_is_a_storage_error(store: Store, run: Run) -> None:
    """A transaction that cannot be written fails as a single write of Optuna's does."""
    study = opened(store, run)
    trial = study.begin(run.specs[0], ABOUT)
    with store.storage.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    def limit(raw: sqlite3.Connection, *_: object) -> None:
        raw.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(store.storage.engine, "checkout", limit)
    store.storage.engine.dispose()
    actual = real_result()
    actual.metrics |= {f"more_{k}": 0.5 for k in range(1000)}
    with pytest.raises(optuna.exceptions.StorageInternalError):
        study.finish(trial, actual)
    assert study.complete() == set()


def test_a_factor_beyond_what_is_usual_is_stored(store: Store, run: Run) -> None:
    study = opened(store, run)
    spec = run.specs[0].model_copy(update={"seed": 2_000_000})
    assert study.begin(spec, ABOUT).params["fresh seed"] == 2_000_000
