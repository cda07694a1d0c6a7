"""A study from its options to its report: what the commands of `harness.study` do, apart since it needs the engine."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from harness import console as cli
from harness.console import printable
from harness.data import suspicions
from harness.design import files
from harness.design.cells import Run, plan
from harness.design.schema import Design
from harness.design.settings import parse_changes
from harness.engine.coordinator import (
    Plans,
    Tally,
    default_jobs,
    default_stack,
    execute,
    plans,
    refuse_too_many_classes,
)
from harness.engine.costs import Sizes
from harness.engine.forecast import STARTING, Forecast, coordination, error_line, programs
from harness.engine.rates import Rates, Seen
from harness.errors import UserError, nearest
from harness.measurements.measure import measure
from harness.models import BACKBONES
from harness.registry import Plugin
from harness.report import report_of_cells, standing
from harness.reporting.designs import Stored
from harness.reporting.output.typst import staging
from harness.running.dry_run import DryRun, add_measurements
from harness.stats.sequential import LOOKS
from harness.store import frames
from harness.store.database.urls import safe
from harness.store.known import Known
from harness.store.store import Store
from harness.store.study import known_as, measured
from harness.trial.cache import default_root
from harness.trial.inputs import graph_of, named
from harness.trial.provenance import device_of
from harness.trial.stages import Context

if TYPE_CHECKING:
    from harness.study import Options


def run(design: Design, options: Options, plugins: tuple[Plugin, ...], command: str) -> Path | None:
    """Run what is missing of a design, print the table, write the report; see `harness.study.run_study`."""
    if options.cluster is not None and options.jobs is not None:
        raise UserError("--jobs: with --cluster the cluster's workers do the work, as many as there are; leave one out")
    console, watch = Console(emoji=False), Watch()
    teacher = [] if options.teacher_backbone is None else [f"teacher.backbone={options.teacher_backbone}"]
    changes = parse_changes([*(options.changes or []), *teacher])
    backbones = _backbones(options.backbone, design)
    design.preset(options.preset)
    device = device_of(options.device)
    graph, (dataset, place) = graph_of(options.dataset, options.data_dir), named(options.dataset, options.data_dir)
    looks = _looks(options, design)

    def planned_with(seeds: int | None) -> Run:
        chosen = plan(
            design,
            dataset=dataset,
            data_digest=graph.digest,
            backbones=backbones,
            preset=options.preset,
            seeds=seeds,
            arms=[arm.strip() for arm in options.arms.split(",")] if options.arms else [],
            changes=changes,
            trials=options.tune,
        )
        return replace(chosen, looks=looks)

    planned = planned_with(looks[0] if looks else options.seeds)
    for one in suspicions.refuse(graph, options.accept or (), language=planned.reads_names):
        text = escape(printable(f"{one.kind}: {one.text}"))
        console.print(f"[yellow]warning[/] {text}", highlight=False, soft_wrap=True)
    refuse_too_many_classes(planned.specs, graph)
    stages = plans(planned.specs, graph.digest, device)  # before anything is written: weights may be missing
    cache, stack = (options.cache_dir or default_root()).resolve(), options.stack or default_stack(device)
    data_dir = options.data_dir and options.data_dir.resolve()
    context = Context(cache, data_dir, device, stack, plugins=plugins, folder=place)
    jobs = options.jobs or default_jobs(device)

    def dry(run: Run, its_plans: Plans) -> DryRun:
        return DryRun(run, its_plans, graph, options.storage, options.artifacts, context)

    if options.dry_run:
        now, most = dry(planned, stages), planned_with(looks[-1]) if looks else None
        at_most = None if most is None else dry(most, plans(most.specs, graph.digest, device))
        now.show(cli.console(), jobs, options.cluster is not None, at_most)
        return None
    check_folder(_folder(options, planned))
    store = Store(options.storage, options.artifacts)
    planned = known_as(store, planned)
    rates, sizes = Rates.read(context.cache_dir, device), Sizes.of(graph)
    if rates.note:
        console.print(f"[yellow]warning[/] {escape(printable(rates.note))}: left aside", highlight=False)

    def execute_trials() -> Tally:
        forecast = Forecast(sizes, rates, programs())
        there = store.studies().get(planned.study_name)
        known = Known(measured={} if there is None else measured(there.user_attrs))
        add_measurements(forecast, planned, stages, known, context)
        tally = execute(
            planned, stages, graph, store, context, jobs, command, console, options.cluster, forecast=forecast
        )
        watch.add(forecast, tally)
        if not tally.added and not tally.failed:
            console.print(f"all {len(tally.keys)} trials were complete already")
        if tally.failed == len(tally.keys):
            raise UserError(f"all {tally.failed} trials failed, the first with: {tally.reason}")
        return tally

    def load() -> Stored:
        where = (options.storage, design.name, planned.dataset, options.artifacts, planned.study_name)
        return frames.load(*where, store.retry_timeout)

    try:
        tally = execute_trials()
        for look, seeds in enumerate(looks[1:], 1):
            state = standing(design, load(), planned.study_name, tally.keys)
            console.print(f"look {look} of {len(looks)}, {looks[look - 1]} seeds: {state}", highlight=False)
            if not state.open:
                break
            planned = known_as(store, planned_with(seeds))
            stages = plans(planned.specs, graph.digest, device)
            tally = execute_trials()
        if design.measured(options.preset):
            with store.errors_for_users():
                watch.seen += measure(planned, stages, graph, store, context, command, console)
    except KeyboardInterrupt:
        console.print("interrupted; what is complete is kept, and the same command goes on from there")
        raise

    path = report_of_cells(design, load(), _folder(options, planned), planned.study_name, tally.keys, console)
    dashboard = ["optuna-dashboard", safe(options.storage), "--artifact-dir", str(store.artifacts)]
    if options.cluster is None:  # whose machines are others
        if (line := watch.line(jobs, len(tally.keys), at_most=planned.search is not None)) is not None:
            console.print(line, highlight=False)
        rates.write(context.cache_dir, watch.all_seen(len(tally.keys)))
    for line in (f"dashboard: {shlex.join(dashboard)}", f"next: {_next(design, options, tally, planned, command)}"):
        console.print(line, markup=False, soft_wrap=True, highlight=False)
    return path


class Watch:
    """The clock of a run beside its forecasts, one for each look."""

    #: seconds from which on the forecast of a run is shown beside what it took
    SHOWN = 60.0

    def __init__(self) -> None:
        self.began, self.began_working = time.perf_counter(), time.process_time()
        self.forecasts: list[Forecast] = []
        self.tallies: list[Tally] = []
        self.seen: list[Seen] = []

    def add(self, forecast: Forecast, tally: Tally) -> None:
        """Take what a look was expected to take, and how it went."""
        self.forecasts.append(forecast)
        self.tallies.append(tally)
        self.seen += tally.seen

    def all_seen(self, trials: int) -> list[Seen]:
        """What was seen of tasks, measurements and the coordinator of a study of so many trials."""
        waited = sum(tally.waiting for tally in self.tallies)
        return [*self.seen, Seen(coordination(trials), time.process_time() - self.began_working - waited, 1.0)]

    def line(self, jobs: int, trials: int, *, at_most: bool) -> str | None:
        """Forecast, time and error in a line; None for a short run."""
        took = time.perf_counter() - self.began
        if took < self.SHOWN:
            return None
        busy = sum(tally.busy for tally in self.tallies)
        seen = (seen for tally in self.tallies for seen in tally.seen if seen.cost is not STARTING)
        worked = sum(task.seconds for task in seen)
        expected = sum(forecast.seconds(jobs, trials) for forecast in self.forecasts)
        return error_line(expected, took, min(worked / busy, 1.0) if busy else 1.0, at_most)


def _next(design: Design, options: Options, tally: Tally, planned: Run, command: str) -> str:
    """What to do after a study, in a line."""
    shown = design.name if design.name in files.files() else f"{design.name} from its file"
    where = shlex.join([design.name, "--dataset", options.dataset])
    if options.storage != type(options).storage:
        where += f" --storage {shlex.quote(safe(options.storage))}"
    if tally.failed:
        listed = f"{cli.tool(command, 'results')} show {where}"
        return f"{tally.failed} trials failed; '{listed}' lists them, and the same command tries them again"
    if planned.seeds < 3:
        return f"study {shown} again with --seeds 3: what is complete is kept, and differences need seeds"
    return f"'{cli.tool(command, 'student')} export --study {where} -o my.student' keeps the best student as a file"


def _looks(options: Options, design: Design) -> tuple[int, ...]:
    """The numbers of seeds at which a run stops to see whether it is decided; empty: it does not."""
    if options.decide and options.seeds is not None:
        raise UserError("--seeds: with --decide the study takes as many as it needs; leave one out")
    looks = (design.decide or LOOKS) if options.decide else design.decide if options.seeds is None else ()
    if looks and (design.report != "comparison" or design.search or design.grid):
        raise UserError(f"--decide: study {design.name!r} is no comparison of arms alone; give it --seeds")
    return looks


def _folder(options: Options, planned: Run) -> Path:
    return options.output or Path("reports", "output", f"{planned.design.name}-{planned.dataset}")


def _backbones(name: str | None, design: Design) -> list[str]:
    backbones = [*design.backbones] if name == "all" else [name or design.backbone]
    if unknown := [backbone for backbone in backbones if backbone not in BACKBONES]:
        raise UserError(f"unknown backbone {unknown[0]!r}: {nearest(unknown[0], [*BACKBONES, 'all'])}")
    return backbones


def check_folder(folder: Path) -> None:
    """Refuse an output folder that cannot be written before hours are spent; leave no new one behind.

    Raises:
        UserError: it is not writable.
    """
    made = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    with staging(folder):
        pass
    with contextlib.suppress(OSError):
        for path in made:
            path.rmdir()
