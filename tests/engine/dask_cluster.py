"""A Dask cluster on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

distributed = pytest.importorskip("distributed")
ROOT = Path(__file__).parents[2]
QUIET = {"DASK_LOGGING__DISTRIBUTED": "error", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


class Cluster:
    """A scheduler and its workers, each a process group of its own."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.environment = folder, {**os.environ, **QUIET, **environment}
        file = folder / "scheduler.json"
        options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
        self.scheduler = self._start("scheduler", *options)
        deadline = time.monotonic() + 60
        while not file.exists() or not file.read_text().strip():
            assert time.monotonic() < deadline, "the scheduler does not start"
            time.sleep(0.1)
        self.address = json.loads(file.read_text())["address"]
        self.workers: list[subprocess.Popen[bytes]] = []

    def _start(self, command: str, *options: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", f"distributed.cli.dask_{command}", *options]
        where = {"cwd": self.folder, "env": self.environment, "start_new_session": True}
        with (self.folder / f"{command}.log").open("ab") as log:
            return subprocess.Popen(words, stdout=log, stderr=log, **where)

    def add(self, n: int, *options: str, threads: int = 1) -> None:
        local = ("--local-directory", str(self.folder / "local"), "--no-dashboard", "--nthreads", str(threads))
        self.workers += [self._start("worker", self.address, *local, *options) for _ in range(n)]
        with distributed.Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(len(self.workers), timeout=90)

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def cluster(folder: Path, **environment: str) -> Iterator[Cluster]:
    made = Cluster(folder, environment)
    try:
        yield made
    finally:
        made.stop()
