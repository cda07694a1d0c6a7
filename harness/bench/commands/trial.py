"""``trial``: where the processor's time of a trial goes, the first in a process and a later one."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from dataclasses import replace
from typing import Any

from harness import evaluate
from harness.bench.common import build_missing, context_of, settled, show
from harness.bench.options import Trial
from harness.distill.training.loop import Trained, train
from harness.errors import UserError
from harness.measurements.in_the_loop import stages_of
from harness.models import Backbone
from harness.trial.arms import REFERENCES, check_arm, parts_of
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages

ALL_ENTITIES = "epochs over all entities"
READING, VALIDATION, TEST, TOTAL = "data and targets", "validations", "test, all protocols", "total"


def run(options: Trial) -> dict[str, Any]:
    if check_arm(options.arm) in REFERENCES:
        raise UserError(f"arm {options.arm!r}: is no student")
    context, spec = context_of(options), settled(options.dataset, options.backbone, options.arm, options.changes or [])
    build_missing(Stages(spec, context))
    turns = [_seconds(spec, context) for _ in range(1 + options.rounds)]
    later = {part: statistics.median(turn[part] for turn in turns[1:]) for part in turns[0]}
    rows = [{"part": part, "first": turns[0][part], "later": later[part]} for part in turns[0]]
    columns = {"part": "part", "first": "first in a process, s", "later": "later, s"}
    title = f"{options.backbone}, {options.arm} on {options.dataset}, {options.threads} thread(s)"
    show(title, columns, rows, ["seconds of the processor; the first trial compiles"])
    return {"backbone": options.backbone, "arm": options.arm, "rows": rows}


def _seconds(spec: TrialSpec, context: Context) -> dict[str, float]:
    """Seconds of the processor that a trial takes by part, with nothing from the cache but what teachers leave."""
    parts, began = defaultdict[str, float](float), time.process_time()
    last = began

    def lap(part: str) -> None:
        nonlocal last
        now = time.process_time()
        parts[part] += now - last
        last = now

    stages = Stages(spec, context)
    model = stages.new_model(spec.backbone, spec.student, spec.seed)
    data = stages.inputs.training(model.time_input, spec.student.times)
    validator, trained, epoch = stages.inputs.validator(model.time_input), None, 0
    lap(READING)
    for stage in stages_of(spec):
        losses = parts_of(stage.arm)
        span = {"first": stage.first, "last": stage.last}
        loss = stages.distillation(model, losses)
        schedule = stages.schedule(spec.student, model.student_recipe, spec.seed, listed="L1" in losses, **span)
        lap(READING)

        def validate(model: Backbone, arm: str = stage.arm, exact: int = schedule.sampling.exact_epochs) -> float:
            nonlocal epoch
            lap(ALL_ENTITIES if epoch < exact else f"sampled epochs, {arm}")
            epoch += 1
            mrr = validator(model)
            lap(VALIDATION)
            return mrr

        every = replace(schedule, validate_every=1)
        trained = train(model, data, loss, every, validate, auxiliary=loss.auxiliary(), resume=trained)
    assert isinstance(trained, Trained), "a student has at least one epoch"
    model.load_state_dict(trained.best)
    for protocols in evaluate.ASKED_ALIKE:
        evaluate.ranks_together(model, [stages.inputs.task("test", model.time_input, name) for name in protocols])
    lap(TEST)
    return dict(parts) | {TOTAL: last - began}
