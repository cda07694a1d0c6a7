"""The stage of the recurrence baseline: its half-lives and shares, chosen on validation."""

from __future__ import annotations

from harness.distill.training.loop import snapshot
from harness.teachers.recurrence import Recurrence, fit
from harness.trial.cache import Built
from harness.trial.shared.stage import Stage, register
from harness.trial.stages import Stages


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
