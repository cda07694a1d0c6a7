"""The report of a study of arms crossed with dimensions of the student: how small it may be, and who helps it when."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting.capacity.figures import capacity
from harness.reporting.capacity.numbers import BASE, FULL, POWER, Numbers, Sizes, table_by_size
from harness.reporting.capacity.verdicts import dimension, judge, threshold_in_words
from harness.reporting.content import claims_box, figure_path, heading
from harness.reporting.data.about import facts
from harness.reporting.data.frames import records
from harness.reporting.data.layout import Meta
from harness.reporting.data.results import Frames
from harness.reporting.data.text import interval, number, p_value, percent
from harness.reporting.evidence import Evidence, by_backbone
from harness.reporting.kinds import report_kind
from harness.reporting.output.tables import (
    COMPARISON,
    OTHERS,
    OTHERS_NOTE,
    Cell,
    Row,
    Table,
    comparison_cells,
    difference_cell,
    ends,
    mean_cell,
    paired_note,
)
from harness.reporting.output.typst import Document
from harness.vocabulary import METRIC, REFERENCES, arm_name, backbone_name, dataset_name, versus


def display_tables(sizes: Sizes, numbers: Numbers) -> dict[str, dict[str, Table]]:
    """Display tables by backbone and name: main, gains, growth, threshold, measures; empty ones are left out."""
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
            "measures": measures_table(of_backbone),
        }
    return {backbone: {name: t for name, t in by_name.items() if t.rows} for backbone, by_name in made.items()}


def main_table(numbers: Numbers, arms: list[str], dims: list[int]) -> Table:
    """MRR of the arms at each dimension, the gain of the full method over L1, and what it keeps of the teacher.

    Args:
        numbers: of one backbone.
        arms: the columns, by losses.
        dims: the rows.
    """
    mrr = records(numbers.means[numbers.means["measure"] == "mrr"])
    means = {(row["arm"], row["dim"]): row for row in mrr}
    gains = {row["dim"]: row for row in records(numbers.gain())}
    kept = {row["dim"]: row for row in records(numbers.kept[numbers.kept["arm"] == FULL])}
    rows = [
        Row(
            (
                Cell(str(dim)),
                Cell("–".join(map(str, sorted({means[arm, dim]["n"] for arm in arms if (arm, dim) in means}))) or "0"),
                *(_mean(means.get((arm, dim))) for arm in arms),
                *_gain(gains.get(dim)),
                _kept(kept.get(dim)),
            )
        )
        for dim in dims
    ]
    note = "Mean ± half of the 95 % interval over n seeds (Student's t). "
    if any(row["n"] == 1 for row in mrr):
        note += "† One seed: the interval is a bootstrap over test facts and does not cover the choice of the seed. "
    if gains:
        note += f"Gain: {arm_name(FULL)} minus {arm_name(BASE)}, same seeds and facts, with 95 % bootstrap interval. "
        note += "Verdict: after Holm's correction over dimensions. "
    for row in mrr:
        if row["arm"] == "teacher":
            mean = _mean(row)
            note += f"Kept: share of the teacher's MRR with {arm_name(FULL)}. " if kept else ""
            note += f"The teacher ({row['dim']}-d) has {mean.text} {mean.extra}."
    header = ("dim", "n", *map(arm_name, arms), f"gain over {arm_name(BASE)}", "verdict", "kept")
    align = "rl" + "r" * len(arms) + "rlr"
    return Table("Test MRR by dimension of the student", header, align, tuple(rows), note.strip())


def _mean(row: dict[str, Any] | None) -> Cell:
    if row is None:
        return Cell("–")
    cell = mean_cell(row)
    return Cell(cell.text, cell.extra + "†" * (row["n"] == 1))


def _gain(row: dict[str, Any] | None) -> tuple[Cell, Cell]:
    """The gain with its interval, and its verdict."""
    if row is None:
        return Cell("–"), Cell("–")
    decided = row["verdict"] != "undecided"
    change = number(row["difference"], 4, signed=True)
    return Cell(change, ends(row, "difference", 4), decided), Cell(row["verdict"], strong=decided)


def _kept(row: dict[str, Any] | None) -> Cell:
    if row is None:
        return Cell("–")
    return Cell(percent(row["kept"], signed=False), interval(100 * row["kept_low"], 100 * row["kept_high"], 1))


def gains_table(numbers: Numbers) -> Table:
    """All comparisons of arms in MRR, dimension by dimension.

    Args:
        numbers: of one backbone.
    """
    lines = records(numbers.gains[(numbers.gains["measure"] == "mrr") & numbers.gains["smaller"].isna()])
    rows: list[Row] = []
    last = ""
    for line in lines:
        name = versus(line["arm"], line["base"])
        first = Cell(name if name != last else "")
        seen = Cell(number(line["detectable"], 4))
        rows.append(Row((first, Cell(str(line["dim"])), *comparison_cells(line), seen), bool(rows) and name != last))
        last = name
    note = paired_note(lines) + "p: sign-flip test over facts; lines separate the families of Holm's correction. "
    note += f"Detectable: the smallest difference that would be decided with a power of {percent(POWER, False, 0)}."
    header = ("", "dim", *COMPARISON, "detectable")
    return Table("Paired differences of test MRR by dimension", header, "lrrrrcrrlr", tuple(rows), note)


def growth_table(numbers: Numbers) -> Table:
    """How the gain of the full method over L1 differs between dimensions: larger ones in rows, smaller in columns.

    Args:
        numbers: of one backbone.
    """
    contrasts = {(row["dim"], row["smaller"]): row for row in records(numbers.contrasts())}
    larger, smaller = (sorted({key[side] for key in contrasts}) for side in (0, 1))
    rows = [
        Row(
            (
                Cell(str(dim)),
                *(difference_cell(contrasts[dim, less]) if (dim, less) in contrasts else Cell("") for less in smaller),
            )
        )
        for dim in larger
    ]
    note = "Gain at the dimension of the row minus that at the dimension of the column, on the seeds of both. "
    note += "Bold: decided by the paired test after Holm's correction over this table."
    header = ("dim", *map(str, smaller))
    return Table("Differences between the gains over L1 in test MRR", header, "r" * len(header), tuple(rows), note)


def threshold_table(numbers: Numbers) -> Table:
    """From which dimension on the full method gains over L1.

    Args:
        numbers: of one backbone.
    """
    rows = []
    for row in records(numbers.thresholds):
        onset, low, high = (Cell(dimension(row[key], row)) for key in ("threshold", "low", "high"))
        shares = (Cell(percent(row[key], signed=False)) for key in ("always", "never"))
        rows.append(Row((Cell(versus(row["arm"], row["base"])), onset, low, high, *shares, Cell(str(row["seeds"])))))
    note = (
        "Ends of the 95 % interval, and shares of resamples with a gain at all dimensions and with none at the largest."
    )
    header = ("", "threshold", "low", "high", "always", "never", "seeds")
    return Table("Dimension from which on the gain is positive", header, "lrrrrrr", tuple(rows), note)


def measures_table(numbers: Numbers) -> Table:
    """The gain of the full method over L1 in the other measures.

    Args:
        numbers: of one backbone.
    """
    by_measure = [{row["dim"]: row for row in records(numbers.gain(key))} for key in OTHERS]
    rows = [Row((Cell(str(dim)), *(difference_cell(by_dim[dim]) for by_dim in by_measure))) for dim in by_measure[0]]
    header = ("dim", *(f"Δ {METRIC[key].label}" for key in OTHERS))
    caption = f"{arm_name(FULL)} against {arm_name(BASE)} in the other measures"
    return Table(caption, header, "rrrrr", tuple(rows), OTHERS_NOTE)


def draw(sizes: Sizes, numbers: Numbers, folder: Path) -> dict[str, str]:
    """Draw the figures into ``folder/figures``; return their paths by backbone, relative to ``folder``."""
    drawn = {}
    for position, backbone in enumerate(sizes.results.backbones):
        path = figure_path(folder, backbone, position, "capacity")
        if capacity(numbers.of(backbone), path):
            drawn[backbone] = f"figures/{path.name}.pdf"
    return drawn


def _content(
    sizes: Sizes, numbers: Numbers, shown: dict[str, dict[str, Table]], drawn: dict[str, str], meta: Meta
) -> dict[str, Any]:
    """Everything the template needs, as JSON values; texts are plain, none is read as markup."""
    results = sizes.results
    dataset = str(results.trials["dataset"].iloc[0])
    name = dataset_name(dataset)
    dims = sorted({dim for of_backbone in sizes.dims.values() for dim in of_backbone})
    students = numbers.means[~numbers.means["arm"].isin(REFERENCES)]
    tried = {backbone: sizes.dims.get(backbone, []) for backbone in results.backbones}
    return heading(results, meta) | {
        "facts": facts(results, meta.data, name, {"Dimensions": dims}),
        "claims": claims_box(judge(results.layout.claims, numbers, tried)),
        "sections": [
            {
                "backbone": backbone_name(backbone),
                "threshold": threshold_in_words(numbers.of(backbone)),
                "tables": {key: asdict(table) for key, table in shown[backbone].items()},
                "figure": drawn.get(backbone),
                "teacher": (backbone, "teacher") in results.per_fact,
            }
            for backbone in results.backbones
        ],
        "one_seed": len(students) > 0 and bool((students["n"] == 1).all()),
    }


def _sizes_table(numbers: Numbers) -> tuple[Table, pd.DataFrame]:
    """The gain over L1 and the share of the teacher's MRR that is kept, by backbone and dimension."""
    gains = numbers.gains
    gains = gains[
        (gains["measure"] == "mrr") & gains["smaller"].isna() & (gains["arm"] == FULL) & (gains["base"] == BASE)
    ]
    kept = numbers.kept[numbers.kept["arm"] == FULL][["backbone", "dim", "kept", "kept_low", "kept_high"]]
    rows = gains.merge(kept, on=["backbone", "dim"], how="left")

    def cells(row: dict[str, Any]) -> tuple[Cell, ...]:
        share = "–" if pd.isna(row["kept"]) else percent(row["kept"], signed=False)
        ends = "" if pd.isna(row["kept"]) else interval(100 * row["kept_low"], 100 * row["kept_high"], 1)
        return (
            Cell(f"{row['dim']} dimensions"),
            Cell(number(row["difference"], 4, signed=True), interval(row["difference_low"], row["difference_high"], 4)),
            Cell(p_value(row["p_holm"]).removeprefix("= ")),
            Cell(number(row["detectable"], 4)),
            Cell(row["verdict"], strong=row["verdict"] != "undecided"),
            Cell(share, ends),
        )

    header = ("", "", "gain over L1", "p (Holm)", "80 % power", "verdict", "of the teacher's MRR")
    note = "Gain of the full method in test MRR, with 95 % bootstrap interval over seeds and facts. "
    note += "The share is that of the full method."
    return Table("By dimension of the student", header, "llrrrlr", by_backbone(rows, cells), note), rows


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
    table, rows = _sizes_table(numbers)
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
    shown = display_tables(sizes, numbers)
    return Document(
        "capacity.typ",
        frames.layout.name,
        trials=sizes.results.trials,
        frames={
            "table": (table_by_size(numbers.means, numbers.kept), "main"),
            "gains": (numbers.gains, "gains"),
            "threshold": (numbers.thresholds, "threshold"),
        },
        tables=shown,
        content=lambda folder: _content(sizes, numbers, shown, draw(sizes, numbers, folder), frames.meta),
    )
