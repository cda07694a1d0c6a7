"""What optuna-dashboard itself answers on a store: parameters with their ranges, the best trial, and artifacts."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pandas as pd
import pytest
from optuna.artifacts import FileSystemArtifactStore

from harness.design import cells
from harness.design import files as designs
from harness.design.schema import FRESH
from harness.store.configurations import NUMBER
from harness.store.files.artifacts import CURVES, QUERIES, RANKS
from harness.store.store import Store
from harness.store.study import StudyStore, open_study
from tests.store.samples import COUNTS, result
from tests.store.samples import QUERIES as FOUR_QUERIES

Ask = Callable[[str], bytes]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/harness.db")


@pytest.fixture
def ask(store: Store) -> Ask:
    from optuna_dashboard import wsgi

    application = wsgi(store.storage, artifact_store=FileSystemArtifactStore(store.artifacts))

    def ask(path: str) -> bytes:
        environment: dict[str, Any] = {"PATH_INFO": path.partition("?")[0], "QUERY_STRING": path.partition("?")[2]}
        setup_testing_defaults(environment)
        status = list[str]()
        answer = application(environment, lambda line, *_: status.append(line))
        with closing(answer) if hasattr(answer, "close") else nullcontext():
            body = b"".join(answer)
        assert status[0].startswith("200"), (path, status)
        return body

    return ask


def shown(ask: Ask) -> dict[str, dict[str, Any]]:
    """The studies as the dashboard's page has them, by name."""
    summaries = json.loads(ask("/api/studies"))["study_summaries"]
    return {
        summary["study_name"]: json.loads(ask(f"/api/studies/{summary['study_id']}?after=0")) for summary in summaries
    }


def opened(store: Store, name: str) -> StudyStore:
    run = cells.plan(
        designs.load(name), dataset="lahman", data_digest="d", backbones=["ttranse"], preset="quick", seeds=2
    )
    study = open_study(store, run, "command", COUNTS)
    study.attach(FOUR_QUERIES)
    return study


def ranges(study: dict[str, Any]) -> dict[str, Any]:
    """Of each parameter its choices, or the ends of its range."""
    factors = {}
    for factor in study["union_search_space"]:
        about = factor["distribution"]
        choices = sorted(choice["value"] for choice in about["choices"]) if "choices" in about else None
        factors[factor["name"]] = choices or (about["low"], about["high"])
    return factors


def test_a_grid_has_what_it_varies_on_its_axes(store: Store, ask: Ask) -> None:
    study = opened(store, "grid")
    for number, spec in enumerate(study.run.specs):
        study.finish(study.begin(spec, {"label": study.run.labels[spec.key()]}), result(float(number)))
    fresh = study.run.specs[-1].model_copy(update={"seed": FRESH})
    study.finish(study.begin(fresh, {"role": "confirm"}), result())
    study.fold()
    page = shown(ask)[study.study.study_name]
    grid = study.run.design.presets["quick"].grid or study.run.design.grid
    axes = ranges(page)
    assert {name: axes[name] for name in axes if "." in name} == {
        name: (min(levels), max(levels)) for name, levels in grid.items() if len(levels) > 1
    }
    assert (axes["seed"], axes["fresh seed"]) == ((0, 1), (FRESH, FRESH + 1))
    assert axes.keys() - grid.keys() == {"arm", "backbone", "seed", "fresh seed"}
    artifacts = {artifact["filename"]: artifact["artifact_id"] for artifact in page["artifacts"]}
    assert artifacts.keys() == {RANKS, CURVES, QUERIES}
    number = next(s["study_id"] for s in json.loads(ask("/api/studies"))["study_summaries"])
    for name, artifact in artifacts.items():
        frame = pd.read_parquet(io.BytesIO(ask(f"/artifacts/{number}/{artifact}")))
        trials = len(study.run.specs) + 1
        assert len(frame) == {RANKS: 4 * trials, CURVES: trials, QUERIES: 4}[name]


def test_the_best_trial_is_a_student(store: Store, ask: Ask) -> None:
    study = opened(store, "ablation")
    for spec in study.run.specs:
        study.finish(study.begin(spec, {}), result(0.0 if spec.arm == "teacher" else 1.0))
    pages = shown(ask)
    students, teachers = (pages[f"{study.study.study_name}{suffix}"] for suffix in ("", "-teachers"))
    assert {trial["params"][0]["param_external_value"] for trial in students["best_trials"]}.isdisjoint(["teacher"])
    assert ranges(teachers) == {"arm": ["llm-teacher", "teacher"], "backbone": ["ta-distmult", "ttranse"]}
    assert "teacher" not in ranges(students)["arm"]


def test_a_trial_of_a_search_is_a_configuration(store: Store, ask: Ask) -> None:
    study = opened(store, "sweep")
    search = study.run.search
    assert search is not None
    assert study.configurations is not None
    point = {name: factor.at(0.5) for name, factor in search.factors.items()}
    for number, state in enumerate(("complete", "pruned", "failed", "open")):
        values = {0: 0.3, 1: 0.2} if state == "complete" else {0: 0.1}
        for seed in values:  # as they come
            some = {known: values[known] for known in range(seed + 1)}
            is_last = len(some) == len(values)
            study.configurations.put("ttranse", number, point, some, state if is_last else "open")
    page = shown(ask)[study.study.study_name]
    assert ranges(page).keys() == {"backbone", *search.factors}
    assert {name: ranges(page)[name] for name in search.factors} == {
        name: (factor.low, factor.high) for name, factor in search.factors.items()
    }
    trials = {trial.user_attrs[NUMBER]: trial for trial in study.study.trials}
    assert [trials[number].state.name for number in range(4)] == ["COMPLETE", "PRUNED", "FAIL", "RUNNING"]
    assert (trials[0].value, trials[0].intermediate_values) == (pytest.approx(0.25), {0: 0.3, 1: 0.2})
    assert [trial["number"] for trial in page["best_trials"]] == [trials[0].number]
    # what failed is tried again, and more seeds extend what was complete
    study.configurations.put("ttranse", 2, point, {0: 0.1}, "open")
    study.configurations.put("ttranse", 0, point, {0: 0.3, 1: 0.2, 2: 0.1}, "complete")
    again = opened(store, "sweep")
    assert again.configurations is not None
    assert again.configurations.pruned() == {("ttranse", 1)}
    known = again.configurations.trials
    assert known["ttranse", 0].value == pytest.approx(0.2)
    assert known["ttranse", 2].state.name == "RUNNING"
