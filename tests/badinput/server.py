"""Runs command lines in processes of their own, each forked from one that has everything imported.

``python -m tests.badinput.server`` reads a request a line (JSON) and answers each with exit code and peak memory. A
child tells what it does to the system: its audit hook writes a line for whatever is written, run, unpickled or
connected to.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

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


def watch(trace: int) -> None:
    """Have each deed of this process written to a file descriptor."""

    def report(*words: object) -> None:
        os.write(
            trace, (json.dumps([os.fsdecode(w) if isinstance(w, bytes) else str(w) for w in words]) + "\n").encode()
        )

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
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


def child(request: dict[str, Any]) -> int:
    """Be the process of a request; return its exit code."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for number, name in ((1, "out"), (2, "err")):
        with open(request[name], "wb") as file:
            os.dup2(file.fileno(), number)
    tempfile.tempdir = None  # which the parent may have looked up
    trace = os.open(request["trace"], os.O_WRONLY | os.O_CREAT)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST, MOST))
    module, *arguments = request["argv"]
    sys.argv = [f"harness.{module}", *arguments]
    sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
    prepare(request)
    watch(trace)
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


def prepare(request: dict[str, Any]) -> None:
    """Study files and data sets of the request in place of the package's."""
    from harness.data.registry import SOURCES, Source
    from harness.design import files

    if request["studies"]:
        files.files.cache_clear()
        shipped = {path.stem: path for path in sorted(Path(request["studies"]).glob("*.yaml"))}
        files.files = lambda: shipped
    SOURCES.update({name: Source(**about) for name, about in request["sources"].items()})


def main(module: str) -> None:
    """Run ``python -m harness.MODULE``."""
    if module == "data":
        from harness.console import run
        from harness.data.__main__ import app

        run(app)
    else:
        importlib.import_module(f"harness.{module}").main()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Fork a child for a request and wait for it."""
    number = os.fork()
    if number == 0:
        os._exit(child(request))
    ended = os.pidfd_open(number)
    in_time, _, _ = select.select([ended], [], [], request["timeout"])
    os.close(ended)
    if not in_time:
        os.kill(number, signal.SIGKILL)
    _, status, usage = os.wait4(number, 0)
    if not in_time:
        return {"code": None, "peak": 0}
    return {"code": os.waitstatus_to_exitcode(status), "peak": usage.ru_maxrss / 1024}


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
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    serve()
