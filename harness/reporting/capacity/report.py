"""The report of a study of arms crossed with dimensions of the student: how small it may be, and who helps it when."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from harness.reporting.capacity.figures import capacity
from harness.reporting.capacity.numbers import BASE, FULL, POWER, Numbers, Sizes, table_by_size
from harness.reporting.capacity.verdicts import dimension, judge, summary, threshold_in_words
from harness.reporting.content import (
    HOW_EFFECTS,
    HOW_MEANS,
    HOW_RANKS,
    ONE_SEED,
    Front,
    case_of,
    figure_name,
    how_differences,
    how_tests,
    report,
)
from harness.reporting.data.about import facts
from harness.reporting.data.frames import records, rows_of, where
from harness.reporting.data.layout import Layout
from harness.reporting.data.results import Frames
from harness.reporting.data.teachers import weak_teacher
from harness.reporting.data.text import number, percent
from harness.reporting.evidence import BACKBONE, Evidence, by_backbone
from harness.reporting.kinds import report_kind
from harness.reporting.output.document import Detail, Document, Figure, Section, Text
from harness.reporting.output.tables import (
    COMPARISON,
    ONE_SEED_NOTE,
    OTHERS,
    OTHERS_NOTE,
    P_HOLM,
    Cell,
    Column,
    Table,
    difference_cell,
    ends,
    mean_cell,
    paired_note,
    table_of,
    verdict_cell,
)
from harness.vocabulary import METRIC, REFERENCES, arm_name, backbone_name, dataset_name, versus


def display_tables(sizes: Sizes, numbers: Numbers) -> dict[str, dict[str, Table]]:
    """Display tables by backbone and name: main, gains, growth, threshold, metrics."""
    # the same columns for all backbones, whose rows share a LaTeX table
    arms = sizes.results.layout.order(arm for arm in numbers.means["arm"] if arm not in REFERENCES)
    made = {}
    for backbone in sizes.results.backbones:
        of_backbone = numbers.of(backbone)
        made[backbone] = {
            "main": main_table(of_backbone, arms, sizes.dims.get(backbone, [])),
            "gains": gains_table(of_backbone),
            "growth": growth_table(of_backbone),
            "threshold": threshold_table(of_backbone),
            "metrics": metrics_table(of_backbone),
        }
    return made


def main_table(numbers: Numbers, arms: list[str], dims: list[int]) -> Table:
    """MRR of the arms at each dimension, the gain of the full method over L1, and what it keeps of the teacher."""
    mrr = rows_of(numbers.means, metric="mrr")
    means = {(row["arm"], row["dim"]): row for row in mrr}
    gains = {row["dim"]: row for row in records(numbers.gain())}
    kept = {row["dim"]: row for row in rows_of(numbers.kept, arm=FULL)}

    def seeds(dim: int) -> str:
        return "–".join(map(str, sorted({means[arm, dim]["n"] for arm in arms if (arm, dim) in means}))) or "0"

    columns: list[Column] = [
        ("dim", "r", str),
        ("n", "l", seeds),
        *((arm_name(arm), "r", lambda dim, arm=arm: _mean(means.get((arm, dim)))) for arm in arms),
        (f"gain over {arm_name(BASE)}", "r", lambda dim: difference_cell(gains[dim]) if dim in gains else "–"),
        ("verdict", "l", lambda dim: verdict_cell(gains[dim]) if dim in gains else "–"),
        ("kept", "r", lambda dim: _kept(kept.get(dim, {}))),
    ]
    note = "Mean ± half of the 95 % interval over n seeds (Student's t). "
    note += ONE_SEED_NOTE if any(row["n"] == 1 for row in mrr) else ""
    if gains:
        note += f"Gain: {arm_name(FULL)} minus {arm_name(BASE)}, same seeds and facts, with 95 % interval. "
        note += "Verdict: after Holm's correction over dimensions. "
    for row in mrr:
        if row["arm"] == "teacher":
            mean = _mean(row)
            note += f"Kept: share of the teacher's MRR with {arm_name(FULL)}. " if kept else ""
            note += f"The teacher ({row['dim']}-d) has {mean.text} {mean.extra}."
    return table_of("Test MRR by dimension of the student", dims, columns, note.strip())


def _mean(row: dict[str, Any] | None) -> Cell:
    if row is None:
        return Cell("–")
    cell = mean_cell(row)
    return Cell(cell.text, cell.extra + "†" * (row["n"] == 1))


def _kept(row: dict[str, Any]) -> Cell:
    """The share of the teacher's MRR; "–" where it is not known."""
    if pd.isna(row.get("kept")):
        return Cell("–")
    return Cell(percent(row["kept"], signed=False), ends(row, "kept", 1, 100))


def gains_table(numbers: Numbers) -> Table:
    """All comparisons of arms of a backbone in MRR, dimension by dimension."""
    lines = records(numbers.gains[(numbers.gains["metric"] == "mrr") & numbers.gains["smaller"].isna()])
    columns: list[Column] = [
        ("", "l", lambda line: versus(line["arm"], line["base"])),
        ("dim", "r", lambda line: str(line["dim"])),
        *COMPARISON,
        ("detectable", "r", lambda line: number(line["detectable"], 4)),
    ]
    note = f"{paired_note(lines)} Detectable: the smallest difference that would be decided with a power of "
    note += f"{percent(POWER, False, 0)}."
    caption = "Paired differences of test MRR by dimension"
    return table_of(caption, lines, columns, note, group=lambda line: (line["arm"], line["base"]), once=True)


def growth_table(numbers: Numbers) -> Table:
    """How the gain of the full method over L1 differs between dimensions: larger ones in rows, smaller in columns."""
    contrasts = {(row["dim"], row["smaller"]): row for row in records(numbers.gain(contrasts=True))}
    larger, smaller = (sorted({key[side] for key in contrasts}) for side in (0, 1))

    def contrast(dim: int, less: int) -> Cell:
        return difference_cell(contrasts[dim, less]) if (dim, less) in contrasts else Cell("")

    columns: list[Column] = [
        ("dim", "r", str),
        *((str(less), "r", lambda dim, less=less: contrast(dim, less)) for less in smaller),
    ]
    note = "Gain at the dimension of the row minus that at the dimension of the column, on the seeds of both. "
    note += "Bold: decided by the paired test after Holm's correction over this table."
    return table_of("Differences between the gains over L1 in test MRR", larger, columns, note)


def threshold_table(numbers: Numbers) -> Table:
    """From which dimension on the full method gains over L1."""
    columns: list[Column] = [
        ("", "l", lambda row: versus(row["arm"], row["base"])),
        *((key, "r", lambda row, key=key: dimension(row[key], row)) for key in ("threshold", "low", "high")),
        *((key, "r", lambda row, key=key: percent(row[key], signed=False)) for key in ("always", "never")),
        ("seeds", "r", lambda row: str(row["seeds"])),
    ]
    note = "Ends of the 95 % interval, and shares of resamples with a gain at all dimensions and with none at the "
    note += "largest."
    return table_of("Dimension from which on the gain is positive", records(numbers.thresholds), columns, note)


def metrics_table(numbers: Numbers) -> Table:
    """The gain of the full method over L1 in the other metrics."""
    by_metric = {key: {row["dim"]: row for row in records(numbers.gain(key))} for key in OTHERS}
    columns: list[Column] = [
        ("dim", "r", str),
        *((f"Δ {METRIC[key].label}", "r", lambda dim, key=key: difference_cell(by_metric[key][dim])) for key in OTHERS),
    ]
    caption = f"{arm_name(FULL)} against {arm_name(BASE)} in the other metrics"
    return table_of(caption, by_metric[OTHERS[0]], columns, OTHERS_NOTE)


def _evidence_table(rows: pd.DataFrame) -> Table:
    columns: list[Column] = [
        BACKBONE,
        ("", "l", lambda row: f"{row['dim']} dimensions"),
        ("gain over L1", "r", difference_cell),
        P_HOLM,
        ("80 % power", "r", lambda row: number(row["detectable"], 4)),
        ("verdict", "l", verdict_cell),
        ("of the teacher's MRR", "r", _kept),
    ]
    note = "Gain of the full method in test MRR, with 95 % interval over seeds and facts. "
    note += "The share is that of the full method."
    return by_backbone("By dimension of the student", rows, columns, note)


def evidence_of(frames: Frames) -> dict[str, Evidence]:
    """The evidence of a study that crosses arms with dimensions, by claim.

    Raises:
        UserError: the frames do not pass their checks.
    """
    sizes = Sizes.load(frames)
    numbers = Numbers.of_sizes(sizes)
    backbones = sizes.results.backbones
    verdicts = judge(frames.layout.claims, numbers, {name: sizes.dims.get(name, []) for name in backbones})
    figures = {f"_{k}": partial(capacity, numbers.of(name)) for k, name in enumerate(backbones)}
    kept = where(numbers.kept, arm=FULL).drop(columns="arm")
    gains = where(numbers.gains[numbers.gains["smaller"].isna()], arm=FULL, base=BASE, metric="mrr")
    rows = gains.merge(kept, on=["backbone", "dim"], how="left")
    table = _evidence_table(rows)
    return {
        claim: Evidence([v for v in verdicts if v.id == claim], table, rows, figures, sizes.results.trials)
        for claim in frames.layout.claims
    }


@report_kind("capacity", label="arms crossed with dimensions of the student", evidence=evidence_of)
def content(frames: Frames) -> Document:
    """The report of a study that crosses arms with dimensions.

    Beside ``STUDY.pdf`` lie ``STUDY_table``, ``STUDY_gains`` and ``STUDY_threshold`` (each .csv, .parquet and .tex) and
    ``figures/`` (.pdf and .png). Trials have ``losses`` (none, L1 ... or teacher) and ``dim``; ``arm`` is a name for
    the two.

    Raises:
        UserError: the frames do not pass their checks.
    """
    sizes = Sizes.load(frames)
    numbers = Numbers.of_sizes(sizes)
    results, students = sizes.results, numbers.means[~numbers.means["arm"].isin(REFERENCES)]
    tried = {backbone: sizes.dims.get(backbone, []) for backbone in results.backbones}
    dims = sorted({dim for of_backbone in sizes.dims.values() for dim in of_backbone})
    files: dict[str, tuple[pd.DataFrame, str | None]] = {
        "table": (table_by_size(numbers.means, numbers.kept), "main"),
        "gains": (numbers.gains, "gains"),
        "threshold": (numbers.thresholds, "threshold"),
    }
    shown = display_tables(sizes, numbers)

    def section(backbone: str) -> Section:
        of, own = shown[backbone], numbers.of(backbone)
        has_teacher = (backbone, "teacher") in results.ranks
        warning = weak_teacher(results.trials, backbone)
        drawn, threshold = partial(capacity, own), threshold_in_words(own)
        return Section(
            backbone_name(backbone),
            [
                *([Text(warning, "Warning.")] if warning else []),
                Figure(figure_name(results, backbone, "capacity"), drawn, _caption(of, has_teacher=has_teacher)),
                *([Text(threshold, "Threshold.")] if threshold else []),
                of["main"],
                of["growth"],
                Detail(of["gains"]),
                Detail(of["metrics"]),
            ],
            case=case_of(results, backbone),
        )

    findings = [words for name in results.backbones for words in summary(numbers.of(name), tried[name], name)]
    one_seed = len(students) > 0 and bool((students["n"] == 1).all())
    front = Front(findings, judge(results.layout.claims, numbers, tried), [ONE_SEED] * one_seed)
    teachers = max((len(results.ranks.get((name, "teacher"), {})) for name in results.backbones), default=1)
    name = dataset_name(str(results.trials["dataset"].iloc[0]))
    return report(
        frames,
        results,
        map(section, results.backbones),
        files=files,
        tables=shown,
        front=front,
        reading=_reading(results.layout, of_one_teacher=teachers == 1),
        run=facts(results, frames.meta.data, name, {"Dimensions": dims}),
    )


def _caption(tables: Mapping[str, Table], *, has_teacher: bool) -> str:
    two = bool(tables["metrics"].rows)
    caption = f"Test MRR against the dimension of the student{', and the gain over L1' * two}. "
    caption += f"{'Left: mean' if two else 'Mean'} over seeds with 95 % intervals; logarithmic axis"
    caption += "; the horizontal line is the teacher." if has_teacher else "."
    if two:
        caption += " Right: what the language model adds to L1, with 95 % intervals; filled markers are decided "
        caption += (
            "after Holm's correction. Shaded: the 95 % interval of the threshold from which on the gain is positive."
        )
    return caption


def _reading(layout: Layout, *, of_one_teacher: bool) -> list[Text]:
    teacher = "the teacher is a single model, which no interval covers."
    teacher = teacher if of_one_teacher else "a student is compared with the teacher of its seed."
    return [
        HOW_MEANS,
        how_differences(f"Intervals of the share that is kept of the teacher's MRR come from it too; {teacher}"),
        how_tests(
            "all dimensions at which the same two arms are compared, for one metric and backbone. Differences between "
            "the gains at two dimensions are a family of their own; their margin is a share of L1's MRR.",
            layout,
        ),
        Text(
            "is the dimension from which on the gain over L1 is positive, with the gain interpolated between "
            "neighbouring dimensions linearly in the logarithm of the dimension. Its interval comes from a "
            "bootstrap, in which one resample of seeds and facts serves all dimensions. Where a resample has a gain "
            "at all dimensions, its threshold lies below the smallest; where it has none at the largest, above it. A "
            "wide interval says that these trials do not locate it. Only seeds that all dimensions have count, so a "
            "failed trial costs the threshold its seed.",
            "The threshold",
        ),
        Text(
            "is the smallest difference that the rule of the verdicts would decide with a power of 80 %, as the first "
            "of its family, given the scatter that these seeds and facts show. Differences that stay undecided may "
            "be as large.",
            "Detectable",
        ),
        HOW_EFFECTS,
        HOW_RANKS,
    ]
