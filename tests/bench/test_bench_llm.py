"""The benchmark of the language model runs on both kinds of model, and a study's memory stays within its bound."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness import console as cli
from harness.bench import app
from harness.bench.commands.llm import peaks
from harness.trial.spec import TrialSpec
from tests.teachers.conftest import LAYERS, write_causal
from tests.toy import write_dataset


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("bench") / "toy")


@pytest.fixture(scope="module")
def tiny_causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_causal(tmp_path_factory.mktemp("causal"))


def figures(tmp_path: Path, toy: Path, model: Path, *arguments: str) -> dict[str, Any]:
    """What the command wrote as JSON; a layer of the model is adapted."""
    file = tmp_path / "figures.json"
    sizes = ("--texts", "20", "--tokens", "300", "--rounds", "1", "--json", str(file))
    settings = ("--set", "llm.lora_layers=1", "--set", "llm.batch_tokens=128", "--set", "llm.dtype=float32")
    chosen = ("llm", "--dataset", str(toy), "--model", str(model), *sizes, *settings, *arguments)
    done = CliRunner().invoke(app, chosen, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    written: dict[str, Any] = json.loads(file.read_text("utf-8"))
    assert (written["command"], written["threads"]) == ("llm", 1)
    assert (written["model"], written["dtype"]) == (str(model), "float32")
    return written


@pytest.mark.parametrize("kind", ["tiny_causal", "tiny_encoder"])
def test_both_kinds_of_model(kind: str, tmp_path: Path, toy: Path, request: pytest.FixtureRequest) -> None:
    written = figures(tmp_path, toy, request.getfixturevalue(kind))
    assert "memory" not in written

    as_they_come, by_length = written["encoding"]
    assert [as_they_come["what"], by_length["what"]] == ["texts as they come", "similar lengths"]
    assert as_they_come["ratio"] == 1
    assert by_length["ratio"] == by_length["tokens_per_second"] / as_they_come["tokens_per_second"] > 0
    assert 0 <= by_length["padding"] <= as_they_come["padding"] < 1
    assert all(1 <= row["measured"] <= row["batches"] for row in written["encoding"])

    ways = {row["way"]: row for row in written["finetuning"]}
    assert list(ways) == ["stage", "frozen", "adapted", "all-layers", "all-adapted"]
    assert ways["stage"]["ms"] == ways["frozen"]["ms"] + ways["adapted"]["ms"]
    assert all(row["ratio"] == row["ms"] / ways["stage"]["ms"] > 0 for row in ways.values())

    assert [row["what"] for row in written["formats"]] == ["forward", "backward"]
    assert all(row["ratio"] == row["float32_ms"] / row["bfloat16_ms"] > 0 for row in written["formats"])


def test_nothing_is_frozen(tmp_path: Path, toy: Path, tiny_causal: Path) -> None:
    written = figures(tmp_path, toy, tiny_causal, "--set", f"llm.lora_layers={LAYERS}")
    assert all(row["ms"] > 0 for row in written["finetuning"])


def test_memory_of_a_process_of_its_own(
    tmp_path: Path, toy: Path, tiny_causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is this one here: tests/measurements has what makes it one of its own."""
    asked: list[str] = []

    def here(call: Callable[..., Any], *arguments: Any) -> Any:
        asked.append(call.__name__)
        return call(*arguments)

    monkeypatch.setattr("harness.bench.commands.llm.in_a_fresh_process", here)
    written = figures(tmp_path, toy, tiny_causal, "--memory", "--set", "llm.token_budget=200")
    assert asked == ["_peaks"]
    finetune, encode = written["memory"]
    assert (finetune["stage"], encode["stage"]) == ("finetune", "encode")
    assert 100 < finetune["peak_mib"] <= encode["peak_mib"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--model", "./nowhere"), "error: language model './nowhere': no such folder or file"),
        (("--dataset", "wikki"), "error: unknown data set 'wikki'"),
        (("--set", "llm.dtype=float16"), "error: settings of study 'ablation': llm.dtype"),
        (("--set", "llm.rank=2"), "error: --set 'llm.rank=2'"),
        (("--texts", "0"), "error: Invalid value for '--texts'"),
        (("--json", "/nowhere/a.json"), "error: --json /nowhere/a.json: no such folder /nowhere"),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_one_line(arguments, line, monkeypatch, capsys)


def test_an_objective_that_is_not_the_models(
    toy: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--dataset", str(toy), "--model", str(tiny_encoder), "--rounds", "1", "--set", "objective=next-token")
    assert_one_line(given, f"error: language model {str(tiny_encoder)!r}: an encoder predicts", monkeypatch, capsys)


def assert_one_line(
    arguments: tuple[str, ...], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "llm", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.run(app)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(line)
    assert error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_language_model_fits_into_one_and_a_half_gibibytes() -> None:
    """All of fine-tuning and encoding at default settings, as a worker does them for docs/measurements.md."""
    after = peaks(TrialSpec(dataset="lahman", arm="llm-teacher"))
    assert list(after) == ["finetune", "encode"]
    assert max(after.values()) < 1.5 * 1024
