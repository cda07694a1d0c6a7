"""The report of arms crossed with dimensions: numbers recomputed from the frames, verdicts from numbers set by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
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
from harness.reporting import capacity as whole
from harness.reporting.about import facts, settings
from harness.reporting.capacity import capacity_report, display_tables
from harness.reporting.capacity_figure import capacity
from harness.reporting.capacity_numbers import (
    GAINS_COLUMNS,
    KEPT_COLUMNS,
    THRESHOLD_COLUMNS,
    Numbers,
    Sizes,
    gains_by_size,
    kept,
    means_by_size,
    table_by_size,
    thresholds,
)
from harness.reporting.capacity_reading import dimension, judge, threshold_in_words
from harness.reporting.labels import arm_name
from harness.reporting.tables import to_latex
from tests.reporting.conftest import CAPACITY, DIMS

Make = Callable[..., Any]
FULL = "L1+L2+L3"
META = {"command": "python -m harness.study capacity --dataset wiki", "data": {"training facts": 32497}}
FILES = {
    "capacity.pdf",
    *(f"capacity_{t}.{s}" for t in ("table", "gains", "threshold") for s in ("csv", "parquet", "tex")),
    *(f"figures/ttranse_capacity.{s}" for s in ("pdf", "png")),
}


def load(study: Any) -> Sizes:
    return Sizes.load(study.trials, study.load_ranks, CAPACITY)


def make(study: Any, output: Path, **meta: Any) -> Path:
    return capacity_report(CAPACITY, study.trials, study.curves, study.load_ranks, output, meta or META)


def by_fact(study: Any, losses: str, dim: int) -> np.ndarray:
    """Reciprocal ranks ``[S, N]`` of the test facts, straight from the ranks."""
    own = study.trials.query("losses == @losses and dim == @dim and state == 'complete'").sort_values("seed")
    ranks = [study.ranks[label].sort_values("query")["rank"].to_numpy() for label in own.index]
    return np.stack([(1 / rank).reshape(2, -1).mean(axis=0) for rank in ranks])


# --- numbers


def test_means_are_those_of_the_trials_by_losses_and_dimension(sizes: Make) -> None:
    study = sizes(facts=40, dims=(5, 100, 25), seeds=2)
    frame = means_by_size(load(study))
    own = study.trials.groupby(["losses", "dim"])["test_hits10"].mean()
    rows = frame[frame["measure"] == "hits10"]
    for row in rows.itertuples():
        assert row.mean == pytest.approx(own[row.arm, row.dim])
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
        own = done[f"test_{name}"].mean()
        assert table[name].to_dict() == pytest.approx(own.to_dict())
    assert table.loc[("L1", 25), ["n", "failed"]].tolist() == [2, 1]
    mrr = done["test_mrr"].mean()
    assert table.loc[(FULL, 25), "kept"] == pytest.approx(mrr[FULL, 25] / mrr["teacher", 400])
    assert table["kept_low"].dropna().lt(table["kept"].dropna()).all()
    assert np.isnan(table.loc[("teacher", 400), "kept"])


def test_the_interval_of_the_share_is_that_of_a_bootstrap_of_facts(sizes: Make) -> None:
    """One seed: both models are tested on the same resampled facts."""
    study = sizes(facts=300, dims=(25,), seeds=1)
    row = kept(load(study)).set_index("arm").loc["L1"]
    student, teacher = by_fact(study, "L1", 25)[0], by_fact(study, "teacher", 400)[0]
    drawn = np.random.default_rng(1).integers(0, 300, (8000, 300))
    ends = np.quantile(student[drawn].mean(axis=1) / teacher[drawn].mean(axis=1), [0.025, 0.975])
    assert (row["kept_low"], row["kept_high"]) == pytest.approx(tuple(ends), abs=0.006)


def test_gains_are_paired_by_dimension_and_corrected_over_dimensions(sizes: Make) -> None:
    study = sizes(facts=80, dims=(5, 25, 100))
    frame = gains_by_size(load(study))
    plain = frame[frame["smaller"].isna()]
    assert len(plain) == 3 * 3 * 5
    mrr = study.trials.groupby(["losses", "dim"])["test_mrr"].mean()
    for row in plain[plain["measure"] == "mrr"].itertuples():
        assert row.difference == pytest.approx(mrr[row.arm, row.dim] - mrr[row.base, row.dim])
        assert row.relative == pytest.approx(row.difference / mrr[row.base, row.dim])
        assert (row.seeds, row.facts) == (3, 80)
    for _, family in plain.groupby(["arm", "base", "measure"]):
        assert family["dim"].tolist() == [5, 25, 100]
        np.testing.assert_allclose(family["p_holm"], multipletests(family["p"], method="holm")[1])


def test_contrasts_are_differences_of_gains_and_a_family_of_their_own(sizes: Make) -> None:
    study = sizes(facts=80, dims=(5, 25, 100))
    frame = gains_by_size(load(study))
    gain = Numbers(frame, frame, frame, frame).gain().set_index("dim")["difference"]
    contrasts = frame[frame["smaller"].notna()]
    assert [*zip(contrasts["dim"], contrasts["smaller"], strict=True)] == [(25, 5), (100, 5), (100, 25)]
    assert set(contrasts["measure"]) == {"mrr"}
    for row in contrasts.itertuples():
        assert row.difference == pytest.approx(gain[row.dim] - gain[row.smaller])
    assert contrasts["relative"].isna().all()
    np.testing.assert_allclose(contrasts["p_holm"], multipletests(contrasts["p"], method="holm")[1])


def test_detectable_grows_when_facts_scatter_more(sizes: Make) -> None:
    """With one seed it is (z of .05 / 3, two-sided, + z of .8) standard errors of the mean over facts."""
    study = sizes(facts=100, dims=(5, 25, 100), seeds=1)
    row = Numbers.of_sizes(load(study)).gain().set_index("dim").loc[25]
    delta = (by_fact(study, FULL, 25) - by_fact(study, "L1", 25))[0]
    # 2.3940 is the normal's quantile at 1 - .05 / 6, .8416 that at .8
    assert row["detectable"] == pytest.approx((2.3940 + 0.8416) * delta.std(ddof=1) / 10, rel=1e-4)


def test_failed_seeds_are_left_out_of_what_needs_them(sizes: Make) -> None:
    study = sizes(facts=60, dims=(5, 25), failed=(("L1", 25, 1), (FULL, 5, 2)))
    found = load(study)
    rows = gains_by_size(found).query("measure == 'mrr'").fillna({"smaller": 0})
    seeds = rows.set_index(["arm", "base", "dim", "smaller"])["seeds"]
    assert (seeds[FULL, "L1", 5, 0], seeds[FULL, "L1", 25, 0], seeds["L1", "none", 5, 0]) == (2, 2, 3)
    # both sizes together have seed 0 alone
    assert seeds[FULL, "L1", 25, 5] == 1
    assert thresholds(found)["seeds"].tolist() == [1]
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


# --- claims and words


def numbers_of(
    verdicts: dict[int, str], grown: tuple[tuple[int, int], ...] = (), seeds: int = 3, few: int | None = None
) -> Numbers:
    """A backbone with the verdicts at each dimension; ``grown`` are the decided contrasts, which have ``few`` seeds."""
    rows: list[dict[str, Any]] = []
    key = {"backbone": "ttranse", "arm": FULL, "base": "L1", "measure": "mrr", "detectable": 0.004}
    for dim, verdict in verdicts.items():
        place = {"dim": dim, "smaller": pd.NA, "difference": 0.01, "difference_low": 0, "difference_high": 0.02}
        rows.append(key | place | {"verdict": verdict, "seeds": seeds, "detectable": 0.002 if dim == 5 else 0.004})
        for smaller in [other for other in verdicts if other < dim]:
            decided = "better" if (dim, smaller) in grown else "undecided"
            more = {"smaller": smaller, "difference": 0.001 * dim, "verdict": decided, "seeds": few or seeds}
            rows.append(key | place | more | {"difference_low": 0.0005, "difference_high": 0.09})
    gains = pd.DataFrame(rows, columns=GAINS_COLUMNS).astype({"smaller": "Int64"})
    means = pd.DataFrame(columns=["backbone", "arm", "dim", "measure", "mean", "n"])
    return Numbers(means, gains, pd.DataFrame(columns=KEPT_COLUMNS), pd.DataFrame(columns=THRESHOLD_COLUMNS))


def verdict(name: str, numbers: Numbers, dims: list[int]) -> tuple[str, str]:
    (claim,) = judge([name, "C2"], numbers, {"ttranse": dims})
    assert claim.backbone == "TTransE"
    return claim.verdict, claim.reason.replace("\N{NO-BREAK SPACE}", " ")


def better(*dims: int, of: tuple[int, ...] = DIMS) -> dict[int, str]:
    return {dim: "better" if dim in dims else "undecided" for dim in of}


def test_c9_is_supported_by_a_gain_that_grows_from_a_size_without_one() -> None:
    word, reason = verdict("C9", numbers_of(better(50, 100), ((50, 5), (100, 25))), [*DIMS])
    assert word == "supported"
    assert reason == (
        "better than L1 at 50 and 100 dimensions, not at 5, 10, 25 and 200; "
        "the gain at 100 dimensions minus that at 25 is +0.1000 [0.0005, 0.0900]"
    )


@pytest.mark.parametrize(
    "grown",
    [
        # no contrast; one between two sizes without a gain; one between two sizes with a gain
        (),
        ((25, 5),),
        ((100, 50),),
        # from a size with a gain to one without
        ((200, 50),),
    ],
)
def test_c9_needs_a_decided_contrast_of_a_gain_and_none_at_a_smaller_size(grown: tuple[tuple[int, int], ...]) -> None:
    word, reason = verdict("C9", numbers_of(better(50, 100), grown), [*DIMS])
    assert word == "undecided"
    assert "the gain at 100 dimensions minus that at" in reason
    assert reason.endswith("which is not decided; a difference of 0.0040 would be seen with a power of 80 %")


def test_c9_is_contradicted_by_a_gain_at_every_size() -> None:
    assert verdict("C9", numbers_of(better(*DIMS)), [*DIMS])[0] == "contradicted"
    word, reason = verdict("C9", numbers_of(better(10, 25, of=(10, 25))), [5, 10, 25])
    assert (word, reason) == ("undecided", "better than L1 at 10 and 25 dimensions; nothing to compare at 5")


def test_c9_without_any_gain_says_what_could_have_been_seen() -> None:
    word, reason = verdict("C9", numbers_of(better()), [*DIMS])
    assert word == "undecided"
    assert reason == (
        "the language model is shown to help at none of the dimensions; a difference of 0.0020 to 0.0040, depending on "
        "the dimension, would be seen with a power of 80 %"
    )
    assert "and to harm at 10" in verdict("C9", numbers_of(better() | {10: "worse"}), [*DIMS])[1]


def test_c9_is_not_about_larger_students_without_a_gain() -> None:
    word, reason = verdict("C9", numbers_of(better(5, 10), ((200, 5),)), [*DIMS])
    assert word == "undecided"
    assert "where it does not help, students are larger, not smaller" in reason


def test_c9_needs_two_dimensions() -> None:
    assert verdict("C9", numbers_of({25: "better"}), [25])[0] == "not tested"


@pytest.mark.parametrize(("seeds", "few"), [(1, None), (3, 1)])
def test_one_seed_decides_nothing_about_c9(seeds: int, few: int | None) -> None:
    """Neither one seed at each dimension, nor one that both dimensions of the contrast have."""
    numbers = numbers_of(better(50, 100), ((100, 5),), seeds, few)
    word, reason = verdict("C9", numbers, [*DIMS])
    assert word == "undecided"
    assert reason.endswith("with one seed this is no verdict on the method (it would read: supported)")


def shares(low: float, high: float, n: int = 3, arms: tuple[str, ...] = ("none", "L1", FULL)) -> Numbers:
    means = [("ttranse", arm, 25, "mrr", 0.3, n) for arm in arms] + [("ttranse", "teacher", 400, "mrr", 0.31, 1)]
    ends = {"none": (0.85, 0.87), "L1": (0.9, 0.92), FULL: (low, high)}
    rows = [("ttranse", arm, 25, np.mean(ends[arm]), *ends[arm]) for arm in arms]
    columns = ["backbone", "arm", "dim", "measure", "mean", "n"]
    frame, none = pd.DataFrame(means, columns=columns), numbers_of({})
    return dataclasses.replace(none, means=frame, kept=pd.DataFrame(rows, columns=KEPT_COLUMNS))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.95, 1.01, "supported"),
        (0.96, 0.99, "supported"),
        (0.949, 0.99, "undecided"),
        (0.9, 0.95, "undecided"),
        (0.9, 0.949, "contradicted"),
    ],
)
def test_c10_asks_for_nineteen_twentieths(low: float, high: float, expected: str) -> None:
    word, reason = verdict("C10", shares(low, high), [25])
    assert word == expected
    told = f"{50 * (low + high):.1f} % [{100 * low:.1f}, {100 * high:.1f}] of the MRR of its teacher (400-d)"
    assert reason == f"L1 + L2 + L3 keeps {told}; no distillation 86.0 % [85.0, 87.0] and L1 91.0 % [90.0, 92.0]"


def test_c10_needs_the_student_the_teacher_and_seeds() -> None:
    assert verdict("C10", shares(0.97, 0.99, n=1), [25])[0] == "undecided"
    word, reason = verdict("C10", shares(0.97, 0.99, arms=("L1",)), [25])
    assert word == "not tested"
    assert reason.endswith("kept of the MRR of its teacher (400-d): L1 91.0 % [90.0, 92.0]")
    own = shares(0.97, 0.99)
    alone = dataclasses.replace(own, means=own.means[own.means["arm"] != "teacher"], kept=own.kept.iloc[:0])
    assert verdict("C10", alone, [25]) == ("not tested", "there is no teacher to compare with")
    larger = dataclasses.replace(own, means=own.means.assign(dim=own.means["dim"].replace({25: 50})))
    assert verdict("C10", larger, [50]) == ("not tested", "there is no student of 25 dimensions")


def threshold_row(estimate: float, low: float, high: float, **others: Any) -> Numbers:
    values = {"backbone": "ttranse", "arm": FULL, "base": "L1", "threshold": estimate, "low": low, "high": high}
    rest = {"always": 0.0, "never": 0.0, "smallest": 5, "largest": 200, "seeds": 3, "facts": 4000}
    return dataclasses.replace(numbers_of({}), thresholds=pd.DataFrame([values | rest | others]))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            threshold_row(14.2, 6.4, 61.7),
            "is positive from 14 dimensions on (95 % interval of the threshold: 6.4 to 62; over 3 seeds).",
        ),
        (
            threshold_row(0, 0, 25, always=0.61, seeds=1),
            "is positive at all dimensions looked at, 5 to 200 (95 % interval of the threshold: below 5 to 25; over "
            "the facts of one seed). Of the resamples, it is positive in 61.0 % everywhere.",
        ),
        (
            threshold_row(math.inf, math.inf, math.inf, never=1.0),
            "is not positive at 200 dimensions, so there is no threshold up to there (95 % interval of the threshold: "
            "none up to 200; over 3 seeds). Of the resamples, it is positive in 100.0 % not even at 200.",
        ),
    ],
)
def test_threshold_in_words(row: Numbers, words: str) -> None:
    told = threshold_in_words(row)
    assert told is not None
    assert told.replace("\N{NO-BREAK SPACE}", " ") == f"The gain of L1 + L2 + L3 over L1 in MRR {words}"


def test_no_threshold_no_words() -> None:
    assert threshold_in_words(numbers_of({})) is None
    assert dimension(9.96, {}) == "10.0"


# --- tables and figure


def test_the_main_table_shows_means_gain_verdict_and_share(sizes: Make) -> None:
    study = sizes(facts=300, dims=(5, 25), failed=(("L1", 25, 1),), gain=lambda dim: 0.5 if dim > 5 else 0)
    found = load(study)
    numbers = Numbers.of_sizes(found)
    table = display_tables(found, numbers)["ttranse"]["main"]
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
    found = load(study)
    made = display_tables(found, Numbers.of_sizes(found))
    assert list(made) == ["ttranse", "ta-distmult"]
    for each in made.values():
        assert list(each) == ["main", "gains", "growth", "threshold", "measures"]
        for table in each.values():
            assert len(table.align) == len(table.header)
            assert all(len(row.cells) == len(table.header) for row in table.rows)
    rows = {row.cells[0].text: [cell.text for cell in row.cells[1:]] for row in made["ttranse"]["main"].rows}
    assert [rows["5"][2], *rows["5"][4:6]] == ["–"] * 3
    assert rows["5"][6] != "–"
    assert rows["25"][3:] == ["–"] * 4


def test_backbones_with_different_arms_share_the_columns_of_a_latex_table(sizes: Make) -> None:
    study = sizes(facts=30, backbones=("ttranse", "ta-distmult"), seeds=1, dims=(5, 25))
    study.trials = study.trials.query("not (backbone == 'ta-distmult' and losses == 'L1')")
    found = load(study)
    made = display_tables(found, Numbers.of_sizes(found))
    assert "gains" in made["ta-distmult"]
    assert "measures" not in made["ta-distmult"]
    lines = to_latex([(name, each["main"]) for name, each in made.items()]).splitlines()
    assert {line.count("&") for line in lines if line.endswith(r"\\") and "multicolumn" not in line} == {7}


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


def written(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


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


def test_no_text_acts_as_markup(sizes: Make, tmp_path: Path) -> None:
    attack = '#panic("read") *b* $x$ \\ ] } "quote" @ref <label> ' + '#read("/etc/hostname")'
    study = sizes(facts=40, seeds=1, dims=(5, 25), failed=(("L1", 5, 0),), dataset=attack, backbones=("New/../Model",))
    study.trials["reason"] = study.trials["reason"].where(study.trials["reason"].isna(), attack)
    study.trials["machine"] = attack
    make(study, tmp_path, command=attack, notes=[attack], data={attack: 3})
    assert "figures/new-model_capacity.pdf" in written(tmp_path)


def test_after_an_error_the_folder_is_as_before(sizes: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "capacity.pdf").write_text("older")
    monkeypatch.setattr(whole, "render", out_of_space)
    with pytest.raises(UserError, match="No space left on device; name another folder"):
        make(sizes(facts=20, dims=(5, 25), seeds=1), tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "capacity.pdf"]
    assert (tmp_path / "capacity.pdf").read_text() == "older"


def test_the_study_has_this_report(sizes: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = sizes(facts=30, dims=(5, 25), seeds=1)
    monkeypatch.setattr(report, "_load", lambda *_: (study.trials, study.curves, study.load_ranks))
    assert report.make("capacity", "wiki", "sqlite:///x.db", tmp_path) == tmp_path / "capacity.pdf"
    assert "How small a student may be" in text_of(tmp_path / "capacity.pdf")
    assert (FULL, "L1") in report.layout_of("capacity").pairs(["none", "L1", FULL])


# --- levels of a factor


def test_levels_come_in_the_order_of_arms_and_by_size() -> None:
    labels = [f"{arm} · dim={dim}" for arm in ("L1+L2+L3", "none", "L1") for dim in (100, 5, 25)]
    found = CAPACITY.order(["teacher", "other", *labels])
    assert found == [
        *(f"{arm} · dim={dim}" for arm in ("none", "L1", "L1+L2+L3") for dim in (5, 25, 100)),
        "other",
        "teacher",
    ]
    assert CAPACITY.order(["a 0.5", "a 10", "a 0.25"]) == ["a 0.25", "a 0.5", "a 10"]


def test_levels_are_kept_in_the_name_of_an_arm() -> None:
    assert arm_name("L1+L2+L3 · dim=5") == "L1 + L2 + L3 · dim=5"
    assert arm_name("switch after 1/2") == "switch after 1/2"


def test_what_was_run_lists_arms_and_levels(sizes: Make) -> None:
    found = load(sizes(facts=20, dims=(5, 25), seeds=2))
    told = dict(facts(found.results, {}, "Wikidata12k", {"Dimensions": [5, 25]}))
    assert told["Arms"] == "no distillation, L1, L1 + L2 + L3; seeds 0–1"
    assert told["Dimensions"] == "5, 25"
    assert list(told).index("Dimensions") == list(told).index("Arms") + 1
    names = dict(settings(found.results.trials))
    assert names["student.epochs"] == "12"
    assert "student.dim" not in names
