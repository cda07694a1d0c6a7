"""In which order tasks start: first what the longest way to the end begins with, as in HEFT.

A task's rank is its expected seconds plus the largest rank among the tasks that wait for it (Topcuoglu, Hariri and Wu
2002). So a teacher comes before the students that wait for it, and of tasks that wait for nothing the longest comes
first. Whatever is expected, no worker idles while a task could run, which keeps the makespan on m workers below
2 - 1/m times the best (Graham 1969). No number depends on the order.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from graphlib import TopologicalSorter
from typing import Any

from harness.engine.task import Task
from harness.trial.arms import REFERENCES
from harness.trial.spec import TrialSpec
from harness.trial.stage import STAGES, epoch_seconds

#: how the attributes of a trial begin that tell the seconds of shared stages when they were built, and of its own
BUILT, SPENT = "built_seconds_", "seconds_"
#: expected seconds of a stage, or (None) of the cell itself
Seconds = Callable[[TrialSpec, str | None], float]

#: seconds of scoring a reference row, and a student, with default settings on Wikidata12k: only proportions matter
_SCORING, _SCORED = {"teacher": 3.0, "llm-teacher": 1.0}, 0.2


def upward_ranks(tasks: Collection[Task]) -> dict[str, float]:
    """The rank of each task, by its id: seconds from its start to the end of all that waits for it, at best."""
    own = {task.id: task for task in tasks}
    needs = {task.id: task.needs & own.keys() for task in tasks}
    ranks = dict.fromkeys(own, 0.0)
    for key in reversed([*TopologicalSorter(needs).static_order()]):  # those that wait come before what they need
        ranks[key] += own[key].seconds
        for need in needs[key]:
            ranks[need] = max(ranks[need], ranks[key])
    return ranks


def estimate(spec: TrialSpec, stage: str | None) -> float:
    """Seconds by rule of thumb, from epochs, dimension, batch size and losses."""
    if stage is not None:
        return STAGES[stage].seconds(spec)
    if spec.arm in REFERENCES:
        return _SCORING[spec.arm]
    epochs = spec.student.epochs - (spec.student.stage1_epochs if spec.shares_stage1 else 0)
    return epochs * epoch_seconds(spec.student, spec.parts) + _SCORED


class Expected:
    """The estimate, times what tasks alike took against theirs: the median of those of equal stage, backbone and arm.

    Where none is alike, the median of the stage, then of all.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[object, ...], list[float]] = defaultdict(list)
        self._medians: dict[tuple[object, ...], float] = {}

    def learn_trial(self, told: Mapping[str, Any]) -> None:
        """Take what a complete trial tells by its attributes, of its shared stages and of what is its own."""
        spec = TrialSpec.model_validate_json(told["spec"])
        shared = {key.removeprefix(BUILT): value for key, value in told.items() if key.startswith(BUILT)}
        own = {key.removeprefix(SPENT): value for key, value in told.items() if key.startswith(SPENT)}
        for stage, seconds in shared.items():
            self.learn(spec, stage, seconds)
        self.learn(spec, None, sum(seconds for stage, seconds in own.items() if stage not in shared))

    def learn(self, spec: TrialSpec, stage: str | None, seconds: float) -> None:
        """Take what a task took; what is not known is not taken."""
        if math.isfinite(seconds) and (expected := estimate(spec, stage)) > 0:
            for kind in _kinds(spec, stage):
                self._found[kind].append(seconds / expected)
                self._medians.pop(kind, None)

    def knows(self, spec: TrialSpec, stage: str | None) -> bool:
        """Whether the seconds of a task that is alike were learnt."""
        return _kinds(spec, stage)[0] in self._found

    def __call__(self, spec: TrialSpec, stage: str | None) -> float:
        kind = next((kind for kind in _kinds(spec, stage) if kind in self._found), None)
        if kind is None:
            return estimate(spec, stage)
        if kind not in self._medians:
            self._medians[kind] = statistics.median(self._found[kind])
        return estimate(spec, stage) * self._medians[kind]


def _kinds(spec: TrialSpec, stage: str | None) -> tuple[tuple[object, ...], ...]:
    """What tasks have in common, from those that are alike to all."""
    alike = (spec.backbone, spec.arm) if stage is None else STAGES[stage].alike(spec)
    return (stage, *alike), (stage,), ()
