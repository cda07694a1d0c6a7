"""Runs tasks that depend on each other on worker processes, one single-threaded worker a core."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from joblib.externals.loky import ProcessPoolExecutor, get_reusable_executor, process_executor

from harness.errors import UserError
from harness.runs.cache import write_atomically
from harness.runs.spec import TrialSpec
from harness.runs.stages import Context
from harness.runs.trial import TrialError, TrialResult, build_stage, run_trial


@dataclass(frozen=True)
class Task:
    """A shared stage (``stage`` is its name) or a cell (``stage`` None), and the tasks it has to wait for."""

    id: str
    spec: TrialSpec
    stage: str | None = None
    needs: frozenset[str] = frozenset()
    #: tasks with a lower rank start first
    rank: int = 0


@dataclass(frozen=True)
class Outcome:
    """What came of a task: the result of a cell or the seconds of a stage, or why there is none."""

    result: TrialResult | None = None
    seconds: float = 0.0
    failure: str | None = None
    details: str = ""
    warnings: tuple[str, ...] = ()


@dataclass
class Listener:
    """What a run tells of itself while it goes on; called in the coordinator.

    ``working`` comes first, when the workers have their first tasks: the time for what they need not wait for.
    """

    started: Callable[[Task], None]
    finished: Callable[[Task, Outcome], None]
    progress: Callable[[dict[str, tuple[str, float, float | None]]], None]
    working: Callable[[], None] = lambda: None


def run(tasks: Iterable[Task], context: Context, jobs: int, scratch: Path, listener: Listener) -> None:
    """Run all tasks; return when none is left.

    A task whose needs failed is not started and fails with their reason. When a worker dies (killed, out of memory),
    the tasks that were running are tried once more, one at a time; the one that kills its worker again fails.

    Args:
        tasks: in any order; ``needs`` that name no task are taken as met.
        context: of every task; its ``report`` is replaced.
        jobs: worker processes.
        scratch: an empty folder through which workers report their progress.
        listener: is told what happens.

    Raises:
        UserError: one that a worker raised, such as weights that are not there: no other task would fare better.
    """
    _Run(list(tasks), context, jobs, scratch, listener).loop()


@dataclass
class _Run:
    waiting: list[Task]
    context: Context
    jobs: int
    scratch: Path
    listener: Listener
    failed: dict[str, str] = field(default_factory=dict)
    suspects: dict[str, int] = field(default_factory=dict)
    running: dict[Future[Outcome], Task] = field(default_factory=dict)
    #: what the listener has still to be told, in the order in which it happened
    news: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open = {task.id for task in self.waiting}
        self.executor = executor(self.jobs)
        if self.waiting:
            self.news.append(self.listener.working)

    def loop(self) -> None:
        try:
            while self.waiting or self.running or self.news:
                self._submit()
                self._tell()
                done, _ = wait(self.running, timeout=0.5, return_when=FIRST_COMPLETED)
                self.listener.progress(self._progress())
                for future in done:
                    self._collect(future)
        except BaseException:
            self.executor.shutdown(wait=True, kill_workers=True)
            raise

    def _tell(self) -> None:
        """Tell the listener, who takes his time (he writes to a disk), when the workers have got what comes next."""
        while self.news:
            self.news.pop(0)()

    def _submit(self) -> None:
        for task in [task for task in self.waiting if task.needs & self.failed.keys()]:
            cause = self.failed[min(task.needs & self.failed.keys())]
            self.waiting.remove(task)
            self._finish(task, Outcome(failure=cause))
        ready = sorted((task for task in self.waiting if not task.needs & self.open), key=lambda task: task.rank)
        suspicious = [task for task in ready if task.id in self.suspects]
        alone = any(task.id in self.suspects for task in self.running.values())
        # after a crash, the tasks that may have caused it run one at a time and nothing beside them
        room = 0 if alone else 1 - len(self.running) if suspicious else self.jobs - len(self.running)
        for task in (suspicious or ready)[: max(room, 0)]:
            self.waiting.remove(task)
            self.news.append(partial(self.listener.started, task))
            report = self.scratch / f"{task.id}.progress"
            self.running[self.executor.submit(work, task, self.context, report)] = task

    def _collect(self, future: Future[Outcome]) -> None:
        if future not in self.running:
            return
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            self._recover()
        elif error is not None:
            self._tell()  # of what ended well
            raise error
        else:
            self._finish(self.running.pop(future), future.result())

    def _recover(self) -> None:
        lost, self.running = list(self.running.values()), {}
        self.executor = executor(self.jobs)
        for task in lost:
            self.suspects[task.id] = self.suspects.get(task.id, 0) + 1
            if self.suspects[task.id] > 1 and len(lost) == 1:
                self._finish(task, Outcome(failure="its worker was killed twice (out of memory?)"))
            else:
                self.waiting.append(task)

    def _finish(self, task: Task, outcome: Outcome) -> None:
        self.open.discard(task.id)
        (self.scratch / f"{task.id}.progress").unlink(missing_ok=True)
        if outcome.failure is None:
            self.suspects.pop(task.id, None)
        else:
            reason = outcome.failure
            if task.stage is not None and not reason.startswith("shared stage"):
                reason = f"shared stage {task.stage}: {reason}"
            self.failed[task.id] = reason
            outcome = replace(outcome, failure=reason)
        self.news.append(partial(self.listener.finished, task, outcome))

    def _progress(self) -> dict[str, tuple[str, float, float | None]]:
        found = {}
        for task in self.running.values():
            try:
                stage, done, metric = (self.scratch / f"{task.id}.progress").read_text(encoding="utf-8").split("\t")
            except (OSError, ValueError):
                continue
            found[task.id] = (stage, float(done), float(metric) if metric else None)
        return found


def executor(jobs: int) -> ProcessPoolExecutor:
    """Worker processes that end with this one, ignore Ctrl-C (the coordinator ends them) and use one thread each."""
    environment = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment["TOKENIZERS_PARALLELISM"] = "false"
    made: ProcessPoolExecutor = get_reusable_executor(
        max_workers=jobs, timeout=None, initializer=_initialise, initargs=(os.getpid(),), env=environment
    )
    return made


def _initialise(coordinator: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    torch.set_num_threads(1)
    # a worker keeps data and compiled code on purpose, which loky would take for a leak, and begin with a fresh one
    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize

    def end_with_coordinator() -> None:
        while os.getppid() == coordinator:
            time.sleep(1)
        os._exit(1)

    if os.getppid() == coordinator:
        threading.Thread(target=end_with_coordinator, daemon=True).start()


def work(task: Task, context: Context, report: Path) -> Outcome:
    """Do one task, in a worker. Every failure but a user's error becomes an ``Outcome``."""
    last = 0.0

    def tell(stage: str, done: float, metric: float | None) -> None:
        nonlocal last
        if time.monotonic() - last > 0.2 or metric is not None:
            last = time.monotonic()
            line = f"{stage}\t{done:.4f}\t{'' if metric is None else f'{metric:.6f}'}"
            write_atomically(report, line.encode(), sync=False)

    own = replace(context, report=tell)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        outcome = _attempt(task, own)
    told = tuple(str(w.message) for w in caught if "cache file" in str(w.message))
    return replace(outcome, warnings=told)


def _attempt(task: Task, context: Context) -> Outcome:
    try:
        if task.stage is None:
            return Outcome(result=run_trial(task.spec, context))
        return Outcome(seconds=build_stage(task.stage, task.spec, context))
    except UserError:
        raise
    except TrialError as error:
        return Outcome(failure=str(error))
    except MemoryError:
        return Outcome(failure="out of memory")
    except Exception as error:  # a failed trial never ends a study
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Outcome(failure=reason[:400], details=traceback.format_exc()[-4000:])
