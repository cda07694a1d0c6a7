"""The benchmarks run, restore what they change, and tell what they measured."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from harness import console as cli
from harness.bench import app, sizes
from harness.bench.commands import estimator, scale, train
from harness.bench.commands.step import ways
from harness.data import TemporalGraph, load
from harness.distill.passes import sampled, softmax
from harness.models.scoring import candidates
from harness.vocabulary import PAPERS_BACKBONES
from tests.bench.samples import assert_positive, figures
from tests.toy import write_dataset


@pytest.fixture
def in_tensors() -> Iterator[None]:
    """Nothing is compiled, which takes as long as all other tests of benchmarks; test_step does."""
    with ways(False):
        yield


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("bench") / "toy")


@pytest.mark.compiles
def test_step(tmp_path: Path, toy: Path) -> None:
    before = softmax.FUSED_FROM, candidates.COMPILED_FROM, sampled.COMPILED_FROM
    rows = figures(tmp_path, "step", "--dataset", str(toy), "--steps", "1", "--rounds", "1")["rows"]
    assert before == (softmax.FUSED_FROM, candidates.COMPILED_FROM, sampled.COMPILED_FROM)
    assert [row["arm"] for row in rows[::2]] == ["none", "L1", "L1+L2+L3"]
    assert [row["scored"] for row in rows] == ["all", "sampled"] * 3
    for row in rows:
        assert row["ratio"] == row["tensors_ms"] / row["compiled_ms"] > 0
        # with a single step counted, the parts are those of the whole
        assert row["forward_ms"] + row["backward_ms"] + row["update_ms"] == pytest.approx(row["compiled_ms"])


@pytest.mark.usefixtures("in_tensors")
def test_trial(tmp_path: Path, toy: Path) -> None:
    few = ("--set", "student.epochs=3", "--set", "student.stage1_epochs=2", "--set", "student.candidates=8")
    rows = figures(tmp_path, "trial", "--dataset", str(toy), "--arm", "none", *few)["rows"]
    parts = {row["part"]: row for row in rows}
    expected = {"epochs over all entities", "sampled epochs, none", "validations", "test, all protocols"}
    assert expected < parts.keys()
    for turn in ("first", "later"):
        total = parts["total"][turn]
        assert total == pytest.approx(sum(row[turn] for row in rows) - total)
        assert all(row[turn] >= 0 for row in rows)


def test_a_trial_of_a_reference_is_refused(toy: Path) -> None:
    done = CliRunner().invoke(app, ["trial", "--dataset", str(toy), "--arm", "teacher"])
    assert str(done.exception) == "arm 'teacher': is no student"


@pytest.mark.usefixtures("in_tensors")
@pytest.mark.parametrize("arm", ["none", "L1+L2+L3"])
def test_stack(tmp_path: Path, toy: Path, arm: str) -> None:
    few = ("--students", "5", "--steps", "1", "--rounds", "1", "--device", "cpu")
    written = figures(tmp_path, "stack", "--dataset", str(toy), "--arm", arm, *few)
    assert (written["backbone"], written["arm"], written["device"]) == ("ttranse", arm, "CPU")
    rows = written["rows"]
    assert [row["way"] for row in rows] == ["one after another"] + ["side by side"] * 3
    assert [row["students"] for row in rows] == [1, 1, 2, 4]
    for row in rows:
        assert_positive(row, "step_ms", "trials_per_hour", "ratio")
        assert row["ratio"] == pytest.approx(row["students"] * rows[0]["step_ms"] / row["step_ms"])
        assert row["ratio"] == pytest.approx(row["trials_per_hour"] / rows[0]["trials_per_hour"])
        steps = 16  # the training facts make one batch, and a trial has so many epochs
        assert row["trials_per_hour"] * row["step_ms"] == pytest.approx(3.6e6 * row["students"] / steps)


def test_stack_of_an_unknown_arm(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], toy: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "stack", "--dataset", str(toy), "--arm", "L2", "--device", "cpu"])
    with pytest.raises(SystemExit) as caught:
        cli.run(app)
    assert caught.value.code == 2
    assert "unknown arm 'L2'" in capsys.readouterr().err


def test_the_compiled_way_is_compiled_and_the_other_is_not() -> None:
    query, table = torch.zeros(2, 3), torch.zeros(4, 3)
    with ways(True):
        assert softmax._is_fused(query, table)
    with ways(False):
        assert not softmax._is_fused(torch.zeros(512, 3), torch.zeros(20_000, 3))


RANK = ("rank", "--facts", "8", "--rounds", "1")
TRAIN = ("train", "--seconds", "0", "--rounds", "1")


def test_rank_beside_pykeen_finds_the_same_ranks(tmp_path: Path, toy: Path) -> None:
    rows = figures(tmp_path, *RANK, "--dataset", str(toy))["rows"]
    assert [row["backbone"] for row in rows] == list(PAPERS_BACKBONES)
    for row in rows:
        assert row["queries"] == 16
        assert row["equal_ranks"] == 1
        assert row["ratio"] == row["queries_per_second"] / row["pykeen_per_second"]
        assert_positive(row, "ratio", "ratio_same_scores", "ratio_new_filter", "filter_seconds")


@pytest.mark.usefixtures("in_tensors")
def test_train_beside_pykeen(tmp_path: Path, toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "fastest", lambda ways: next(iter(ways)))
    monkeypatch.setattr(train, "CANDIDATES", ((None, None), (12, 8)))
    monkeypatch.setattr(train, "LISTED", 4)
    written = figures(tmp_path, *TRAIN, "--dataset", str(toy), "--backbone", "ta-distmult")
    assert [row["rival"] for row in written["rows"]] == ["DistMult, LCWA", "DistMult, sLCWA"]
    assert [(row["scored"], row["pykeen_scored"]) for row in written["rows"]] == [(40, 40), (12, 8)]
    assert written["batch_size"] == 512
    for row in written["rows"]:
        assert row["dim"] == 25
        assert row["ratio"] == row["queries_per_second"] / row["pykeen_per_second"]
        assert_positive(row, "ratio", "pykeen_sub_batch_size")


@pytest.mark.parametrize("command", [RANK, TRAIN], ids=["rank", "train"])
def test_without_pykeen_ours_alone(
    command: tuple[str, ...], tmp_path: Path, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pykeen", None)  # which makes its import fail
    file = tmp_path / "figures.json"
    done = CliRunner().invoke(app, [*command, "--dataset", str(toy), "--json", str(file)], catch_exceptions=False)
    assert "PyKEEN is not installed" in done.output
    for row in json.loads(file.read_text("utf-8"))["rows"]:
        assert_positive(row, "queries_per_second")
        assert not any("pykeen" in key or "ratio" in key for key in row)


@pytest.mark.usefixtures("in_tensors")
def test_scale(tmp_path: Path, toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    axes = {"facts": (1 / 2, 1, 3), "entities": (1, 2), "dimension": (4, 8), "candidates": (2, 4)}
    monkeypatch.setattr(scale, "AXES", axes)
    written = figures(tmp_path, "scale", "--dataset", str(toy), "--queries", "16", "--rounds", "1")
    assert [row["axis"] for row in written["exponents"]] == list(axes)
    sizes_of = [(axis, size) for axis, levels in axes.items() for size in levels]
    assert [(row["axis"], row["size"]) for row in written["rows"]] == sizes_of
    for row in written["rows"]:
        assert_positive(row, "facts", "entities", "dim", "step_ms", "exact_ms", "epoch_seconds", "rank_us", "peak_mib")
        if row["size"] == axes[row["axis"]][0]:
            assert row["step_ms_ratio"] == row["epoch_seconds_ratio"] == row["rank_us_ratio"] == 1
    assert [row["facts"] for row in written["rows"]][:3] == [96, 192, 576]
    assert [row["entities"] for row in written["rows"]][1:5] == [40, 120, 40, 80]
    for row in written["exponents"]:
        assert all(math.isfinite(row[cost]) for cost in scale.COSTS)


def test_exponents() -> None:
    assert scale._slope([(size, 3 * size**1.5) for size in (1 / 8, 1, 2, 4)]) == pytest.approx(1.5)


def test_a_cut_graph_has_the_first_facts_and_their_entities_only(toy: Path) -> None:
    graph = load(str(toy))
    part = sizes.cut(graph, 20)
    assert len(part.train) == 20
    assert set(np.concatenate([part.train.head, part.train.tail])) == set(range(len(part.entities)))
    assert named(part) == named(graph)[:20]
    assert len(part.test) == len(part.valid) == 0
    assert len(sizes.cut(graph, 10_000).train) == len(graph.train)


def test_copies_share_no_entity(toy: Path) -> None:
    graph = load(str(toy))
    thrice = sizes.repeat(graph, 3)
    n, facts = len(graph.entities), len(graph.train)
    assert len(thrice.entities) == len(thrice.entities.labels) == 3 * n
    assert len(thrice.train) == 3 * facts
    last = sizes.pick(thrice.train, np.arange(2 * facts, 3 * facts))
    assert (last.head - 2 * n == graph.train.head).all()
    assert (last.tail - 2 * n == graph.train.tail).all()
    assert (last.start == graph.train.start).all()
    assert thrice.entities.names[2 * n + 5] == f"{graph.entities.names[5]} (3)"


def named(graph: TemporalGraph) -> list[tuple[str, int, str, int]]:
    """The training facts with their entities' names."""
    train, names = graph.train, graph.entities.names
    columns = (train.head, train.relation, train.tail, train.start)
    return [(names[h], int(r), names[t], int(start)) for h, r, t, start in zip(*columns, strict=True)]


@pytest.mark.usefixtures("in_tensors")
def test_estimator(tmp_path: Path, toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    for name, sizes_of in (("LISTED", (0, 4, 16)), ("SHARED", (8, 32)), ("KEPT", (4, 16))):  # of 40 entities
        monkeypatch.setattr(estimator, name, sizes_of)
    settings = ("--set", "teacher.dim=8", "--set", "teacher.epochs=1", "--epochs", "1", "--draws", "8")
    written = figures(tmp_path, "estimator", "--dataset", str(toy), *settings)
    for row in written["softmax"]:
        assert row["bias"] < 4 * row["bias_se"]  # low, if anything
        assert 0 < row["error_of_mean"] < row["error_of_one"]
    error = {(row["listed"], row["shared"]): row["error_of_one"] for row in written["softmax"]}
    assert max(error[16, 8], error[0, 32]) < error[0, 8]
    estimated = [row for row in written["divergence"] if row["others"] == "estimated"]
    assert len(estimated) == 4
    assert all(abs(row["share"] - 1) < 0.5 and row["error_of_mean"] < row["error_of_one"] for row in estimated)
    *short, over_all = [row for row in written["divergence"] if row["others"] == "merged"]
    assert over_all["share"] == 1
    assert over_all["error_of_one"] == 0
    assert all(a["value"] < b["value"] for a, b in pairwise(short))
    assert all(0 < row["share"] < 1 for row in short)


@pytest.mark.parametrize("command", ["step", "stack", "rank", "train", "scale", "estimator", "trial"])
def test_mistakes_are_one_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for option, value, line in (
        ("--backbone", "ttrans", "error: unknown backbone 'ttrans': did you mean 'ttranse'?"),
        ("--json", str(tmp_path / "none" / "a.json"), f"error: --json {tmp_path / 'none' / 'a.json'}: no such folder"),
    ):
        monkeypatch.setattr(sys, "argv", ["bench", command, option, value])
        with pytest.raises(SystemExit) as caught:
            cli.run(app)
        assert caught.value.code == 2
        assert capsys.readouterr().err.startswith(line)


def test_help_needs_no_torch() -> None:
    code = "import sys; from harness.bench import app; app(['train', '--help'], standalone_mode=False)"
    code += "; sys.exit('torch' in sys.modules or 'numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
