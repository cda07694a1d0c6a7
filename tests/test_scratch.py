"""Temporary folders of processes that are killed, alive, or this one."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.scratch import scratch

HOLD = """
import sys
from pathlib import Path
from harness.scratch import scratch
with scratch("x-", Path(sys.argv[1])) as folder:
    (folder / "file").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


@contextmanager
def another(where: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that has such a folder, and the folder."""
    words = [sys.executable, "-c", HOLD, str(where)]
    root = Path(__file__).parent.parent
    with subprocess.Popen(words, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with another(tmp_path) as (process, folder):
        process.kill()
        process.wait()
        assert (folder / "file").exists()
        with scratch("x-", tmp_path) as mine:
            assert not folder.exists()
            assert sorted(tmp_path.iterdir()) == sorted([mine, tmp_path / "other"])
    assert list(tmp_path.iterdir()) == [tmp_path / "other"]


def test_what_others_use_stays(tmp_path: Path) -> None:
    with another(tmp_path) as (_, folder), scratch("x-", tmp_path) as first, scratch("x-", tmp_path) as second:
        assert len({folder, first, second}) == 3
        assert (folder / "file").exists()
        assert first.exists()


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), scratch("x-", tmp_path) as folder:
        (folder / "none" / "file").touch()
    assert not list(tmp_path.iterdir())


def test_without_locks_nothing_of_others_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks available")

    (tmp_path / "x-left").mkdir()
    monkeypatch.setattr(fcntl, "flock", refuse)
    with scratch("x-", tmp_path) as mine:
        assert mine.is_dir()
    assert list(tmp_path.iterdir()) == [tmp_path / "x-left"]


def test_a_folder_that_was_taken_for_one_that_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may come between making it and locking it."""
    real, taken = fcntl.flock, list[Path]()

    def late(handle: int, how: int) -> None:
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].rmdir()
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with scratch("x-", tmp_path) as mine:
        assert list(tmp_path.iterdir()) == [mine]
        assert mine not in taken
