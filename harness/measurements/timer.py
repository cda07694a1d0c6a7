"""Timing: ways of doing one thing that take turns, and the speed of a training loop."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from harness.distill.passes.sampled import Candidates
from harness.distill.training.objective import Objective
from harness.models import Backbone
from harness.models.batch import QueryTensors

T = TypeVar("T")
#: what a measurement yields: JSON values by name, a row a thing that was measured
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Measured:
    """What one way measured: a median, and the seconds that its first call took longer than the later ones."""

    value: float
    warm_up: float


def alternate(ways: Mapping[T, Callable[[], float]], rounds: int) -> dict[T, Measured]:
    """Call the ways in turns (A B A B ...), so that what else the machine does meets all of them.

    The first call of each, which compiles and fills allocators, does not count.

    Args:
        ways: functions that measure once and return a positive figure, such as queries a second.
        rounds: calls of each that count; the median of what they return is its value.
    """
    figures: dict[T, list[float]] = {name: [] for name in ways}
    seconds: dict[T, list[float]] = {name: [] for name in ways}
    for _ in range(1 + rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            figures[name].append(way())
            seconds[name].append(time.perf_counter() - started)
    return {
        name: Measured(
            statistics.median(figures[name][1:]), max(0.0, seconds[name][0] - statistics.median(seconds[name][1:]))
        )
        for name in ways
    }


def rate(units: int, work: Callable[[], object]) -> Callable[[], float]:
    """A way for ``alternate``: ``units`` a second of ``work``."""

    def once() -> float:
        started = time.perf_counter()
        work()
        return units / (time.perf_counter() - started)

    return once


def fastest(ways: Mapping[T, Callable[[], float]]) -> T:
    """The name of the way with the highest figure, of two calls in turns."""
    measured = alternate(ways, rounds=2)
    return max(measured, key=lambda name: measured[name].value)


class TimeIsUpError(Exception):
    """Raised by ``Clock.tick`` to leave a training loop."""


class Clock:
    """Counts the queries a second of a training loop from its second step on, and leaves the loop after a while.

    The first step makes the state of the optimiser, and compiles. The loop is left after ``seconds`` and at least one
    step that counts, or after so many that count.
    """

    def __init__(self, seconds: float = math.inf, steps: float = math.inf) -> None:
        self.seconds, self.steps = seconds, steps
        self._stamps: list[float] = []
        self._queries: list[int] = []

    def tick(self, queries: int) -> None:
        """To be called once a step, always at the same point of it.

        Raises:
            TimeIsUpError: the loop is to be left.
        """
        self._stamps.append(time.perf_counter())
        self._queries.append(queries)
        counted = len(self._stamps) - 2
        if counted >= self.steps or (counted > 0 and self._stamps[-1] - self._stamps[1] >= self.seconds):
            raise TimeIsUpError

    def ticking(self, objective: Objective) -> Objective:
        """The objective, which ticks at the end of each call."""

        def both(
            model: Backbone, batch: QueryTensors, index: Tensor, candidates: Candidates | None
        ) -> dict[str, Tensor]:
            terms = objective(model, batch, index, candidates)
            self.tick(len(batch))
            return terms

        return both

    @property
    def rate(self) -> float:
        """Queries a second."""
        return sum(self._queries[2:]) / (self._stamps[-1] - self._stamps[1])
