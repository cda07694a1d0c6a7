from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.design import cells
from harness.design import files as designs
from harness.design.cells import Run
from harness.design.settings import parse_changes, settings, settle
from harness.errors import UserError
from harness.models import BACKBONES
from harness.store.factors import parameters
from harness.trial.keys import Plan
from harness.trial.options import option_of
from harness.trial.spec import TrialSpec

#: what ``--backbone all`` means
PAPERS = ("ttranse", "ta-distmult")


def plan(**changes: object) -> Run:
    options = {"dataset": "lahman", "data_digest": "d", "backbones": ["ttranse"], "preset": "quick", **changes}
    return cells.plan(designs.load("ablation"), **options)


@pytest.mark.parametrize("name", designs.files())
def test_every_shipped_study_file_is_valid(name: str) -> None:
    design = designs.load(name)
    assert design.name == name
    assert {"quick", "default", "full"} <= set(design.presets)
    for preset in design.presets:
        for backbone in BACKBONES:
            assert cells.plan(design, dataset="d", data_digest="d", backbones=[backbone], preset=preset, seeds=1).specs


def test_cells_of_the_ablation() -> None:
    run = plan(preset="default", backbones=list(PAPERS))
    # five arms and a teacher for each of three seeds, and the language model's teacher
    assert len(run.specs) == len(PAPERS) * (6 * 3 + 1)
    assert len({spec.key() for spec in run.specs}) == len(run.specs)
    once = plan(preset="quick", seeds=3)
    assert {spec.seed for spec in once.specs if spec.arm == "teacher"} == {0}


def test_students_of_claims_have_teachers_of_their_seeds_but_where_a_cost_is_asked_for() -> None:
    """And the settings of a file are those that `--set` gives: the same study, the same trials."""
    for name in designs.files():
        design = designs.load(name)
        for preset, chosen in design.presets.items():
            varies = settle(design, chosen).teacher.seeds == "student"
            assert varies == (bool(design.claims) and name != "cost" and preset != "quick"), (name, preset)
    given = {
        seeds: plan(preset="default", changes=parse_changes([f"teacher.seeds={seeds}"])) for seeds in ("student", "one")
    }
    usual = plan(preset="default")
    assert (given["student"].study_name, given["student"].specs) == (usual.study_name, usual.specs)
    assert given["one"].study_name != usual.study_name


def test_looks_add_the_teachers_of_their_new_seeds_alone() -> None:
    """As `--decide` plans them: what an earlier look has trained is there."""
    keys = list[set[str]]()
    for seeds in (3, 5):
        run = plan(preset="default", seeds=seeds, arms=["none", "L1"])
        made = [Plan.of(spec, "d", "cpu").keys for spec in run.specs]
        keys.append({of["teacher"] for of in made if "teacher" in of})
    assert [len(of_look) for of_look in keys] == [3, 5]
    assert keys[0] < keys[1]


def test_a_teacher_a_seed_is_a_trial_a_seed() -> None:
    run = plan(seeds=3, changes=parse_changes(["teacher.seeds=student"]))
    of_arm = {arm: [spec.seed for spec in run.specs if spec.arm == arm] for arm in ("teacher", "llm-teacher", "L1")}
    assert of_arm == {"teacher": [0, 1, 2], "llm-teacher": [0], "L1": [0, 1, 2]}
    teacher = next(spec for spec in run.specs if spec.arm == "teacher" and spec.seed == 2)
    assert parameters(run, teacher)[0] == {"arm": "teacher", "backbone": "ttranse", "seed": 2}
    assert run.study_name != plan(seeds=3).study_name


def test_the_price_of_a_teacher_a_seed_is_told() -> None:
    design = designs.load("ablation")
    assert "teachers" not in dict(cells.facts(design, "quick"))
    assert f"{design.presets['full'].seeds} are trained" in dict(cells.facts(design, "full"))["teachers"]


def test_more_seeds_arms_or_backbones_extend_a_study() -> None:
    base = plan()
    wider = plan(seeds=3, backbones=list(PAPERS))
    assert wider.study_name == base.study_name
    assert {s.key() for s in base.specs} < {s.key() for s in wider.specs}
    assert plan(arms=["L1", "L1+L2"]).study_name == base.study_name


@pytest.mark.parametrize(
    "change", [{"changes": {"loss": {"alpha": 0.7}}}, {"data_digest": "other"}, {"preset": "default"}]
)
def test_what_changes_numbers_starts_another_study(change: dict[str, object]) -> None:
    assert plan(**change).study_name != plan().study_name


def test_changes_win_over_the_preset() -> None:
    run = plan(changes=parse_changes(["teacher.dim=50", "alpha=0.7", "finetune=none"]))
    (complete,), (usual,) = ([c for c in one.specs if c.arm == "L1+L2+L3" and c.seed == 0] for one in (run, plan()))
    assert (complete.teacher.dim, complete.loss.alpha, complete.llm.finetune) == (50, 0.7, "none")
    assert complete.teacher.epochs == usual.teacher.epochs


def test_a_change_leaves_cells_alone_in_which_it_does_not_act() -> None:
    changed = plan(changes=parse_changes(["alpha=0.7"]))
    same = {cell.arm for cell, other in zip(changed.specs, plan().specs, strict=True) if cell.key() == other.key()}
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
    with pytest.raises(UserError, match=r"arm 'L1\+L4': there is no loss 'L4': did you mean 'L3'"):
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
        designs.load(path)
    assert str(path) in str(caught.value) or "study 'mine'" in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- variants and grids ----------------------------------------------------------------------------------------------

VARIED = (
    VALID.replace("arms: [none]", "arms: [none, L1, L1+L2]")
    + """\
variants:
  loose: {arm: L1+L2, settings: {loss: {delta: 10.0}}}
grid: {loss.alpha: [0.1, 1.0], student.dim: [5, 25]}
references: [teacher]
compare: {L1: [L1+L2, loose]}
contrasts: {gain: [L1+L2, L1, loose, L1]}
"""
)


def varied(tmp_path: Path, content: str = VARIED, **changes: object) -> Run:
    path = tmp_path / "mine.yaml"
    path.write_text(content, encoding="utf-8")
    options = {"dataset": "lahman", "data_digest": "d", "backbones": ["ttranse"], "preset": "quick", **changes}
    return cells.plan(designs.load(path), **options)


def test_the_default_lies_within_grid_and_search() -> None:
    """So neither ends at the settings that are recommended, and reports compare these with the best."""
    grid, search = designs.load("grid"), designs.load("sweep").search
    assert search is not None
    for name, levels in grid.grid.items():
        value, _ = option_of(TrialSpec(), name)
        assert value in levels
        assert levels[0] < value < levels[-1]
        assert 3 * search["factors"][name]["low"] <= value <= search["factors"][name]["high"] / 3


def test_a_grid_crosses_arms_with_the_factors_that_act_in_them(tmp_path: Path) -> None:
    run = varied(tmp_path)
    by_label = {run.labels[spec.key()]: spec for spec in run.specs}
    assert list(by_label) == [
        *("none · dim=5", "none · dim=25", "L1 · dim=5", "L1 · dim=25"),
        *(f"L1+L2 · alpha={a}, dim={d}" for a in (0.1, 1.0) for d in (5, 25)),
        *(f"loose · alpha={a}, dim={d}" for a in (0.1, 1.0) for d in (5, 25)),
        "teacher",
    ]
    spec = by_label["loose · alpha=0.1, dim=5"]
    assert (spec.arm, spec.loss.alpha, spec.loss.delta, spec.student.dim) == ("L1+L2", 0.1, 10.0, 5)


def test_more_variants_and_levels_reuse_all_cells(tmp_path: Path) -> None:
    wider = VARIED.replace("[0.1, 1.0]", "[0.1, 1.0, 3.0]")
    base, more = varied(tmp_path), varied(tmp_path, wider)
    assert more.study_name == base.study_name
    assert base.labels.items() < more.labels.items()
    # with more arms to choose from it is another study of Optuna's, which takes the trials of this one
    other = varied(tmp_path, wider.replace("grid:", "  tight: {arm: L1+L2}\ngrid:"))
    assert other.study_name != base.study_name
    assert base.labels.items() < other.labels.items()


def test_the_name_of_a_study_is_the_same_in_every_process() -> None:
    """In this one, where sets have an order by chance, and in one where they have a certain other."""
    code = (
        "from harness.design import cells, files\n"
        "design = files.load('ablation')\n"
        "arms = ('none', 'L1+RKD-A', 'teacher', 'llm-teacher', 'recurrence', 'gaps')\n"
        "for some in ((), arms):\n"
        "    run = cells.plan(design, dataset='d', data_digest='d', backbones=['ttranse'], preset='quick', arms=some)\n"
        "    print(run.study_name)\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "0" if os.environ.get("PYTHONHASHSEED") == "1" else "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    with contextlib.redirect_stdout(io.StringIO()) as here:
        exec(code, {})
    assert done.stdout == here.getvalue()
    assert len(done.stdout.splitlines()) == 2


def test_a_preset_may_have_a_part_of_a_study(tmp_path: Path) -> None:
    part = VARIED.replace("seeds: 1}", "seeds: 1, arms: [L1, loose], grid: {loss.alpha: [1.0], student.dim: [5]}}")
    run = varied(tmp_path, part)
    # under the names that the same cells have in the whole study
    assert [run.labels[spec.key()] for spec in run.specs] == ["L1 · dim=5", "loose · alpha=1.0, dim=5"]
    assert run.labels.items() < varied(tmp_path).labels.items()


def test_the_name_of_an_arm_may_be_a_variants(tmp_path: Path) -> None:
    assert set(varied(tmp_path, arms=["loose"]).labels.values()) == {
        f"loose · alpha={a}, dim={d}" for a in (0.1, 1.0) for d in (5, 25)
    }


def test_what_a_study_varies_cannot_be_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--set loss.alpha: study 'mine' varies it"):
        varied(tmp_path, changes=parse_changes(["alpha=3"]))


def test_presets_like_another_studys_share_its_teachers() -> None:
    ablation, baselines = designs.load("ablation"), designs.load("baselines")
    for preset in ("quick", "default", "full"):
        assert baselines.presets[preset].settings == ablation.presets[preset].settings


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("grid: {loss.alpha", "grid: {loss.alfa", "did you mean 'loss.alpha'"),
        ("[5, 25]", "[]", "student.dim has no levels"),
        ("[5, 25]", "[5, many]", "student.dim: .*'many'"),
        ("student.dim: [5", "seed: [5", "unknown key 'seed'"),
        ("L1: [L1+L2, loose]", "L1: [lose]", "did you mean 'loose'"),
        ("  loose:", "  L1+L3:", "is the name of an arm"),
        ("delta: 10.0", "delta: -1", "loss.delta: "),
        ("gain: [L1+L2, L1, loose, L1]", "gain: [L1+L2, L1]", "contrasts.gain"),
        ("seeds: 1}", "seeds: 1, arms: [luse]}", "did you mean 'loose'"),
    ],
)
def test_variants_and_grids_that_cannot_be_meant(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in VARIED
    with pytest.raises(UserError, match=message):
        varied(tmp_path, VARIED.replace(old, new))


def test_settings_are_listed_with_value_and_meaning() -> None:
    parts = settings(TrialSpec())
    rows = {name: value for part in parts.values() for name, value, _ in part}
    assert rows["loss.temperature"] == "7.0"
    assert rows["student.learning_rate"] == "–"
    assert "seed" not in rows
    # a value that nobody set is said in words, not as Python has it
    assert not [row for part in parts.values() for row in part if "None" in row[2] or (row[1] == "–") > ("–" in row[2])]


def test_a_backbone_that_the_study_does_not_name_is_another_study() -> None:
    """Names do not depend on which backbones the package has, only on those that are asked for."""
    assert plan(backbones=["tcomplex"]).study_name != plan().study_name
    assert plan(backbones=["tcomplex"]).study_name == plan(backbones=["tcomplex", "ttranse"]).study_name
