from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.distill import softmax
from harness.evaluate import metrics
from harness.models import BACKBONES, candidates
from harness.runs.spec import LossSpec, TrialSpec
from harness.runs.stages import Context, Stages
from harness.runs.trial import TrialError, TrialResult, peak_memory, run_trial


def change(spec: TrialSpec, **values: object) -> TrialSpec:
    return TrialSpec.model_validate({**spec.model_dump(), **values})


def stage2(result: TrialResult) -> list[dict[str, float]]:
    return [row for row in result.curve if row["stage"] == 2]


def test_peak_memory_is_that_of_the_process_alone() -> None:
    torch.ones(400 * 2**20, dtype=torch.uint8)  # gone at once, but for the peak
    code = "from harness.runs.trial import peak_memory; print(peak_memory())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert peak_memory() > 600
    assert 50 < float(done.stdout) < peak_memory() - 100


def test_same_spec_same_numbers_whatever_is_cached(spec: TrialSpec, context: Context, tmp_path: Path) -> None:
    first = run_trial(spec, context)
    again = run_trial(spec, context)
    fresh = run_trial(spec, replace(context, cache_dir=tmp_path / "other"))
    assert first.metrics == again.metrics == fresh.metrics
    assert np.array_equal(first.ranks["rank"], fresh.ranks["rank"])
    assert not any(first.cached.values())
    assert all(again.cached.values())
    assert again.built_seconds == pytest.approx(first.built_seconds)


@pytest.mark.parametrize("backbone", ["ttranse", "ta-distmult"])
def test_result_is_complete_and_consistent(spec: TrialSpec, context: Context, backbone: str) -> None:
    result = run_trial(change(spec, backbone=backbone), context)
    assert result.metrics["test_mrr"] == pytest.approx(metrics(result.ranks["rank"])["mrr"])
    assert result.metrics["valid_mrr"] == max(row["valid_mrr"] for row in stage2(result))
    assert [row["epoch"] for row in result.curve] == [1, 2, 3, 4]
    assert {"data", "teacher", "targets", "stage1", "stage2", "evaluate"} <= result.seconds.keys()
    n = len(result.ranks["rank"])
    assert n == 48
    assert (result.ranks["direction"] == np.repeat([0, 1], n // 2)).all()


def test_arms_get_equal_updates_and_share_stage_1(spec: TrialSpec, context: Context) -> None:
    arms = ("none", "L1", "L1+L2", "L1+L3", "L1+L2+L3")
    results = {arm: run_trial(change(spec, arm=arm), context) for arm in arms}
    assert len({result.updates for result in results.values()}) == 1
    first = [[row["loss"] for row in results[arm].curve if row["stage"] == 1] for arm in arms[1:]]
    assert all(losses == first[0] for losses in first)
    second = [results[arm].curve[-1]["loss_ce"] for arm in arms]
    assert len(set(second)) == len(arms)
    assert {"loss_l1", "loss_l2", "loss_l3"} <= results["L1+L2+L3"].curve[-1].keys()


def test_zero_weights_are_the_arm_without_the_loss(spec: TrialSpec, context: Context) -> None:
    """α = 0 gives L2 no gradient, so the arm must equal L1 to the bit."""
    loss = LossSpec(**{**spec.loss.model_dump(), "alpha": 0.0})
    plain = run_trial(change(spec, arm="L1"), context)
    zero = run_trial(change(spec, arm="L1+L2", loss=loss.model_dump()), context)
    assert zero.metrics == plain.metrics


def test_two_stages_of_l1_are_one(spec: TrialSpec, context: Context) -> None:
    """Branching after stage 1 must not disturb training: L1 in two stages equals L1 in one."""
    two = run_trial(spec, context)
    one = run_trial(change(spec, student={**spec.student.model_dump(), "stage1_epochs": 0}), context)
    assert [row["loss"] for row in one.curve] == [row["loss"] for row in two.curve]
    assert one.metrics["valid_mrr"] == max(row["valid_mrr"] for row in one.curve)


def test_all_epochs_in_stage_1(spec: TrialSpec, context: Context) -> None:
    result = run_trial(change(spec, student={**spec.student.model_dump(), "stage1_epochs": 4}), context)
    assert {row["stage"] for row in result.curve} == {1}
    assert result.metrics["valid_mrr"] == max(row["valid_mrr"] for row in result.curve)


def test_reference_rows_are_the_teachers(spec: TrialSpec, context: Context) -> None:
    teacher = run_trial(change(spec, arm="teacher"), context)
    assert teacher.metrics["valid_mrr"] == max(row["valid_mrr"] for row in teacher.curve)
    language = run_trial(change(spec, arm="llm-teacher"), context)
    assert language.metrics["test_mrr"] != teacher.metrics["test_mrr"]
    assert {"encode", "semantic"} <= language.seconds.keys()


@pytest.mark.parametrize("teacher", ["ttranse", "ta-distmult"])
@pytest.mark.parametrize("student", ["ttranse", "ta-distmult"])
def test_any_pair_of_teacher_and_student(spec: TrialSpec, context: Context, teacher: str, student: str) -> None:
    other = {**spec.teacher.model_dump(), "backbone": teacher}
    result = run_trial(change(spec, backbone=student, teacher=other), context)
    assert np.isfinite(result.metrics["test_mrr"])


def test_student_beats_chance(spec: TrialSpec, context: Context) -> None:
    training = {**spec.student.model_dump(), "epochs": 40, "stage1_epochs": 20, "learning_rate": 0.05}
    result = run_trial(change(spec, arm="none", student=training), context)
    assert result.metrics["test_mrr"] > 3 * (np.log(40) + 0.58) / 40  # chance: the mean of 1/rank


def test_divergence_fails_the_trial_with_the_reason(spec: TrialSpec, context: Context) -> None:
    training = {**spec.student.model_dump(), "learning_rate": 1e30}
    with pytest.raises(TrialError, match=r"loss became|not finite"):
        run_trial(change(spec, arm="none", student=training), context)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled step, which problems of this size do not use by themselves, and no other."""
    monkeypatch.setattr(softmax, "FUSED_FROM", 0)
    monkeypatch.setattr(candidates, "COMPILED_FROM", 0)
    monkeypatch.setattr(softmax, "_LogPartition", None)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_compiled_step_trains_the_same_student(
    spec: TrialSpec, tmp_path: Path, backbone: str, request: pytest.FixtureRequest
) -> None:
    whole = change(spec, arm="L1+L2+L3", backbone=backbone)
    tensors = run_trial(whole, Context(cache_dir=tmp_path / "tensors"))
    request.getfixturevalue("compiled")
    once, again = (run_trial(whole, Context(cache_dir=tmp_path / name)) for name in ("once", "again"))
    assert once.metrics == again.metrics  # to the bit
    losses = [[row["loss"] for row in found.curve] for found in (once, tensors)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)  # but for rounding
    assert once.metrics["valid_mrr"] == pytest.approx(tensors.metrics["valid_mrr"], abs=0.02)


@pytest.mark.usefixtures("compiled")
def test_divergence_in_the_compiled_step_fails_the_trial(spec: TrialSpec, context: Context) -> None:
    training = {**spec.student.model_dump(), "learning_rate": 1e30}
    with pytest.raises(TrialError, match=r"loss became|not finite"):
        run_trial(change(spec, arm="L1+L2", student=training), context)


def test_real_data_sets_train_with_the_compiled_step() -> None:
    query, table = torch.zeros(TrialSpec().student.batch_size, 25), torch.zeros(10_000, 25)
    assert softmax._is_fused(query, table)
    assert query.shape[0] * LossSpec().targets >= candidates.COMPILED_FROM


def test_damaged_stage_is_rebuilt_inside_a_trial(spec: TrialSpec, context: Context) -> None:
    before = run_trial(spec, context)
    stages = Stages(spec, context)
    path = stages.cache.path("targets", stages.plan.keys["targets"])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="is rebuilt"):
        after = run_trial(spec, context)
    assert after.metrics == before.metrics
