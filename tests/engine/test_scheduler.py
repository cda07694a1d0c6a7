"""The scheduler: order, failures, dead workers. Real stages of the small data set run, in this process where no test
looks at workers; those that are started run them too, or die for real."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from harness.engine import local_workers
from harness.engine import scheduler as pool
from harness.engine.local_workers import LocalWorkers
from harness.engine.scheduler import Claim, Listener, Settled, run
from harness.engine.task import Outcome, Task
from harness.errors import UserError
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context
from tests.engine.samples import Record, _Deadly, change, tasks_of
from tests.inside import no_workers


@pytest.fixture
def inside() -> Iterator[None]:
    with no_workers():
        yield


def test_shared_stages_once_and_before_the_cells_with_the_same_numbers_in_two_workers_as_in_this_process(
    spec: TrialSpec, tmp_path: Path
) -> None:
    arms, numbers = ("none", "L1", "teacher"), []
    for jobs in (1, 2):
        context, record, scratch = Context(tmp_path / f"cache{jobs}"), Record(), tmp_path / str(jobs)
        scratch.mkdir()
        with no_workers() if jobs == 1 else nullcontext():
            run(tasks_of(spec, context, *arms), LocalWorkers(jobs, context, scratch), record.listener())
        assert sorted(record.started) == sorted(["stage1", "stage1", "teacher", "targets", "teacher-vectors", *arms])
        assert record.started[0] == "teacher"
        assert record.started.index("targets") < record.started.index("L1")
        assert all(outcome.failure is None for outcome in record.finished.values())
        assert not list(scratch.glob("*.progress"))
        assert {task.stage for task in tasks_of(spec, context, *arms)} == {None}
        numbers.append({k: o.result.metrics for k, o in record.finished.items() if o.result is not None})
    assert len(numbers[0]) == len(arms)
    assert numbers[0] == numbers[1]


def test_workers_go_on_while_the_listener_is_told(spec: TrialSpec, context: Context, tmp_path: Path) -> None:
    """Storing a result takes its time; the worker that brought it has the next task by then."""
    first, second = (Task(f"cell{seed}", change(spec, arm="none", seed=seed)) for seed in range(2))
    overlapped: list[bool] = []

    def finished(task: Task, _: Outcome) -> Settled:
        if task is first:
            deadline = time.monotonic() + 60
            while not (tmp_path / f"{second.id}.progress").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            overlapped.append(time.monotonic() < deadline)
        return "here"

    events: list[str] = []
    listener = Listener(lambda task: events.append(task.id), finished, lambda _: None, lambda: events.append("working"))
    run([first, second], LocalWorkers(1, context, tmp_path), listener)
    assert overlapped == [True]
    assert events == ["working", first.id, second.id]


@pytest.mark.usefixtures("inside")
def test_what_ended_well_is_told_before_a_users_error_ends_the_run(
    spec: TrialSpec, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = Task("good", change(spec, arm="none")), Task("bad", change(spec, arm="none", seed=1))
    ended: list[str] = []

    def finished(task: Task, _: Outcome) -> Settled:
        ended.append(task.id)
        return "here"

    class Both(LocalWorkers):
        """Both tasks end at once."""

        def submit(self, tasks: Sequence[Task]) -> Future[list[Outcome]]:
            future: Future[list[Outcome]] = Future()
            if tasks == (good,):
                future.set_result([Outcome(seconds=1.0)])
            else:
                future.set_exception(UserError("weights are missing"))
            return future

    monkeypatch.setattr(pool, "wait", lambda running, **_: (list(running), []))
    listener = Listener(lambda _: None, finished, lambda _: None)
    with pytest.raises(UserError, match="weights are missing"):
        run([good, bad], Both(2, context, tmp_path), listener)
    assert ended == ["good"]


@pytest.mark.usefixtures("inside")
def test_failed_stage_fails_what_stands_on_it_and_nothing_else(
    spec: TrialSpec, context: Context, tmp_path: Path
) -> None:
    broken = {**spec.teacher.model_dump(), "learning_rate": 1e30}
    todo = tasks_of(change(spec, teacher=broken), context, "L1", "none")
    record = Record()
    run(todo, LocalWorkers(2, context, tmp_path), record.listener())
    outcomes = {task.spec.arm: record.finished[task.id] for task in todo if task.stage is None}
    assert outcomes["none"].failure is None
    assert "shared stage teacher" in str(outcomes["L1"].failure)
    assert "L1" not in record.started


@pytest.mark.usefixtures("inside")
def test_unforeseen_error_fails_the_cell_with_its_traceback(spec: TrialSpec, context: Context, tmp_path: Path) -> None:
    record = Record()
    bad = Task("bad", spec.model_copy(update={"backbone": "no-such"}))
    # a stage has no trial: what waits for it keeps the traceback
    stage = Task("stage", bad.spec, "teacher")
    waiting = Task("waiting", spec, needs=frozenset({"stage"}))
    run([bad, stage, waiting], LocalWorkers(1, context, tmp_path), record.listener())
    for name in ("bad", "waiting"):
        assert "KeyError" in str(record.finished[name].failure)
        assert "Traceback" in record.finished[name].details


@pytest.mark.usefixtures("inside")  # one that comes from a process: test_local_workers
def test_users_error_in_a_worker_ends_the_run(spec: TrialSpec, context: Context, tmp_path: Path) -> None:
    todo = [task for task in tasks_of(spec, context, "none") if task.stage is not None]
    (tmp_path / "file").write_text("where the cache should be")
    with pytest.raises(UserError, match="cannot be written"):
        run(todo, LocalWorkers(1, Context(cache_dir=tmp_path / "file"), tmp_path), Record().listener())


def test_interrupted_run_does_not_wait_for_its_workers(spec: TrialSpec, context: Context, tmp_path: Path) -> None:
    endless = change(spec, arm="none", student={**spec.student.model_dump(), "epochs": 10_000, "stage1_epochs": 0})
    interrupted: list[float] = []

    def progress(reports: Mapping[str, tuple[str, float, float | None]]) -> None:
        if any(stage == "stage2" for stage, _, _ in reports.values()):  # the worker is training
            interrupted.append(time.monotonic())
            raise KeyboardInterrupt

    listener = replace(Record().listener(), progress=progress)
    with pytest.raises(KeyboardInterrupt):
        run([Task("long", endless)], LocalWorkers(1, context, tmp_path), listener)
    assert time.monotonic() - interrupted[0] < 5


def test_workers_are_closed_in_silence_right_after_work_was_given_to_them(
    spec: TrialSpec, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback of loky's thread would be a warning, and so an error."""
    monkeypatch.setattr(local_workers, "_initialise", lambda *_: None)  # which takes seconds; no work is done
    for _ in range(3):
        workers = LocalWorkers(1, context, tmp_path)
        workers.executor.submit(int).result()  # its thread waits for news now
        for task in tasks_of(spec, context, "L1", "none")[-2:]:
            workers.submit([task])
        workers.close()


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize("later", ["mine", "elsewhere"])
def test_a_task_that_another_coordinator_took_waits_for_it(
    spec: TrialSpec, context: Context, tmp_path: Path, later: Claim
) -> None:
    """Its outcome is dropped; it runs again if the other one gives it back, and not if that is done with it."""
    claims: list[Claim] = ["mine", "later", later]
    settled: list[Settled] = ["elsewhere", "here"]
    ended: list[Outcome] = []

    def finished(_: Task, outcome: Outcome) -> Settled:
        ended.append(outcome)
        return settled[len(ended) - 1]

    listener = replace(Record().listener(), finished=finished, claim=lambda _: claims.pop(0))
    run([Task("cell", change(spec, arm="none"))], LocalWorkers(1, context, tmp_path), listener)
    assert not claims
    assert len(ended) == (2 if later == "mine" else 1)
    assert all(outcome.result is not None for outcome in ended)


@pytest.mark.long
def test_task_that_kills_its_worker_fails_alone(
    spec: TrialSpec, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COORDINATOR", str(os.getpid()))
    deadly = Task("deadly", _Deadly.model_validate(spec.model_dump()))
    healthy = [Task(f"ok{seed}", change(spec, arm="none", seed=seed)) for seed in range(3)]
    record = Record()

    class Fewer(LocalWorkers):
        """One worker is enough where a task runs alone; each takes seconds to start."""

        def lost_all(self, error: BaseException) -> bool:
            self.slots = 1
            return super().lost_all(error)

    run([deadly, *healthy], Fewer(2, context, tmp_path), record.listener())
    assert "killed twice" in str(record.finished["deadly"].failure)
    assert all(record.finished[task.id].failure is None for task in healthy)
