"""The stage of students that trials share: stage 1, with L1 alone or without a teacher."""

from __future__ import annotations

from typing import Any

from harness.trial.cache import Built
from harness.trial.shared.stage import Planned, Stage, backbone_version, register
from harness.trial.spec import TrialSpec
from harness.trial.stages import Stages, summary


def _content(spec: TrialSpec, planned: Planned) -> list[Any]:
    """Of the arm, stage 1 only depends on whether it has L1."""
    later = {"order": "structure-first", "bits": 32, "rounded_epochs": 4, "gaps": False}
    student = spec.student.model_copy(update=later)
    weights = [spec.loss.hard_weight, spec.loss.soft_weight] if spec.first_parts else []
    trained = [student.key(), spec.seed, backbone_version(spec.backbone)]
    return [planned.training(spec), trained, weights]


def _stage1(stages: Stages) -> Built:
    """The student after stage 1; the same for all arms of a seed that have L1, or have not, and branch from it."""
    trained = stages.stacked or stages.train(stages.stage1_student(), "stage1")
    parts = {"best": trained.best, "last": trained.last, "optimizer": trained.optimizer}
    cost = {"build_seconds": stages.stacked.curve[-1]["seconds"]} if stages.stacked else {}
    tensors = {f"{part}/{name}": tensor for part, state in parts.items() for name, tensor in state.items()}
    return tensors, summary(trained) | cost


register(
    Stage(
        "stage1",
        wanted=lambda spec: spec.shares_stage1,
        needs=lambda spec: ("targets", "teacher-vectors") if spec.first_parts else (),
        content=_content,
        build=_stage1,
    )
)
