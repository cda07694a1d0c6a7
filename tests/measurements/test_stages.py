"""Stages made once more, students trained once more, teachers in the loop, inference."""

from __future__ import annotations

import math
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from harness import evaluate
from harness.measurements import in_the_loop as loop_module
from harness.measurements import inference as inference_module
from harness.measurements.in_the_loop import InTheLoop, loop
from harness.measurements.inference import inference, size
from harness.measurements.stages import metered, stage, trained, unreadable, without
from harness.teachers.language.language_model import load
from harness.trial.run import run_trial
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages
from tests.measurements.conftest import change


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "TURNS", 1)
    monkeypatch.setattr(loop_module, "STEPS", 1)
    monkeypatch.setattr(inference_module, "TURNS", 2)
    monkeypatch.setattr(inference_module, "SINGLE", 2)


@pytest.mark.parametrize("arm", ["none", "L1+L2+L3", "teacher", "llm-teacher"])
def test_a_trained_model_is_that_of_the_trial(spec: TrialSpec, context: Context, arm: str) -> None:
    spec = change(spec, arm=arm)
    expected = run_trial(spec, context).metrics["test_mrr"]
    model = trained(spec, context)
    task = Stages(spec, context).inputs.task("test", model.time_input)
    assert evaluate.metrics(evaluate.ranks(model, task))["mrr"] == expected


def test_one_that_ends_with_stage_1_is_that_of_the_trial_too(spec: TrialSpec, context: Context) -> None:
    spec = change(change(spec, arm="L1"), "student", stage1_epochs=4)
    expected = run_trial(spec, context).metrics["test_mrr"]
    model = trained(spec, context)
    task = Stages(spec, context).inputs.task("test", model.time_input)
    assert evaluate.metrics(evaluate.ranks(model, task))["mrr"] == expected
    with pytest.raises(ValueError, match="come first"):
        trained(change(change(spec, arm="L1+L2"), "student", order="language-first", stage1_epochs=2), context)


def test_a_stage_is_made_again_and_the_cache_stays_as_it_is(spec: TrialSpec, context: Context) -> None:
    stages = Stages(spec, context)
    for name in stages.plan.keys:
        stages.entry(name)
    path = stages.cache.path("teacher", stages.plan.keys["teacher"])
    before = path.stat().st_mtime_ns
    with without("teacher", context) as elsewhere:
        again = Stages(spec, elsewhere)
        assert not again.is_cached("teacher")
        assert all(again.is_cached(name) for name in again.plan.keys if name != "teacher")
        again.entry("teacher")
        assert not again.entries["teacher"].cached
    (row,) = stage(spec, "teacher", context)
    assert row["stage"] == "teacher"
    assert 0 < row["base_mib"] <= row["peak_mib"]
    assert row["seconds"] > 0
    assert row["energy_wh"] is None
    assert row["energy_reason"]
    assert path.stat().st_mtime_ns == before


def test_a_student_s_own_stages(spec: TrialSpec, context: Context) -> None:
    rows = stage(spec, "student", context)
    assert [row["stage"] for row in rows] == ["stage2", "evaluate"]
    assert rows[0]["peak_mib"] <= rows[1]["peak_mib"]
    (row,) = stage(spec, "loop", context)
    assert row["stage"] == "loop"
    assert row["seconds"] > 0


@pytest.mark.parametrize("arm", ["none", "L1", "L1+L2+L3"])
def test_the_loop_has_the_losses_of_the_fast_path(spec: TrialSpec, context: Context, arm: str) -> None:
    stages = Stages(change(spec, arm=arm), context)
    model = stages.new_model("ttranse", spec.student, 0)
    index = torch.arange(5)
    batch = stages.inputs.training(model.time_input)[index]
    exact = InTheLoop(stages, model, arm)(model, batch, index)
    fast = stages.distillation(model, stages.spec.parts)(model, batch, index, None)
    assert set(exact) == set(fast)


def test_a_student_in_the_loop_beside_one_from_what_is_stored(spec: TrialSpec, context: Context) -> None:
    """Where both ways have the same losses (all entities scored, all listed) they end with the same student."""
    spec = change(change(spec, arm="L1+L3"), "student", candidates=0)
    rows = {(row["arm"], row["way"]): row for row in loop(spec, context, trained=True)}
    assert list(rows) == [
        ("none", "loop"),
        ("none", "stored"),
        ("L1+L3", "loop"),
        ("L1+L3", "stored, all entities"),
        ("L1+L3", "stored"),
    ]
    assert [row["trained"] for row in rows.values()] == [False, True, True, False, True]
    in_loop, stored = rows["L1+L3", "loop"], rows["L1+L3", "stored"]
    assert in_loop["test_mrr"] == pytest.approx(stored["test_mrr"], abs=1e-4)
    assert stored["test_mrr"] == run_trial(spec, context).metrics["test_mrr"]
    assert stored["updates"] == run_trial(spec, context).updates
    for row in rows.values():
        assert row["seconds"] > 0
        assert (row["test_mrr"] is None) == (not row["trained"])
    # two stages of two epochs of six full batches each, at the least
    assert (
        rows["L1+L3", "stored, all entities"]["seconds"]
        > 12 * sum(rows["L1+L3", "stored, all entities"]["step_ms"]) / 1e3 * 0.999
    )


def test_without_training_the_loop_has_no_metrics(spec: TrialSpec, context: Context) -> None:
    rows = {(row["arm"], row["way"]): row for row in loop(spec, context, trained=False)}
    assert rows["L1+L2+L3", "loop"]["test_mrr"] is None
    assert rows["L1+L2+L3", "stored"]["test_mrr"] > 0


@pytest.mark.parametrize("backbone", ["ttranse", "ta-distmult", "lifted"])
def test_inference(spec: TrialSpec, context: Context, backbone: str) -> None:
    arms = ("none", "L1+L2+L3", "teacher", "llm-teacher")
    by_model = {
        row["model"]: row for row in inference([change(spec, backbone=backbone, arm=arm) for arm in arms], context)
    }
    assert list(by_model) == [*arms, "language model"]
    for row in by_model.values():
        for key in ("latency_ms", "queries_per_second"):
            assert len(row[key]) == 2
            assert min(row[key]) > 0
    model = Stages(change(spec, backbone=backbone), context).new_model(backbone, spec.student, 0)
    numbers = sum(math.prod(tensor.shape) for tensor in model.state_dict().values())
    assert by_model["none"]["parameters"] == by_model["L1+L2+L3"]["parameters"] == numbers
    assert by_model["none"]["size_mb"] == pytest.approx(4 * numbers / 1e6)
    if backbone != "lifted":  # whose map is as wide as its teacher
        assert by_model["teacher"]["size_mb"] > by_model["none"]["size_mb"]
    language = load(spec.llm.model, spec.llm.torch_dtype)
    assert by_model["language model"]["parameters"] == sum(p.numel() for p in language.base.parameters()) + sum(
        b.numel() for b in language.base.buffers()
    )


def test_tied_weights_count_once() -> None:
    one, other = torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False)
    assert size(torch.nn.Sequential(one, other)) == (18, 72)
    other.weight = one.weight
    assert size(torch.nn.Sequential(one, other)) == (9, 36)


# ---- energy ----------------------------------------------------------------------------------------------------------


def installed(monkeypatch: pytest.MonkeyPatch, *, rapl: bool) -> list[dict[str, Any]]:
    """A codecarbon that reads 3 Wh; what its tracker was made with."""
    made: list[dict[str, Any]] = []

    class Tracker:
        final_emissions_data = SimpleNamespace(energy_consumed=0.0)

        def __init__(self, **options: Any) -> None:
            made.append(options)

        def start(self) -> None:
            self.final_emissions_data = SimpleNamespace(energy_consumed=0.0)

        def stop(self) -> None:
            self.final_emissions_data = SimpleNamespace(energy_consumed=0.003)

    package, core, cpu = ModuleType("codecarbon"), ModuleType("codecarbon.core"), ModuleType("codecarbon.core.cpu")
    vars(package)["OfflineEmissionsTracker"] = Tracker
    vars(cpu)["is_rapl_available"] = lambda: rapl
    for module in (package, core, cpu):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return made


def test_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    made = installed(monkeypatch, rapl=True)
    with metered() as energy:
        assert energy["energy_wh"] is None
    assert energy == {"energy_wh": pytest.approx(3.0), "energy_reason": ""}
    assert made[0]["save_to_file"] is False


def test_an_assumed_power_is_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    made = installed(monkeypatch, rapl=False)
    with metered() as energy:
        pass
    assert energy["energy_wh"] is None
    assert "counters" in energy["energy_reason"]
    assert not made


def test_without_the_package_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    assert unreadable() == "the optional package codecarbon is not installed"


def test_what_fails_inside_is_raised_and_the_tracker_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, rapl=True)
    with pytest.raises(ValueError, match="mine"), metered() as energy:
        raise ValueError("mine")
    assert energy["energy_wh"] == pytest.approx(3.0)
