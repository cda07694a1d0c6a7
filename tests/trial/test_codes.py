"""Students whose entities keep random vectors: the control of what trained codes are worth."""

from __future__ import annotations

import pytest
import torch

from harness.models import BACKBONES
from harness.trial.run import run_trial, scored_model
from harness.trial.spec import StudentSpec, TrialSpec
from harness.trial.stacks import group_of
from harness.trial.stages import Context, Stages
from tests.toy import context, dataset, spec

__all__ = ["context", "dataset", "spec"]


def with_codes(spec: TrialSpec, codes: str = "random", **axes: object) -> TrialSpec:
    student = {**spec.student.model_dump(), "codes": codes, "lifted": {"wide": 16}}
    return TrialSpec.model_validate({**spec.model_dump(), **axes, "student": student}).acting()


@pytest.mark.parametrize("arm", ["none", "L1", "L1+L2+L3", "L1+FitNet"])
@pytest.mark.parametrize("backbone", ["ttranse", "lifted"])
def test_only_the_rest_is_trained(spec: TrialSpec, context: Context, backbone: str, arm: str) -> None:
    random = with_codes(spec, backbone=backbone, arm=arm)
    before = Stages(random, context).stage1_student().model
    result, after = run_trial(random, context), scored_model(random, context)
    assert result.metrics["test_mrr"] > 0
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name]) == (name == "entity.weight"), name


def test_codes_follow_the_seed_and_no_teacher(spec: TrialSpec, context: Context) -> None:
    tables = [
        Stages(with_codes(spec, backbone="lifted", **axes), context).stage1_student().model.entity.weight
        for axes in ({"arm": "none"}, {"arm": "L1"}, {"arm": "L1", "seed": 1})
    ]
    assert torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[1], tables[2])
    assert float(tables[0].norm(dim=1).mean()) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_random_codes_in_few_bits(spec: TrialSpec, context: Context, backbone: str) -> None:
    """Training through the rounding changes no code either."""
    random = with_codes(spec, backbone=backbone)
    few = random.model_copy(update={"student": random.student.model_copy(update={"bits": 2, "rounded_epochs": 2})})
    assert few.student.rounded_from == 2
    assert run_trial(few, context).metrics["test_mrr"] > 0


def test_trained_codes_are_stored_as_before(spec: TrialSpec) -> None:
    assert "codes" not in StudentSpec().model_dump()
    assert (
        with_codes(spec, "trained", backbone="ttranse").key()
        == spec.model_copy(update={"backbone": "ttranse"}).acting().key()
    )


def test_they_train_alone(spec: TrialSpec) -> None:
    assert group_of(with_codes(spec, "trained"), "stage1") is not None
    assert group_of(with_codes(spec), "stage1") is None
