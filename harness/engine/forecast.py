"""What a run will take: its tasks at this machine's rates, done by as many workers in the scheduler's order."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import psutil

from harness.console import duration
from harness.engine.costs import Cost, Sizes, cost_of
from harness.engine.rates import Rates
from harness.engine.scheduler import chain_lengths
from harness.engine.task import Task

#: what is no task: the start of a worker, and what the coordinator does beside its workers, the report included
STARTING = Cost("start of a worker", "", (), "", 5.0)
#: seconds of the coordinator for a run, and for each of its trials
COORDINATOR, A_TRIAL = 6.0, 0.02
#: MiB that a coordinator holds
COORDINATOR_MIB = 700.0
#: stages of the structural teacher, done once for all its students
OF_TEACHERS = ("teacher", "targets", "teacher-vectors")
#: how often it is looked how many programs run, and seconds between
LOOKS, BETWEEN = 5, 0.02


@dataclass
class Forecast:
    """The costs of tasks here, by phases: a phase begins when all tasks of the one before have ended."""

    sizes: Sizes
    rates: Rates
    #: programs that used the cores beside this one when the forecast was made
    busy: float = 0.0
    phases: list[list[Task]] = field(default_factory=list)
    #: costs of what follows the trials, one at a time, each in a process of its own
    alone: list[Cost] = field(default_factory=list)

    def cost(self, task: Task) -> Cost:
        """What a task costs here."""
        return self.rates.of(cost_of(task, self.sizes))

    @property
    def tasks(self) -> list[Task]:
        """Those of all phases."""
        return [task for phase in self.phases for task in phase]

    def seconds(self, jobs: int, trials: int) -> float:
        """Seconds from the start to the report of a study of so many ``trials``, complete ones included."""
        start, working = self.rates.of(STARTING).seconds, 0.0
        serial = self.rates.of(coordination(trials)).seconds
        serial += sum(start + self.rates.of(cost).seconds for cost in self.alone)
        for phase in self.phases:
            if phase:
                took = {task.id: self.cost(task).seconds for task in phase}
                working += start + makespan(phase, took, jobs)
                start = 0.0
        return working * self.slower(jobs) + serial * self.slower(1)

    def slower(self, running: int) -> float:
        """How much longer processes take since there are not cores enough for all that run.

        Linux shares cores by weights that fall by a factor of 1.25 with each step of niceness; other programs count as
        of niceness 0, and none gets more than it asks for.
        """
        if self.rates.device != "cpu":
            return 1.0
        cores, weight = int(joblib.cpu_count()), float(1.25 ** -os.nice(0))
        left = cores - self.busy
        shared = (self.busy + running * weight) / (cores * weight)
        return max(1.0, min(shared, running / left) if left > 0 else shared)

    def teachers(self) -> str | None:
        """What a structural teacher for each seed costs, in words; None where there is none to train."""
        made = [task for task in self.tasks if task.stage in OF_TEACHERS and task.spec.has_teacher_a_seed]
        number = sum(task.stage == "teacher" for task in made)
        if not number:
            return None
        theirs, whole = (sum(self.cost(task).seconds for task in tasks) for tasks in (made, self.tasks))
        return f"{number} to train, one a seed: with their targets {100 * theirs / whole:.0f} % of the work"

    def is_measured(self, tasks: Iterable[Task]) -> bool:
        """Whether tasks of all these kinds, with the same backbone or language model, were seen on this machine."""
        costs = (cost_of(task, self.sizes) for task in tasks)
        return all((rate := self.rates.nearest(cost)) is not None and rate.method == cost.method for cost in costs)


def coordination(trials: int) -> Cost:
    """What the coordinator of a study does beside its workers, the report included."""
    return Cost("coordinator", "", (), "", COORDINATOR + A_TRIAL * trials)


def makespan(tasks: Collection[Task], seconds: Mapping[str, float], jobs: int) -> float:
    """Seconds until all tasks are done by ``jobs`` workers: list scheduling, the longest chain first.

    Students that train side by side count as one after another, each with its share of the stack's seconds.
    """
    ids, ranks = {task.id for task in tasks}, chain_lengths(tasks)
    missing = {task.id: {*task.needs} & ids for task in tasks}
    waiting: dict[str, list[str]] = {}
    for name, needs in missing.items():
        for need in needs:
            waiting.setdefault(need, []).append(name)
    order = {task.id: number for number, task in enumerate(tasks)}
    ready = [(-ranks[name], order[name], name) for name, needs in missing.items() if not needs]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < jobs:
            *_, name = heapq.heappop(ready)
            heapq.heappush(running, (now + seconds[name], name))
        now, done = heapq.heappop(running)
        for name in waiting.get(done, ()):
            missing[name].discard(done)
            if not missing[name]:
                heapq.heappush(ready, (-ranks[name], order[name], name))
    return now


def programs() -> float:
    """How many programs use a core now, beside this one: a mean over a tenth of a second."""
    looks = []
    for _ in range(LOOKS):
        try:
            lines = Path("/proc/stat").read_text("ascii").splitlines()
            looks.append(next(int(line.split()[1]) for line in lines if line.startswith("procs_running")) - 1)
        except (OSError, StopIteration, ValueError):  # another system: cores that are in use
            return float(psutil.cpu_percent(LOOKS * BETWEEN)) / 100 * (os.cpu_count() or 1)
        time.sleep(BETWEEN)
    return sum(looks) / len(looks)


def error_line(forecast: float, took: float, share: float, at_most: bool) -> str:
    """How long a run took beside its forecast, in a line; ``share`` of a core is what a worker had of it."""
    most = "at most " if at_most else ""
    line = f"forecast {most}{duration(forecast)}, took {duration(took)} ({round(100 * (took / forecast - 1)):+d} %)"
    return line.replace("-", "−") + (f"; workers had {100 * share:.0f} % of a core" if share < 0.9 else "")
