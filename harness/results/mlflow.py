"""Trials as MLflow runs, through MLflow's own client: its file layout is legacy, and its databases change with it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from harness.design.dotted import leaves
from harness.errors import UserError

#: the tag by which a run is known, so that it is exported once
TAG = "tkg_distill.trial"
#: columns that become tags
TAGS = ("study_name", "dataset", "cell", "git_commit", "git_dirty", "machine", "device", "data_digest", "reason")
#: what MLflow takes of a run in one request
_PARAMS, _METRICS = 100, 1000


def export(trials: pd.DataFrame, curves: pd.DataFrame, uri: str) -> tuple[int, int]:
    """Write trials as runs, an experiment a design; return how many were added and how many were there.

    Settings are parameters, test and validation metrics and seconds are metrics, and so is each column of the learning
    curve, as ``curve/NAME`` by epoch. ``uri`` is MLflow's tracking URI: ``sqlite:///mlflow.db``, or a server's address.

    Raises:
        UserError: the package is not installed, or the store cannot be written.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise UserError("export --format mlflow: needs MLflow; install tkg-distill-harness[mlflow]") from None
    added = there = 0
    try:
        client = MlflowClient(uri)
        for design, of_design in trials[trials["state"] != "running"].groupby("study_name", sort=False):
            known = client.get_experiment_by_name(str(design))
            experiment = known.experiment_id if known else client.create_experiment(str(design))
            marks = _marks(client, experiment)
            for row in of_design.to_dict("records"):
                if (mark := f"{row['cell']} {row['started']}") in marks:
                    there += 1
                    continue
                began = int(datetime.fromisoformat(row["started"]).timestamp() * 1000)
                ended = began + int(1000 * sum(_numbers(row, "seconds_").values()))
                tags = {tag: str(row[tag]) for tag in TAGS if row.get(tag) is not None and row[tag] == row[tag]}
                tags |= {TAG: mark, "mlflow.runName": f"{row['backbone']} {row['arm']}, seed {row['seed']}"}
                run = client.create_run(experiment, began, tags).info.run_id
                params = [Param(key, str(value)) for key, value in leaves(json.loads(row["spec"]))]
                numbers = _numbers(row, "valid_", "test_", "seconds_")
                metrics = [Metric(key, value, ended, 0) for key, value in numbers.items()]
                metrics += [Metric(key, value, began, epoch) for key, value, epoch in _points(curves, row)]
                for k in range(0, len(params), _PARAMS):
                    client.log_batch(run, params=params[k : k + _PARAMS])
                for k in range(0, len(metrics), _METRICS):
                    client.log_batch(run, metrics=metrics[k : k + _METRICS])
                client.set_terminated(run, "FINISHED" if row["state"] == "complete" else "FAILED", ended)
                added += 1
    except (MlflowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"export: MLflow cannot write to {uri} ({reason}); what was added is kept") from None
    return added, there


def _marks(client: Any, experiment: str) -> set[str]:
    """The marks of the complete runs that an experiment has; one that was cut off is written again."""
    marks: set[str] = set()
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        marks |= {run.data.tags.get(TAG, "") for run in page if run.info.status != "RUNNING"}
        if not (token := page.token):
            return marks


def _numbers(row: Mapping[Any, Any], *prefixes: str) -> dict[str, float]:
    """The finite numbers of columns whose names begin so."""
    chosen = {str(name): value for name, value in row.items() if str(name).startswith(prefixes)}
    return {name: float(n) for name, n in chosen.items() if isinstance(n, int | float) and math.isfinite(n)}


def _points(curves: pd.DataFrame, row: Mapping[Any, Any]) -> Iterator[tuple[str, float, int]]:
    """The learning curve of a trial: name, value and epoch."""
    keys = ("study_name", "trial", "backbone", "arm", "seed", "dataset")
    if len(curves):
        mine = curves[(curves["study_name"] == row["study_name"]) & (curves["trial"] == row["trial"])]
        for point in mine.drop(columns=[key for key in keys if key in mine]).to_dict("records"):
            epoch = int(point.pop("epoch"))
            yield from ((f"curve/{name}", value, epoch) for name, value in _numbers(point, "").items())
