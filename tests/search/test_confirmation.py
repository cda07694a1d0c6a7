"""The winners of a grid are those of its report, and are trained anew once all points have ended."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from harness import report
from harness.design import files as designs
from harness.design.cells import Run
from harness.design.schema import FRESH, Design
from harness.errors import UserError
from harness.reporting.data.layout import Meta
from harness.reporting.data.results import Frames
from harness.reporting.kinds import kind_of
from harness.reporting.sensitivity.points import are_confirmation_runs, grid_of
from harness.search.confirmation import Confirming
from harness.selection import rank_settings
from harness.store.study import StudyStore
from harness.trial.run import run_trial
from harness.trial.stages import Context
from harness.vocabulary import FRESH_SEEDS
from tests.reporting.grid import LAYOUT
from tests.search.samples import carry_out, load, plan
from tests.toy import small

ALPHA, BETA = (0.1, 1.0, 10.0), (0.1, 1.0)


def read(folder: Path, encoder: Path, **more: Any) -> Design:
    """A study file with a grid, read."""
    content = {
        "name": "mine",
        "title": "A grid",
        "about": "A grid.",
        "report": "sensitivity",
        "claims": ["C7"],
        "arms": ["L1", "L1+L2+L3"],
        "backbone": "ttranse",
        "grid": {"loss.alpha": list(ALPHA), "loss.beta": list(BETA)},
        "confirm": 2,
        "settings": small(encoder),
        "presets": {"quick": {"about": "q", "seeds": 2}},
    } | more
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return designs.load(path)


def drawn(run: Run, seed: int, lost: float = 0.0) -> dict[str, float]:
    random = np.random.default_rng(seed)
    return {spec.key(): float(random.uniform(0.2, 0.3)) for spec in run.specs if random.random() >= lost}


def reported(run: Run, values: dict[str, float]) -> pd.DataFrame:
    """The points as the report has them, from rows of trials."""
    rows = [
        {
            "backbone": spec.backbone,
            "arm": run.labels[spec.key()],
            "losses": spec.arm,
            "seed": spec.seed,
            "trial": k,
            "state": "complete" if spec.key() in values else "failed",
            "valid_mrr": values.get(spec.key(), np.nan),
            "alpha": np.nan if spec.arm == "L1" else spec.loss.alpha,
            "beta": np.nan if spec.arm == "L1" else spec.loss.beta,
        }
        for k, spec in enumerate(run.specs)
    ]
    return grid_of(pd.DataFrame(rows)).points()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("lost", [0.0, 0.15])
def test_winners_are_those_of_the_report(
    dataset: Path, tmp_path: Path, tiny_encoder: Path, seed: int, lost: float
) -> None:
    backbones = ["ttranse", "ta-distmult"]
    run = plan(read(tmp_path, tiny_encoder), dataset, backbones=backbones)
    values = drawn(run, seed, lost)
    wanted: set[str] = set()
    confirming = Confirming(run, values, wanted)
    for spec in run.specs:
        if spec.key() not in values:
            assert confirming.more(1) == []  # before it is known how this one ends
            confirming.record(spec.key(), None)
    specs = confirming.more(0)
    assert confirming.more(9) == []
    points = reported(run, values)
    default = rank_settings(points, ["alpha", "beta"])
    for backbone in backbones:
        ranked = points[points["backbone"] == backbone].sort_values("mrr", ascending=False)
        expected = {*ranked["arm"].head(2), *default.loc[default["default"], "arm"], "L1"}
        fresh = [spec for spec in specs if spec.backbone == backbone]
        assert {(confirming.attributes[spec.key()]["label"], spec.seed) for spec in fresh} == {
            (f"{label}{FRESH_SEEDS}", seed) for label in expected for seed in (FRESH, FRESH + 1)
        }
    assert wanted == {spec.key() for spec in specs}
    assert {confirming.attributes[spec.key()]["role"] for spec in specs} == {"confirm"}
    assert len(specs) <= confirming.most


def test_only_points_are_trained_anew(dataset: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    run = plan(read(tmp_path, tiny_encoder), dataset, arms=["L1"])
    confirming = Confirming(run, drawn(run, 0), set())
    assert confirming.more(9) == []
    assert confirming.most == 0
    alone = plan(read(tmp_path, tiny_encoder), dataset, arms=["L1+L2+L3"])
    specs = Confirming(alone, drawn(alone, 0), set()).more(9)
    assert [(spec.arm, spec.seed) for spec in specs] == [("L1+L2+L3", FRESH), ("L1+L2+L3", FRESH + 1)] * 2


def test_a_factor_that_acts_in_l1_has_a_base_a_level(dataset: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    grid = {"loss.alpha": [0.1, 1.0], "loss.temperature": [1.0, 7.0]}
    run = plan(read(tmp_path, tiny_encoder, grid=grid, confirm=1), dataset, seeds=1)
    values = {
        spec.key(): 0.2 + 0.01 * (spec.loss.temperature == 7.0) + 0.02 * (spec.arm != "L1" and spec.loss.alpha == 1.0)
        for spec in run.specs
    }
    specs = Confirming(run, values, set()).more(9)
    varied = {(spec.arm, spec.loss.temperature) for spec in specs}
    # the best point, and one of those whose gain over L1 at its own temperature is the largest
    assert ("L1+L2+L3", 7.0) in varied
    assert ("L1", 7.0) in varied
    assert {temperature for arm, temperature in varied if arm == "L1"} == {t for arm, t in varied if arm != "L1"}


def test_confirmation_needs_a_grid(tmp_path: Path, tiny_encoder: Path) -> None:
    for wrong in ({"grid": {}}, {"report": "comparison"}):
        with pytest.raises(UserError, match="confirm: takes a grid, and 'report: sensitivity'"):
            read(tmp_path, tiny_encoder, **wrong)
    with pytest.raises(UserError, match="confirm"):
        read(tmp_path, tiny_encoder, confirm=-1)


@pytest.mark.usefixtures("blank_figures")
@pytest.mark.long
def test_from_a_grid_to_its_confirmed_winners(
    dataset: Path, tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_out(plan(read(tmp_path, tiny_encoder, confirm=0), dataset), tmp_path)
    run, finish, done = plan(read(tmp_path, tiny_encoder, confirm=1), dataset), StudyStore.finish, list[Any]()

    def cut_off(self: StudyStore, trial: Any, *arguments: Any) -> bool:
        if done:
            raise KeyboardInterrupt
        done.append(trial)
        return finish(self, trial, *arguments)

    monkeypatch.setattr(StudyStore, "finish", cut_off)
    with pytest.raises(KeyboardInterrupt):  # one of those with fresh seeds is complete
        carry_out(run, tmp_path)
    monkeypatch.undo()
    tally = carry_out(run, tmp_path)
    trials, curves, load_ranks = load(run, tmp_path)
    complete = trials[trials["state"] == "complete"]
    assert set(complete["cell"]) == tally.keys
    assert complete["cell"].is_unique
    fresh, points = complete[are_confirmation_runs(complete)], complete[~are_confirmation_runs(complete)]
    assert len(points) == len(run.specs)
    assert len(fresh) == 1 + tally.added
    assert set(fresh["role"]) == {"confirm"}
    assert points.get("role") is None or points["role"].isna().all()
    means = points[points["losses"] != "L1"].groupby("arm")["valid_mrr"].mean()
    assert f"{means.idxmax()}{FRESH_SEEDS}" in set(fresh["arm"])
    assert sorted(fresh.loc[fresh["losses"] == "L1", "seed"]) == [FRESH, FRESH + 1]
    # a cell with a fresh seed is a trial like all others
    row = fresh.iloc[0]
    spec = next(s for s in run.specs if run.labels[s.key()] == row["arm"].removesuffix(FRESH_SEEDS))
    alone = run_trial(spec.model_copy(update={"seed": int(row["seed"])}), Context(tmp_path / "cache"))
    assert row["test_mrr"] == alone.metrics["test_mrr"]

    # as at the end of a study: a table, and the report
    monkeypatch.setattr(report, "as_layout", lambda design: LAYOUT)
    console = Console(file=io.StringIO(), width=100)
    names = (run.design, (trials, curves, load_ranks), tmp_path / "whole", run.study_name, tally.keys, console)
    assert report.report_of_cells(*names).is_file()
    assert console.file.getvalue().count("fresh seeds") == len(set(fresh["arm"]))
    meta = trials.attrs["meta"][run.study_name]
    frames = Frames(LAYOUT, trials, curves, load_ranks, Meta.model_validate(meta))
    kind_of("sensitivity", trials).report(frames, tmp_path / "report")
    winners = pd.read_csv(tmp_path / "report" / "grid_winners.csv")
    assert set(winners["arm"]) == set(fresh.loc[fresh["losses"] != "L1", "arm"])
    assert winners["seeds_test"].eq(2).all()

    again = carry_out(run, tmp_path)
    assert (again.added, again.failed, again.keys) == (0, 0, tally.keys)
