"""The stages of the structural teacher, or of another in its place: the model, and what it leaves for students."""

from __future__ import annotations

from typing import Any

from harness import vocabulary
from harness.data import both_directions
from harness.distill.training.loop import snapshot, train
from harness.distill.training.objective import Distillation
from harness.teachers import targets
from harness.teachers.ensemble import time_input_of
from harness.teachers.sources import TEACHERS, Asked, listed_targets
from harness.trial.cache import Built
from harness.trial.run import scored_model
from harness.trial.shared.stage import Planned, Stage, backbone_version, register
from harness.trial.spec import TrialSpec
from harness.trial.stages import Stages, summary


def _has_model(spec: TrialSpec) -> bool:
    return TEACHERS[spec.teacher.source].has_model


def _whose(spec: TrialSpec) -> str:
    source = spec.teacher.source
    if source == "structural":
        return vocabulary.backbone_name(spec.teacher_backbone)
    return vocabulary.teacher_name(source)


# ---- the model -----------------------------------------------------------------------------------------------------


def _has_teacher(spec: TrialSpec) -> bool:
    return _has_model(spec) and spec.has_teacher


def _teacher_content(spec: TrialSpec, planned: Planned) -> list[Any]:
    source = TEACHERS[spec.teacher.source]
    if source.compose is not None:
        members = [planned.trial(member) for member in spec.members]
        options = source.options.model_validate(spec.teacher.method(source.name)).model_dump()
        return [planned.training(spec), source.name, source.version, options, members]
    return [planned.training(spec), spec.settled_teacher.key(), backbone_version(spec.teacher_backbone)]


def _teacher(stages: Stages) -> Built:
    """The structural teacher, trained with early stopping: its best state by validation MRR.

    One that is made of trained models is composed of these.
    """
    spec, source = stages.spec.settled_teacher, TEACHERS[stages.spec.teacher.source]
    if source.compose is not None:
        models = [scored_model(member, stages.context) for member in stages.spec.members]
        composed = stages.composed(models, stages.inputs.task("valid", time_input_of(models))).eval()
        mrr = stages.inputs.validator(composed.time_input)(composed)
        return snapshot(composed), {"best_mrr": mrr, "best_epoch": 0, "updates": 0, "curve": []}
    model = stages.new_teacher()
    recipe = model.teacher_recipe
    penalty = recipe.regularization if spec.regularization is None else spec.regularization
    trained = train(
        model,
        stages.inputs.training(model.time_input, spec.times),
        Distillation(regularization=penalty),
        stages.schedule(spec, recipe, spec.seed),
        stages.inputs.validator(model.time_input),
        report=stages.report("teacher"),
    )
    return trained.best, summary(trained)


register(
    Stage(
        "teacher",
        wanted=_has_teacher,
        needs=lambda spec: ("rerank",) if spec.is_reranked else (),
        content=_teacher_content,
        build=_teacher,
        whose=_whose,
    )
)

# ---- its distribution ----------------------------------------------------------------------------------------------


def _targets_content(spec: TrialSpec, planned: Planned) -> list[Any]:
    stored = [spec.loss.temperature, spec.loss.targets]
    if _has_model(spec):
        return stored
    teacher, plugin = TEACHERS[spec.teacher.source], TEACHERS.origin(spec.teacher.source)
    options = teacher.options.model_validate(spec.teacher.method(teacher.name))
    code = [teacher.name, teacher.version, None if plugin is None else plugin.digest]
    return [*stored, planned.data_digest, code, options.model_dump(), teacher.content(options)]


def _targets(stages: Stages) -> Built:
    """The teacher's distribution over entities for each training query, at the spec's temperature."""
    spec, loss = stages.spec, stages.spec.loss
    if _has_model(spec):
        teacher = stages.teacher()
        data, done = stages.inputs.training(teacher.time_input), stages.fraction("targets")
        soft = targets.soft_targets(teacher, data, loss.temperature, loss.targets, done)
    else:
        source, graph = TEACHERS[spec.teacher.source], stages.graph
        asked = Asked(graph, both_directions(graph.train, len(graph.relations)), loss.targets)
        options = source.options.model_validate(spec.teacher.method(source.name))
        soft = listed_targets(source, asked, options, loss.temperature)
    return {"ids": soft.ids, "log_p": soft.log_p, "log_rest": soft.log_rest}, {}


register(
    Stage(
        "targets",
        wanted=lambda spec: "teacher" in spec.needs,
        needs=lambda spec: ("teacher",) if _has_model(spec) else (),
        content=_targets_content,
        build=_targets,
        whose=_whose,
    )
)

# ---- its vectors ---------------------------------------------------------------------------------------------------


def _vectors(stages: Stages) -> Built:
    """What gives the structural teacher's score of any entity for a training query."""
    teacher = stages.teacher()
    vectors = targets.teacher_vectors(teacher, stages.inputs.training(teacher.time_input))
    tensors = {name: getattr(vectors, name) for name in ("query", "table", "scale", "gold")}
    return tensors, {"kernel": vectors.kernel}


register(
    Stage(
        "teacher-vectors",
        wanted=lambda spec: spec.teacher_has_vectors and "teacher" in spec.needs and spec.loss.others == "estimated",
        needs=lambda _: ("teacher",),
        content=lambda _, __: [],
        build=_vectors,
        whose=_whose,
    )
)
