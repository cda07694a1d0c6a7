"""Lifted students start as the best approximation of their teacher, and their files count the map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.distill.rounding import BITS, Bits, stored_bytes
from harness.errors import UserError
from harness.evaluate import ranks
from harness.models import BACKBONES, Lifted, TComplEx
from harness.student import Student
from harness.student.export import export
from harness.trial.run import run_trial
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages
from tests.toy import context, dataset, spec

__all__ = ["context", "dataset", "spec"]


def lifted(spec: TrialSpec, arm: str = "L1", wide: int = 16, **student: object) -> TrialSpec:
    changed = {**spec.student.model_dump(), "lifted": {"wide": wide}, **student}
    settings = {**spec.model_dump(), "backbone": "lifted", "arm": arm, "student": changed}
    return TrialSpec.model_validate(settings).acting()


def start(spec: TrialSpec, context: Context) -> Any:
    return Stages(spec, context).stage1_student().model


def test_its_teacher_is_what_it_lifts_to(spec: TrialSpec) -> None:
    assert lifted(spec).teacher_backbone == "tcomplex"
    other = spec.model_copy(update={"teacher": spec.teacher.model_copy(update={"backbone": "ta-distmult"})})
    assert lifted(other).teacher_backbone == "ta-distmult"


def test_with_as_many_numbers_it_starts_as_its_teacher(spec: TrialSpec, context: Context) -> None:
    student = lifted(spec, dim=16)
    stages = Stages(student, context)
    task = stages.inputs.task("valid", "classes")
    assert np.array_equal(ranks(start(student, context), task), ranks(stages.teacher(), task))


def test_with_fewer_it_starts_with_the_best_of_that_rank(spec: TrialSpec, context: Context) -> None:
    student = lifted(spec)
    model, teacher = start(student, context), Stages(student, context).teacher()
    table = teacher.entity.weight.detach().double().numpy()
    left, values, right = np.linalg.svd(table, full_matrices=False)
    best = left[:, :8] * values[:8] @ right[:8]
    with torch.no_grad():
        ours = (model.entity.weight @ model.lift).double().numpy()
    assert ours == pytest.approx(best, abs=1e-5)
    assert torch.equal(model.time.weight, teacher.time.weight)


def test_without_a_teacher_that_fits_it_starts_at_random(spec: TrialSpec, context: Context) -> None:
    """And so do arms whose stage 1 has no teacher, whatever joins later: they share it."""
    random = start(lifted(spec, "none"), context)
    other = spec.model_copy(update={"teacher": spec.teacher.model_copy(update={"backbone": "ta-distmult"})})
    for student in (lifted(other), lifted(spec, "L2+L3")):
        assert torch.equal(start(student, context).lift, random.lift)
    assert start(lifted(spec, wide=12), context).lift.shape == (8, 12)
    assert not torch.equal(start(lifted(spec), context).lift, random.lift)
    plans = [Stages(lifted(spec, arm), context).plan.keys["stage1"] for arm in ("none", "L2+L3", "L1")]
    assert plans[0] == plans[1] != plans[2]


@pytest.mark.parametrize("bits", [32, 4])
def test_a_file_scores_and_counts_as_the_trial_does(spec: TrialSpec, context: Context, bits: Bits) -> None:
    student = lifted(spec, bits=bits)
    result = run_trial(student, context)
    made = export(student, context)
    assert np.array_equal(made.ranks, result.ranks["rank"])
    sizes = Student.from_bytes(made.content).content.sizes
    assert sizes["entities"] == 40 * result.stored_bytes["entity"]
    times = sizes["all else"] - result.stored_bytes["others"]
    assert 0 < times <= 8 * 20  # last times of classes


@pytest.mark.parametrize("bits", BITS)
def test_the_map_is_among_the_others(bits: Bits) -> None:
    shapes = {n: tuple(t.shape) for n, t in Lifted(50, 3, 6, 5, wide=20).state_dict().items()}
    entity, others = stored_bytes(shapes, bits)
    without = stored_bytes({name: shape for name, shape in shapes.items() if name != "lift"}, bits)
    number = {32: 4, 16: 2}.get(bits if isinstance(bits, int) else 0, 1)
    assert entity == without[0]
    assert others - without[1] == 5 * (20 * number + (2 if number == 1 else 0))


def test_codes_longer_than_what_they_stand_for_are_refused() -> None:
    with pytest.raises(UserError, match="dim=30 is above wide=20"):
        BACKBONES["lifted"](5, 2, 3, 30, wide=20)
    with pytest.raises(ValueError, match="multiple of 2"):
        TrialSpec.model_validate({"student": {"lifted": {"wide": 7}}})


def test_a_teacher_of_another_width_is_left_alone() -> None:
    model = Lifted(9, 2, 3, 4, wide=8)
    before = model.lift.detach().clone()
    model.start_from(TComplEx(9, 2, 3, 10))
    assert torch.equal(model.lift, before)
