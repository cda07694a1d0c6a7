"""How a command line ends: exit codes and the one line on standard error."""

from __future__ import annotations

import doctest
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from harness import console as cli
from harness import errors
from harness.errors import UserError, nearest

End = Callable[[Callable[[], None]], tuple[int, str, str]]


@pytest.fixture
def end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> End:
    """How a command line whose only command is this function ends: exit code, standard output and error."""

    def of(command: Callable[[], None]) -> tuple[int, str, str]:
        app = typer.Typer(add_completion=False)
        app.command()(command)
        monkeypatch.setattr(sys, "argv", ["tool"])
        with pytest.raises(SystemExit) as caught:
            cli.run(app)
        shown = capsys.readouterr()
        return int(caught.value.code or 0), shown.out, shown.err

    return of


def raising(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


def test_success(end: End) -> None:
    assert end(lambda: print("done")) == (0, "done\n", "")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("a.txt, line 3: no"), 2, "error: a.txt, line 3: no\n"),
        (UserError("two\nlines\twith \x1b[2J and \u202e"), 2, "error: two lines with �[2J and �\n"),
        (UserError("a  b ends with a dot."), 2, "error: a  b ends with a dot.\n"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/a.csv"),
            2,
            "error: out/a.csv: No space left on device\n",
        ),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "out"), 2, "error: out: Permission denied\n"),
        (KeyboardInterrupt(), 130, ""),
        (typer.Exit(3), 3, ""),
    ],
)
def test_errors_of_the_user_and_the_place(
    end: End, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, line: str
) -> None:
    monkeypatch.setattr(cli, "_discard_output", lambda: None)  # capturing has taken standard output's place
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)  # else no Ctrl-C would end the tests
    assert end(raising(error)) == (code, "", line)


def test_sigterm_ends_a_command_as_ctrl_c_does(end: End, monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned = []

    def command() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            cleaned.append(True)

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        assert end(command) == (143, "", "")
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
    assert cleaned


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyError("a bug"), OSError(errno.EBADF, "a bug")])
def test_a_bug_keeps_its_traceback(end: End, error: Exception) -> None:
    with pytest.raises(type(error), match="a bug"):
        end(raising(error))


def module(*arguments: str, **options: object) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "PYTHONIOENCODING")}
    environment |= options.pop("env", {})
    return subprocess.Popen(
        [sys.executable, "-m", "harness.data", *arguments],
        text=True,
        stderr=subprocess.PIPE,
        env=environment,
        **options,
    )


def test_a_reader_that_left_is_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    with module("list", stdout=write) as process:
        os.close(write)
        _, err = process.communicate()
    assert (process.returncode, err) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full, module("list", stdout=full) as process:
        _, err = process.communicate()
    assert (process.returncode, err) == (2, "error: output: No space left on device\n")


def test_a_terminal_that_lacks_letters_shows_a_question_mark(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text("東京\tr\tb\t1990\n", encoding="utf-8")
    environment = {"PYTHONIOENCODING": "ascii"}
    with module("describe", str(tmp_path), stdout=subprocess.PIPE, env=environment) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "?? ? r ? b" in out


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("wikki", "did you mean 'wiki'? "),
        ("WIKI", "did you mean 'wiki'? "),
        ("l1+l2", "did you mean 'L1+L2'? "),
        ("Wikidata12k", "did you mean 'wiki'? "),
        ("something else", ""),
        ("", ""),
    ],
)
def test_the_nearest_valid_name(wrong: str, hint: str) -> None:
    assert nearest(wrong, ["yago", "wiki", "L1+L2"]) == f"{hint}(one of: L1+L2, wiki, yago)"


def test_examples_in_docstrings() -> None:
    for module_ in (cli, errors):
        result = doctest.testmod(module_)
        assert result.attempted > 0
        assert result.failed == 0
