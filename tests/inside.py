"""The command lines in the test's own process, which has imported and compiled all that they need.

A process of its own takes seconds to import what a study needs, and each worker that it starts does so again. Tests of
processes (killed, interrupted, with plugins in workers, ...) start them; tests of what a command does need none.
"""

from __future__ import annotations

import importlib
import io
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import torch

from harness import plugins, vocabulary
from harness.engine import local_workers
from harness.registry import Registry
from tests.place import Place


class Inline:
    """Takes the place of loky's processes: what is submitted is done here, at once."""

    def __init__(self) -> None:
        self._work_ids: Queue[int] = Queue()

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool, kill_workers: bool) -> None:
        """There is nothing to end."""


@contextmanager
def no_workers() -> Iterator[None]:
    """Tasks run in this process, with one thread as in a worker."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_workers, "executor", lambda *_: Inline())
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@contextmanager
def plugins_forgotten() -> Iterator[None]:
    """Plugins that are loaded inside are forgotten afterwards."""
    before = plugins.loaded()
    tables = (vocabulary.LOSSES, vocabulary.BACKBONES, vocabulary.STAGES)
    terms = [dict(table) for table in tables]
    try:
        yield
    finally:
        for table, kept in zip(tables, terms, strict=True):
            table.clear()
            table.update(kept)
        for plugin in plugins.loaded()[len(before) :]:
            for registry in Registry.every:
                registry.remove_of(plugin)
            plugins._loaded.pop(plugin.name)


def command(
    folder: Path, *words: str, module: str = "harness.study", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Give ``python -m module`` some words in a folder; what a process of its own would end with."""
    program, out, err = importlib.import_module(module), io.StringIO(), io.StringIO()
    if hasattr(program, "__path__"):
        program = importlib.import_module(f"{module}.__main__")
    with pytest.MonkeyPatch.context() as patch, plugins_forgotten(), no_workers():
        patch.chdir(folder)
        for name, value in {"COLUMNS": "100", **(environment or {})}.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", [module, *words])
        # main() adds a command for every study
        patch.setattr(program.app, "registered_commands", list(program.app.registered_commands))
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            program.main()
    return subprocess.CompletedProcess(words, int(end.value.code or 0), out.getvalue(), err.getvalue())


class Here(Place):
    """A working directory whose command line needs no processes."""

    def __call__(self, *arguments: str, module: str = "harness.study") -> subprocess.CompletedProcess[str]:
        return command(self.folder, *arguments, module=module)
