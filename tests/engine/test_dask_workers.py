"""Dask workers: a real scheduler and two worker processes, which share a cache or have one each."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness import plugins
from harness.engine.dask_workers import ClusterWorkers
from harness.engine.local_workers import LocalWorkers
from harness.engine.scheduler import run
from harness.engine.task import Task
from harness.errors import UserError
from harness.registry import Registry
from harness.trial.inputs import graph_of
from harness.trial.run import STUDENTS
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context
from tests.engine.dask_cluster import Cluster, cluster
from tests.engine.plugin import plugin, registered
from tests.engine.samples import Record, _Deadly, change, tasks_of
from tests.inside import no_workers

distributed = pytest.importorskip("distributed")
LoopRunner = distributed.utils.LoopRunner

ROOT = Path(__file__).parents[2]
ARMS = ("none", "L1", "L1+L2+L3", "teacher")

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as opened:
        opened.add(2, "--no-nanny")
        yield opened


@contextmanager
def workers_of(address: str, spec: TrialSpec, context: Context) -> Iterator[ClusterWorkers]:
    opened = ClusterWorkers(address, context, graph_of(spec.dataset, None).digest)
    try:
        yield opened
    finally:
        opened.close()


def numbers(record: Record) -> dict[str, object]:
    assert all(outcome.failure is None for outcome in record.finished.values())
    return {k: o.result.metrics for k, o in record.finished.items() if o.result is not None}


def test_same_numbers_in_this_process_and_on_a_cluster(
    spec: TrialSpec, tmp_path: Path, two: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, local = Context(tmp_path / "here"), Record()
    with no_workers():
        run(tasks_of(spec, here, *ARMS), LocalWorkers(1, here, tmp_path), local.listener())
    assert len(numbers(local)) == len(ARMS)
    for folder in ("seen", "unseen"):
        if folder == "unseen":  # as on machines that do not see each other's folders
            monkeypatch.setattr(ClusterWorkers, "_probe", lambda _: None)
        there, distant = Context(tmp_path / folder), Record()
        with workers_of(two.address, spec, there) as workers:
            assert workers.slots == len(two.workers)
            run(tasks_of(spec, there, *ARMS), workers, distant.listener())
        assert numbers(distant) == numbers(local)
        # states of students that workers elsewhere keep stay there: exports train them again
        kept = {STUDENTS} if folder == "unseen" else set()
        files = [one.cache_dir.rglob("*.safetensors") for one in (here, there)]
        stored = [sorted(path.name for path in paths if path.parent.name not in kept) for paths in files]
        assert stored[0] == stored[1]
        assert not list(there.cache_dir.glob(".cluster-*"))
        assert {task.stage for task in tasks_of(spec, there, *ARMS)} == {None}


def test_a_damaged_file_is_not_sent_but_built(
    spec: TrialSpec, context: Context, two: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClusterWorkers, "_probe", lambda _: None)
    first, again = Record(), Record()
    with workers_of(two.address, spec, context) as workers:
        run(tasks_of(spec, context, "L1"), workers, first.listener())
    todo = tasks_of(spec, context, "L1")  # damaged after it was found to be there
    (path,) = context.cache_dir.glob("stage1/*.safetensors")
    path.write_bytes(path.read_bytes()[:-7])
    with workers_of(two.address, spec, context) as workers, pytest.warns(UserWarning, match=r"stage1.*checksum"):
        run(todo, workers, again.listener())
    assert numbers(again) == numbers(first)


def test_a_machine_that_is_busy_starts_the_client_late(
    spec: TrialSpec, context: Context, two: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, late = LoopRunner._start_unlocked, [True, True]

    def start(runner: LoopRunner) -> None:
        if late:
            assert not late.pop()  # as Dask does when its thread has not begun in ten seconds
        real(runner)

    monkeypatch.setattr(LoopRunner, "_start_unlocked", start)
    with workers_of(two.address, spec, context) as workers:
        assert workers.slots == len(two.workers)


def test_progress_comes_from_the_workers(spec: TrialSpec, context: Context, two: Cluster) -> None:
    seen: set[str] = set()
    longer = change(spec, arm="none", student={**spec.student.model_dump(), "epochs": 200, "stage1_epochs": 0})
    with workers_of(two.address, spec, context) as workers:
        listener = replace(
            Record().listener(), progress=lambda reports: seen.update(stage for stage, _, _ in reports.values())
        )
        run([Task("long", longer)], workers, listener)
    assert "stage2" in seen


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(spec: TrialSpec, context: Context, tmp_path: Path) -> None:
    longer = {**spec.student.model_dump(), "epochs": 300, "stage1_epochs": 0}
    todo = [Task(f"cell{seed}", change(spec, arm="none", seed=seed, student=longer)) for seed in range(3)]
    record, killed = Record(), list[int]()
    with cluster(tmp_path) as dask:
        dask.add(2, "--no-nanny")

        def progress(reports: Mapping[str, tuple[str, float, float | None]]) -> None:
            if len(reports) == 2 and not killed:
                killed.append(dask.workers[0].pid)
                os.killpg(killed[0], signal.SIGKILL)

        with workers_of(dask.address, spec, context) as workers:
            run(todo, workers, replace(record.listener(), progress=progress))
    assert killed
    assert len(numbers(record)) == 3


@pytest.mark.slow
def test_a_task_that_kills_its_workers_fails_alone(
    spec: TrialSpec, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly = Task("deadly", _Deadly.model_validate(change(spec, arm="none").model_dump()))
    healthy = Task("healthy", change(spec, arm="none", seed=1))
    record = Record()
    monkeypatch.setenv("COORDINATOR", str(os.getpid()))
    with cluster(tmp_path, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as dask:
        dask.add(2, "--no-nanny")
        with workers_of(dask.address, spec, context) as workers:
            run([deadly, healthy], workers, record.listener())
    assert record.finished["deadly"].failure == "its worker was killed once (out of memory?)"
    assert record.finished["healthy"].failure is None


@pytest.mark.slow
def test_a_scheduler_that_is_lost_ends_the_run_with_one_line(spec: TrialSpec, context: Context, tmp_path: Path) -> None:
    longer = {**spec.student.model_dump(), "epochs": 100_000, "stage1_epochs": 0}
    with cluster(tmp_path, DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT="5s") as dask:
        dask.add(1, "--no-nanny")

        def progress(reports: Mapping[str, object]) -> None:
            if reports:
                dask.stop()

        with workers_of(dask.address, spec, context) as workers:
            listener = replace(Record().listener(), progress=progress)
            with pytest.raises(UserError, match="the scheduler is lost; what is complete is kept"):
                run([Task("long", change(spec, arm="none", student=longer))], workers, listener)


@pytest.mark.slow
def test_clusters_that_cannot_do_it(spec: TrialSpec, context: Context, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no scheduler answers there"), workers_of("tcp://127.0.0.1:1", spec, context):
        pass
    with pytest.raises(UserError, match="no scheduler answers there"), workers_of("nonsense", spec, context):
        pass
    with cluster(tmp_path) as dask:
        with pytest.raises(UserError, match="has no worker; start some"), workers_of(dask.address, spec, context):
            pass
        dask.add(1, "--no-nanny", threads=2)
        with pytest.raises(UserError, match=r"must have one thread.* has 2"), workers_of(dask.address, spec, context):
            pass


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"engine": "other"}, "has another version of the harness"),
        ({"data": "other"}, "has other data for"),
        ({"number_format": "float16"}, "and the coordinator in float16; name one for all: --set llm.dtype=float32"),
        ({"probe": Path("/no/such/file")}, "does not see the cache"),
    ],
)
def test_a_worker_that_is_not_alike_says_so(
    spec: TrialSpec, context: Context, two: Cluster, changed: dict[str, object], message: str
) -> None:
    with workers_of(two.address, spec, context) as workers:
        workers.terms = replace(workers.terms, **changed)
        with pytest.raises(UserError, match=rf"worker tcp://127.0.0.1:\d+: .*{message}"):
            run(tasks_of(spec, context, "none"), workers, Record().listener())


def given_to_workers(workers: ClusterWorkers) -> list[str]:
    """What of ours the scheduler gives to workers that come later."""
    every: list[str] = workers.client.run_on_scheduler(lambda dask_scheduler: [*dask_scheduler.worker_plugins])
    return [name for name in every if name.startswith("harness-")]


def test_workers_load_plugins_and_refuse_another_version(
    spec: TrialSpec, context: Context, tmp_path: Path, two: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test of this file, since the workers keep what they loaded."""
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(Registry, "every", [])
    old, new = (plugin(tmp_path, version) for version in (1, 2))
    with workers_of(two.address, spec, replace(context, plugins=(old,))) as workers:
        assert workers.executor.submit(registered).result() == {"version": 1}
        assert len(given_to_workers(workers)) == 1
        two.add(1, "--no-nanny")  # one that comes later
        assert list(workers.client.run(registered).values()) == [{"version": 1}] * 3
        record = Record()
        run(tasks_of(spec, context, "none"), workers, record.listener())
        numbers(record)
    with pytest.raises(UserError, match=r"worker tcp://.*: plugin .*mine\.py: another plugin is called 'mine'"):
        ClusterWorkers(two.address, replace(context, plugins=(new,)), "d")
    with workers_of(two.address, spec, context) as workers:  # nothing is left behind for workers that come later
        assert given_to_workers(workers) == []
