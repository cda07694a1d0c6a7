"""Where tasks run: processes of this machine, single-threaded, that end with the coordinator."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from joblib.externals.loky import ProcessPoolExecutor, get_reusable_executor

from harness import plugins
from harness.engine import loky
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
        """What the worker told last of a task."""

    def forget(self, task: Task) -> None:
        """Drop what was told of a task that is over."""

    def lost_all(self, error: BaseException) -> bool:
        """Whether an error of a task means that all tasks are lost, though they may be done again."""

    def close(self) -> None:
        """End what still runs."""


class LocalWorkers:
    """Processes of this machine.

    Args:
        jobs: how many.
        context: of every task; its ``report`` is replaced.
        scratch: an empty folder through which they report their progress.
    """

    def __init__(self, jobs: int, context: Context, scratch: Path) -> None:
        self.slots, self.context, self.scratch = jobs, context, scratch
        self.executor = executor(jobs, context.plugins)

    def submit(self, tasks: Sequence[Task]) -> Future[list[Outcome]]:
        future: Future[list[Outcome]] = self.executor.submit(work, tasks, self.context, self._listener(tasks[0]))
        return future

    def _listener(self, task: Task) -> Callable[[Progress], None]:
        return partial(_write, self._file(task))

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
        loky.wait_until_taken(self.executor)
        self.executor.shutdown(wait=True, kill_workers=True)


def _write(path: Path, progress: Progress) -> None:
    stage, done, metric = progress
    line = f"{stage}\t{done:.4f}\t{'' if metric is None else f'{metric:.6f}'}"
    write_atomically(path, line.encode(), sync=False)


def executor(jobs: int, loaded: tuple[Plugin, ...] = ()) -> ProcessPoolExecutor:
    """Worker processes that end with this one, ignore Ctrl-C (the coordinator ends them) and use one thread each.

    They stay for the next call; if ``loaded``, the plugins that they load first, are others then, fresh ones start.
    """
    pool: ProcessPoolExecutor = get_reusable_executor(
        max_workers=jobs, timeout=None, initializer=_initialise, initargs=(os.getpid(), loaded), env=_environment()
    )
    return pool


def in_a_fresh_process(call: Callable[..., T], *arguments: object) -> T:
    """What ``call`` returns in a worker of its own, in which nothing ran before and which ends after it.

    Raises:
        MemoryError: its process was killed, as for lack of memory.
        Exception: whatever ``call`` raises.
    """
    initial = (os.getpid(), plugins.loaded())
    alone = ProcessPoolExecutor(max_workers=1, initializer=_initialise, initargs=initial, env=_environment())
    try:
        value: T = alone.submit(call, *arguments).result()
    except BrokenProcessPool as error:
        codes = loky.exit_codes(error)
        raise MemoryError(f"its process was killed (out of memory?{codes and f': {codes}'})") from None
    except BaseException:
        alone.shutdown(wait=True, kill_workers=True)
        raise
    alone.shutdown(wait=True)  # a process that is killed cannot give its semaphores back
    return value


def _environment() -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**dict.fromkeys(names, "1"), "TOKENIZERS_PARALLELISM": "false"}


def _initialise(coordinator: int, loaded: tuple[Plugin, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    torch.set_num_threads(1)
    loky.keep_memory()
    with suppress(UserError):  # which the first task ends with, on one line; here it would be a broken pool
        plugins.load(loaded)

    def end_with_coordinator() -> None:
        while os.getppid() == coordinator:
            time.sleep(1)
        os._exit(1)

    if os.getppid() == coordinator:
        threading.Thread(target=end_with_coordinator, daemon=True).start()
