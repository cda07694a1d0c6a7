"""Workers of a Dask cluster, on as many machines as it has.

Dask schedules, moves data and tries a task again whose worker died. This module adds what it cannot know: that a
worker must run the same code on the same data, and how stored results reach it. Where all workers see the coordinator's
cache folder, that is their cache. Elsewhere a file is sent once to the worker that needs it, and what a worker makes is
sent back; both ends check files against their digest.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import plugins
from harness.engine.task import Outcome, Progress, Task, work
from harness.errors import UserError
from harness.registry import Plugin
from harness.scratch import scratch
from harness.trial.cache import Cache, Packed
from harness.trial.inputs import graph_of
from harness.trial.keys import engine_version
from harness.trial.provenance import number_format
from harness.trial.stages import Context

if TYPE_CHECKING:
    from distributed import Client, Worker

#: seconds for which the number of workers is taken as it was
COUNTED = 2.0
#: how often Dask's client is started that does not answer
STARTS = 6


@dataclass(frozen=True)
class Terms:
    """What a worker must agree with: the code, the data, and how language models are read where settings leave it open.

    ``probe`` is a folder in the coordinator's cache, None if not all workers see it.
    """

    engine: str
    data: str
    number_format: str
    topic: str
    probe: Path | None


class ClusterWorkers:
    """Worker processes of a Dask scheduler; each does one task or stack at a time, with one thread.

    ``address`` is the scheduler's, such as ``tcp://10.0.0.1:8786``, and ``data`` the digest of the data set.

    Raises:
        UserError: the scheduler does not answer or has no worker, a worker has several threads, or Dask is missing.
    """

    def __init__(self, address: str, context: Context, data: str) -> None:
        self.address, self.context, self.cache = address, context, Cache(context.cache_dir)
        self._open = ExitStack()
        self.client = self._open.enter_context(_connected(address))
        self._reports: dict[str, Progress] = {}
        self._sent: dict[tuple[str, str], Any] = {}
        self._slots, self._counted = 0, 0.0
        try:
            if not self.slots:
                raise UserError(f"cluster {address}: has no worker; start some: dask worker {address} --nthreads 1")
            topic = f"harness-{uuid.uuid4().hex[:12]}"
            self.client.subscribe_topic(topic, self._listen)
            if context.plugins:
                self._have_loaded(context.plugins, topic)
            self.terms = Terms(engine_version(complete=True), data, number_format(), topic, self._probe())
        except BaseException:
            self._open.close()
            raise
        self.executor = self.client.get_executor(pure=False)

    def _have_loaded(self, loaded: tuple[Plugin, ...], name: str) -> None:
        """Have the workers load plugins, those that come later included, until this closes."""
        from distributed import WorkerPlugin

        class Load(WorkerPlugin):
            def setup(self, worker: Worker) -> None:
                _load(worker.address, loaded)

        def forget() -> None:
            with suppress(OSError, RuntimeError, CancelledError):  # the scheduler is lost
                self.client.unregister_worker_plugin(name)

        self._open.callback(forget)
        self.client.register_plugin(Load(), name)

    @property
    def slots(self) -> int:
        """How many workers there are, as of the last seconds."""
        if time.monotonic() - self._counted > COUNTED:
            try:
                threads = self.client.nthreads()
            except (OSError, RuntimeError, CancelledError):  # nobody answers, or the client has given up
                raise self._lost() from None
            if many := [f"{where} has {n}" for where, n in threads.items() if n > 1]:
                raise UserError(
                    f"cluster {self.address}: a worker must have one thread, and {many[0]}; "
                    "start it with: dask worker SCHEDULER --nworkers N --nthreads 1"
                )
            self._slots, self._counted = len(threads), time.monotonic()
        return self._slots

    def _probe(self) -> Path | None:
        """A folder in the cache, if all workers see it."""
        root = self.cache.root.resolve()
        try:
            root.mkdir(parents=True, exist_ok=True)
            probe = self._open.enter_context(scratch(".cluster-", root))
        except OSError as error:
            raise UserError(f"cache {root}: cannot be written ({error.strerror})") from None
        return probe if all(self.client.run(os.path.exists, str(probe)).values()) else None

    def _listen(self, event: tuple[float, Any]) -> None:
        _, (task, stage, done, metric) = event
        self._reports[task] = stage, done, metric

    def submit(self, tasks: Sequence[Task]) -> Future[list[Outcome]]:
        files = []
        if self.terms.probe is None:
            reads = dict.fromkeys(read for task in tasks for read in task.reads)
            files = [sent for read in reads if (sent := self._send(*read)) is not None]
        inner = self.executor.submit(_work, list(tasks), self.context, self.terms, *files)
        outer: Future[list[Outcome]] = Future()
        outer.set_running_or_notify_cancel()
        inner.add_done_callback(partial(self._done, tasks, outer))
        return outer

    def _send(self, stage: str, key: str) -> Any:
        """A stored result in the cluster's memory, sent there once."""
        if (stage, key) not in self._sent:
            packed = self.cache.pack(stage, key)
            self._sent[stage, key] = None if packed is None else self.client.scatter(packed, hash=False)
        return self._sent[stage, key]

    def _done(self, tasks: Sequence[Task], outer: Future[list[Outcome]], inner: Future[Any]) -> None:
        from distributed.scheduler import KilledWorker

        try:
            if inner.cancelled():
                raise self._lost()
            outcomes, made = inner.result()
            for packed in made:
                self.cache.unpack(packed)
            outer.set_result(outcomes)
        except KilledWorker as error:
            times = {0: "once", 1: "twice"}.get(error.allowed_failures, f"{error.allowed_failures + 1} times")
            outer.set_result([Outcome(failure=f"its worker was killed {times} (out of memory?)")] * len(tasks))
        except BaseException as error:
            outer.set_exception(error)

    def _lost(self) -> UserError:
        return UserError(
            f"cluster {self.address}: the scheduler is lost; what is complete is kept, and the same command goes on "
            "from there"
        )

    def progress(self, task: Task) -> Progress | None:
        return self._reports.get(task.id)

    def forget(self, task: Task) -> None:
        self._reports.pop(task.id, None)

    def lost_all(self, error: BaseException) -> bool:
        """Never: the scheduler tries a task again itself, and one that kills its workers fails alone."""
        return False

    def close(self) -> None:
        """Drop what has not begun, forget what runs, and leave the cluster as it was."""
        self.executor.shutdown(wait=False)
        self._open.close()


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        from distributed import Client
        from distributed.utils import LoopRunner
    except ImportError:
        raise UserError("--cluster needs Dask: pip install 'tkg-distill-harness[cluster]'") from None
    for attempt in range(STARTS):
        runner = LoopRunner()
        try:
            runner.start()
            break
        except AssertionError:  # ten seconds were not enough for its thread, on a machine that is busy
            if attempt == STARTS - 1:
                raise UserError(f"cluster {address}: Dask's client does not start; is this machine busy?") from None
    try:
        try:
            client = Client(address, timeout="10s", set_as_default=False, loop=runner.loop)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:120]
            raise UserError(
                f"cluster {address}: no scheduler answers there ({reason}); start one: dask scheduler --host 127.0.0.1"
            ) from None
        with client:
            yield client
    finally:
        runner.stop()


def _work(tasks: Sequence[Task], context: Context, terms: Terms, *files: Packed) -> tuple[list[Outcome], list[Packed]]:
    """Do a task or a stack in a worker of the cluster; return its outcomes, and the stored results that it made.

    Raises:
        UserError: this worker runs other code, or has other data or weights than the coordinator.
    """
    import torch
    from distributed import get_worker

    worker = get_worker()
    torch.set_num_threads(1)
    _agree(worker.address, tasks[0], context, terms)
    here = context
    if terms.probe is None:
        folder = os.environ.get("HARNESS_CACHE") or Path(worker.local_directory, "cache")
        here = replace(context, cache_dir=Path(folder))
    cache = Cache(here.cache_dir)
    for sent in files:
        cache.unpack(sent)
    outcomes = work(tasks, here, lambda progress: worker.log_event(terms.topic, [tasks[0].id, *progress]))
    if terms.probe is not None:
        return outcomes, []
    both = zip(tasks, outcomes, strict=True)
    made = [(task.stage, task.id) for task, outcome in both if task.stage is not None and outcome.failure is None]
    if lacking := [stage for stage, key in made if not cache.has(stage, key)]:
        raise UserError(
            f"worker {worker.address}: made another {lacking[0]} than asked for; is its language model another?"
        )
    return outcomes, [packed for stage, key in made if (packed := cache.pack(stage, key)) is not None]


def _load(address: str, loaded: tuple[Plugin, ...]) -> None:
    try:
        plugins.load(loaded)
    except UserError as error:
        raise UserError(f"worker {address}: {error}, or restart the worker if it has run an older one") from None


def _agree(address: str, task: Task, context: Context, terms: Terms) -> None:
    if engine_version(complete=True) != terms.engine:
        raise UserError(f"worker {address}: has another version of the harness than the coordinator; install the same")
    if terms.probe is not None and not terms.probe.exists():
        raise UserError(f"worker {address}: does not see the cache {context.cache_dir}, as the others do; share it")
    if task.spec.llm.dtype is None and (format_here := number_format()) != terms.number_format:
        raise UserError(
            f"worker {address}: reads language models in {format_here}, and the coordinator in {terms.number_format}; "
            "name one for all: --set llm.dtype=float32"
        )
    try:
        digest = graph_of(context.source(task.spec.dataset), context.data_dir).digest
    except UserError as error:
        raise UserError(f"worker {address}: {error}") from None
    if digest != terms.data:
        raise UserError(
            f"worker {address}: has other data for {task.spec.dataset!r} than the coordinator; copy it there"
        )
