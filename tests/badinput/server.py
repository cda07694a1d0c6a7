"""Runs command lines in processes that are forked from one that has everything imported.

``python -m tests.badinput.server`` reads a request a line (JSON) and answers each with exit code and peak memory. A
child does some requests one after the other, since to fork takes longer than most of them. It tells what it does to
the system: its audit hook writes a line for whatever is written, run, unpickled or connected to.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import re
import resource
import select
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from tests.inside import plugins_forgotten

#: what the command lines import; a child would need seconds for it
HEAVY = (
    *("harness.study", "harness.report", "harness.data.__main__", "harness.engine.coordinator", "harness.store.frames"),
    *("harness.store.copies", "harness.trial.run", "harness.measurements.measure", "pyarrow.parquet"),
    *("optuna.storages._rdb.models", "sqlalchemy.dialects.sqlite", "matplotlib.pyplot", "typst"),
    *("optuna.importance", "requests", "psycopg", "typer.rich_utils", "rich.markup", "pooch", "yaml"),
)
#: bytes of private memory that a child may have before it is refused more, so that a bomb does not end the machine
MOST = 4 * 2**30
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate")
RUNS = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class", "webbrowser.open")


#: requests that a child does
TURNS = 20


def watch(traces: list[int]) -> None:
    """Have each deed of this process written to the last of the file descriptors, if there is one."""

    def report(*words: object) -> None:
        line = json.dumps([os.fsdecode(w) if isinstance(w, bytes) else str(w) for w in words])
        os.write(traces[-1], (line + "\n").encode())

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not traces:
            return
        if event == "open" and isinstance(arguments[0], str | bytes) and (arguments[2] or 0) & WRITES:
            report("write", os.path.abspath(os.fsdecode(arguments[0])))
        elif event in CHANGES:
            target = arguments[1] if event in ("os.rename", "os.link", "os.symlink") else arguments[0]
            if isinstance(target, str | bytes):
                report("write", os.path.abspath(os.fsdecode(target)))
        elif event in RUNS:
            report("run", event, *arguments[:2])
        elif event in ("socket.connect", "socket.bind") and isinstance(arguments[1], tuple):
            report("socket", arguments[1][0])

    sys.addaudithook(hook)


def child(requests: TextIO, answers: TextIO) -> None:
    """Do requests until there are none."""
    traces = list[int]()
    watch(traces)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST, MOST))
    for line in requests:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
        code = run(json.loads(line), traces)
        os.close(traces.pop())
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert peak is not None
        print(json.dumps({"code": code, "peak": int(peak[1]) / 1024}), file=answers, flush=True)


def run(request: dict[str, Any], traces: list[int]) -> int:
    """Do what a process of its own would; return its exit code."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for number, name in enumerate((os.devnull, request["out"], request["err"])):
        with open(name, "wb" if number else "rb") as file:
            os.dup2(file.fileno(), number)
    tempfile.tempdir = None  # which may have been looked up
    module, *arguments = request["argv"]
    sys.argv = [f"harness.{module}", *arguments]
    sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
    with prepared(request), plugins_forgotten():
        traces.append(os.open(request["trace"], os.O_WRONLY | os.O_CREAT))
        try:
            main(module)
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except BaseException:
            traceback.print_exc()
            return 1
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
    return 0


@contextlib.contextmanager
def prepared(request: dict[str, Any]) -> Iterator[None]:
    """Study files and data sets of the request in place of the package's."""
    from harness.data.registry import SOURCES, Source
    from harness.design import files
    from harness.store import frames

    frames._queries.cache_clear()  # by their path, which another request had, too
    with pytest.MonkeyPatch.context() as patch:
        if request["studies"]:
            shipped = {path.stem: path for path in sorted(Path(request["studies"]).glob("*.yaml"))}
            patch.setattr(files, "files", lambda: shipped)
        for name, about in request["sources"].items():
            patch.setitem(SOURCES, name, Source(**about))
        yield


def main(module: str) -> None:
    """Run ``python -m harness.MODULE``."""
    if module == "data":
        from harness.console import run
        from harness.data.__main__ import app

        run(app)
        return
    program = importlib.import_module(f"harness.{module}")
    with pytest.MonkeyPatch.context() as patch:  # main() adds a command for every study
        patch.setattr(program.app, "registered_commands", list(program.app.registered_commands))
        program.main()


class Child:
    """A fork of this process."""

    def __init__(self) -> None:
        here, there = socket.socketpair()
        self.number = os.fork()
        self.turns = 0
        if self.number == 0:
            here.close()
            with there.makefile("r") as requests, there.makefile("w") as answers:
                child(requests, answers)
            os._exit(0)
        there.close()
        self.socket, self.answers = here, here.makefile("r")

    def __call__(self, line: str) -> dict[str, Any] | None:
        """Have a request done; what came of it, or None if the time is over or the process has ended."""
        self.turns += 1
        self.socket.sendall(line.encode())
        in_time, _, _ = select.select([self.socket], [], [], json.loads(line)["timeout"])
        answer = self.answers.readline() if in_time else ""
        return json.loads(answer) if answer else None

    def end(self) -> int:
        """Kill it; its exit code, which is that of its own end if that came first."""
        os.kill(self.number, signal.SIGKILL)
        _, status = os.waitpid(self.number, 0)
        self.answers.close()
        self.socket.close()
        return os.waitstatus_to_exitcode(status)


def warm() -> None:
    """Read a store once, in vain: pandera, SQLAlchemy and Optuna make up their minds at the first."""
    from tests.badinput.place import Place
    from tests.badinput.stores import BROKEN, REPORT

    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nothing:
        place = Place(Path(folder))
        BROKEN["a negative metric"][0](place)
        os.chdir(place.work)
        sys.argv = ["harness.report", *REPORT[1:]]
        with contextlib.redirect_stderr(nothing), contextlib.suppress(SystemExit):
            main("report")
        os.chdir(here)


def serve() -> None:
    """Answer requests until there are none."""
    sys.dont_write_bytecode = True
    for name in HEAVY:
        importlib.import_module(name)
    from harness.trial.keys import engine_version

    engine_version()
    warm()
    gc.collect()
    gc.freeze()  # children leave the pages of what is here alone
    forked = Child()
    for line in sys.stdin:
        if (answer := forked(line)) is None or forked.turns == TURNS:
            code = forked.end()
            forked = Child()
            answer = answer or {"code": code, "peak": 0}
        print(json.dumps(answer), flush=True)
    forked.end()


if __name__ == "__main__":
    serve()
