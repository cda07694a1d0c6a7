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
from harness.reporting.output.figures import figure, signed_ticks, spread, stage_costs
from tests.reporting.conftest import LAYOUT

Make = Callable[..., Any]


@pytest.fixture
def results(frames: Make) -> Results:
    study = frames(facts=60)
    return Results.load(study.trials, study.load_ranks, LAYOUT)


@pytest.mark.draws
def test_all_figures_are_drawn(frames: Make, results: Results, tmp_path: Path) -> None:
    assert figures.forest(paired(results), "ttranse", tmp_path / "a")
    assert figures.learning_curves(frames(facts=60).curves, "ttranse", tmp_path / "b")
    assert figures.relation_gains(gains(results), "ttranse", tmp_path / "c")
    assert stage_costs(costs_by_stage(results), "ttranse", tmp_path / "d")
    for name in "abcd":
        pdf = (tmp_path / name).with_suffix(".pdf").read_bytes()
        assert b"/FontFile2" in pdf
        assert b"/Type3" not in pdf
        assert (tmp_path / name).with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_nothing_to_draw_leaves_no_file(frames: Make, results: Results, tmp_path: Path) -> None:
    study = frames(facts=60)
    assert not figures.forest(paired(results), "other", tmp_path / "a")
    assert not figures.learning_curves(study.curves, "other", tmp_path / "b")
    assert not figures.relation_gains(gains(results), "other", tmp_path / "c")
    assert not stage_costs(costs_by_stage(results), "other", tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.draws
def test_same_numbers_same_bytes(results: Results, tmp_path: Path) -> None:
    for name in "ab":
        figures.forest(paired(results), "ttranse", tmp_path / name)
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
    assert figures.learning_curves(stopped, "ttranse", tmp_path / "a")
    # none, L1, L1 + L2, L1 + L3, L1 + L2 + L3; the broken line of stage 2 is left out by its style
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
    assert figures.learning_curves(curves, "ttranse", tmp_path / "a")
    missing = pd.DataFrame(columns=curves.columns)
    assert not figures.learning_curves(missing, "ttranse", tmp_path / "b")


@pytest.mark.draws
def test_longer_teacher_moves_nothing_in_the_curves(frames: Make, tmp_path: Path) -> None:
    """A teacher's epochs all count as stage 1; they must not shift where the students' stage 2 begins."""
    curves = frames(facts=60).curves
    last = curves.iloc[[0]].assign(arm="teacher", stage=1, epoch=99, updates=10 * curves["updates"].max())
    figures.learning_curves(curves, "ttranse", tmp_path / "a")
    figures.learning_curves(pd.concat([curves, last]), "ttranse", tmp_path / "b")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
