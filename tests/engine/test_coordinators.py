"""Several coordinators on one study: a real PostgreSQL, real processes, faults that are real."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Thread

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import OperationalError

from harness.design import cells
from harness.design import files as designs
from harness.design.cells import Run
from harness.errors import UserError
from harness.store import frames
from harness.store.database.leases import DatabaseLeases, Leases, leases_of
from harness.store.database.retries import retried, retry_timeout_of
from harness.store.reuse import adopt
from harness.store.store import Store
from harness.store.study import open_study
from tests.place import Place
from tests.postgresql import Server
from tests.store.samples import QUERIES, result

#: none, L1, L1+L2, L1+L3, L1+L2+L3, teacher and llm-teacher
CELLS = 7


@pytest.fixture
def url(postgresql: Server, request: pytest.FixtureRequest) -> str:
    return postgresql.database(f"db_{abs(hash(request.node.name)) % 10**9}")


def trials(url: str) -> list[FrozenTrial]:
    """All trials of all studies."""
    storage = optuna.storages.RDBStorage(url)
    try:
        names = [study.study_name for study in storage.get_all_studies()]
        return [trial for name in names for trial in optuna.load_study(study_name=name, storage=storage).trials]
    finally:
        storage.engine.dispose()


def complete(url: str) -> Counter[str]:
    """How often each cell is complete."""
    completed: Counter[str] = Counter()
    for trial in trials(url):
        completed[trial.user_attrs["cell"]] += trial.state == TrialState.COMPLETE
    return completed


def wait_for(url: str, cells: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many cells are complete."""
    deadline = time.monotonic() + 200
    while sum(complete(url).values()) < cells:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.fixture
def begin(tmp_path: Path, tiny_encoder: Path, url: str) -> Callable[[], subprocess.Popen[str]]:
    """Starts a coordinator with one worker."""
    place = Place(tmp_path, tiny_encoder)
    options = [option if option != "2" else "1" for option in place.options]
    trials(url)  # makes Optuna's tables, which two processes must not do at once
    return lambda: place.start("ablation", "--preset", "quick", *options, "--storage", url)


def end(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, out + err
    return out


@pytest.mark.slow
def test_two_coordinators_share_a_study(url: str, begin: Callable[[], subprocess.Popen[str]]) -> None:
    shown = [end(process) for process in [begin(), begin()]]
    assert list(complete(url).values()) == [1] * CELLS
    # each has a report of all cells, and each did some of them
    assert all("reports/output" in item.splitlines()[-1] for item in shown)
    assert all(0 < item.count("by another coordinator") < CELLS for item in shown)


@pytest.mark.slow
def test_a_coordinator_that_is_killed_leaves_its_cells_to_the_other(
    url: str, begin: Callable[[], subprocess.Popen[str]]
) -> None:
    first, second = begin(), begin()
    wait_for(url, 1, first)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    end(second)
    assert sorted(complete(url).values())[-CELLS:] == [1] * CELLS
    end(begin())  # which tidies up
    states = Counter(trial.state.name for trial in trials(url))
    assert (states["COMPLETE"], states["RUNNING"]) == (CELLS, 0)


@pytest.mark.slow
def test_a_database_that_is_started_again_costs_nothing(
    url: str, begin: Callable[[], subprocess.Popen[str]], postgresql: Server
) -> None:
    process = begin()
    wait_for(url, 1, process)
    postgresql.stop()
    time.sleep(3)
    postgresql.start()
    end(process)
    assert list(complete(url).values()) == [1] * CELLS


def test_coordinators_may_begin_a_study_at_the_same_moment(url: str) -> None:
    design = designs.load("ablation")
    run = cells.plan(design, dataset="lahman", data_digest="d", backbones=["ttranse"], preset="quick")
    stores = [Store(url) for _ in range(4)]
    together = threading.Barrier(len(stores))

    def begin(store: Store, renamed: Run) -> dict[str, object]:
        together.wait(60)
        return open_study(store, renamed, "command", {"test facts": 1}).study.user_attrs

    with ThreadPoolExecutor(len(stores)) as threads:
        for k in range(4):
            renamed = replace(run, study_name=f"study {k}")
            first, *others = threads.map(begin, stores, [renamed] * len(stores))
            assert first["study"] == "ablation"
            assert others == [first] * len(others)
    for store in stores:
        store.close()


# ---- leases ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def engine(url: str) -> Iterator[sqlalchemy.Engine]:
    made = sqlalchemy.create_engine(url)
    yield made
    made.dispose()


@pytest.fixture
def leases(engine: sqlalchemy.Engine) -> Iterator[Callable[[str], DatabaseLeases]]:
    """Makes the leases of a coordinator on a study."""
    made: list[DatabaseLeases] = []

    def make(study: str) -> DatabaseLeases:
        made.append(DatabaseLeases(engine, study))
        return made[-1]

    yield make
    for item in made:
        item.close()


def cut(engine: sqlalchemy.Engine) -> None:
    """End all connections but this one, as a server that is started again does."""
    with engine.connect() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        connection.execute(sqlalchemy.text(f"{others} AND datname = current_database()"))


def test_a_cell_is_leased_once(leases: Callable[[str], DatabaseLeases]) -> None:
    one, other, third = (leases(study) for study in ("a", "a", "b"))
    assert one.take("cell")
    assert one.take("cell")
    assert not other.take("cell")
    assert third.take("cell")  # of another study
    assert other.take("cell 2")
    one.free("cell")
    assert other.take("cell")
    other.close()
    assert one.take("cell")
    assert one.take("cell 2")


def test_leases_outlive_their_connection_unless_another_takes_them(
    leases: Callable[[str], DatabaseLeases], engine: sqlalchemy.Engine
) -> None:
    one, other = leases("a"), leases("a")
    assert one.take("kept")
    assert one.take("lost")
    cut(engine)
    deadline = time.monotonic() + 20
    while not other.take("lost"):  # the server takes a moment to notice
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not one.keep("lost")
    assert one.keep("kept")
    assert not other.take("kept")


def test_cells_of_other_studies_are_taken_by_one_coordinator_after_the_other(url: str, tmp_path: Path) -> None:
    runs = {
        name: cells.plan(designs.load(name), dataset="lahman", data_digest="d", backbones=["ttranse"], preset="quick")
        for name in ("ablation", "baselines")
    }
    here = {"machine": "m", "device": "cpu", "number_format": "bfloat16"}
    with closing(Store(url, tmp_path / "artifacts")) as store:
        ablation = open_study(store, runs["ablation"], "command", {})
        for spec in runs["ablation"].specs:
            about = {"label": spec.arm, "environment": here}
            ablation.finish(ablation.begin(spec, about), result())
        one, other = (open_study(store, runs["baselines"], "command", {}) for _ in range(2))
        labels = runs["baselines"].labels
        assert one.leases.take("adopt")  # it is at it
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(adopt, other, labels, {}, here)
            time.sleep(1)
            assert not waits.done()
            taken = adopt(one, labels, {}, here)
            assert waits.result(timeout=20) == 0
        assert taken == len(one.complete()) == len(one.trials()) > 0


def test_coordinators_fold_files_at_the_same_moment(url: str, tmp_path: Path) -> None:
    """As two machines do that end together: nothing is lost, and what one leaves the next start takes."""
    design = designs.load("ablation")
    run = cells.plan(design, dataset="lahman", data_digest="d", backbones=["ttranse"], preset="quick")
    stores = [Store(url, tmp_path / "artifacts") for _ in range(2)]
    studies = [open_study(store, run, "command", {}) for store in stores]
    studies[0].attach(QUERIES)
    together = threading.Barrier(2)

    def work(number: int) -> None:
        for k, spec in enumerate(run.specs[number::2]):
            studies[number].finish(studies[number].begin(spec, {}), result(float(number + 2 * k)))
            together.wait(60)
            studies[number].fold()

    short = len(run.specs) // 2 * 2
    run = replace(run, specs=run.specs[:short])
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, range(2)))
    open_study(stores[0], run, "command", {})
    assert not studies[0].artifacts.has_loose()
    trials, curves, load_ranks = frames.load(url, "ablation", "lahman", tmp_path / "artifacts")
    order = [spec.key() for spec in run.specs]
    for label, trial in trials.iterrows():
        assert load_ranks(label)["rank"].iloc[0] == 1.0 + order.index(trial["cell"])
    assert len(trials) == len(curves) == short
    for store in stores:
        store.close()


def test_a_result_is_dropped_if_another_coordinator_took_the_cell(
    url: str, engine: sqlalchemy.Engine, tmp_path: Path
) -> None:
    design = designs.load("ablation")
    run = cells.plan(design, dataset="lahman", data_digest="d", backbones=["ttranse"], preset="quick")
    with closing(Store(url, tmp_path / "artifacts")) as store:
        one, other = (open_study(store, run, "command", {}) for _ in range(2))
        lost = one.begin(run.specs[0], {})
        cut(engine)
        deadline = time.monotonic() + 20
        while not other.leases.take(run.specs[0].key()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not one.finish(lost, result())
        assert not list(store.artifacts.glob("*"))
        assert other.finish(other.begin(run.specs[0], {}), result())
        assert [trial.state.name for trial in one.study.trials] == ["FAIL", "COMPLETE"]


def test_other_databases_have_one_coordinator(tmp_path: Path) -> None:
    leases = leases_of(sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'store.db'}"), "a")
    assert type(leases) is Leases
    assert leases.take("cell")
    assert leases.keep("cell")


# ---- timeout -------------------------------------------------------------------------------------------------------


def gone(kind: type[Exception]) -> OperationalError:
    return OperationalError("SELECT 1", {}, kind("the server closed the connection"))


def test_a_server_that_is_gone_for_a_moment_is_asked_again() -> None:
    errors: list[Exception] = [gone(ConnectionError), StorageInternalError("x")]
    errors[1].__cause__ = gone(ConnectionError)

    def call() -> str:
        if errors:
            raise errors.pop()
        return "answer"

    assert retried(call, 5) == "answer"


def test_a_report_waits_for_a_server_that_is_started_again(url: str, postgresql: Server, tmp_path: Path) -> None:
    design = designs.load("ablation")
    run = cells.plan(design, dataset="lahman", data_digest="d", backbones=["ttranse"], preset="quick")
    with closing(Store(url, tmp_path)) as store:
        study = open_study(store, run, "command", {})
        study.finish(study.begin(run.specs[0], {}), result())
    postgresql.stop()
    again = Thread(target=lambda: (time.sleep(1), postgresql.start()))
    try:
        with pytest.raises(UserError, match="cannot be opened"):
            frames.load(url, "ablation", "lahman", tmp_path)
    finally:
        again.start()
    assert len(frames.load(url, "ablation", "lahman", tmp_path, retry_timeout=30)[0]) == 1
    again.join()


@pytest.mark.parametrize("timeout", [0.0, 1.0])
def test_retries_end(timeout: float) -> None:
    calls: list[float] = []

    def call() -> None:
        calls.append(time.monotonic())
        raise gone(ConnectionError)

    with pytest.raises(StorageInternalError, match="does not answer"):
        retried(call, timeout)
    assert (len(calls) == 1) == (timeout == 0)


def test_other_errors_are_told_at_once() -> None:
    def call() -> None:
        raise StorageInternalError("no such column") from ValueError("column")

    with pytest.raises(StorageInternalError, match="no such column"):
        retried(call, 60)


def test_a_file_that_is_locked_or_full_stays_so(tmp_path: Path, engine: sqlalchemy.Engine) -> None:
    assert retry_timeout_of(sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'store.db'}")) == 0
    assert retry_timeout_of(engine) > 0
