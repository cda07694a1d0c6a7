"""A student with its teachers in the loop, beside the same student trained from their stored outputs."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from harness.bench.common import alternate
from harness.bench.student import Way, stages_of, step_rate, train_student
from harness.measurements.stages import Rows
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages

#: turns in which the steps of all ways are measured, and steps of each stage a turn
TURNS, STEPS = 3, 8


def loop(spec: TrialSpec, context: Context, trained: bool) -> Rows:
    """Training a distilled student in three ways, and an undistilled one in two.

    - ``loop``: in each step both teachers and the student score all entities, in plain tensor operations
      (`harness.measurements.in_the_loop`); of the undistilled student, the student alone does.
    - ``stored, all entities``: the teachers' outputs are stored, the student scores all entities, in compiled passes.
    - ``stored``: as trials do, with sampled candidates.

    All have equal initial values, batches and learning rates. ``stored`` is trained to its end, and with ``trained``
    so is ``loop`` of the distilled student; the seconds of the others are extrapolated from steps of each stage, which
    are measured in turns, with the validations of ``stored`` added. Making what is stored does not count.

    Returns:
        A row a way: ``arm``, ``way``, ``trained``, ``seconds``, ``step_ms`` (of each stage), ``updates``, and
        ``test_mrr`` and ``valid_mrr``, None where it was not trained.
    """
    plain = spec.model_copy(update={"arm": "none"})
    exact = spec.student.model_copy(update={"candidates": 0})
    ways: dict[tuple[str, str], tuple[TrialSpec, Way]] = {
        ("none", "loop"): (plain, "exact"),
        ("none", "stored"): (plain, "fast"),
        (spec.arm, "loop"): (spec, "exact"),
        (spec.arm, "stored, all entities"): (spec.model_copy(update={"student": exact}), "fast"),
        (spec.arm, "stored"): (spec, "fast"),
    }
    measured = alternate(
        {
            (key, stage): partial(step_rate, own, context, way, stage, STEPS)
            for key, (own, way) in ways.items()
            for stage in stages_of(own)
        },
        TURNS,
    )
    outcomes = {
        key: train_student(own, context, way)
        for key, (own, way) in ways.items()
        if key[1] == "stored" or (trained and key == (spec.arm, "loop"))
    }
    queries = len(Stages(spec, context).inputs.queries("train"))
    rows: Rows = []
    for key, (own, _) in ways.items():
        arm, way_name = key
        rates = {stage: measured[key, stage].value for stage in stages_of(own)}
        steps = sum(queries * (stage.last - stage.first) / rate for stage, rate in rates.items())
        outcome, validations = outcomes.get(key), outcomes[arm, "stored"].validation_seconds
        row: dict[str, Any] = {
            "arm": arm,
            "way": way_name,
            "trained": outcome is not None,
            "seconds": steps + validations if outcome is None else outcome.seconds,
            "step_ms": [1e3 * own.student.batch_size / rate for rate in rates.values()],
            "updates": math.ceil(queries / own.student.batch_size) * own.student.epochs,
            "test_mrr": None if outcome is None else outcome.test_mrr,
            "valid_mrr": None if outcome is None else outcome.valid_mrr,
        }
        rows.append(row)
    return rows
