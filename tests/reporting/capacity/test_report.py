"""The report of arms crossed with dimensions: numbers recomputed from the frames, tables, figure and files."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from pypdf import PdfReader
from statsmodels.stats.multitest import multipletests

from harness import report
from harness.errors import UserError
from harness.reporting.capacity.figures import capacity
from harness.reporting.capacity.numbers import (
    Numbers,
    Sizes,
    gains_by_size,
    kept,
    means_by_size,
    table_by_size,
    thresholds,
)
from harness.reporting.capacity.report import content, display_tables
from harness.reporting.output.tables import to_latex
from harness.reporting.output.typst import write
from tests.reporting.conftest import CAPACITY, written

Make = Callable[..., Any]
FULL = "L1+L2+L3"
META = {"command": "python -m harness.study capacity --dataset wiki", "data": {"training facts": 32497}}
FILES = {
    "capacity.pdf",
    "report.html",
    *(f"capacity_{t}.{s}" for t in ("table", "gains", "threshold") for s in ("csv", "parquet", "tex")),
    *(f"figures/ttranse_capacity.{s}" for s in ("pdf", "png")),
}


def load(study: Any) -> Sizes:
    return Sizes.load(study.of(CAPACITY))


def make(study: Any, output: Path, **meta: Any) -> Path:
    return write(content(study.of(CAPACITY, meta or META)), output)


def by_fact(study: Any, losses: str, dim: int) -> np.ndarray:
    """Reciprocal ranks ``[S, N]`` of the test facts, straight from the ranks."""
    mine = study.trials.query("losses == @losses and dim == @dim and state == 'complete'").sort_values("seed")
    ranks = [study.ranks[label].sort_values("query")["rank"].to_numpy() for label in mine.index]
    return np.stack([(1 / rank).reshape(2, -1).mean(axis=0) for rank in ranks])


# --- numbers


def test_means_are_those_of_the_trials_by_losses_and_dimension(sizes: Make) -> None:
    study = sizes(facts=40, dims=(5, 100, 25), seeds=2)
    frame = means_by_size(load(study))
    mine = study.trials.groupby(["losses", "dim"])["test_hits10"].mean()
    rows = frame[frame["metric"] == "hits10"]
    for row in rows.itertuples():
        assert row.mean == pytest.approx(mine[row.arm, row.dim])
    assert [*zip(rows["arm"], rows["dim"], strict=True)] == [
        *((arm, dim) for arm in ("none", "L1", FULL) for dim in (5, 25, 100)),
        ("teacher", 400),
    ]


def test_the_table_has_a_row_for_each_kind_of_student_and_the_share_it_keeps(sizes: Make) -> None:
    study = sizes(facts=60, dims=(5, 25), failed=(("L1", 25, 1),))
    numbers = Numbers.of_sizes(load(study))
    table = table_by_size(numbers.means, numbers.kept).set_index(["arm", "dim"])
    assert len(table) == 7
    done = study.trials[study.trials["state"] == "complete"].groupby(["losses", "dim"])
    for name in ("mrr", "mr", "hits10"):
        mine = done[f"test_{name}"].mean()
        assert table[name].to_dict() == pytest.approx(mine.to_dict())
    assert table.loc[("L1", 25), ["n", "failed"]].tolist() == [2, 1]
    mrr = done["test_mrr"].mean()
    assert table.loc[(FULL, 25), "kept"] == pytest.approx(mrr[FULL, 25] / mrr["teacher", 400])
    assert table["kept_low"].dropna().lt(table["kept"].dropna()).all()
    assert np.isnan(table.loc[("teacher", 400), "kept"])


def test_the_interval_of_the_share_is_like_that_of_a_bootstrap_of_facts(sizes: Make) -> None:
    """One seed: both models are tested on the same resampled facts."""
    study = sizes(facts=300, dims=(25,), seeds=1)
    row = kept(load(study)).set_index("arm").loc["L1"]
    student, teacher = by_fact(study, "L1", 25)[0], by_fact(study, "teacher", 400)[0]
    drawn = np.random.default_rng(1).integers(0, 300, (8000, 300))
    ends = np.quantile(student[drawn].mean(axis=1) / teacher[drawn].mean(axis=1), [0.025, 0.975])
    assert (row["kept_low"], row["kept_high"]) == pytest.approx(tuple(ends), abs=0.006)


def test_students_are_compared_with_the_teacher_of_their_seed(sizes: Make) -> None:
    """Where there is one a seed; a failed one takes its seed from the share."""
    study = sizes(facts=80, dims=(25,), seeds=3)
    (label,) = study.trials.index[study.trials["arm"] == "teacher"]
    rows = [study.trials]
    for seed, source in ((1, "none · dim=25"), (2, "L1 · dim=25")):
        (like,) = study.trials.index[(study.trials["arm"] == source) & (study.trials["seed"] == seed)]
        made = study.trials.loc[[like]].assign(arm="teacher", losses="teacher", dim=400, trial=100 + seed)
        rows.append(made.set_axis([1000 + seed]))
        study.ranks[1000 + seed] = study.ranks[like]
    study.trials = pd.concat(rows)
    assert label in study.ranks
    students, teachers = by_fact(study, "L1", 25), by_fact(study, "teacher", 400)
    share = kept(load(study)).set_index("arm").loc["L1", "kept"]
    assert share == pytest.approx(students.mean() / teachers.mean())
    study.trials = study.trials.drop(index=1001)
    share = kept(load(study)).set_index("arm").loc["L1", "kept"]
    assert share == pytest.approx(students[[0, 2]].mean() / teachers[[0, 2]].mean())


def test_gains_are_paired_by_dimension_and_corrected_over_dimensions(sizes: Make) -> None:
    study = sizes(facts=80, dims=(5, 25, 100))
    frame = gains_by_size(load(study))
    plain = frame[frame["smaller"].isna()]
    assert len(plain) == 3 * 3 * 5
    mrr = study.trials.groupby(["losses", "dim"])["test_mrr"].mean()
    for row in plain[plain["metric"] == "mrr"].itertuples():
        assert row.difference == pytest.approx(mrr[row.arm, row.dim] - mrr[row.base, row.dim])
        assert row.relative == pytest.approx(row.difference / mrr[row.base, row.dim])
        assert (row.seeds, row.facts) == (3, 80)
    for _, family in plain.groupby(["arm", "base", "metric"]):
        assert family["dim"].tolist() == [5, 25, 100]
        np.testing.assert_allclose(family["p_holm"], multipletests(family["p"], method="holm")[1])


def test_contrasts_are_differences_of_gains_and_a_family_of_their_own(sizes: Make) -> None:
    study = sizes(facts=80, dims=(5, 25, 100))
    frame = gains_by_size(load(study))
    gain = Numbers(frame, frame, frame, frame).gain().set_index("dim")["difference"]
    contrasts = frame[frame["smaller"].notna()]
    assert [*zip(contrasts["dim"], contrasts["smaller"], strict=True)] == [(25, 5), (100, 5), (100, 25)]
    assert set(contrasts["metric"]) == {"mrr"}
    for row in contrasts.itertuples():
        assert row.difference == pytest.approx(gain[row.dim] - gain[row.smaller])
    assert contrasts["relative"].isna().all()
    np.testing.assert_allclose(contrasts["p_holm"], multipletests(contrasts["p"], method="holm")[1])


def test_gains_within_the_margin_are_equivalent(sizes: Make) -> None:
    study = sizes(dims=(25, 50), facts=400, gain=lambda dim: 0.0)
    wide = gains_by_size(Sizes.load(study.of(replace(CAPACITY, margin=0.4))))
    plain = wide[wide["smaller"].isna() & (wide["base"] == "L1") & (wide["metric"] == "mrr")]
    assert (plain["verdict"] == "equivalent").all()
    mean = study.trials[study.trials["arm"] == "L1 · dim=25"]["test_mrr"].mean()
    assert plain.set_index("dim")["margin"][25] == pytest.approx(0.4 * mean)
    (contrast,) = wide[wide["smaller"].notna()].to_dict("records")
    other = study.trials[study.trials["arm"] == "L1 · dim=50"]["test_mrr"].mean()
    assert contrast["margin"] == pytest.approx(0.4 * (mean + other) / 2)
    narrow = gains_by_size(Sizes.load(study.of(replace(CAPACITY, margin=1e-5))))
    assert not (narrow["verdict"] == "equivalent").any()


def test_detectable_grows_when_facts_scatter_more(sizes: Make) -> None:
    """With one seed it is (z of .05 / 3, two-sided, + t of .8) standard errors of the mean over facts."""
    study = sizes(facts=100, dims=(5, 25, 100), seeds=1)
    row = Numbers.of_sizes(load(study)).gain().set_index("dim").loc[25]
    delta = (by_fact(study, FULL, 25) - by_fact(study, "L1", 25))[0]
    # 2.3940 is the normal's quantile at 1 - .05 / 6, .8453 that of t with 99 degrees of freedom at .8
    assert row["detectable"] == pytest.approx((2.3940 + 0.8453) * delta.std(ddof=1) / 10, rel=1e-4)


def test_failed_seeds_are_left_out_of_what_needs_them(sizes: Make) -> None:
    study = sizes(facts=60, dims=(5, 25), failed=(("L1", 25, 1), (FULL, 5, 2)))
    actual = load(study)
    rows = gains_by_size(actual).query("metric == 'mrr'").fillna({"smaller": 0})
    seeds = rows.set_index(["arm", "base", "dim", "smaller"])["seeds"]
    assert (seeds[FULL, "L1", 5, 0], seeds[FULL, "L1", 25, 0], seeds["L1", "none", 5, 0]) == (2, 2, 3)
    # both sizes together have seed 0 alone
    assert seeds[FULL, "L1", 25, 5] == 1
    assert thresholds(actual)["seeds"].tolist() == [1]
    # seeds 0 and 1 of the full method at 5 dimensions, of three of L1
    delta = (by_fact(study, FULL, 5) - by_fact(study, "L1", 5)[:2]).mean()
    assert rows.set_index(["arm", "base", "dim", "smaller"])["difference"][FULL, "L1", 5, 0] == pytest.approx(delta)


def test_threshold_is_where_the_mean_gain_crosses_zero_in_log_dimension(sizes: Make) -> None:
    study = sizes(facts=400, dims=(5, 10, 50, 200), gain=lambda dim: -0.2 if dim <= 10 else 0.3)
    (row,) = thresholds(load(study)).to_dict("records")
    mrr = study.trials.groupby(["losses", "dim"])["test_mrr"].mean()
    low, high = (mrr[FULL, dim] - mrr["L1", dim] for dim in (10, 50))
    assert low < 0 < high
    assert row["threshold"] == pytest.approx(10 * 5 ** (-low / (high - low)))
    assert 10 < row["low"] < row["threshold"] < row["high"] < 50
    assert (row["smallest"], row["largest"], row["always"], row["never"]) == (5, 200, 0, 0)


def test_threshold_of_a_gain_everywhere_and_nowhere(sizes: Make) -> None:
    always = thresholds(load(sizes(facts=200, dims=(5, 25), seeds=2, gain=lambda _: 0.5))).iloc[0]
    assert (always["threshold"], always["low"], always["high"], always["always"]) == (0, 0, 0, 1)
    never = thresholds(load(sizes(facts=200, dims=(5, 25), seeds=2, gain=lambda _: -0.5))).iloc[0]
    assert (never["threshold"], never["low"], never["high"], never["never"]) == (math.inf, math.inf, math.inf, 1)


def test_arms_that_differ_in_more_than_losses_and_dimension_are_refused(sizes: Make) -> None:
    study = sizes(facts=20, dims=(5, 25), seeds=1)
    study.trials["dim"] = study.trials["dim"].replace({25: 5})
    with pytest.raises(UserError, match=r"'none · dim=5' and 'none · dim=25' both train none with 5 dimensions"):
        load(study)


@pytest.mark.parametrize("column", ["losses", "dim"])
def test_frames_without_losses_or_dimension_are_refused(sizes: Make, column: str) -> None:
    study = sizes(facts=20, dims=(5,), seeds=1)
    study.trials = study.trials.drop(columns=column)
    with pytest.raises(UserError, match=f"column '{column}' is missing"):
        load(study)


# --- tables and figure


def test_the_main_table_shows_means_gain_verdict_and_share(sizes: Make) -> None:
    study = sizes(facts=300, dims=(5, 25), failed=(("L1", 25, 1),), gain=lambda dim: 0.5 if dim > 5 else 0)
    actual = load(study)
    numbers = Numbers.of_sizes(actual)
    table = display_tables(actual, numbers)["ttranse"]["main"]
    assert table.header == ("dim", "n", "no distillation", "L1", "L1 + L2 + L3", "gain over L1", "verdict", "kept")
    done = study.trials[study.trials["state"] == "complete"]
    mean = done.groupby(["losses", "dim"])["test_mrr"].agg(["mean", "std"])
    five, large = table.rows
    assert [cell.text for cell in five.cells[:5]] == [
        "5",
        "3",
        *(f"{mean.loc[(arm, 5), 'mean']:.4f}" for arm in ("none", "L1", FULL)),
    ]
    assert five.cells[3].extra == f"±{4.3027 * mean.loc[('L1', 5), 'std'] / math.sqrt(3):.4f}"
    assert [cell.text for cell in large.cells[:2]] == ["25", "2–3"]
    assert (large.cells[6].text, large.cells[6].strong, five.cells[6].text) == ("better", True, "undecided")
    share = 100 * mean.loc[(FULL, 25), "mean"] / mean.loc[("teacher", 400), "mean"]
    assert large.cells[7].text == f"{share:.1f}\N{NO-BREAK SPACE}%"
    assert f"The teacher (400-d) has {mean.loc[('teacher', 400), 'mean']:.4f}" in table.note


def test_every_row_of_every_table_has_as_many_cells_as_its_header(sizes: Make) -> None:
    study = sizes(facts=30, backbones=("ttranse", "ta-distmult"), seeds=2, without=(("L1", 5), (FULL, 25)))
    actual = load(study)
    made = display_tables(actual, Numbers.of_sizes(actual))
    assert list(made) == ["ttranse", "ta-distmult"]
    for one in made.values():
        assert list(one) == ["main", "gains", "growth", "threshold", "metrics"]
        for table in one.values():
            assert len(table.align) == len(table.header)
            assert all(len(row.cells) == len(table.header) for row in table.rows)
    rows = {row.cells[0].text: [cell.text for cell in row.cells[1:]] for row in made["ttranse"]["main"].rows}
    assert [rows["5"][2], *rows["5"][4:6]] == ["–"] * 3
    assert rows["5"][6] != "–"
    assert rows["25"][3:] == ["–"] * 4


def test_backbones_with_different_arms_share_the_columns_of_a_latex_table(sizes: Make) -> None:
    study = sizes(facts=30, backbones=("ttranse", "ta-distmult"), seeds=1, dims=(5, 25))
    study.trials = study.trials.query("not (backbone == 'ta-distmult' and losses == 'L1')")
    actual = load(study)
    made = display_tables(actual, Numbers.of_sizes(actual))
    assert made["ta-distmult"]["gains"].rows
    assert not made["ta-distmult"]["metrics"].rows
    lines = to_latex([(name, one["main"]) for name, one in made.items()]).splitlines()
    assert {line.count("&") for line in lines if line.endswith(r"\\") and "multicolumn" not in line} == {7}


@pytest.mark.draws
def test_the_figure_marks_verdicts_threshold_and_teacher(
    sizes: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = sizes(facts=300, dims=(5, 25, 100), gain=lambda dim: 0.5 if dim > 5 else -0.05)
    numbers = Numbers.of_sizes(load(study))
    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (drawn.append(self), save(self, *a, **k)))
    assert capacity(numbers, tmp_path / "a")
    left, right = drawn[0].axes
    assert left.get_xscale() == right.get_xscale() == "log"
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["5", "25", "100"]
    teacher = study.trials.query("losses == 'teacher'")["test_mrr"].iloc[0]
    assert any(np.allclose(line.get_ydata(), teacher) for line in left.lines)
    names = {text.get_text() for text in left.texts}
    assert names == {"no distillation", "L1", "L1 + L2 + L3", "teacher, 400-d"}
    faces = [line.get_markerfacecolor() for line in right.lines if line.get_marker() == "o"]
    decided = numbers.gain()["verdict"] != "undecided"
    assert [face != "white" for face in faces] == decided.tolist() == [False, True, True]
    place = numbers.thresholds["threshold"].iloc[0]
    assert any(np.allclose(line.get_xdata(), place) for line in right.lines)
    assert [text.get_text() for text in right.texts] == [f"threshold {place:.1f}" if place < 10 else f"{place:.0f}"]
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    capacity(numbers, tmp_path / "b")
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "a.png").read_bytes()


@pytest.mark.parametrize(("gain", "label"), [(0.6, "threshold below 5"), (-0.6, "no threshold up to 25")])
def test_a_threshold_outside_is_told_in_the_figure(
    sizes: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gain: float, label: str
) -> None:
    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (drawn.append(self), save(self, *a, **k)))
    study = sizes(facts=200, dims=(5, 25), seeds=2, gain=lambda _: gain)
    capacity(Numbers.of_sizes(load(study)), tmp_path / "a")
    assert [text.get_text() for text in drawn[0].axes[1].texts] == [label]


def test_nothing_to_draw_leaves_no_file(sizes: Make, tmp_path: Path) -> None:
    assert not capacity(Numbers.of_sizes(load(sizes(facts=20, dims=(5,), arms=("teacher",)))), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


# --- the whole report


def text_of(pdf: Path) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(pdf).pages).split())


def test_a_report_is_complete_and_repeatable(sizes: Make, tmp_path: Path) -> None:
    study = sizes(facts=120, dims=(5, 25, 100), failed=(("L1", 25, 1),))
    pdf = make(study, tmp_path)
    assert pdf == tmp_path / "capacity.pdf"
    assert written(tmp_path) == FILES
    first = pdf.read_bytes()
    assert make(study, tmp_path).read_bytes() == first
    text = text_of(pdf)
    for part in (
        "C9 Below some dimension",
        "C10 A student of 25",
        "no distillation, L1, L1 + L2 + L3; seeds 0–2",
        "Dimensions 5, 25, 100",
        "Threshold. The gain of L1 + L2 + L3 over L1",
        "Trials without a result",
        "L1 · dim=25 1 loss became NaN",
        "Settings common to all students",
    ):
        assert part in text
    assert "dim=100" not in text
    table = pd.read_csv(tmp_path / "capacity_table.csv", keep_default_na=False)
    assert {"mrr", "mr", "hits10", "kept"} <= set(table)
    assert table["arm"].tolist() == ["none"] * 3 + ["L1"] * 3 + [FULL] * 3 + ["teacher"]
    gains = pd.read_parquet(tmp_path / "capacity_gains.parquet")
    assert gains["smaller"].isna().sum() == 3 * 3 * 5


def test_a_report_warns_of_a_weak_teacher(sizes: Make, tmp_path: Path) -> None:
    text = text_of(make(sizes(facts=80, seeds=2, dims=(25,), arms=("none", "L1", "teacher")), tmp_path / "strong"))
    assert "cannot be expected to help" not in text
    study = sizes(facts=80, seeds=2, dims=(25, 4000), arms=("none", "L1", "teacher"))
    assert "help students of 4000 dimensions" in text_of(make(study, tmp_path / "weak"))


def test_one_seed_and_missing_pieces_make_a_report(sizes: Make, tmp_path: Path) -> None:
    arms = ("none", "L1", FULL)
    study = sizes(facts=60, seeds=1, dims=(5, 25, 100), arms=arms, without=(("L1", 5), (FULL, 25)))
    text = text_of(make(study, tmp_path, notes=["A note."]))
    assert "there is no teacher to compare with" in text
    assert "Every arm ran with one seed" in text
    assert "A note." in text
    assert pd.read_parquet(tmp_path / "capacity_threshold.parquet").empty
    assert pd.read_parquet(tmp_path / "capacity_table.parquet")["kept"].isna().all()


@pytest.mark.parametrize("arms", [("none",), ("L1", "teacher"), ("teacher",)])
def test_what_there_is_makes_a_report(sizes: Make, tmp_path: Path, arms: tuple[str, ...]) -> None:
    make(sizes(facts=40, seeds=2, dims=(25,), arms=arms), tmp_path)
    assert pd.read_parquet(tmp_path / "capacity_gains.parquet").empty
    assert (tmp_path / "capacity.pdf").stat().st_size > 10_000


@pytest.mark.draws
def test_no_text_acts_as_markup(sizes: Make, tmp_path: Path) -> None:
    attack = '#panic("read") *b* $x$ \\ ] } "quote" @ref <label> ' + '#read("/etc/hostname")'
    study = sizes(facts=40, seeds=1, dims=(5, 25), failed=(("L1", 5, 0),), dataset=attack, backbones=("New/../Model",))
    study.trials["reason"] = study.trials["reason"].where(study.trials["reason"].isna(), attack)
    study.trials["machine"] = attack
    make(study, tmp_path, command=attack, notes=[attack], data={attack: 3})
    assert "figures/new-model_capacity.pdf" in written(tmp_path)


def test_the_study_has_this_report(sizes: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = sizes(facts=30, dims=(5, 25), seeds=1)
    monkeypatch.setattr(report, "_load", lambda *_: (study.trials, study.curves, study.load_ranks))
    assert report.make("capacity", "wiki", "sqlite:///x.db", tmp_path) == tmp_path / "capacity.pdf"
    assert "How small a student may be" in text_of(tmp_path / "capacity.pdf")
    assert (FULL, "L1") in report.layout_of("capacity").pairs(["none", "L1", FULL])
