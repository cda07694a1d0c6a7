"""What a store holds, from the command line: listed, shown, compared, exported."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from harness.results import mlflow as to_mlflow
from harness.store import frames
from harness.store.records import ENVIRONMENT
from harness.store.store import Store
from tests.inside import command
from tests.store.samples import HERE, finished, planned


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two designs of the ablation: of equal trials, and of which one trial each has failed."""
    folder = tmp_path_factory.mktemp("results")
    store = Store(f"sqlite:///{folder}/runs/harness.db")
    for engine in ("a", "b"):
        run = planned("ablation", engine)
        about = {ENVIRONMENT: HERE, "started": "2026-01-01T00:00:00+00:00"}
        finished(store, replace(run, study_name=f"ablation-lahman-quick-{engine}"), about)
    store.close()
    return folder


def results(folder: Path, *words: str) -> tuple[int, str, str]:
    done = command(folder, *words, module="harness.results.__main__", environment={"COLUMNS": "200"})
    return done.returncode, done.stdout, done.stderr


def test_list_and_show(folder: Path) -> None:
    code, listed, _ = results(folder, "list")
    assert code == 0
    row = next(line for line in listed.splitlines() if "ablation-lahman-quick-a" in line)
    assert row.split()[:6] == ["ablation", "lahman", "quick", "ablation-lahman-quick-a", "6", "1"]
    _, shown, _ = results(folder, "show", "ablation", "--design", "ablation-lahman-quick-b")
    assert "ablation-lahman-quick-a" not in shown
    assert [line.split()[4] for line in shown.splitlines()[2:]] == ["complete"] * 6 + ["failed:"]
    assert "failed: for a reason" in shown
    _, one, _ = results(folder, "show", "ablation", "--design", "ablation-lahman-quick-b", "--trial", "1")
    values = dict(line.split(maxsplit=1) for line in one.splitlines() if len(line.split()) > 1)
    assert values["loss.temperature"].strip() == "7.000000"
    assert values["test_mr"].strip() == "5.375000"


def test_export_is_what_the_store_holds(folder: Path) -> None:
    trials, curves, _ = frames.load(f"sqlite:///{folder}/runs/harness.db", "ablation", "lahman")
    assert results(folder, "export", "ablation")[0] == 0
    table = pd.read_csv(folder / "ablation-lahman-trials.csv")
    assert table["test_mrr"].tolist() == pytest.approx(trials["test_mrr"].tolist(), nan_ok=True)
    assert list(table) == list(trials)
    assert results(folder, "export", "ablation", "--format", "parquet", "--table", "curves", "-o", "c.parquet")[0] == 0
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO((folder / "c.parquet").read_bytes())), curves)


def test_equal_designs_do_not_differ(folder: Path) -> None:
    code, out, _ = results(folder, "compare", "ablation-lahman-quick-a", "ablation-lahman-quick-b")
    assert code == 0
    assert "No setting, version or machine differs." in out
    rows = [line.split() for line in out.splitlines() if line.startswith("ttranse")]
    assert len(rows) == 6
    assert {(row[-1], row[-2]) for row in rows} == {("undecided", "1")}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "ablation", "--trial", "1"], "--trial 1: several designs have one of that number"),
        (["show", "ablation", "--design", "ablation-lahman"], "did you mean 'ablation-lahman-quick-"),
        (["show", "grid"], "has no study 'grid' on 'lahman'"),
        (["compare", "x", "y"], "design 'x' is not in the store"),
        (["export", "ablation", "-o", "none/x.csv"], "--output none/x.csv: there is no folder none"),
        (["export", "ablation", "--format", "excel"], "--format"),
        (["list", "--storage", "sqlite:///none.db"], "there is no such file"),
    ],
)
def test_mistakes(folder: Path, words: list[str], message: str) -> None:
    code, _, error = results(folder, *words)
    assert code == 2
    assert message in error
    assert len(error.splitlines()) == 1


def test_without_mlflow_a_line_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    code, _, error = results(folder, "export", "ablation", "--format", "mlflow")
    assert (code, error) == (2, "error: export --format mlflow: needs MLflow; install tkg-distill-harness[mlflow]\n")


class Client:
    """MLflow's client as far as it is used, in memory."""

    def __init__(self, uri: str, runs: dict[str, dict[str, Any]]) -> None:
        self.uri, self.runs = uri, runs

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return name

    def search_runs(self, experiments: list[str], **_: object) -> Any:
        page = [
            record(data=record(tags=run["tags"]), info=record(status=run.get("status", "RUNNING")))
            for run in self.runs.values()
            if run["of"] in experiments
        ]
        return type("Page", (list,), {"token": None})(page)

    def create_run(self, experiment: str, start_time: int, tags: dict[str, str]) -> Any:
        name = f"run {len(self.runs)}"
        self.runs[name] = {"of": experiment, "start": start_time, "tags": tags, "params": {}, "metrics": {}}
        return record(info=record(run_id=name))

    def log_batch(self, run: str, params: Sequence[Any] = (), metrics: Sequence[Any] = ()) -> None:
        assert len(params) <= 100
        self.runs[run]["params"] |= {param.key: param.value for param in params}
        for metric in metrics:
            self.runs[run]["metrics"].setdefault(metric.key, {})[metric.step] = metric.value

    def set_terminated(self, run: str, status: str, end_time: int) -> None:
        self.runs[run] |= {"status": status, "end": end_time}


def record(**values: Any) -> Any:
    return type("Record", (), values)()


def test_mlflow_has_a_run_a_trial_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: dict[str, dict[str, Any]] = {}
    fakes = {name: ModuleType(name) for name in ("mlflow", "mlflow.entities", "mlflow.exceptions")}
    entities = {
        "Metric": lambda key, value, timestamp, step: record(key=key, value=value, step=step),
        "Param": lambda key, value: record(key=key, value=value),
    }
    vars(fakes["mlflow"])["MlflowClient"] = lambda uri: Client(uri, runs)
    vars(fakes["mlflow.entities"]).update(entities)
    vars(fakes["mlflow.exceptions"])["MlflowException"] = type("MlflowException", (Exception,), {})
    for name, module in fakes.items():
        monkeypatch.setitem(sys.modules, name, module)
    trials, curves, _ = frames.load(f"sqlite:///{folder}/runs/harness.db", "ablation", "lahman")
    trials["started"] = "2026-01-01T00:00:00+00:00"  # of all, as a coordinator writes it
    assert to_mlflow.export(trials, curves, "sqlite:///x.db") == (14, 0)
    assert to_mlflow.export(trials, curves, "sqlite:///x.db") == (0, 14)
    first = runs["run 0"]
    assert (first["status"], first["end"] - first["start"]) == ("FINISHED", 1500)
    assert first["params"]["loss.alpha"] == "3.0"
    assert first["metrics"]["test_mrr"][0] == pytest.approx((1 + 1 / 4 + 1 / 2.5 + 1 / 10) / 4)
    assert first["metrics"]["curve/valid_mrr"] == {1: 0.3}
    assert [run["status"] for run in runs.values()].count("FAILED") == 2
    del next(iter(runs.values()))["status"]  # as of a run that was cut off while it was written
    assert to_mlflow.export(trials, curves, "sqlite:///x.db") == (1, 13)
