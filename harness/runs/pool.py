"""Runs tasks that depend on each other on worker processes, single-threaded, one task or stack of students each."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from joblib.externals.loky import ProcessPoolExecutor, get_reusable_executor, process_executor

from harness.distill.trainer import Trained
from harness.errors import UserError
from harness.runs.cache import write_atomically
from harness.runs.spec import TrialSpec
from harness.runs.stacks import train_together
from harness.runs.stages import Context
from harness.runs.trial import SCORED, TrialError, TrialResult, build_stage, run_trial

T = TypeVar("T")

#: how a worker's warning of a stack that failed as a whole begins
STACK_FAILED = "a stack failed"


@dataclass(frozen=True)
class Task:
    """A shared stage (``stage`` is its name) or a cell (``stage`` None), and the tasks it has to wait for."""

    id: str
    spec: TrialSpec
    stage: str | None = None
    needs: frozenset[str] = frozenset()
    #: tasks with a lower rank start first
    rank: int = 0
    #: students of one group may train in one stack
    group: str | None = None
    #: whether a cell is scored on test facts; inside a search it is not
    scored: bool = True


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
    ``more`` gives further tasks: it is asked, once it was told all news, how many cells could run beside those that
    run or wait. A run ends when it has none.
    """

    started: Callable[[Task], None]
    finished: Callable[[Task, Outcome], None]
    progress: Callable[[dict[str, tuple[str, float, float | None]]], None]
    working: Callable[[], None] = lambda: None
    more: Callable[[int], Sequence[Task]] = lambda _: ()


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
    running: dict[Future[list[Outcome]], tuple[Task, ...]] = field(default_factory=dict)
    #: what the listener has still to be told, in the order in which it happened
    news: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open = {task.id for task in self.waiting}
        self.known = set(self.open)
        self.executor = executor(self.jobs)
        if self.waiting:
            self.news.append(self.listener.working)

    def loop(self) -> None:
        try:
            while self.waiting or self.running or self.news or self._extend():
                self._submit()
                self._tell()
                if self._extend():
                    self._submit()
                    self._tell()
                done, _ = wait(self.running, timeout=0.5, return_when=FIRST_COMPLETED)
                self.listener.progress(self._progress())
                for future in done:
                    self._collect(future)
        except BaseException:
            self.executor.shutdown(wait=True, kill_workers=True)
            raise

    def _extend(self) -> bool:
        """Take further tasks while workers have nothing to do, stages only that this run did not have yet."""
        taken = sum(task.stage is None for task in self.waiting)
        taken += sum(len(tasks) for tasks in self.running.values())
        room = max(self.jobs * self.context.stack - taken, 0)
        new = [task for task in self.listener.more(room) if task.id not in self.known]
        self.waiting += new
        self.open |= {task.id for task in new}
        self.known |= {task.id for task in new}
        return bool(new)

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
        alone = any(task.id in self.suspects for tasks in self.running.values() for task in tasks)
        # after a crash, the tasks that may have caused it run one at a time and nothing beside them
        room = 0 if alone else 1 - len(self.running) if suspicious else self.jobs - len(self.running)
        limit = 1 if suspicious else self.context.stack
        for tasks in stacks(suspicious or ready, limit)[: max(room, 0)]:
            for task in tasks:
                self.waiting.remove(task)
                self.news.append(partial(self.listener.started, task))
            report = self.scratch / f"{tasks[0].id}.progress"
            self.running[self.executor.submit(work, tasks, self.context, report)] = tasks

    def _collect(self, future: Future[list[Outcome]]) -> None:
        if future not in self.running:
            return
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            self._recover()
        elif error is not None:
            self._tell()  # of what ended well
            raise error
        else:
            for task, outcome in zip(self.running.pop(future), future.result(), strict=True):
                self._finish(task, outcome)

    def _recover(self) -> None:
        lost, self.running = [task for tasks in self.running.values() for task in tasks], {}
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
        found: dict[str, tuple[str, float, float | None]] = {}
        for tasks in self.running.values():
            try:
                file = self.scratch / f"{tasks[0].id}.progress"
                stage, done, metric = file.read_text(encoding="utf-8").split("\t")
            except (OSError, ValueError):
                continue
            found |= {task.id: (stage, float(done), float(metric) if metric else None) for task in tasks}
        return found


def stacks(tasks: Sequence[Task], limit: int) -> list[tuple[Task, ...]]:
    """The tasks in their order, up to ``limit`` of one group together."""
    found: list[list[Task]] = []
    open_ones: dict[str, list[Task]] = {}
    for task in tasks:
        stack = open_ones.get(task.group or "")
        if stack is not None and len(stack) < limit:
            stack.append(task)
            continue
        found.append([task])
        if task.group is not None:
            open_ones[task.group] = found[-1]
    return [tuple(each) for each in found]


def executor(jobs: int) -> ProcessPoolExecutor:
    """Worker processes that end with this one, ignore Ctrl-C (the coordinator ends them) and use one thread each."""
    made: ProcessPoolExecutor = get_reusable_executor(
        max_workers=jobs, timeout=None, initializer=_initialise, initargs=(os.getpid(),), env=_environment()
    )
    return made


def in_a_fresh_process(call: Callable[..., T], *arguments: object) -> T:
    """What ``call`` returns in a worker of its own, in which nothing ran before and which ends after it.

    Raises:
        MemoryError: its process was killed, as for lack of memory.
        Exception: whatever ``call`` raises.
    """
    alone = ProcessPoolExecutor(max_workers=1, initializer=_initialise, initargs=(os.getpid(),), env=_environment())
    try:
        found: T = alone.submit(call, *arguments).result()
        return found
    except BrokenProcessPool as error:
        codes = re.search(r"exit codes of the workers are (\{.*\})", str(error))
        told = f": {codes[1]}" if codes else ""
        raise MemoryError(f"its process was killed (out of memory?{told})") from None
    finally:
        alone.shutdown(wait=True, kill_workers=True)


def _environment() -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**dict.fromkeys(names, "1"), "TOKENIZERS_PARALLELISM": "false"}


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


def work(tasks: Sequence[Task], context: Context, report: Path) -> list[Outcome]:
    """Do one task or a stack, in a worker. Every failure but a user's error becomes an ``Outcome``."""
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
        trained = _together(tasks, own) if len(tasks) > 1 else [None]
        outcomes = [_attempt(task, own, stacked) for task, stacked in zip(tasks, trained, strict=True)]
    told = tuple(str(w.message) for w in caught if str(w.message).startswith(("cache file", STACK_FAILED)))
    return [replace(outcomes[0], warnings=told), *outcomes[1:]]


def _together(tasks: Sequence[Task], context: Context) -> Sequence[Trained | ArithmeticError | None]:
    """What training in a stack yields; None for all where it fails as a whole, which may be one student's fault."""
    try:
        return train_together([task.spec for task in tasks], tasks[0].stage, context)
    except UserError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        warnings.warn(f"{STACK_FAILED}; its {len(tasks)} students train one by one ({reason})", stacklevel=2)
        return [None] * len(tasks)


def _attempt(task: Task, context: Context, stacked: Trained | ArithmeticError | None) -> Outcome:
    if isinstance(stacked, ArithmeticError):
        return Outcome(failure=str(stacked))
    try:
        if task.stage is None:
            splits = SCORED if task.scored else SCORED[:1]
            return Outcome(result=run_trial(task.spec, context, stacked, splits))
        return Outcome(seconds=build_stage(task.stage, task.spec, context, stacked))
    except UserError:
        raise
    except TrialError as error:
        return Outcome(failure=str(error))
    except MemoryError:
        return Outcome(failure="out of memory")
    except Exception as error:  # a failed trial never ends a study
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Outcome(failure=reason[:400], details=traceback.format_exc()[-4000:])
