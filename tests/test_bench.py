"""The benchmark of the training step runs, restores what it changes, and tells what it measured."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from typer.testing import CliRunner

from harness import bench
from harness.distill import softmax
from harness.models import candidates
from tests.runs.conftest import write_dataset


def test_step(tmp_path: Path) -> None:
    folder, file = write_dataset(tmp_path / "toy"), tmp_path / "step.json"
    before = softmax.FUSED_FROM, candidates.COMPILED_FROM
    done = CliRunner().invoke(bench.app, ["step", "--dataset", str(folder), "--steps", "1", "--json", str(file)])
    assert done.exit_code == 0, done.output
    assert before == (softmax.FUSED_FROM, candidates.COMPILED_FROM)
    arms = json.loads(file.read_text("utf-8"))["arms"]
    assert list(arms) == ["none", "L1", "L1+L2+L3"]
    for figures in arms.values():
        assert figures["ratio"] == figures["tensors_ms"] / figures["compiled_ms"] > 0


def test_the_compiled_way_is_compiled_and_the_other_is_not() -> None:
    query, table = torch.zeros(2, 3), torch.zeros(4, 3)
    with bench._ways(True):
        assert softmax._is_fused(query, table)
    with bench._ways(False):
        assert not softmax._is_fused(torch.zeros(512, 3), torch.zeros(20_000, 3))
