"""A place for one command line: a folder of its own, watched from outside, and what must hold when it has ended."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
#: MiB that no input makes a process use
MOST_MEMORY = 2048
#: characters that change how a terminal shows others
DIRECTIONS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


class Place:
    """The folders of a case: ``work`` (where it runs), ``home`` and ``outside``, which it has no business in.

    Attributes:
        canary: what makes this file has been executed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.work, self.home, self.outside = (root / name for name in ("work", "home", "outside"))
        self.canary, self.temporary = root / "executed", root / "tmp"
        for folder in (self.work, self.home, self.outside, self.temporary):
            folder.mkdir(parents=True)
        self.write("../outside/mine.txt", "mine")
        self.sources: dict[str, Any] = {}
        self.studies: Path | None = None

    def write(self, path: str | Path, content: str | bytes) -> Path:
        """Write a file, with its folders; relative to ``work``."""
        where = self.work / path
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
        return where

    def files(self) -> dict[str, tuple[int, int]]:
        """What lies in the folders."""
        states = {}
        for folder, folders, names in os.walk(self.root):
            for name in (*folders, *names):
                path = Path(folder, name)
                state = path.lstat()
                states[str(path.relative_to(self.root))] = (state.st_size if path.is_file() else 0, state.st_mode)
        return states


@dataclass(frozen=True)
class Case:
    """A command line that has to end well.

    Attributes:
        name: what is wrong.
        argv: module of the package and its arguments.
        message: pattern of the error line; with ``code`` 0, of standard output.
        build: makes the files.
        writes: folders (relative to ``Place.root``) in which it may leave something.
        notices: patterns of lines on standard error beside.
        env: environment variables.
        timeout: seconds that it may take.
        slow: whether another case is much like it.
    """

    name: str
    argv: tuple[str, ...]
    message: str
    build: Callable[[Place], object] = lambda place: None
    code: int = 2
    writes: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60.0
    slow: bool = False


@dataclass(frozen=True)
class End:
    """How a command line ended."""

    code: int | None
    out: str
    err: str
    peak: float
    deeds: list[list[str]]


class Server:
    """The process that command lines are forked from; see ``tests.badinput.server``."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "tests.badinput.server"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment, cwd=ROOT)

    def __call__(self, case: Case, place: Place) -> End:
        """Run a case in its place."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        logs = place.root.parent / f"{place.root.name}-logs"
        logs.mkdir()
        environment = {"PATH": os.environ["PATH"], "HOME": str(place.home), "XDG_CACHE_HOME": f"{place.home}/.cache"}
        environment |= {"TMPDIR": str(place.temporary), "CANARY": str(place.canary), "PYTHONPATH": str(ROOT)}
        environment |= {"COLUMNS": "120", "OMP_NUM_THREADS": "1", "NO_PROXY": "*", "HF_HUB_OFFLINE": "1", **case.env}
        request = {
            "argv": [filled(word, place) for word in case.argv],
            "cwd": str(place.work),
            "env": {name: filled(value, place) for name, value in environment.items()},
            "studies": str(place.studies) if place.studies else "",
            "sources": place.sources,
            "timeout": case.timeout,
            **{name: str(logs / name) for name in ("out", "err", "trace")},
        }
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        shown = json.loads(self.process.stdout.readline())
        out, err, trace = ((logs / name).read_bytes().decode("utf-8") for name in ("out", "err", "trace"))
        return End(shown["code"], out, err, shown["peak"], [json.loads(line) for line in trace.splitlines()])

    def stop(self) -> None:
        """End the process."""
        self.process.communicate(timeout=30)


def filled(word: str, place: Place) -> str:
    """A word with the place's folders."""
    return word.replace("{outside}", str(place.outside)).replace("{work}", str(place.work))


def check(case: Case, server: Server, root: Path) -> End:
    """Run a case; fail unless it ends as promised for all bad input."""
    place = Place(root)
    case.build(place)
    before = place.files()
    end = server(case, place)
    shown = f"{end.out}\n{end.err}"
    assert end.code == case.code, f"exit code {end.code}\n{shown}"
    assert "Traceback" not in shown, shown
    assert not place.canary.exists(), "code was executed"
    assert end.peak < MOST_MEMORY, f"{end.peak:.0f} MiB"
    raw = sorted({hex(ord(c)) for c in shown if (unicodedata.category(c) == "Cc" and c != "\n") or c in DIRECTIONS})
    assert not raw, f"control characters {raw}\n{shown!r}"
    lines = [line for line in end.err.splitlines() if not any(re.search(notice, line) for notice in case.notices)]
    if case.code == 2:
        assert len(lines) == 1, end.err
        assert lines[0].startswith("error: "), end.err
        assert re.search(case.message, lines[0]), end.err
        assert len(lines[0]) < 2000, len(lines[0])
    else:
        assert not lines, end.err
        assert re.search(case.message, end.out), end.out
    check_deeds(case, place, end, before)
    return end


#: git is asked for the commit; Dask, when it is imported, pickles functions of its own and of the standard library
HARMLESS = ("git", "dask", "distributed", "_operator")


def check_deeds(case: Case, place: Place, end: End, before: Mapping[str, object]) -> None:
    """Fail if a command line did what it has no business with."""
    after = place.files()
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    stray = {path for path in changed if not any(path == top or path.startswith(f"{top}/") for top in case.writes)}
    assert not stray, f"left behind: {sorted(stray)}"
    for deed, *what in end.deeds:
        if deed == "write":
            inside = Path(what[0]).is_relative_to(place.root) and not Path(what[0]).is_relative_to(place.outside)
            assert inside or what[0].startswith("/dev/"), f"written: {what[0]}"
        elif deed == "socket":
            assert what[0] in ("127.0.0.1", "::1", "localhost"), f"connected to {what[0]}"
        elif what[1].split(".")[0] not in HARMLESS:
            raise AssertionError(f"executed: {what}")
