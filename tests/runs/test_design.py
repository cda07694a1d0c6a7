from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UserError
from harness.models import BACKBONES
from harness.runs import design as designs
from harness.runs.design import Run
from harness.runs.settings import parse_changes, settings
from harness.runs.spec import TrialSpec


def plan(**changes: object) -> Run:
    options = {"dataset": "lahman", "data_digest": "d", "backbones": ["ttranse"], "preset": "quick", **changes}
    return designs.plan(designs.load("ablation"), **options)


@pytest.mark.parametrize("name", designs.names())
def test_every_shipped_study_file_is_valid(name: str) -> None:
    design = designs.load(name)
    assert design.name == name
    assert {"quick", "default", "full"} <= set(design.presets)
    for preset in design.presets:
        for backbone in BACKBONES:
            assert designs.plan(design, dataset="d", data_digest="d", backbones=[backbone], preset=preset).cells


def test_cells_of_the_ablation() -> None:
    run = plan(preset="default", backbones=list(BACKBONES))
    assert len(run.cells) == len(BACKBONES) * (5 * 3 + 2)
    assert len({spec.key() for spec in run.cells}) == len(run.cells)
    assert {spec.seed for spec in run.cells if spec.arm == "teacher"} == {0}


def test_more_seeds_arms_or_backbones_extend_a_study() -> None:
    base = plan()
    wider = plan(seeds=3, backbones=list(BACKBONES))
    assert wider.study_name == base.study_name
    assert {s.key() for s in base.cells} < {s.key() for s in wider.cells}
    assert plan(arms=["L1", "L1+L2"]).study_name == base.study_name


@pytest.mark.parametrize(
    "change", [{"changes": {"loss": {"alpha": 0.7}}}, {"data_digest": "other"}, {"preset": "default"}]
)
def test_what_changes_numbers_starts_another_study(change: dict[str, object]) -> None:
    assert plan(**change).study_name != plan().study_name


def test_changes_win_over_the_preset() -> None:
    run = plan(changes=parse_changes(["teacher.dim=50", "alpha=0.7", "finetune=none"]))
    (whole,), (usual,) = ([c for c in each.cells if c.arm == "L1+L2+L3" and c.seed == 0] for each in (run, plan()))
    assert (whole.teacher.dim, whole.loss.alpha, whole.llm.finetune) == (50, 0.7, "none")
    assert whole.teacher.epochs == usual.teacher.epochs


def test_a_change_leaves_cells_alone_in_which_it_does_not_act() -> None:
    changed = plan(changes=parse_changes(["alpha=0.7"]))
    same = {cell.arm for cell, other in zip(changed.cells, plan().cells, strict=True) if cell.key() == other.key()}
    assert same == {"none", "L1", "L1+L3", "teacher", "llm-teacher"}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("alpha", "write key=value"),
        ("alfa=1", "did you mean 'loss.alpha'"),
        ("dim=3", "student.dim or teacher.dim or semantic.dim"),
        ("seed=1", "an axis of the design"),
        ("alpha=[", "cannot be read"),
        ("time=3", "unknown key"),
    ],
)
def test_changes_that_cannot_be_understood(item: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        parse_changes([item])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["alpha=x"], "loss.alpha: .*number.*'x'"),
        (["alpha=-1"], "loss.alpha: .*greater than or equal to 0"),
        (["alpha=.nan"], "finite"),
        (["student.epochs=2", "stage1_epochs=3"], "must not exceed"),
        (["protocol=filtered"], "time-aware"),
        (["teacher.backbone=transe"], "did you mean 'ttranse'"),
    ],
)
def test_values_that_cannot_be_meant(changes: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(changes=parse_changes(changes))


def test_unknown_names_come_with_the_nearest_one() -> None:
    with pytest.raises(UserError, match="did you mean 'ablation'"):
        designs.load("ablatoin")
    with pytest.raises(UserError, match="did you mean 'default'"):
        plan(preset="defautl")
    with pytest.raises(UserError, match=r"did you mean 'L1\+L3'"):
        plan(arms=["L1+L4"])


VALID = """\
name: mine
title: t
about: a
arms: [none]
backbone: ttranse
presets: {quick: {about: q, seeds: 1}}
"""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "cannot be read"),
        ("- a\n", "a mapping"),
        (VALID + "armz: [L1]\n", "did you mean 'arms'"),
        (VALID.replace("[none]", "[L9]"), "arms"),
        (VALID.replace("ttranse", "transe"), "did you mean 'ttranse'"),
        (VALID.replace("seeds: 1", "seeds: 0"), "presets.quick.seeds"),
        (VALID.replace("name: mine", "name: ../evil"), "name"),
        (VALID + "settings: {loss: {alfa: 1}}\n", "did you mean 'alpha'"),
        (VALID + "settings: {seed: 1}\n", "axis of the design"),
        (VALID + "settings: !!python/object/apply:os.system ['true']\n", "cannot be read"),
    ],
)
def test_malformed_study_files(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        designs.read(path)
    assert str(path) in str(caught.value) or "study 'mine'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_are_listed_with_value_and_meaning() -> None:
    rows = {name: value for name, value, _ in settings(TrialSpec())}
    assert rows["loss.temperature"] == "7.0"
    assert rows["student.learning_rate"] == "by backbone"
    assert "seed" not in rows
