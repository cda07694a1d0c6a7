from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.distill.passes import softmax
from harness.distill.passes.terms import standardize
from harness.evaluate import PROTOCOLS, metrics, ranks
from harness.models.scoring import candidates
from harness.trial.run import TrialError, TrialResult, peak_memory, run_trial, scored_model
from harness.trial.spec import LossSpec, TrialSpec
from harness.trial.stages import Context, Stages


def change(spec: TrialSpec, **values: object) -> TrialSpec:
    return TrialSpec.model_validate({**spec.model_dump(), **values})


def stage2(result: TrialResult) -> list[dict[str, float]]:
    return [row for row in result.curve if row["stage"] == 2]


def test_peak_memory_is_that_of_the_process_alone() -> None:
    torch.ones(400 * 2**20, dtype=torch.uint8)  # gone at once, but for the peak
    code = "from harness.trial.run import peak_memory; print(peak_memory())"
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


def test_damaged_encodings_are_made_again_with_the_adapter(spec: TrialSpec, context: Context) -> None:
    adapted = {**spec.llm.model_dump(), "finetune": "lora", "token_budget": 2000, "learning_rate": 0.01}
    plain, tuned = (change(spec, arm="llm-teacher", llm=llm) for llm in (spec.llm.model_dump(), adapted))
    bare, full = (Stages(item, context).entry("encode").tensors["entities"] for item in (plain, tuned))
    path = Stages(tuned, context).cache.path("encode", Stages(tuned, context).plan.keys["encode"])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.warns(UserWarning, match="is rebuilt"):
        again = Stages(tuned, context).entry("encode").tensors["entities"]
    assert torch.equal(again, full)
    assert not torch.equal(again, bare)


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


@pytest.mark.compiles
@pytest.mark.parametrize("backbone", ["ttranse", "ta-distmult", "rotate-translate", "lifted"])
def test_the_compiled_step_trains_the_same_student(
    spec: TrialSpec, tmp_path: Path, backbone: str, request: pytest.FixtureRequest
) -> None:
    full = change(spec, arm="L1+L2+L3", backbone=backbone)
    tensors = run_trial(full, Context(cache_dir=tmp_path / "tensors"))
    request.getfixturevalue("compiled")
    once, again = (run_trial(full, Context(cache_dir=tmp_path / name)) for name in ("once", "again"))
    assert once.metrics == again.metrics  # to the bit
    losses = [[row["loss"] for row in actual.curve] for actual in (once, tensors)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)  # but for rounding
    assert once.metrics["valid_mrr"] == pytest.approx(tensors.metrics["valid_mrr"], abs=0.02)


@pytest.mark.compiles
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


@pytest.mark.parametrize("arm", ["L1+FitNet", "L1+RKD-D", "L1+RKD-A"])
def test_baselines_have_their_loss_from_the_start_and_as_many_epochs_to_choose_from(
    spec: TrialSpec, context: Context, arm: str
) -> None:
    result = run_trial(change(spec, arm=arm), context)
    name = {"L1+FitNet": "loss_fitnet", "L1+RKD-D": "loss_rkd_d", "L1+RKD-A": "loss_rkd_a"}[arm]
    assert [row["epoch"] for row in result.curve] == [1, 2, 3, 4]
    assert all(row[name] > 0 for row in result.curve)
    assert result.updates == run_trial(spec, context).updates
    assert result.best_epoch > spec.student.stage1_epochs
    assert result.metrics["valid_mrr"] == max(row["valid_mrr"] for row in result.curve[2:])


def test_without_weight_a_baseline_is_l1(spec: TrialSpec, context: Context) -> None:
    loss = {**spec.loss.model_dump(), "rkd_distance": 0.0}
    assert run_trial(change(spec, arm="L1+RKD-D", loss=loss), context).metrics == run_trial(spec, context).metrics


def test_the_language_first(spec: TrialSpec, context: Context) -> None:
    student = {**spec.student.model_dump(), "order": "language-first"}
    result = run_trial(change(spec, arm="L1+L2+L3", student=student), context)
    first, second = (set(result.curve[k]) for k in (0, -1))
    assert {"loss_l2", "loss_l3"} <= first
    assert second - first == {"loss_l1"}
    assert [row["stage"] for row in result.curve] == [1, 1, 2, 2]
    assert result.metrics["valid_mrr"] == max(row["valid_mrr"] for row in stage2(result))
    assert result.updates == run_trial(spec, context).updates


def test_a_student_of_the_language_model_alone(spec: TrialSpec, context: Context) -> None:
    result = run_trial(change(spec, arm="L2+L3"), context)
    assert "teacher" not in result.seconds
    assert "loss_l1" not in result.curve[-1]
    assert {"loss_ce", "loss_l2", "loss_l3"} <= result.curve[-1].keys()


@pytest.mark.parametrize("kind", ["mse", "kl", "cosine"])
def test_other_alignments_train(spec: TrialSpec, context: Context, kind: str) -> None:
    loss = {**spec.loss.model_dump(), "alignment": kind}
    actual = run_trial(change(spec, arm="L1+L2", loss=loss), context)
    huber = run_trial(change(spec, arm="L1+L2"), context)
    assert actual.curve[-1]["loss_l2"] != huber.curve[-1]["loss_l2"]
    assert actual.curve[0]["loss"] == huber.curve[0]["loss"]  # stage 1 is the same


def test_mean_squares_are_huber_with_a_threshold_out_of_reach(spec: TrialSpec, context: Context) -> None:
    base = spec.loss.model_dump()
    squares = run_trial(change(spec, arm="L1+L2", loss={**base, "alignment": "mse", "alpha": 0.5}), context)
    huber = run_trial(change(spec, arm="L1+L2", loss={**base, "delta": 1e4, "alpha": 1.0}), context)
    assert squares.curve[-1]["loss_l2"] == pytest.approx(huber.curve[-1]["loss_l2"], rel=1e-3)


@pytest.mark.parametrize("vectors", ["shuffled", "random"])
def test_controls_change_what_the_language_model_says(spec: TrialSpec, context: Context, vectors: str) -> None:
    semantic = {**spec.semantic.model_dump(), "vectors": vectors}
    actual = run_trial(change(spec, arm="llm-teacher", semantic=semantic), context)
    assert actual.metrics != run_trial(change(spec, arm="llm-teacher"), context).metrics


def test_fused_targets_lie_between_the_teachers(spec: TrialSpec, context: Context) -> None:
    def scores(share: float) -> torch.Tensor:
        loss = {**spec.loss.model_dump(), "fusion": share}
        return Stages(change(spec, arm="L1+L2", loss=loss), context).entry("llm-targets").tensors["scores"]

    language = standardize(scores(0.0))
    torch.testing.assert_close(scores(0.25), 0.75 * language + 0.25 * scores(1.0), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(scores(1.0), language)


def test_outliers_disturb_l2_alone(spec: TrialSpec, context: Context) -> None:
    loss = {**spec.loss.model_dump(), "outliers": 0.2}
    disturbed, plain = (run_trial(change(spec, arm="L1+L2", loss=item), context) for item in (loss, spec.loss))
    assert disturbed.curve[1] == plain.curve[1] | {"seconds": disturbed.curve[1]["seconds"]}
    assert disturbed.curve[2]["loss_l2"] != plain.curve[2]["loss_l2"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_scores_the_same_state(spec: TrialSpec, context: Context, protocol: str) -> None:
    """Each as `ranks` of its own task gives; the trial's own is that of its metrics, and selects."""
    chosen = change(spec, protocol=protocol, arm="none")
    result = run_trial(chosen, context)
    model, inputs = scored_model(chosen, context), Stages(chosen, context).inputs
    assert result.by_protocol.keys() | {protocol} == set(PROTOCOLS)
    assert protocol not in result.by_protocol
    for other, values in result.by_protocol.items():
        assert values == metrics(ranks(model, inputs.task("test", model.time_input, other)))
    mine = ranks(model, inputs.task("test", model.time_input))
    assert np.array_equal(result.ranks["rank"], mine)
    assert {len(part) for part in result.ranks.values()} == {len(mine)}
    assert result.metrics["valid_mrr"] == max(row["valid_mrr"] for row in stage2(result))


def test_nothing_is_scored_on_test_inside_a_search(spec: TrialSpec, context: Context) -> None:
    result = run_trial(change(spec, arm="none"), context, splits=("valid",))
    assert not result.by_protocol
    assert "protocols" not in result.seconds


def test_students_may_be_trained_on_one_time_of_the_interval(spec: TrialSpec, context: Context) -> None:
    """With every loss, in compiled passes and in stages; teachers' targets stay those of the interval."""
    plain = run_trial(spec, context)
    drawn = run_trial(change(spec, student={**spec.student.model_dump(), "times": "random-point"}), context)
    assert drawn.updates == plain.updates
    assert drawn.curve[0]["loss"] != plain.curve[0]["loss"]
    assert all(drawn.cached[stage] for stage in ("teacher", "targets"))
    assert not drawn.cached["stage1"]
    taught = change(spec, teacher={**spec.teacher.model_dump(), "times": "random-point"}, arm="teacher")
    assert (
        run_trial(taught, context).curve[0]["loss"] != run_trial(change(spec, arm="teacher"), context).curve[0]["loss"]
    )
