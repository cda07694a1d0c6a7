"""Every arm is tuned with the same budget on validation, and its winner alone is evidence, with seeds of its own."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader
from rich.console import Console

from harness import report
from harness.design import cells
from harness.design import files as designs
from harness.design.cells import Run
from harness.design.schema import FRESH, Design, Tune
from harness.design.settings import tune_of
from harness.errors import UserError
from harness.models import BACKBONES
from harness.reporting import designs as stored_designs
from harness.search.tuning import Tuning
from harness.selection import tuned
from harness.store.factors import parameters
from harness.store.study import StudyStore
from tests.search.samples import carry_out, load, plan
from tests.toy import small

ARMS = ["none", "L1", "L1+FitNet"]
TUNE: dict[str, Any] = {
    "trials": 3,
    "seeds": 2,
    "space": {
        "all": {"student.regularization": {"low": 0.00003, "high": 0.03, "log": True}},
        "L1": {"loss.temperature": {"low": 1, "high": 20, "log": True, "integer": True}},
        "FitNet": {"loss.fitnet": {"low": 0.1, "high": 10.0, "log": True}},
    },
}


def read(folder: Path, encoder: Path, tune: dict[str, Any] | None = None, **more: Any) -> Design:
    """A study file whose arms are tuned, read; ``tune`` and ``more`` replace parts of it."""
    content = {
        "name": "mine",
        "title": "Tuned arms",
        "about": "Tuned arms.",
        "arms": ARMS,
        "references": ["teacher"],
        "compare": {"none": ["L1", "L1+FitNet"]},
        "backbone": "ttranse",
        "tune": TUNE | (tune or {}),
        "settings": small(encoder),
        "presets": {"quick": {"about": "q", "seeds": 2}},
    } | more
    path = folder / "mine.yaml"
    path.write_text(json.dumps(content), encoding="utf-8")  # which is YAML, too
    return designs.load(path)


def by_arm(run: Run) -> dict[str, set[tuple[int, int]]]:
    """Configurations and seeds of each arm."""
    tried: dict[str, set[tuple[int, int]]] = {}
    for spec in run.specs:
        if (purpose := run.purposes.get(spec.key())) is not None:
            tried.setdefault(run.factors[spec.key()]["arm"], set()).add((purpose["configuration"], spec.seed))
    return tried


# ---- the budget -----------------------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(trials=st.integers(1, 9), seeds=st.integers(1, 3), arms=st.sets(st.sampled_from(ARMS), min_size=1))
def test_every_arm_has_as_many_different_configurations(trials: int, seeds: int, arms: set[str]) -> None:
    design = Design(
        name="mine", title="t", about="a", arms=tuple(ARMS), backbone="ttranse", references=("teacher",),
        tune=TUNE | {"seeds": seeds}, presets={"quick": {"about": "q", "seeds": 1}},
    )  # fmt: skip
    options = {"dataset": "d", "data_digest": "d", "backbones": ["ttranse"], "preset": "quick"}
    run, more = (cells.plan(design, **options, trials=n, arms=sorted(arms)) for n in (trials, trials + 3))
    wanted = {(number, seed) for number in range(trials) for seed in range(seeds)}
    assert by_arm(run) == dict.fromkeys(arms, wanted)
    assert len({spec.key() for spec in run.specs}) == len(run.specs) == trials * seeds * len(arms)
    # more seeds change no winner, and a larger budget adds to a smaller one, in the same study
    again = cells.plan(design, **options, trials=trials, arms=sorted(arms), seeds=5)
    assert (again.study_name, again.specs) == (run.study_name, run.specs)
    assert run.study_name == more.study_name
    assert run.purposes.items() <= more.purposes.items()
    # no arm is lucky: what several arms search has the same values in all of them
    values: dict[int, set[float | None]] = {}
    for spec in run.specs:
        values.setdefault(run.purposes[spec.key()]["configuration"], set()).add(spec.student.regularization)
    assert all(len(one) == 1 for one in values.values())
    assert values[0] == {None}  # as without tuning
    assert len(values) == trials


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.sampled_from([0.1, 0.2, 0.3, np.nan])), min_size=1
    )
)
def test_the_winner_is_the_best_complete_configuration(rows: list[tuple[str, int, float]]) -> None:
    trials = pd.DataFrame(rows, columns=["arm", "configuration", "mrr"]).assign(backbone="ttranse")
    ranked = tuned(trials, 2)
    for arm in set(trials["arm"]):
        means = {
            number: float(np.mean(values))
            for number in sorted({n for one, n, _ in rows if one == arm})
            if len(values := [v for one, n, v in rows if (one, n) == (arm, number) and v == v]) == 2
        }
        winner = ranked.loc[(ranked["arm"] == arm) & ranked["winner"], "configuration"].tolist()
        assert winner == ([max(means, key=lambda number: (means[number], -number))] if means else [])


@pytest.mark.parametrize("study", ["losses", "baselines"])
def test_shipped_spaces_hold_the_default_and_go_beyond_it(study: str) -> None:
    design = designs.load(study)
    tune = next(one for preset in design.presets.values() if (one := tune_of(design, preset)))
    preset = "tuned" if study == "baselines" else "default"
    for backbone in BACKBONES:
        run = cells.plan(design, dataset="d", data_digest="d", backbones=[backbone], preset=preset)
        for key, purpose in run.purposes.items():
            spec = next(spec for spec in run.specs if spec.key() == key)
            for name, values in tune.factors(spec.parts, backbone).items() if not purpose["configuration"] else ():
                assert values.low < run.factors[key][name] < values.high, name
    everywhere = tune_of(designs.load("losses"), designs.load("losses").presets["default"])
    assert everywhere is not None
    assert tune.space.items() <= everywhere.space.items()


# ---- what cannot be meant -------------------------------------------------------------------------------------------


def space(**parts: dict[str, Any]) -> dict[str, Any]:
    return {"tune": {"space": parts}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (space(DKD={"loss.DKD.others": {"low": 0.1, "high": 1.0}}), "no arm of the study has the loss 'DKD'"),
        (space(all={"loss.fitnet": {"low": 0.1, "high": 1.0}}), "all: loss.fitnet does not act in arm none"),
        (space(L1={"loss.alfa": {"low": 0.1, "high": 1.0}}), "unknown key 'loss.alfa', did you mean 'loss.alpha'"),
        (space(L1={"seed": {"low": 0, "high": 1}}), "L1: unknown key 'seed'"),
        (space(FitNet={"loss.fitnet": {"low": 0.1, "high": 9999.0}}), "loss.fitnet: .*1000"),
        (space(all={"student.regularization": {"low": 0.01, "high": 1.0}}), "regularization is 0.0003 without tuning"),
        (space(L1={"loss.temperature": {"low": 1, "high": 20}}), "arm none has 1 of 3 different configurations"),
        (space(all={"student.norm": {"low": 0, "high": 1}}), "student.norm"),
        (space(all={"student.dim": {"low": 7, "high": 8}}), "arm none has 2 of 3 different configurations"),
        (space(all=TUNE["space"]["all"], ttranse=TUNE["space"]["all"]), "student.regularization under all and ttranse"),
        ({"tune": {"trials": 0}}, "tune: trials: .*greater than or equal to 1"),
        ({"tune": {"trails": 3}}, "did you mean 'trials'"),
        ({"grid": {"loss.alpha": [1, 2]}}, "a grid, a search or tuning"),
        ({"search": {"arm": "L1", "trials": 2, "factors": TUNE["space"]["L1"]}}, "a grid, a search or tuning"),
        ({"report": "capacity"}, "tune: takes 'report: comparison'"),
        (
            {"variants": {"warm": {"arm": "L1", "settings": {"loss": {"temperature": 9}}}}},
            "variants: warm: loss.temperature is tuned",
        ),
    ],
)
def test_tuning_that_cannot_be_meant(tmp_path: Path, tiny_encoder: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, tiny_encoder, **change)
    assert "\n" not in str(caught.value)


def test_what_is_tuned_cannot_be_set_and_what_is_not_has_no_budget(
    dataset: Path, tmp_path: Path, tiny_encoder: Path
) -> None:
    with pytest.raises(UserError, match=r"--set loss\.fitnet: study 'mine' varies it"):
        plan(read(tmp_path, tiny_encoder), dataset, changes={"loss": {"fitnet": 2.0}})
    with pytest.raises(UserError, match=r"--tune: study 'ablation' tunes nothing at preset 'quick'"):
        plan(designs.load("ablation"), dataset, trials=4)


# ---- which trials are next ------------------------------------------------------------------------------------------


def test_an_arm_goes_on_when_all_its_configurations_have_ended(
    dataset: Path, tmp_path: Path, tiny_encoder: Path
) -> None:
    run = plan(read(tmp_path, tiny_encoder), dataset)
    inside = [spec for spec in run.specs if spec.key() in run.purposes]
    wanted: set[str] = set()
    tuning = Tuning(run, {spec.key(): 0.2 for spec in inside if spec.arm == "none"}, wanted)
    specs = tuning.more(1)
    assert [(spec.arm, spec.seed) for spec in specs] == [("none", FRESH), ("none", FRESH + 1)]
    assert [spec.student.regularization for spec in specs] == [None, None]  # of equals the first
    for spec in inside:
        if spec.arm == "L1":
            assert tuning.more(9) == []
            number = run.purposes[spec.key()]["configuration"]
            # the best one fails with one seed
            tuning.record(spec.key(), None if (number, spec.seed) == (1, 1) else 0.1 * (1 + number % 2) + 0.01 * number)
    best = next(spec for spec in inside if spec.arm == "L1" and run.purposes[spec.key()]["configuration"] == 2)
    assert [spec.loss for spec in tuning.more(0)] == [best.loss, best.loss]
    assert len(wanted) == 4 < tuning.most == 6


# ---- the whole ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("blank_figures")
def test_from_a_study_file_to_a_report_of_the_winners(
    dataset: Path, tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = read(tmp_path, tiny_encoder, {"seeds": 1})
    run, finish, done = plan(design, dataset), StudyStore.finish, list[Any]()

    def cut_off(self: StudyStore, trial: Any, *arguments: Any) -> bool:
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(trial)
        return finish(self, trial, *arguments)

    monkeypatch.setattr(StudyStore, "finish", cut_off)
    with pytest.raises(KeyboardInterrupt):
        carry_out(run, tmp_path)
    monkeypatch.undo()
    with pytest.raises(UserError, match="run the study again"):
        stored_designs.frames_of(report.as_layout(design), load(run, tmp_path), None)
    tally = carry_out(run, tmp_path)
    # three arms with three configurations, a winner each with two fresh seeds, and the teacher
    assert (len(tally.keys), tally.added, tally.failed) == (16, 12, 0)

    stored = load(run, tmp_path)
    complete = stored[0][stored[0]["state"] == "complete"]
    assert set(complete["cell"]) == tally.keys
    inside = complete[complete["role"] == "tune"]
    assert inside["test_mrr"].isna().all()  # what is not known cannot select
    means = inside.groupby(["losses", "configuration"])["valid_mrr"].mean()
    winners = {arm: means[arm].idxmax() for arm in ARMS}
    fresh = complete[complete["role"] == "confirm"]
    assert dict(zip(fresh["arm"], fresh["configuration"], strict=True)) == winners
    assert set(fresh["seed"]) == {FRESH, FRESH + 1}

    # as at the end of a study: the table and the report are of these alone
    console = Console(file=io.StringIO(), width=100)
    pdf = report.report_of_cells(design, stored, tmp_path / "report", run.study_name, tally.keys, console)
    table = pd.read_csv(tmp_path / "report" / "mine_table.csv").set_index("arm")
    assert table["n"].to_dict() == {"none": 2, "L1": 2, "L1+FitNet": 2, "teacher": 1}
    assert table.loc["L1", "mrr"] == pytest.approx(fresh.loc[fresh["arm"] == "L1", "test_mrr"].mean(), abs=1e-6)
    tried = pd.read_csv(tmp_path / "report" / "mine_tuning.csv")
    assert tried[tried["winner"]].set_index("arm")["configuration"].to_dict() == winners
    text = " ".join(" ".join(page.extract_text() for page in PdfReader(pdf).pages).split())
    assert "3 configurations of each arm with 1 seed of each" in text
    for arm, number in winners.items():
        row = tried[(tried["arm"] == arm) & tried["winner"]].iloc[0]
        assert f"#{number:.0f}" in text
        if temperature := json.loads(row["settings"]).get("loss.temperature"):
            assert f"T = {temperature:g}" in text
    assert text.count("3 of 3") == len(ARMS)
    again = carry_out(run, tmp_path)
    assert (again.added, again.failed, again.keys) == (0, 0, tally.keys)

    # one more configuration: the others are there; and a report of unequal budgets is refused
    more = carry_out(plan(design, dataset, trials=4, arms=["none"]), tmp_path)
    assert 1 <= more.added <= 3
    with pytest.raises(UserError, match="L1, TTransE: 3 of 4 configurations have ended"):
        stored_designs.frames_of(report.as_layout(design), load(run, tmp_path), None)
    # an arm more is another study, which takes over all of this one
    wider = read(tmp_path, tiny_encoder, {"seeds": 1}, arms=[*ARMS, "L1+RKD-D"], compare={})
    assert carry_out(plan(wider, dataset, arms=ARMS), tmp_path).added == 0


def test_parameters_are_the_settings_with_their_ranges(dataset: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    run = plan(read(tmp_path, tiny_encoder), dataset)
    tune = Tune.model_validate(TUNE)
    for spec in run.specs:
        values, distributions = parameters(run, spec)
        factors = {} if spec.arm == "teacher" else tune.factors(spec.parts, "ttranse")
        assert set(values) - {"arm", "backbone", "seed"} == set(factors)
        for name, one in factors.items():
            assert distributions[name] == one.distribution()
            assert distributions[name]._contains(values[name])
    # a teacher for each seed of the winners
    varying = plan(read(tmp_path, tiny_encoder), dataset, changes={"teacher": {"seeds": "student"}})
    assert [spec.seed for spec in varying.specs if spec.arm == "teacher"] == [FRESH, FRESH + 1]
