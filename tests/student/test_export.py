"""From a trial to its file and back: equal metrics, kept states, calibrated probabilities."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.distill.rounding import BITS, Bits
from harness.errors import UserError
from harness.models.base import scores
from harness.student.export import calibrated, evaluated, export, inputs_of
from harness.student.fileformat import read
from harness.trial import run
from harness.trial.run import STUDENTS, TrialError, run_trial
from harness.trial.spec import StudentSpec, TrialSpec
from harness.trial.stages import Context, Stages


def with_bits(spec: TrialSpec, bits: Bits, **values: object) -> TrialSpec:
    return spec.model_copy(update={"student": spec.student.model_copy(update={"bits": bits, **values})})


@pytest.mark.parametrize("bits", BITS)
def test_the_metrics_of_a_trial_are_those_of_its_file(
    spec: TrialSpec, context: Context, tmp_path: Path, bits: Bits
) -> None:
    """A trial is scored as its student is stored, with the same bits, and read back."""
    few = with_bits(spec, bits)
    result = run_trial(few, context)
    path = tmp_path / "student"
    path.write_bytes(export(few, context).content)
    content = read(path)
    ranks = evaluated(content, inputs_of(content.about, few.dataset, context))
    assert np.array_equal(ranks, result.ranks["rank"])
    assert content.about.metrics["mrr"] == pytest.approx(result.metrics["test_mrr"])
    low, high = content.about.intervals["mrr"]
    assert low < content.about.metrics["mrr"] < high


def test_fewer_bits_make_smaller_files_and_their_metrics_differ(spec: TrialSpec, context: Context) -> None:
    made = {bits: export(with_bits(spec, bits), context) for bits in (32, 8, 2)}
    sizes = [len(one.content) for one in made.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert not np.array_equal(made[32].ranks, made[2].ranks)


def test_rounding_acts_in_the_last_epochs_alone_and_only_with_few_bits(spec: TrialSpec, context: Context) -> None:
    """Down to 4 bits a student trains as one of 32 does; below, it trains through the rounding and validates so."""
    plain, four, two = (run_trial(with_bits(spec, bits, rounded_epochs=1), context) for bits in (32, 4, 2))
    losses = [[row["loss"] for row in result.curve] for result in (plain, four, two)]
    assert losses[0] == losses[1]
    assert losses[0][:-1] == losses[2][:-1]
    assert losses[0][-1] != losses[2][-1]
    assert two.best_epoch == 4  # only what knows the rounding competes
    assert run_trial(with_bits(spec, 2, rounded_epochs=0), context).curve[-1]["loss"] == losses[0][-1]


@pytest.mark.parametrize("arm", ["none", "L1"])
def test_a_stage1_that_students_share_is_the_same_whoever_trains_it(spec: TrialSpec, tmp_path: Path, arm: str) -> None:
    """Also where it is all of the training: a student of 2 bits does not leave one of 32 an untrained state."""
    metrics = []
    for order in ((32, 2), (2, 32)):
        place = Context(cache_dir=tmp_path / str(order[0]))
        asked = spec.model_copy(update={"arm": arm})
        results = {bits: run_trial(with_bits(asked, bits, stage1_epochs=4), place) for bits in order}
        assert all(result.best_epoch > 0 for result in results.values())
        metrics.append([results[bits].metrics["valid_mrr"] for bits in (32, 2)])
    assert metrics[0] == metrics[1]


def test_epochs_that_cannot_be_rounded_are_no_part_of_the_identity(spec: TrialSpec) -> None:
    """Rounding begins after stage 1 at the earliest, and never where there is nothing after it."""

    def key(**values: object) -> str:
        return with_bits(spec, 2, **values).acting().key()

    assert key(stage1_epochs=4, rounded_epochs=1) == key(stage1_epochs=4)
    assert key(stage1_epochs=2, rounded_epochs=2) == key(stage1_epochs=2, rounded_epochs=9)
    assert key(stage1_epochs=2, rounded_epochs=1) != key(stage1_epochs=2, rounded_epochs=2)


def test_bits_at_their_default_leave_the_identity_of_a_trial_as_it_was(spec: TrialSpec) -> None:
    assert not {"bits", "rounded_epochs"} & spec.student.model_dump().keys()
    assert StudentSpec.model_validate(StudentSpec(bits=4).model_dump()) == StudentSpec(bits=4)
    assert with_bits(spec, 8).acting().key() != spec.acting().key()
    assert with_bits(spec, 8, rounded_epochs=2).acting().key() == with_bits(spec, 8).acting().key()
    assert with_bits(spec, 2, rounded_epochs=1).acting().key() != with_bits(spec, 2).acting().key()


def test_the_state_comes_from_the_cache_or_the_trial_runs_again(
    spec: TrialSpec, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = export(spec, context)
    stages = Stages(spec.acting(), context)
    path = stages.cache.path(STUDENTS, stages.student_key())
    with monkeypatch.context() as patch:
        patch.setattr("harness.student.export.run_trial", None)  # not needed
        assert export(spec, context).content == first.content
    path.unlink()
    assert np.array_equal(export(spec, context).ranks, first.ranks)


def test_the_cache_keeps_the_newest_students(
    spec: TrialSpec, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "KEPT", 2)
    for seed in range(4):
        run_trial(spec.model_copy(update={"seed": seed}), context)
    kept = sorted((context.cache_dir / STUDENTS).glob("*.safetensors"))
    newest = [Stages(spec.model_copy(update={"seed": seed}), context).student_key() for seed in (2, 3)]
    assert {path.stem for path in kept} == set(newest)


def test_the_temperature_is_the_best_of_many(spec: TrialSpec, context: Context) -> None:
    """Its negative log-likelihood, summed query by query over entities that are no other known answers, is least."""
    export(spec, context)
    stages = Stages(spec.acting(), context)
    model = stages.new_model(spec.backbone, spec.student, spec.seed)
    model.load_state_dict(stages.cache.get_or_build(STUDENTS, stages.student_key(), lambda: ({}, {})).tensors)
    task = stages.inputs.task("valid", model.time_input)

    def loss(temperature: float) -> float:
        total = 0.0
        for k in range(len(task.queries)):
            batch = task.queries[slice(k, k + 1)]
            query = model.encode(batch.subject, batch.relation, batch.time)
            z = scores(query, model.entity_table(), model.kernel, model.scale())[0] / temperature
            others = {int(e) for row, e in zip(task.row, task.entity, strict=True) if int(row) == k}
            allowed = [e for e in range(len(z)) if e not in others]
            total += float(z[allowed].double().logsumexp(0) - z[int(batch.answer)].double())
        return total

    with torch.no_grad():
        ours = calibrated(model, task)
        grid = [math.exp(x) for x in np.linspace(-3, 3, 61)]
        assert loss(ours) <= min(map(loss, grid)) + 1e-3


def test_calibration_reads_few_queries_of_many_entities(
    spec: TrialSpec, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[int, ...]] = []

    def counted(*given: Any) -> torch.Tensor:
        z = scores(*given)
        read.append(tuple(z.shape))
        return z

    monkeypatch.setattr("harness.student.export.SCORES", 10 * 40)
    monkeypatch.setattr("harness.student.export.scores", counted)
    assert export(spec, context).about.temperature > 0
    assert read == [(10, 40)]


@pytest.mark.parametrize("bits", [16, 8, 2])
def test_a_student_that_cannot_be_rounded_fails_alone(spec: TrialSpec, context: Context, bits: Bits) -> None:
    wild = with_bits(spec, bits, learning_rate=1e7, stage1_epochs=0, regularization=0.0)
    with pytest.raises(TrialError, match="too large for half precision"):
        run_trial(wild.model_copy(update={"arm": "none", "backbone": "tcomplex"}), context)


def test_a_teacher_is_no_student(spec: TrialSpec, context: Context) -> None:
    with pytest.raises(UserError, match="is no student"):
        export(spec.model_copy(update={"arm": "teacher"}), context)


def test_a_file_is_scored_on_its_own_data_alone(file: Path, context: Context) -> None:
    content = read(file)
    with pytest.raises(UserError, match="is not what the student was trained on"):
        evaluated(content, inputs_of(content.about, "lahman", context))
