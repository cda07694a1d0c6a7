"""Figures: written whole, fonts embedded as TrueType, the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from harness.reporting.comparison import figures
from harness.reporting.comparison.gains import gains
from harness.reporting.data.results import Results, costs_by_stage, paired
from harness.reporting.output.figures import figure, readable, signed_ticks, spread, stage_costs
from harness.vocabulary import MORE_COLORS, arm_colors
from tests.reporting.conftest import LAYOUT

Make = Callable[..., Any]
#: what each arm is trained with, and its colour
ARMS = {arm: arm for arm in LAYOUT.arms}
COLORS = arm_colors(LAYOUT.arms)


@pytest.fixture
def results(frames: Make) -> Results:
    study = frames(facts=60)
    return Results.load(study.trials, study.load_ranks, LAYOUT)


@pytest.mark.draws
def test_all_figures_are_drawn(frames: Make, results: Results, tmp_path: Path) -> None:
    assert figures.forest(paired(results), "ttranse", COLORS, tmp_path / "a")
    assert figures.learning_curves(frames(facts=60).curves, ARMS, "ttranse", COLORS, tmp_path / "b")
    assert figures.relation_gains(gains(results), "ttranse", tmp_path / "c")
    assert stage_costs(costs_by_stage(results), "ttranse", tmp_path / "d")
    for name in "abcd":
        pdf = (tmp_path / name).with_suffix(".pdf").read_bytes()
        assert b"/FontFile2" in pdf
        assert b"/Type3" not in pdf
        assert (tmp_path / name).with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_nothing_to_draw_leaves_no_file(frames: Make, results: Results, tmp_path: Path) -> None:
    study = frames(facts=60)
    assert not figures.forest(paired(results), "other", COLORS, tmp_path / "a")
    assert not figures.learning_curves(study.curves, ARMS, "other", COLORS, tmp_path / "b")
    assert not figures.relation_gains(gains(results), "other", tmp_path / "c")
    assert not stage_costs(costs_by_stage(results), "other", tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.draws
def test_same_numbers_same_bytes(results: Results, tmp_path: Path) -> None:
    for name in "ab":
        figures.forest(paired(results), "ttranse", COLORS, tmp_path / name)
    for suffix in (".pdf", ".png"):
        first, second = ((tmp_path / name).with_suffix(suffix).read_bytes() for name in "ab")
        assert first == second


def test_a_seed_that_stopped_early_does_not_bend_the_mean(
    frames: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 1 of L1 + L2 ends after six epochs: the drawn mean of that arm ends there too."""
    curves = frames(facts=60).curves
    stopped = curves[~((curves["arm"] == "L1+L2") & (curves["seed"] == 1) & (curves["epoch"] > 6))]
    drawn: list[list[int]] = []
    save = Figure.savefig

    def remember(self: Figure, *args: Any, **options: Any) -> None:
        drawn.append([len(line.get_xdata()) for line in self.axes[0].lines if line.get_linestyle() in ("-", "--")])
        save(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", remember)
    assert figures.learning_curves(stopped, ARMS, "ttranse", COLORS, tmp_path / "a")
    # none, L1, L1 + L2, L1 + L3, L1 + L2 + L3; dots of stage 2 are no lines
    assert drawn[0][:5] == [12, 12, 6, 12, 12]


@pytest.mark.draws
def test_names_in_unknown_scripts_and_with_markup_are_drawn(results: Results, tmp_path: Path) -> None:
    table = gains(results)
    table["relation"] = table["relation"].replace({table["relation"][0]: "$\\frac{1$ 出生地 " + "x" * 60})
    assert figures.relation_gains(table, "ttranse", tmp_path / "a")
    assert (tmp_path / "a.pdf").exists()


@pytest.mark.parametrize(
    ("ends", "labels"), [((-0.004, 0.011), {"0.000", "+0.005"}), ((-0.2, 1.1), {"0.0", "+0.5"}), ((-30, 90), {"+20"})]
)
def test_ticks_are_round_numbers(ends: tuple[float, float], labels: set[str], tmp_path: Path) -> None:
    with figure(tmp_path / "a", 2) as (axes,):
        axes.plot(ends, [0, 1])
        signed_ticks(axes.xaxis)
        shown = {tick.get_text() for tick in axes.get_xticklabels()}
    assert labels <= shown


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8), st.floats(0.01, 0.5))
def test_spread_keeps_order_and_distance(positions: list[float], gap: float) -> None:
    moved = spread(positions, gap)
    in_order = [moved[i] for i in np.argsort(positions, kind="stable")]
    assert all(second - first >= gap - 1e-9 for first, second in pairwise(in_order))
    assert np.mean(moved) == pytest.approx(np.mean(positions), abs=1e-9)


def test_spread_leaves_what_fits_alone() -> None:
    assert spread([0.9, 0.1, 0.5], 0.2) == pytest.approx([0.9, 0.1, 0.5])


def test_curves_without_l1_have_one_panel(frames: Make, tmp_path: Path) -> None:
    curves = frames(facts=60, arms=("none", "L1+L2")).curves
    assert figures.learning_curves(curves, ARMS, "ttranse", COLORS, tmp_path / "a")
    missing = pd.DataFrame(columns=curves.columns)
    assert not figures.learning_curves(missing, ARMS, "ttranse", COLORS, tmp_path / "b")


def test_each_arm_has_a_dot_where_its_own_stage_2_begins(
    frames: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later switch of one arm, and one that has a single stage; L1 has nothing that joins."""
    curves = frames(facts=60).curves
    late = (curves["arm"] == "L1+L3") & (curves["epoch"] <= 9)
    once = curves["arm"] == "L1+L2+L3"
    curves["stage"] = curves["stage"].mask(late, 1).mask(once, 2)
    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (drawn.append(self), save(self, *a, **k)))
    figures.learning_curves(curves, ARMS, "ttranse", COLORS, tmp_path / "a")
    dots = {line.get_color(): line.get_xdata()[0] for line in drawn[0].axes[0].lines if line.get_marker() == "o"}
    assert dots == {COLORS["L1+L2"]: 127 * 6, COLORS["L1+L3"]: 127 * 9}


@pytest.mark.parametrize("color", [*COLORS.values(), *MORE_COLORS, "#F0E442"])
def test_names_of_lines_can_be_read_on_white(color: str) -> None:
    shade = [int(readable(color)[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in shade]
    assert 1.05 / (np.dot([0.2126, 0.7152, 0.0722], linear) + 0.05) >= 4.4


@pytest.mark.draws
def test_longer_teacher_moves_nothing_in_the_curves(frames: Make, tmp_path: Path) -> None:
    """A teacher's epochs all count as stage 1; they must not shift where the students' stage 2 begins."""
    curves = frames(facts=60).curves
    last = curves.iloc[[0]].assign(arm="teacher", stage=1, epoch=99, updates=10 * curves["updates"].max())
    figures.learning_curves(curves, ARMS, "ttranse", COLORS, tmp_path / "a")
    figures.learning_curves(pd.concat([curves, last]), ARMS, "ttranse", COLORS, tmp_path / "b")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
