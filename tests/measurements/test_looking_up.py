"""Measurements of a student that looks facts up are of the sum that its trial is scored with, facts included."""

from __future__ import annotations

import pytest

from harness.distill.packing import pack
from harness.measurements import export as export_module
from harness.measurements import inference as inference_module
from harness.measurements.export import export
from harness.measurements.files import files
from harness.measurements.inference import inference
from harness.student.export import export as student_file
from harness.trial.run import run_trial
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages


@pytest.fixture
def looking_up(spec: TrialSpec) -> TrialSpec:
    student = spec.student.model_copy(update={"gaps": True})
    return spec.model_copy(update={"arm": "none", "student": student}).acting()


def test_files_are_asked(looking_up: TrialSpec, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Untrained ones, as large as the trained."""
    monkeypatch.setattr(inference_module, "TURNS", 2)
    without = looking_up.student.model_copy(update={"gaps": False, "bits": 4})
    specs = [looking_up, looking_up.model_copy(update={"student": without})]
    rows = files(specs, context)
    assert [(row["dim"], row["bits"], row["gaps"]) for row in rows] == [(8, "32", True), (8, "4", False)]
    for row, spec in zip(rows, specs, strict=True):
        assert len(row["latency_ms"]) == len(row["queries_per_second"]) == 2
        assert min(*row["latency_ms"], *row["queries_per_second"]) > 0
        # but for what the header states: metrics, and where it was trained
        assert row["size_mb"] * 1e6 == pytest.approx(len(student_file(spec, context).content), abs=3000)


def test_formats(looking_up: TrialSpec, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_module, "missing", lambda: ["onnx"])
    rows = {row["format"]: row for row in export(looking_up, context)}
    assert rows["as trained"]["mrr"] == rows["safetensors"]["mrr"] == run_trial(looking_up, context).metrics["test_mrr"]
    assert "looks training facts up" in rows["torch.export"]["reason"]


def test_answering(looking_up: TrialSpec, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_module, "TURNS", 1)
    (row,) = inference([looking_up], context)
    assert row["latency_ms"][0] > 0
    assert row["size_mb"] * 1e6 == 4 * row["parameters"] + pack(Stages(looking_up, context).graph.train).nbytes
