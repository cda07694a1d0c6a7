"""A trial inside a search: validation decides, and test facts are left alone."""

from __future__ import annotations

import time

from harness import evaluate
from harness.distill.trainer import DivergedError, Trained
from harness.evaluate import NotFiniteError
from harness.runs import trial
from harness.runs.spec import TrialSpec
from harness.runs.stages import Context, Stages
from harness.runs.trial import TrialError, TrialResult


def select(spec: TrialSpec, context: Context, stacked: Trained | None = None) -> TrialResult:
    """The student of ``harness.runs.trial.run_trial``, scored on validation facts alone: the result has no ranks.

    Raises:
        TrialError: if the loss or the scores are not finite.
        ValueError: if the arm is a teacher's, which is no student.
    """
    if spec.arm in ("teacher", "llm-teacher"):
        raise ValueError(f"{spec.arm} is no student")
    started = time.perf_counter()
    stages = Stages(spec, context)
    result = TrialResult(data_digest=stages.graph.digest)
    # the parts of a trial whose code is in every study's name: the students are the same to the last bit
    clock = trial._Clock(result, context)
    result.seconds["data"] = time.perf_counter() - started
    try:
        for name in stages.plan.keys:
            if not stages.is_cached(name):
                with clock(name):
                    stages.build(name)
        model, about = trial._student(stages, clock, stacked)
        with clock("evaluate"):
            each = evaluate.ranks(model, stages.inputs.task("valid", model.time_input))
            found = evaluate.metrics_by_direction(each)
            result.metrics |= {f"valid_{name}": value for name, value in found.items()}
    except (DivergedError, NotFiniteError) as error:
        raise TrialError(str(error)) from None
    result.curve, result.updates, result.best_epoch = about["curve"], about["updates"], about["best_epoch"]
    return result
