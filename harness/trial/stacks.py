"""Which trials and stages of a study may train in one stack (``distill.stacked``), and training them there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.distill.training.loop import Trained
from harness.distill.training.stacks import WEIGHTS, train_stacked
from harness.models import BACKBONES
from harness.trial.arms import REFERENCES
from harness.trial.cache import Entry, digest
from harness.trial.run import stage2_student
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages


def group_of(spec: TrialSpec, stage: str | None) -> str | None:
    """A digest of what students of one stack have in common; None where no student is trained.

    ``stage`` is "stage1", or None for a trial; other stages train none, nor does a trial that is over after stage 1.
    Students with losses that stacks do not know (``Distillation.terms``), a stage 1 of their own, random codes, or
    epochs that train through rounding train alone.
    """
    student = spec.student
    if spec.arm in REFERENCES or stage not in (None, "stage1") or student.codes == "random":
        return None
    if stage is None and (student.stage1_epochs == student.epochs or spec.is_joint or spec.stage1_of_its_own):
        return None
    knows_all = set(spec.parts) <= {"L1", "L2", "L3"} and ("L2" not in spec.parts or spec.loss.alignment == "huber")
    if stage is None and (not knows_all or student.rounded_from is not None):
        return None
    recipe = BACKBONES[spec.backbone].student_recipe
    penalty = recipe.regularization if student.regularization is None else student.regularization
    student_differs = {"learning_rate", "regularization"}
    differing: dict[str, Any] = {
        "loss": {*WEIGHTS, "temperature"},
        "student": student_differs,
        "arm": True,
        "seed": True,
    }
    return digest(stage, "L1" in spec.parts, penalty > 0, spec.model_dump(exclude=differing))


def train_together(specs: Sequence[TrialSpec], stage: str | None, context: Context) -> list[Trained | ArithmeticError]:
    """Train "stage1" or, for None, stage 2 of trials of one group; what each yields, or why it yields nothing."""
    known: dict[str, Entry] = {}
    trials = [Stages(spec, context) for spec in specs]
    for stages in trials:
        _share(stages, known)
    students = [stages.stage1_student() if stage == "stage1" else stage2_student(stages) for stages in trials]
    inputs, time_input = trials[0].inputs, students[0].model.time_input

    def report(done: float, metric: float | None) -> None:
        context.report(stage or "stage2", done, metric)

    data = inputs.training(time_input, specs[0].student.times)
    return train_stacked(students, data, inputs.validator(time_input), report=report)


def _share(stages: Stages, known: dict[str, Entry]) -> None:
    """Read the targets of a trial, or take them from ``known``, so that equal ones are in memory once."""
    for name in ("targets", "teacher-vectors", "llm-targets"):
        if (key := stages.plan.keys.get(name)) is None:
            continue
        if key not in known:
            entry = stages.entry(name)
            on_device = {part: tensor.to(stages.context.device) for part, tensor in entry.tensors.items()}
            known[key] = replace(entry, tensors=on_device)
        stages.entries[name] = known[key]
