"""Options of a run from a file: the same as on the command line, which wins."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer

from harness import console as cli
from harness.design.config import WithConfig, given


@dataclass(frozen=True)
class Options:
    """Of each kind one."""

    config: Annotated[Path | None, typer.Option()] = None
    seeds: Annotated[int, typer.Option(min=1, envvar="HARNESS_TEST_SEEDS")] = 3
    arms: Annotated[str | None, typer.Option()] = None
    data_dir: Annotated[Path | None, typer.Option()] = None
    changes: Annotated[list[str] | None, typer.Option("--set")] = None


def ended(*words: str) -> tuple[int, list[Options], list[list[str]]]:
    """Exit code, and what the command got: its options, and its words."""
    app, options_of_calls, words_of_calls = cli.application("x"), [], []

    @cli.command(app, "go", Options, "x", WithConfig)
    def go(options: Options, context: typer.Context) -> None:
        options_of_calls.append(options)
        words_of_calls.append(given(context))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["tool", *words])
        with pytest.raises(SystemExit) as end:
            cli.run(app, "python -m tool")
    return int(end.value.code or 0), options_of_calls, words_of_calls


def test_a_file_is_the_command_line_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_TEST_SEEDS", "9")  # the file is nearer than the environment
    file = tmp_path / "run.yaml"
    file.write_text("seeds: 2\narms: [none, L1]\ndata-dir: ./here\nset: {loss: {alpha: 0.5}, llm.model: 'true'}\n")
    code, (options,), (words,) = ended("go", "--config", str(file), "--set", "beta=1", "--seeds=5")
    assert code == 0
    assert (options.seeds, options.arms, options.data_dir) == (5, "none,L1", Path("here"))
    assert options.changes == ["loss.alpha=0.5", 'llm.model="true"', "beta=1"]
    # what the store keeps needs no file
    again = ended(*words[3:])
    assert again[1][0].seeds == 5
    assert (again[1][0].arms, again[1][0].changes) == (options.arms, options.changes)
    assert str(file) not in words
    assert ended("go", "--seeds", "2")[2] == [["python", "-m", "tool", "go", "--seeds", "2"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sedes: 2", "unknown option 'sedes': did you mean 'seeds'?"),
        ("config: other.yaml", "unknown option 'config'"),
        ("seeds: zero", "Invalid value for '--seeds'"),
        ("seeds: true", "seeds: give a text or a number, not true"),
        ("seeds:", "seeds: give a text or a number, not null"),
        ("seeds: 0", "Invalid value for '--seeds'"),
        ("- seeds", "a mapping of options is expected"),
        ("seeds: 1\nseeds: 2", "is there twice"),
        ("seeds: !!python/name:os.system", "tags are not read"),
        ("set: {loss: {alpha: [", "cannot be read"),
    ],
)
def test_a_mistake_in_a_file_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(content)
    assert ended("go", "--config", str(file)) == (2, [], [])
    error = capsys.readouterr().err
    assert error.startswith(f"error: config {file}: ")
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_mistake_on_the_command_line_is_not_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.yaml").write_text("seeds: 2\n")
    assert ended("go", "--config", str(tmp_path / "run.yaml"), "--seeds", "x")[0] == 2
    assert capsys.readouterr().err.startswith("error: Invalid value for '--seeds'")
    assert ended("go", "--config", "none.yaml")[0] == 2
    assert "config none.yaml: cannot be read (No such file or directory)" in capsys.readouterr().err
