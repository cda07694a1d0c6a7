"""Workers that sleep and make their results up, for a simulated study; see ``simulate``."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.data import TemporalGraph
from harness.engine.task import Outcome, Progress, Task
from harness.evaluate import metrics_by_direction
from harness.trial.run import TrialResult

#: results that trials take in turns, and the epochs of their curves
RESULTS, EPOCHS = 64, 16
#: spread of what a trial takes: the standard deviation of the logarithm of its seconds
SPREAD = 0.5


class Results:
    """Made-up results: a rank for each query of the test split, metrics that are those of the ranks, and a curve."""

    def __init__(self, graph: TemporalGraph) -> None:
        rng, facts = np.random.default_rng(0), len(graph.test)
        queries: dict[str, Any] = {"query": np.arange(2 * facts), "direction": np.repeat([0, 1], facts).astype(np.int8)}
        queries["relation"] = np.tile(graph.test.relation, 2).astype(np.int32)
        self.made = [self._result(graph, queries, rng) for _ in range(RESULTS)]

    @staticmethod
    def _result(graph: TemporalGraph, queries: dict[str, Any], rng: np.random.Generator) -> TrialResult:
        # half of the answers among the first few, as of a student; ties at their mean rank
        ranks = np.floor(2 * np.exp(rng.exponential(1.5, len(queries["query"])))) / 2
        ranks = np.minimum(ranks, len(graph.entities))
        metrics = metrics_by_direction(ranks)
        curve = [
            {"stage": 1 + (epoch > 8), "epoch": epoch, "updates": 80 * epoch, "loss": 9 / epoch}
            | {"seconds": 0.9 * epoch, "valid_mrr": metrics["mrr"] * (1 - math.exp(-epoch / 4))}
            for epoch in range(1, EPOCHS + 1)
        ]
        return TrialResult(
            data_digest=graph.digest,
            metrics={f"valid_{name}": value * 1.01 for name, value in metrics.items()}
            | {f"test_{name}": value for name, value in metrics.items()},
            ranks={**queries, "rank": ranks},
            curve=curve,
            seconds={"data": 0.001, "stage2": 7.2, "evaluate": 0.2},
            peak_mib={"stage2": 600.0, "evaluate": 610.0},
            built_seconds={"teacher": 60.0, "targets": 1.0, "teacher-vectors": 0.6, "stage1": 6.0},
            updates=80 * EPOCHS,
            best_epoch=EPOCHS,
        )

    def of(self, task: Task) -> TrialResult:
        return self.made[int(task.id, 16) % RESULTS]


@dataclass
class Sleepers:
    """Workers that sleep for a sampled time, all in one thread, and then have a result."""

    slots: int
    median: float
    results: Results
    #: when the first task came
    first: float = math.nan
    _due: list[tuple[float, int, Future[list[Outcome]], list[Outcome]]] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self._rng, self._count = np.random.default_rng(1), itertools.count()
        threading.Thread(target=self._wake, daemon=True).start()

    def submit(self, tasks: Sequence[Task]) -> Future[list[Outcome]]:
        now, future = time.perf_counter(), Future[list[Outcome]]()
        self.first = now if math.isnan(self.first) else self.first
        due = now + self.median * math.exp(self._rng.normal(0, SPREAD))
        outcomes = [Outcome(self.results.of(task) if task.stage is None else None, due - now) for task in tasks]
        with self._changed:
            heapq.heappush(self._due, (due, next(self._count), future, outcomes))
            self._changed.notify()
        return future

    def _wake(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._due))
                self._changed.wait(max(0.0, self._due[0][0] - time.perf_counter()))
                over = []
                while self._due and self._due[0][0] <= time.perf_counter():
                    over.append(heapq.heappop(self._due))
            for _, _, future, outcomes in over:
                future.set_result(outcomes)

    def progress(self, task: Task) -> Progress | None:
        return None

    def forget(self, task: Task) -> None: ...

    def lost_all(self, error: BaseException) -> bool:
        return False

    def close(self) -> None: ...
