"""A search on the small data set from its study file to the frames of its report, cut off and taken up again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml

from harness.design import files as designs
from harness.design.cells import Run
from harness.design.schema import FRESH, Design
from harness.errors import UserError
from harness.reporting.data.layout import Meta
from harness.reporting.data.results import Frames
from harness.reporting.kinds import kind_of, load_shipped
from harness.store.study import StudyStore
from harness.trial.run import run_trial
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context
from tests.reporting.searches import LAYOUT
from tests.search.samples import carry_out, load, plan
from tests.toy import small

FACTORS = {
    "loss.alpha": {"low": 0.1, "high": 10.0, "log": True},
    "loss.temperature": {"low": 1, "high": 4, "integer": True},
    "student.stage1_epochs": {"low": 0, "high": 2},
}


def read(folder: Path, encoder: Path, **search: Any) -> Design:
    """A study file with a search, read."""
    content = {
        "name": "mine",
        "title": "A search",
        "about": "A search.",
        "report": "sensitivity",
        "arms": ["L1"],
        "backbone": "ttranse",
        "search": {"arm": "L1+L2", "factors": FACTORS, "trials": 3, "confirm": 1} | search,
        "settings": small(encoder),
        "presets": {"quick": {"about": "q", "seeds": 2}, "more": {"about": "m", "seeds": 1, "search": {"trials": 5}}},
    }
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return designs.load(path)


# ---- study files ----------------------------------------------------------------------------------------------------


def test_cells_beside_a_search(dataset: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    design = read(tmp_path, tiny_encoder)
    run = plan(design, dataset)
    assert [spec.seed for spec in run.specs] == [0, 1, FRESH, FRESH + 1]
    assert run.unscored == {spec.key() for spec in run.specs if spec.seed < FRESH}
    cell = run.configure("ttranse", {"loss.alpha": 0.5, "loss.temperature": 2, "student.stage1_epochs": 0}, 3)
    assert (cell.arm, cell.seed, cell.loss.alpha, cell.loss.temperature) == ("L1+L2", 3, 0.5, 2.0)
    assert cell.student.dim == 8
    more = plan(design, dataset, preset="more")
    assert more.search is not None
    assert more.search.trials == 5
    assert set(more.search.factors) == set(FACTORS)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"factors": {"loss.alfa": {"low": 0, "high": 1}}}, "unknown factor 'loss.alfa', did you mean 'loss.alpha'"),
        ({"factors": {"loss.alpha": {"low": 2, "high": 1}}}, "must lie below high"),
        ({"factors": {"loss.alpha": {"low": 1, "high": 9999}}}, "loss.alpha.*1000"),
        ({"factors": {"student.stage1_epochs": {"low": 0, "high": 9}}}, "must not exceed epochs"),
        ({"sampler": "grid"}, "search: sampler"),
        ({"trails": 3}, "did you mean 'trials'"),
    ],
)
def test_searches_that_cannot_be_meant(
    tmp_path: Path, tiny_encoder: Path, search: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, tiny_encoder, **search)


def test_a_factor_cannot_be_set_beside(dataset: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    with pytest.raises(UserError, match=r"--set loss\.alpha: study 'mine' varies it"):
        plan(read(tmp_path, tiny_encoder), dataset, changes={"loss": {"alpha": 1.0}})


# ---- trials inside a search -----------------------------------------------------------------------------------------


def test_inside_a_search_the_student_is_the_same_and_test_is_left_alone(spec: TrialSpec, context: Context) -> None:
    unbroken, inside = run_trial(spec, context), run_trial(spec, context, splits=("valid",))
    valid = {name: value for name, value in unbroken.metrics.items() if name.startswith("valid")}
    assert inside.metrics == valid
    assert not inside.ranks
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in scored.curve] for scored in (unbroken, inside)]
    assert rows[0] == rows[1]


# ---- the whole ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("blank_figures")
def test_from_a_study_file_to_a_report(dataset: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    # one factor has a column of its own in frames, another none
    factors = {**FACTORS, "loss.soft_weight": {"low": 0, "high": 1}}
    run = plan(read(tmp_path, tiny_encoder, factors=factors), dataset)
    tally = carry_out(run, tmp_path)
    # L1 with two seeds and two fresh ones, three configurations with two, the best of them with two fresh ones, and L1
    # at its temperature and switch with the same
    assert (tally.added, tally.failed, len(tally.keys)) == (14, 0, 14)
    trials, curves, load_ranks = load(run, tmp_path)
    assert set(trials["cell"]) == tally.keys
    inside = trials["role"].isin(["search", "beside"])
    assert inside.sum() == 8
    assert trials[inside]["test_mrr"].isna().all()
    assert trials[~inside]["test_mrr"].notna().all()
    search = trials[trials["role"] == "search"]
    mean = search.groupby("configuration")["valid_mrr"].mean()
    confirmed = trials[trials["role"] == "confirm"]
    winner, base = (confirmed[confirmed["losses"] == arm] for arm in ("L1+L2", "L1"))
    assert winner["configuration"].unique().tolist() == [mean.idxmax()]
    assert winner["base"].tolist() == base["arm"].tolist()
    for one in (winner, base):
        assert one["seed"].tolist() == [FRESH, FRESH + 1]
    acting = ["temperature", "stage1_epochs", "loss.soft_weight"]
    assert base[acting].to_numpy().tolist() == winner[acting].to_numpy().tolist()
    for _, row in search.iterrows():
        assert row["label"] == f"L1+L2 · #{int(row['configuration'])}"
    with pytest.raises(UserError, match="there are none; inside a search"):
        load_ranks(search.index[0])
    meta = trials.attrs["meta"][run.study_name]
    frames = Frames(LAYOUT, trials, curves, load_ranks, Meta.model_validate(meta))
    load_shipped()
    pdf = kind_of("sensitivity", trials).report(frames, tmp_path / "report")
    assert pdf.read_bytes().startswith(b"%PDF-")

    again = carry_out(run, tmp_path)
    assert (again.added, again.failed, again.keys) == (0, 0, tally.keys)


def test_a_search_that_is_cut_off_goes_on(
    dataset: Path, tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, finish, done = plan(read(tmp_path, tiny_encoder), dataset), StudyStore.finish, []

    def cut_off(self: StudyStore, trial: optuna.Trial, *arguments: Any) -> bool:
        if len(done) == 7:
            raise KeyboardInterrupt
        done.append(trial.number)
        return finish(self, trial, *arguments)

    monkeypatch.setattr(StudyStore, "finish", cut_off)
    with pytest.raises(KeyboardInterrupt):
        carry_out(run, tmp_path)
    monkeypatch.undo()
    tally = carry_out(run, tmp_path)
    assert tally.added == 14 - 7
    trials = load(run, tmp_path)[0]
    complete = trials[trials["state"] == "complete"]
    assert complete["cell"].is_unique
    assert set(complete["cell"]) == tally.keys

    # the same as a search that was not cut off
    (tmp_path / "whole").mkdir()
    (tmp_path / "cache").rename(tmp_path / "whole" / "cache")
    carry_out(run, tmp_path / "whole")
    unbroken = load(run, tmp_path / "whole")[0]
    by_cell = [trials.set_index("cell")["valid_mrr"].sort_index() for trials in (complete, unbroken)]
    pd.testing.assert_series_equal(*by_cell)


def test_a_search_of_another_space_takes_over_what_lies_inside(
    dataset: Path, tmp_path: Path, tiny_encoder: Path
) -> None:
    def search(high: float, **more: Any) -> Run:
        factors = {"loss.temperature": {"low": 1, "high": high}} | more.pop("factors", {})
        design = read(tmp_path, tiny_encoder, arm="L1", factors=factors, trials=3, confirm=0, **more)
        return plan(design, dataset, seeds=1)

    wide = search(4)
    assert carry_out(wide, tmp_path).added == 3 + 2  # L1 beside, with a confirmation run
    trials = load(wide, tmp_path)[0]
    searched = trials[trials["role"] == "search"].sort_values("temperature")
    middle = float(searched["temperature"].iloc[1])
    assert not middle.is_integer()  # a temperature is a real number, however its range is written

    narrow = search(middle, factors={"loss.hard_weight": {"low": 0.5, "high": 2}})
    assert narrow.study_name != wide.study_name
    assert carry_out(narrow, tmp_path).added == 1
    held = optuna.load_study(study_name=f"{narrow.study_name}-seeds", storage=f"sqlite:///{tmp_path}/harness.db")
    copied = [trial for trial in held.trials if "copied_from" in trial.user_attrs]
    inside = {trial.params["loss.temperature"] for trial in copied if trial.user_attrs.get("role") == "search"}
    assert inside == set(searched["temperature"].iloc[:2])
    assert {trial.params.get("loss.hard_weight", 1.0) for trial in copied} == {1.0}
    assert sorted(t.user_attrs["configuration"] for t in held.trials if t.user_attrs.get("role") == "search") == [
        0,
        1,
        2,
    ]

    sampled = search(4, sampler="qmc")  # no temperature of the other sampler is one of its points
    assert sampled.study_name != wide.study_name
    assert sampled.search is not None
    assert carry_out(sampled, tmp_path).added == len({point["loss.temperature"] for point in sampled.search.sample()})


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"student.dim": {"low": 4.5, "high": 8}}, r"factors.student.dim: takes whole numbers, not 4.5"),
        ({"llm.finetune": {"low": 0, "high": 1}}, r"factors.llm.finetune: is no number; a search varies numbers"),
    ],
)
def test_ranges_are_of_the_kind_of_their_setting(
    tmp_path: Path, tiny_encoder: Path, factors: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, tiny_encoder, factors=factors)


def test_a_designed_sample_shares_cells_that_are_equal(dataset: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    """Two values a factor: most relatives of a base point come to the same cell."""
    factors = {
        "loss.temperature": {"low": 1, "high": 2, "integer": True},
        "student.stage1_epochs": {"low": 0, "high": 1},
    }
    design = read(tmp_path, tiny_encoder, sampler="qmc", trials=4, factors=factors, confirm=0)
    run = plan(design, dataset, seeds=1, preset="more", arms=["L1"])
    assert run.search is not None
    assert run.search.configurations() == 20
    carry_out(run, tmp_path)
    trials = load(run, tmp_path)[0]
    search = trials[trials["role"] == "search"]
    points = {tuple(point.values()) for point in run.search.sample()}
    assert len(search) == len(points) == 4
    sample: Sequence[dict[str, float]] = trials.attrs["meta"][run.study_name]["search"]["sample"]
    assert sample == run.search.sample()
    assert np.isfinite(search["valid_mrr"]).all()
