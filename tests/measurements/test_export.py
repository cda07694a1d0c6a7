"""An exported student gives the ranks of the one that was trained, but for what its format takes away."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import evaluate
from harness.measurements import export as module
from harness.measurements.export import export, missing, quantised, ranks_of, restored
from harness.models import BACKBONES
from harness.models.base import scores
from harness.models.batch import QueryTensors
from harness.trial.run import run_trial
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages
from tests.measurements.conftest import change

MEASURES = ("mrr", "mr", "hits1", "hits3", "hits10")


def by_format(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["format"]: row for row in rows}


@pytest.mark.parametrize("backbone", list(BACKBONES))
def test_exported_ranks_are_those_of_the_trial(spec: TrialSpec, context: Context, backbone: str) -> None:
    graph = "torch.export" if missing() else "ONNX"
    spec = change(spec, backbone=backbone)
    rows = by_format(export(spec, context))
    assert list(rows) == ["as trained", "safetensors", "int8", graph]
    trial = run_trial(spec, context).metrics
    for name in ("as trained", "safetensors"):
        assert {key: rows[name][key] for key in MEASURES} == {key: trial[f"test_{key}"] for key in MEASURES}
        assert rows[name]["moved"] == rows[name]["largest"] == 0
    # equal entities aside, which sums in another order may tell apart
    assert rows[graph]["mrr"] == pytest.approx(trial["test_mrr"], abs=1e-3)
    assert rows[graph]["moved"] < 0.1
    assert rows["int8"]["mrr"] == pytest.approx(trial["test_mrr"], abs=0.03)
    assert rows["int8"]["size_mb"] < 0.8 * rows["safetensors"]["size_mb"]
    assert {row["reason"] for row in rows.values()} == {None}


def test_a_format_that_fails_fails_alone(spec: TrialSpec, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("unsupported\noperator")

    monkeypatch.setattr(module, "missing", lambda: ["onnx"])
    monkeypatch.setattr(module, "program", broken)
    rows = by_format(export(spec, context))
    assert rows["torch.export"] == {
        "format": "torch.export",
        "size_mb": None,
        "reason": "RuntimeError: unsupported operator",
    }
    assert rows["int8"]["mrr"] > 0


def test_what_is_missing_is_what_cannot_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else object())
    assert missing() == ["onnxscript"]


def test_rows_are_quantised_to_half_a_step() -> None:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(50, 6, generator=generator) * torch.logspace(-3, 3, 50)[:, None]
    table[7] = 0
    state = {"entity.weight": table, "lstm.weight_ih_l0": torch.randn(8, 6), "log_scale": torch.tensor(3.0)}
    packed = quantised(state)
    assert packed["entity.weight"].dtype == torch.int8
    assert int(packed["entity.weight"].abs().max()) == 127
    unpacked = restored(packed)
    assert unpacked.keys() == state.keys()
    step = table.abs().amax(1, keepdim=True) / 127
    assert bool(((unpacked["entity.weight"] - table).abs() <= step / 2 * 1.001 + 1e-12).all())
    assert torch.equal(unpacked["entity.weight"][7], torch.zeros(6))
    for kept in ("lstm.weight_ih_l0", "log_scale"):
        assert torch.equal(unpacked[kept], state[kept])


@pytest.mark.parametrize("protocol", ["time-aware", "timeplex"])
def test_ranks_of_any_scorer_are_those_of_the_harness(spec: TrialSpec, context: Context, protocol: str) -> None:
    stages = Stages(change(spec, protocol=protocol, arm="none"), context)
    model = stages.new_model("ta-distmult", stages.spec.student, 0).double()
    with torch.no_grad():
        model.entity.weight.mul_(30)
    task = stages.inputs.task("test", model.time_input)
    table = model.entity_table()

    def score(batch: QueryTensors) -> torch.Tensor:
        return scores(model.encode(batch.subject, batch.relation, batch.time), table, model.kernel, model.scale())

    np.testing.assert_array_equal(ranks_of(score, task), evaluate.ranks(model, task))
    with pytest.raises(ValueError, match="not finite"):
        ranks_of(lambda batch: score(batch) * np.nan, task)


@pytest.mark.parametrize("backbone", list(BACKBONES))  # PyTorch refuses what its ONNX exporter finds a way around
def test_a_graph_of_pytorch_scores_as_its_model_and_lies_where_it_was_asked_for(
    spec: TrialSpec, context: Context, tmp_path: Path, backbone: str
) -> None:
    model = Stages(spec, context).new_model(backbone, spec.student, 0)
    queries = Stages(spec, context).inputs.task("test", model.time_input).queries
    score = module.program(model, tmp_path / "student", queries[:2])
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
    for size in (1, 2, 7):  # whatever it was traced with
        batch = queries[:size]
        query = model.encode(batch.subject, batch.relation, batch.time)
        expected = scores(query, model.entity_table(), model.kernel, model.scale())
        torch.testing.assert_close(score(batch), expected)
