"""The stages of models that look training facts up: gaps in time, and the recurrence baseline."""

from __future__ import annotations

from harness.distill.seeds import derive_seed
from harness.distill.training.loop import snapshot
from harness.teachers import gaps
from harness.teachers.recurrence import Recurrence, fit
from harness.trial.cache import Built
from harness.trial.shared.stage import Stage, register
from harness.trial.stages import Stages, summary


def _gaps(stages: Stages) -> Built:
    """The weights of gaps after the epoch of the best validation MRR."""
    model = gaps.Gaps.of(stages.graph).to(stages.context.device)
    training, validator = stages.inputs.training(model.time_input), stages.inputs.validator(model.time_input)
    seed = derive_seed("order", stages.graph.digest, stages.spec.seed)
    trained = gaps.train(model, training, validator, seed, stages.report("gaps"))
    return trained.best, summary(trained)


register(
    Stage(
        "gaps",
        wanted=lambda spec: spec.arm == "gaps" or spec.student.gaps,
        content=lambda spec, planned: [*planned.training(spec), spec.seed],
        build=_gaps,
        whose=lambda _: "",
    )
)


def _recurrence(stages: Stages) -> Built:
    model = Recurrence(stages.graph).to(stages.context.device)
    mrr = fit(model, stages.inputs.task("valid", model.time_input))
    return snapshot(model), {"best_mrr": mrr, "best_epoch": 0, "updates": 0, "curve": []}


register(
    Stage(
        "recurrence",
        wanted=lambda spec: spec.arm == "recurrence",
        content=lambda spec, planned: planned.training(spec),
        build=_recurrence,
        whose=lambda _: "",
    )
)
