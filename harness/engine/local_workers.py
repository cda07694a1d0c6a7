"""Where tasks run: processes of this machine, single-threaded, that end with the coordinator.

The only module that touches loky's private names; a test holds them against the pinned version.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from joblib.externals.loky import ProcessPoolExecutor, get_reusable_executor, process_executor

from harness import plugins
from harness.engine.task import Outcome, Progress, Task, work
from harness.errors import UserError
from harness.registry import Plugin
from harness.scratch import write_atomically
from harness.trial.stages import Context

T = TypeVar("T")


class Workers(Protocol):
    """Processes that do tasks."""

    @property
    def slots(self) -> int:
        """How many tasks or stacks they can do at once, now."""

    def submit(self, tasks: Sequence[Task]) -> Future[list[Outcome]]:
        """Begin a task, or several as a stack, whose first one stands for all."""

    def progress(self, task: Task) -> Progress | None:
        """What the worker reported last of a task."""

    def forget(self, task: Task) -> None:
        """Drop what was reported of a task that has ended."""

    def lost_all(self, error: BaseException) -> bool:
        """Whether an error of a task means that all tasks are lost, though they may be done again."""

    def close(self) -> None:
        """End what still runs."""


class LocalWorkers:
    """Processes of this machine; ``scratch`` is an empty folder through which they report their progress."""

    def __init__(self, jobs: int, context: Context, scratch: Path) -> None:
        self.slots, self.context, self.scratch = jobs, context, scratch
        self.executor = executor(jobs, context.plugins)

    def submit(self, tasks: Sequence[Task]) -> Future[list[Outcome]]:
        listen = partial(_write, self._file(tasks[0]))
        future: Future[list[Outcome]] = self.executor.submit(work, tasks, self.context, listen)
        return future

    def _file(self, task: Task) -> Path:
        return self.scratch / f"{task.id}.progress"

    def progress(self, task: Task) -> Progress | None:
        try:
            stage, done, metric = self._file(task).read_text(encoding="utf-8").split("\t")
            return stage, float(done), float(metric) if metric else None
        except (OSError, ValueError):
            return None

    def forget(self, task: Task) -> None:
        self._file(task).unlink(missing_ok=True)

    def lost_all(self, error: BaseException) -> bool:
        if not isinstance(error, BrokenProcessPool):
            return False
        self.executor = executor(self.slots, self.context.plugins)
        return True

    def close(self) -> None:
        # killed before loky's thread has taken all that was submitted, it drops that and then fails to find it
        deadline = time.monotonic() + 1
        while not self.executor._work_ids.empty() and time.monotonic() < deadline:
            time.sleep(0.001)
        self.executor.shutdown(wait=True, kill_workers=True)


def _write(path: Path, progress: Progress) -> None:
    stage, done, metric = progress
    line = f"{stage}\t{done:.4f}\t{'' if metric is None else f'{metric:.6f}'}"
    write_atomically(path, line.encode(), sync=False)


def executor(jobs: int, loaded: tuple[Plugin, ...] = ()) -> ProcessPoolExecutor:
    """Worker processes that end with this one and use one thread each; Ctrl-C and SIGTERM are the coordinator's.

    They stay for the next call, unless it has other plugins (``loaded``) for them to load first.
    """
    pool: ProcessPoolExecutor = get_reusable_executor(
        max_workers=jobs, timeout=None, initializer=_initialise, initargs=(os.getpid(), loaded), env=_environment()
    )
    return pool


def in_a_fresh_process(call: Callable[..., T], *arguments: object) -> T:
    """What ``call`` returns in a worker in which nothing ran before and which ends after it.

    Raises:
        MemoryError: its process was killed, as for lack of memory.
    """
    initial = (os.getpid(), plugins.loaded())
    alone = ProcessPoolExecutor(max_workers=1, initializer=_initialise, initargs=initial, env=_environment())
    try:
        value: T = alone.submit(call, *arguments).result()
    except BrokenProcessPool as error:
        raise MemoryError(f"its process was killed (out of memory?{exit_codes(error)})") from None
    except BaseException:
        alone.shutdown(wait=True, kill_workers=True)
        raise
    alone.shutdown(wait=True)  # a process that is killed cannot give its semaphores back
    return value


def exit_codes(error: BrokenProcessPool) -> str:
    """How the processes of a broken pool ended, as ": {SIGKILL(-9)}"; "" where loky does not report it."""
    codes = re.search(r"exit codes of the workers are (\{.*\})", str(error))
    return f": {codes[1]}" if codes else ""


def _environment() -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**dict.fromkeys(names, "1"), "TOKENIZERS_PARALLELISM": "false"}


def _initialise(coordinator: int, loaded: tuple[Plugin, ...]) -> None:
    for sent_to_all in (signal.SIGINT, signal.SIGTERM):  # by a terminal, or by what ends a job with all its processes
        signal.signal(sent_to_all, signal.SIG_IGN)
    import torch

    torch.set_num_threads(1)
    # workers keep data and compiled code between tasks, which loky would take for a leak, and begin with a fresh one
    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize
    with suppress(UserError):  # which the first task ends with, on one line; here it would be a broken pool
        plugins.load(loaded)

    def end_with_coordinator() -> None:
        while os.getppid() == coordinator:
            time.sleep(1)
        os._exit(1)

    if os.getppid() == coordinator:
        threading.Thread(target=end_with_coordinator, daemon=True).start()
