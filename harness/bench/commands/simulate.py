"""``simulate``: a study of many trials that do nothing, through the real coordinator, store, report and dashboard."""

from __future__ import annotations

import json
import math
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import typer

from harness.bench.common import DataDir, Dataset, JsonFile, Row, app, open_stages, save, show
from harness.errors import UserError
from harness.vocabulary import BLACK, BLUE, GREEN, ORANGE, VERMILION

if TYPE_CHECKING:
    from harness.data import TemporalGraph
    from harness.design.cells import Run
    from harness.store.store import Store

#: the study whose trials are simulated, with as many seeds as it takes
STUDY = "grid"


@dataclass(frozen=True)
class Place:
    """Where a simulated study is, and how large."""

    trials: int
    jobs: int
    seconds: float
    dataset: str
    data_dir: Path | None
    url: str
    artifacts: Path
    folder: Path


@app.command()
def simulate(
    trials: Annotated[list[int] | None, typer.Option(min=2, help="How many; may be given again. [100, 1000]")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Simulated workers.")] = 64,
    seconds: Annotated[float, typer.Option(min=0.0, help="Median of what a trial takes.")] = 0.05,
    missing: Annotated[int, typer.Option(min=1, help="Trials that are missing when a study is resumed.")] = 100,
    dataset: Dataset = "lahman",
    data_dir: DataDir = None,
    storage: Annotated[str | None, typer.Option(help="An empty store; default: a new SQLite file a size.")] = None,
    picture: Annotated[Path | None, typer.Option("--figure", help="Draw the figures here: .pdf and .png.")] = None,
    file: JsonFile = None,
) -> None:
    """How coordinator, store, report and dashboard grow with the number of trials.

    Trials of study grid, with as many whole seeds as it takes, whose workers sleep (lognormal) and return made-up
    metrics, a curve, and a rank for each test query of the data set. All else is real: the coordinator, its display,
    the store with its artifacts, the report, optuna-dashboard. Each step runs in a process of its own, whose peak
    memory is told; imports do not count, nor does reading the data. With so many workers it is the coordinator that
    limits trials a second.
    """
    sizes = trials or [100, 1000]
    if storage is not None and len(sizes) > 1:
        raise UserError("--storage: holds one simulated study; give --trials once")
    stages = open_stages(dataset, "ttranse", data_dir, 1)
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="harness-simulate-") as name:
            folder = Path(name)
            url = storage or f"sqlite:///{folder / 'harness.db'}"
            place = Place(size, jobs, seconds, dataset, data_dir, url, folder / "artifacts", folder)
            rows.append(_measured(place, min(missing, size // 2)))
    columns = {
        "trials": "trials",
        "per_second": "trials/s",
        "wall_ms": "ms a trial",
        "last_ms": "of the last tenth",
        "cpu_ms": "of the processor",
        "peak_mib": "its peak, MiB",
        "resume_seconds": "s to resume, all there",
        "resume_peak_mib": "its peak, MiB",
        "missing_seconds": "s to the first task, some missing",
        "store_kib": "store, KiB a trial",
        "artifacts_kib": "artifacts, KiB a trial",
        "report_seconds": "s to report",
        "frames_seconds": "of them reading",
        "report_peak_mib": "its peak, MiB",
        "dashboard_seconds": "s, dashboard's first answer",
        "dashboard_again_seconds": "its second",
        "dashboard_peak_mib": "its peak, MiB",
    }
    show(f"simulated {STUDY} on {dataset}, {jobs} workers, {seconds} s a trial", columns, rows)
    if picture is not None:
        draw(rows, picture.with_suffix(""))
    save(file, "simulate", stages, 1, jobs=jobs, seconds=seconds, study=STUDY, rows=rows)


def _measured(place: Place, missing: int) -> dict[str, Any]:
    """The row of a size. The study is first run without some of its trials, then resumed twice."""
    from harness.engine.local_workers import in_a_fresh_process

    first = in_a_fresh_process(_run, place, missing, True)
    some, none = (in_a_fresh_process(_run, place, 0, False) for _ in range(2))
    row = first | {"missing": missing}
    row |= {"missing_seconds": some["first_task"], "resume_seconds": none["seconds"]}
    row |= {"trials": none["trials"], "resume_peak_mib": none["peak_mib"], **_sizes(place, none["trials"])}
    return row | in_a_fresh_process(_report, place) | in_a_fresh_process(_dashboard, place)


def _planned(place: Place, missing: int) -> tuple[Run, TemporalGraph]:
    """The study without its last trials, in whole seeds."""
    from harness.design import cells
    from harness.design import files as design
    from harness.trial.inputs import graph_of

    # without winners that are trained anew: all its trials are known from the start
    graph, chosen = graph_of(place.dataset, place.data_dir), design.load(STUDY).model_copy(update={"confirm": 0})
    options: dict[str, Any] = {"dataset": place.dataset, "data_digest": graph.digest, "backbones": ["ttranse"]}
    a_seed = len(cells.plan(chosen, **options, preset="default", seeds=1).specs)
    run = cells.plan(chosen, **options, preset="default", seeds=math.ceil(place.trials / a_seed))
    return replace(run, specs=run.specs[: len(run.specs) - missing]), graph


def _run(place: Place, missing: int, fresh: bool) -> dict[str, Any]:
    """Bring the trials of the study into the store, but for the last ones; what that took."""
    from rich.console import Console

    from harness.bench.sleepers import Results, Sleepers
    from harness.engine import coordinator as execute
    from harness.store.store import Store
    from harness.trial.run import peak_memory
    from harness.trial.stages import Context

    results = Results(_planned(place, 0)[1])
    workers = Sleepers(place.jobs, place.seconds, results)
    with closing(Store(place.url, place.artifacts)) as store, Path(os.devnull).open("w") as nowhere:
        if fresh and store.storage.get_all_studies():
            raise UserError("--storage: holds studies, with which simulated trials would mix; name an empty store")
        began, began_cpu = time.perf_counter(), time.thread_time()
        run, graph = _planned(place, missing)
        plans = execute.plans(run.specs, graph.digest, "cpu")
        context = Context(place.folder / "cache")
        tally = execute.execute(
            run, plans, graph, store, context, 1, "simulated", Console(file=nowhere), workers=workers
        )
        seconds, cpu, peak = time.perf_counter() - began, time.thread_time() - began_cpu, peak_memory()
        ends = sorted(trial.datetime_complete for trial in _trials(store, run) if trial.datetime_complete is not None)
    assert tally.before + tally.added == len(ends) == len(run.specs)
    tenth = max(1, len(ends) // 10)
    last = (ends[-1] - ends[-1 - tenth]).total_seconds()
    return {
        "trials": len(run.specs),
        "seconds": seconds,
        "first_task": workers.first - began,
        "per_second": tally.added / seconds,
        "wall_ms": 1e3 * seconds / max(tally.added, 1),
        "last_ms": 1e3 * last / tenth,
        "cpu_ms": 1e3 * cpu / max(tally.added, 1),
        "peak_mib": peak,
    }


def _trials(store: Store, run: Run) -> Sequence[Any]:
    from harness.store.study import parts_of

    return [trial for part in parts_of(store.storage, run.study_name) for trial in part.get_trials(deepcopy=False)]


def _sizes(place: Place, trials: int) -> dict[str, float]:
    """KiB a trial of the database and of the artifacts."""
    import sqlalchemy

    from harness.store.database.urls import sqlite_file

    if (path := sqlite_file(place.url)) is not None:
        size = path.stat().st_size
    else:
        engine = sqlalchemy.create_engine(place.url)
        with engine.connect() as connection:
            size = connection.execute(sqlalchemy.text("SELECT pg_database_size(current_database())")).scalar_one()
        engine.dispose()
    files = sum(path.stat().st_size for path in place.artifacts.iterdir())
    return {"store_kib": size / 2**10 / trials, "artifacts_kib": files / 2**10 / trials}


def _report(place: Place) -> dict[str, float]:
    """Seconds and peak memory of the study's report."""
    from harness import report
    from harness.reporting.designs import frames_of
    from harness.reporting.kinds import kind_of
    from harness.store import frames
    from harness.trial.run import peak_memory

    began = time.perf_counter()
    stored = frames.load(place.url, STUDY, place.dataset, place.artifacts)
    read = time.perf_counter() - began
    result = frames_of(report.layout_of(STUDY), stored, report.importance)
    kind_of(result.layout.report, result.trials).report(result, place.folder / "report")
    seconds = time.perf_counter() - began
    return {"report_seconds": seconds, "frames_seconds": read, "report_peak_mib": peak_memory()}


def _dashboard(place: Place) -> dict[str, float]:
    """Seconds of optuna-dashboard to list studies, and to answer with all trials: first, and once it has them."""
    from optuna.artifacts import FileSystemArtifactStore
    from optuna_dashboard import wsgi

    from harness.store.store import Store
    from harness.trial.run import peak_memory

    with closing(Store(place.url, place.artifacts, create=False)) as store:
        application = wsgi(store.storage, artifact_store=FileSystemArtifactStore(place.artifacts))
        with make_server("127.0.0.1", 0, application, handler_class=_Silent) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            listed, listing = _asked(server.server_port, "/api/studies")
            page = f"/api/studies/{listed['study_summaries'][0]['study_id']}?after=0"
            (page_content, first), (_, again) = _asked(server.server_port, page), _asked(server.server_port, page)
            server.shutdown()
    assert len(page_content["trials"]) >= place.trials
    seconds = {"dashboard_list_seconds": listing, "dashboard_seconds": first, "dashboard_again_seconds": again}
    return seconds | {"dashboard_peak_mib": peak_memory()}


class _Silent(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing: standard error is for the user."""


def _asked(port: int, path: str) -> tuple[dict[str, Any], float]:
    """What a server of this machine answers, and the seconds that it took."""
    began, connection = time.perf_counter(), HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    content = connection.getresponse().read()
    seconds = time.perf_counter() - began
    connection.close()
    return json.loads(content), seconds


def draw(rows: Sequence[Row], path: Path) -> None:
    """What grows with the number of trials, as ``path`` with the suffixes .pdf and .png."""
    from harness.reporting.output.figures import figure

    sizes = [row["trials"] for row in rows]
    panels = {
        "seconds": {
            "report": ("report_seconds", VERMILION),
            "resume": ("resume_seconds", BLUE),
            "dashboard": ("dashboard_seconds", ORANGE),
        },
        "ms a trial": {"processor": ("cpu_ms", BLACK), "wall, last tenth": ("last_ms", GREEN)},
        "peak memory, MiB": {
            "report": ("report_peak_mib", VERMILION),
            "coordinator, resumed": ("resume_peak_mib", BLACK),
            "dashboard": ("dashboard_peak_mib", ORANGE),
        },
    }
    with figure(path, 2.4, columns=len(panels)) as axes:
        for panel, (label, lines) in zip(axes, panels.items(), strict=True):
            for name, (key, color) in lines.items():
                panel.plot(sizes, [row.get(key, math.nan) for row in rows], "o-", color=color, label=name, markersize=3)
            panel.set(xscale="log", xlabel="trials", ylabel=label, yscale="log" if label == "seconds" else "linear")
            panel.set_xticks(sizes, labels=[f"{size:,}" for size in sizes])
            panel.minorticks_off()
            if label != "seconds":
                panel.set_ylim(bottom=0)
            panel.legend(frameon=False, fontsize=7)
