"""``simulate``: a study of many trials that do nothing, through the real coordinator, store, report and dashboard.

Each step runs in a process whose peak memory counts, so functions import what other steps do without.
"""

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
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import sqlalchemy
from rich.console import Console

from harness.bench.common import Row, show
from harness.bench.options import Simulate
from harness.bench.sleepers import Results, Sleepers
from harness.data import TemporalGraph
from harness.design import cells, files
from harness.design.cells import Run
from harness.engine import coordinator
from harness.engine.local_workers import in_a_fresh_process
from harness.errors import UserError
from harness.store.database.urls import sqlite_file
from harness.store.store import Store
from harness.store.study import parts_of
from harness.trial.inputs import graph_of
from harness.trial.run import peak_memory
from harness.trial.stages import Context
from harness.vocabulary import BLACK, BLUE, GREEN, ORANGE, VERMILION

#: the study whose trials are simulated, with as many seeds as it takes
STUDY = "grid"


@dataclass(frozen=True)
class Place:
    """Where a simulated study is, and how large."""

    trials: int
    options: Simulate
    url: str
    folder: Path

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"


def run(options: Simulate) -> dict[str, Any]:
    sizes = options.trials or [100, 1000]
    if options.storage is not None and len(sizes) > 1:
        raise UserError("--storage: holds one simulated study; give --trials once")
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="harness-simulate-") as folder:
            url = options.storage or f"sqlite:///{Path(folder) / 'harness.db'}"
            rows.append(_measured(Place(size, options, url, Path(folder)), min(options.missing, size // 2)))
    columns = {
        "trials": "trials",
        "per_second": "trials/s",
        "wall_ms": "ms a trial",
        "last_ms": "of the last tenth",
        "cpu_ms": "of the processor",
        "peak_mib": "its peak, MiB",
        "resume_seconds": "s to resume, all there",
        "resume_cpu_seconds": "of the processor",
        "resume_peak_mib": "its peak, MiB",
        "missing_seconds": "s to the first task, some missing",
        "store_kib": "store, KiB a trial",
        "artifacts_kib": "artifacts, KiB a trial",
        "report_seconds": "s to report",
        "frames_seconds": "of them reading",
        "report_cpu_seconds": "of the processor",
        "report_peak_mib": "its peak, MiB",
        "dashboard_seconds": "s, dashboard's first answer",
        "dashboard_again_seconds": "its second",
        "dashboard_peak_mib": "its peak, MiB",
    }
    title = f"simulated {STUDY} on {options.dataset}, {options.jobs} workers, {options.seconds} s a trial"
    show(title, columns, rows)
    if options.picture is not None:
        draw(rows, options.picture.with_suffix(""))
    return {"jobs": options.jobs, "seconds": options.seconds, "study": STUDY, "rows": rows}


def _measured(place: Place, missing: int) -> dict[str, Any]:
    """The row of a size. The study is first run without some of its trials, then resumed twice."""
    first = in_a_fresh_process(_run, place, missing, True)
    some, none = (in_a_fresh_process(_run, place, 0, False) for _ in range(2))
    row = first | {"missing": missing}
    row |= {"missing_seconds": some["first_task"]}
    row |= {"resume_seconds": none["seconds"], "resume_cpu_seconds": none["cpu_seconds"]}
    row |= {"trials": none["trials"], "resume_peak_mib": none["peak_mib"], **_sizes(place, none["trials"])}
    return row | in_a_fresh_process(_report, place) | in_a_fresh_process(_dashboard, place)


def _planned(place: Place, missing: int) -> tuple[Run, TemporalGraph]:
    """The study without its last trials, in complete seeds."""
    graph = graph_of(place.options.dataset, place.options.data_dir)
    design = files.load(STUDY).model_copy(update={"confirm": 0})  # all trials are known from the start
    about: dict[str, Any] = {"dataset": place.options.dataset, "data_digest": graph.digest, "backbones": ["ttranse"]}
    a_seed = len(cells.plan(design, **about, preset="default", seeds=1).specs)
    run = cells.plan(design, **about, preset="default", seeds=math.ceil(place.trials / a_seed))
    return replace(run, specs=run.specs[: len(run.specs) - missing]), graph


def _run(place: Place, missing: int, fresh: bool) -> dict[str, Any]:
    """Bring the trials of the study into the store, but for the last ones; what that took."""
    results = Results(_planned(place, 0)[1])
    workers = Sleepers(place.options.jobs, place.options.seconds, results)
    with closing(Store(place.url, place.artifacts)) as store, Path(os.devnull).open("w") as nowhere:
        if fresh and store.storage.get_all_studies():
            raise UserError("--storage: holds studies, with which simulated trials would mix; name an empty store")
        began, began_cpu = time.perf_counter(), time.thread_time()
        run, graph = _planned(place, missing)
        plans = coordinator.plans(run.specs, graph.digest, "cpu")
        context, console = Context(place.folder / "cache"), Console(file=nowhere)
        tally = coordinator.execute(run, plans, graph, store, context, 1, "simulated", console, workers=workers)
        seconds, cpu, peak = time.perf_counter() - began, time.thread_time() - began_cpu, peak_memory()
        trials = [
            trial for part in parts_of(store.storage, run.study_name) for trial in part.get_trials(deepcopy=False)
        ]
        ends = sorted(trial.datetime_complete for trial in trials if trial.datetime_complete is not None)
    assert tally.before + tally.added == len(ends) == len(run.specs)
    tenth = max(1, len(ends) // 10)
    last, added = (ends[-1] - ends[-1 - tenth]).total_seconds(), max(tally.added, 1)
    return {
        "trials": len(run.specs),
        "seconds": seconds,
        "first_task": workers.first - began,
        "per_second": tally.added / seconds,
        "wall_ms": 1e3 * seconds / added,
        "last_ms": 1e3 * last / tenth,
        "cpu_ms": 1e3 * cpu / added,
        "cpu_seconds": cpu,
        "peak_mib": peak,
    }


def _sizes(place: Place, trials: int) -> dict[str, float]:
    """KiB a trial of the database and of the artifacts."""
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

    began, began_cpu = time.perf_counter(), time.process_time()
    stored = frames.load(place.url, STUDY, place.options.dataset, place.artifacts)
    read = time.perf_counter() - began
    result = frames_of(report.layout_of(STUDY), stored, report.importance)
    kind_of(result.layout.report, result.trials).report(result, place.folder / "report")
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    row = {"report_seconds": seconds, "report_cpu_seconds": cpu, "frames_seconds": read}
    return row | {"report_peak_mib": peak_memory()}


def _dashboard(place: Place) -> dict[str, float]:
    """Seconds of optuna-dashboard to list studies, and to answer with all trials: first, and once it has them."""
    from optuna.artifacts import FileSystemArtifactStore
    from optuna.storages import RDBStorage  # which optuna-dashboard opens, too
    from optuna_dashboard import wsgi

    application = wsgi(RDBStorage(place.url), artifact_store=FileSystemArtifactStore(place.artifacts))
    with make_server("127.0.0.1", 0, application, handler_class=_Silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        listed, listing = _get(server.server_port, "/api/studies")
        page = f"/api/studies/{listed['study_summaries'][0]['study_id']}?after=0"
        (content, first), (_, again) = (_get(server.server_port, page) for _ in range(2))
        server.shutdown()
    assert len(content["trials"]) >= place.trials
    seconds = {"dashboard_list_seconds": listing, "dashboard_seconds": first, "dashboard_again_seconds": again}
    return seconds | {"dashboard_peak_mib": peak_memory()}


class _Silent(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing: standard error is for the user."""


def _get(port: int, path: str) -> tuple[dict[str, Any], float]:
    """A local server's JSON, and the seconds that it took."""
    began = time.perf_counter()
    with closing(HTTPConnection("127.0.0.1", port)) as connection:
        connection.request("GET", path)
        content = connection.getresponse().read()
    return json.loads(content), time.perf_counter() - began


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
