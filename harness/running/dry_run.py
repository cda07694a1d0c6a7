"""``--dry-run``: what a study would do and take, in a table; nothing is written."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import joblib
import psutil
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.console import duration, printable
from harness.data import TemporalGraph
from harness.design.cells import Run
from harness.engine.coordinator import Plans, foresee
from harness.engine.costs import Sizes, cost_of
from harness.engine.forecast import COORDINATOR_MIB, Forecast, programs
from harness.engine.rates import Rates
from harness.engine.task import Task
from harness.measurements.measure import cost_of_measurement, lacking
from harness.store.database.urls import safe, sqlite_file
from harness.store.known import Known, known_of
from harness.trial.cache import Cache
from harness.trial.provenance import environment
from harness.trial.shared.stage import STAGES
from harness.trial.stages import Context
from harness.vocabulary import arm_name, backbone_name, stage_name


class DryRun:
    """What a run would do: its forecast, and what the store knows of it.

    Raises:
        UserError: the store cannot be opened or read.
    """

    def __init__(
        self, run: Run, plans: Plans, graph: TemporalGraph, storage: str, artifacts: Path | None, context: Context
    ) -> None:
        self.run, self.plans, self.context, self.storage = run, plans, context, storage
        self.known = known_of(storage, artifacts, run, environment(context))
        rates, busy = Rates.read(context.cache_dir, context.device), programs()
        self.forecast = foresee(run, plans, context, self.known, Forecast(Sizes.of(graph), rates, busy))
        add_measurements(self.forecast, run, plans, self.known, context)

    @property
    def trials(self) -> list[Task]:
        """Those to run."""
        return [task for task in self.forecast.tasks if task.stage is None]

    @property
    def before(self) -> int:
        """How many trials of the run are complete."""
        done = self.known.values()
        planned = sum(spec.key() in done for spec in self.run.specs)
        return planned + sum(trial.user_attrs["cell"] in done for trial in self.known.searched())

    def seconds(self, jobs: int) -> float:
        """Seconds by so many workers."""
        return self.forecast.seconds(jobs, self.before + len(self.trials))

    def in_words(self, jobs: int) -> str:
        """The same for people."""
        return duration(self.seconds(jobs))

    def show(self, console: Console, jobs: int, cluster: bool, last_look: DryRun | None) -> None:
        """Print trials, stages, time, memory and disk; ``last_look`` is that of a study that may end before it."""
        name = f"{self.run.design.name} on {self.run.dataset}, preset {self.run.preset}"
        console.print(f"{escape(printable(name))}: nothing is run or written\n", highlight=False)
        console.print(self._tasks())
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        table.add_column()
        table.add_column(overflow="fold")  # a path is shown whole
        for about, text in self._totals(jobs, cluster, last_look):
            table.add_row(about, escape(printable(text)))
        console.print(table)

    def _tasks(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("trials")
        for name in ("there", "to do", "seconds each", "in all"):
            table.add_column(name, justify="right")
        done, rows = self.known.values(), dict[str, tuple[int, list[Task]]]()
        for spec in self.run.specs:
            name = self._row(spec.key(), spec.backbone, spec.arm)
            there, todo = rows.setdefault(name, (0, []))
            rows[name] = there + (spec.key() in done), todo
        for number, phase in enumerate(self.forecast.phases):
            for task in (task for task in phase if task.stage is None):
                name = self._row(task.id, task.spec.backbone, task.spec.arm, confirms=number > 0)
                rows.setdefault(name, (0, []))[1].append(task)
        for name, (there, todo) in rows.items():
            self._add(table, name, there, todo)
        table.add_row("")
        table.add_row("stages, each made once")
        made, used = Counter(task.stage for task in self.forecast.tasks), dict[str, set[str]]()
        for plan in self.plans.values():
            for stage, key in plan.keys.items():
                used.setdefault(stage, set()).add(key)
        cache, missing = Cache(self.context.cache_dir), {task.id for task in self.forecast.tasks}
        for stage in STAGES:
            if stage in used or made[stage]:
                todo = [task for task in self.forecast.tasks if task.stage == stage]
                cached = [key for key in used.get(stage, set()) - missing if cache.path(stage, key).exists()]
                self._add(table, stage_name(stage), len(cached), todo)
        if self.forecast.alone:
            seconds = sum(self.forecast.rates.of(cost).seconds for cost in self.forecast.alone)
            table.add_row("")
            table.add_row("measurements", "", f"{len(self.forecast.alone)}", "", f"{seconds:.0f}")
        table.add_row("")
        return table

    def _row(self, key: str, backbone: str, arm: str, *, confirms: bool = False) -> str:
        """The name of a row: an arm, or what a search or confirmation runs are."""
        is_planned = key in self.run.factors
        name = arm_name(self.run.factors[key]["arm"] if is_planned else arm)
        kind = ", confirmation runs" if confirms else "" if is_planned else ", search"
        return f"{backbone_name(backbone)}: {name}{kind}"

    def _add(self, table: Table, name: str, there: int, todo: list[Task]) -> None:
        seconds = sum(self.forecast.cost(task).seconds for task in todo)
        rough = "" if self.forecast.is_measured(todo) else "about "
        cells = (f"{rough}{seconds / len(todo):.1f}", f"{seconds:.0f}") if todo else ("", "")
        table.add_row(f"  {escape(printable(name))}", str(there), str(len(todo)), *cells)

    def _totals(self, jobs: int, cluster: bool, last_look: DryRun | None) -> Iterable[tuple[str, str]]:
        forecast, most = self.forecast, "at most " if self.run.search is not None else ""
        if not forecast.tasks and not forecast.alone:
            yield "time", f"all trials are complete: {self.in_words(1)} for the report"
            return
        counts = sorted({1, 2, 4, 8, 16, jobs} if cluster else {1, 2, 4, jobs})
        others = [count for count in counts if cluster or (count != jobs and count <= max(joblib.cpu_count(), jobs))]
        times = [] if cluster else [f"{most}{self.in_words(jobs)} by {jobs} worker{'s' * (jobs > 1)}"]
        times += [f"{self.in_words(count)} by {count}" for count in others]
        yield "time", "; ".join(times)
        if last_look is not None:
            trials = f"{last_look.run.seeds} seeds, {len(last_look.trials)} trials"
            yield "", f"that is the first look, {self.run.seeds} seeds; at most {last_look.in_words(jobs)} ({trials})"
        if forecast.slower(jobs) > 1.05:
            yield (
                "",
                (
                    f"{forecast.busy:.1f} other programs use the {joblib.cpu_count()} cores now; without them "
                    f"{duration(self.seconds(jobs) / forecast.slower(jobs))}"
                ),
            )
        if (price := forecast.teachers()) is not None:
            yield "teachers", price
        each = max((forecast.cost(task).mib for task in forecast.tasks), default=0.0)
        running = min(jobs, len(forecast.tasks))
        every, free = COORDINATOR_MIB + each * running, psutil.virtual_memory().available / 2**20
        if each:
            short = "" if every < free else ": too little, give fewer --jobs"
            yield "memory", f"{_size(each)} a worker, {_size(every)} in all; {_size(free)} free{short}"
        costs = [cost_of(task, forecast.sizes) for task in forecast.tasks]
        file, cache = sqlite_file(self.storage), self.context.cache_dir
        for where, path, size in (
            (f"the cache, {cache}", cache, sum(cost.cache for cost in costs)),
            (f"the store, {safe(self.storage)}", file and file.absolute(), sum(cost.store for cost in costs)),
        ):
            left = "" if path is None else f"; {_size(_free(path))} free"
            yield "disk", f"{_size(size)} in {where}{left}"
        if forecast.rates.note:
            yield "rates", f"{forecast.rates.note}: left aside"
        if not forecast.is_measured(forecast.tasks):
            yield "rates", "'about' marks what was never run on this machine: expect a factor of two"


def add_measurements(forecast: Forecast, run: Run, plans: Plans, known: Known, context: Context) -> None:
    """Add what a run measures beside its trials, when all of these are complete."""
    if run.design.measured(run.preset):
        for measurement in lacking(run, plans, {spec.key() for spec in run.specs}, known.measured, context):
            forecast.alone.append(cost_of_measurement(measurement, forecast.sizes))


def _size(mib: float) -> str:
    return f"{mib / 1024:.1f} GiB" if mib >= 1000 else f"{mib:.0f} MiB" if mib >= 10 else f"{mib:.1f} MiB"


def _free(path: Path) -> float:
    """MiB that are free where a path lies or would lie."""
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    return shutil.disk_usage(there).free / 2**20
