"""Display tables of a report for people (PDF, LaTeX), and tidy frames for programs (CSV, parquet)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import rich.table
from rich.box import SIMPLE_HEAD
from rich.markup import escape

from harness.console import spreadsheet_cell
from harness.reporting.data.frames import records, validate_trials
from harness.reporting.data.layout import Layout
from harness.reporting.data.text import duration, interval, latex, number, p_value, percent
from harness.stats import mean_interval
from harness.vocabulary import (
    BACKBONES,
    METRIC,
    METRICS,
    REFERENCES,
    STAGES,
    Metric,
    arm_name,
    backbone_name,
    dataset_name,
    ordered,
    stage_name,
    versus,
)


@dataclass(frozen=True)
class Cell:
    """Text of a cell; ``extra`` follows it in small print, ``strong`` sets it in bold."""

    text: str
    extra: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Row:
    """Cells of a row; ``rule`` draws a line above it."""

    cells: tuple[Cell, ...]
    rule: bool = False


@dataclass(frozen=True, eq=False)
class Table:
    """A table of one backbone as people read it; ``align`` has a letter a column: l, r or c."""

    caption: str
    header: tuple[str, ...]
    align: str
    rows: tuple[Row, ...]
    note: str = ""


def main_table(means: pd.DataFrame, paired: pd.DataFrame, trials: pd.DataFrame, backbone: str) -> Table:
    """All arms with all measures as mean ± half of the 95 % interval; bold where better than L1 (see `paired`)."""
    by_key = {(row["arm"], row["measure"]): row for row in records(means[means["backbone"] == backbone])}
    bold = {
        (row["arm"], row["measure"])
        for row in records(paired[paired["backbone"] == backbone])
        if row["base"] == "L1" and row["verdict"] == "better"
    }
    rows, arms = [], list(dict.fromkeys(arm for arm, _ in by_key))
    for previous, arm in zip(["", *arms], arms, strict=False):
        first = by_key[arm, "mrr"]
        n = Cell(str(first["n"]), f"{first['failed']} failed" if first["failed"] else "†" if first["n"] == 1 else "")
        shown = [mean_cell(by_key[arm, measure.key], (arm, measure.key) in bold) for measure in METRICS]
        cells = (Cell(arm_name(arm), dimension(trials, backbone, arm)), n, *shown)
        rows.append(Row(cells, rule=arm in REFERENCES and previous not in ("", *REFERENCES)))
    note = "Mean ± half of the 95 % interval over n seeds (Student's t). MR: mean rank, lower is better. "
    if any(row["n"] == 1 for row in by_key.values()):
        note += "† One seed: the interval is a bootstrap over test facts and does not cover the choice of the seed. "
    note += "Bold: better than L1 by the paired test after Holm's correction." if bold else ""
    header = ("", "n", *(measure.label for measure in METRICS))
    return Table("Test results of all arms", header, "ll" + "r" * len(METRICS), tuple(rows), note)


def mean_cell(row: dict[str, Any], strong: bool = False) -> Cell:
    """A mean ± half of its interval (a row of `harness.reporting.data.results.means`)."""
    measure = METRIC[row["measure"]]
    decimals = 1 if measure.key == "mr" and row["mean"] < 100 else measure.decimals
    return Cell(number(row["mean"], decimals), f"±{number((row['high'] - row['low']) / 2, decimals)}", strong)


def dimension(trials: pd.DataFrame, backbone: str, arm: str) -> str:
    """The dimension of an arm's model as text, "" where it is unknown."""
    of_arm = records(trials[(trials["backbone"] == backbone) & (trials["arm"] == arm)])
    dims = {row["dim"] for row in of_arm if pd.notna(row.get("dim"))}
    return f"{dims.pop()}-d" if len(dims) == 1 else ""


def paired_table(paired: pd.DataFrame, backbone: str) -> Table:
    """Differences of MRR with interval, relative gain, effect size and corrected p value."""
    rows: list[Row] = []
    last = ""
    lines = records(paired[(paired["backbone"] == backbone) & (paired["measure"] == "mrr")])
    for line in lines:
        cells = (Cell(versus(line["arm"], line["base"])), *comparison_cells(line))
        rows.append(Row(cells, rule=bool(rows) and line["base"] != last))
        last = line["base"]
    note = paired_note(lines) + "p: sign-flip test over facts; lines separate the families of Holm's correction."
    return Table("Paired differences of test MRR", ("", *COMPARISON), "lrrrcrrl", tuple(rows), note)


#: header of `comparison_cells`
COMPARISON = ("Δ MRR", "relative", "effect d", "seeds up", "p", "p (Holm)", "verdict")


def comparison_cells(line: dict[str, Any]) -> tuple[Cell, ...]:
    """A comparison of MRR: a cell for each of `COMPARISON`."""
    decided = line["verdict"] != "undecided"
    return (
        Cell(number(line["difference"], 4, signed=True), ends(line, "difference", 4), decided),
        Cell(percent(line["relative"])),
        Cell(number(line["effect"], 3, signed=True), ends(line, "effect", 3)),
        Cell(f"{line['seeds_up']} of {line['seeds']}"),
        Cell(p_value(line["p"]).removeprefix("= ")),
        Cell(p_value(line["p_holm"]).removeprefix("= ")),
        Cell(line["verdict"], strong=decided),
    )


def paired_note(lines: Sequence[dict[str, Any]]) -> str:
    """What the brackets of a table of comparisons are."""
    over = "seeds and facts" if any(line["seeds"] > 1 for line in lines) else "facts of this one seed"
    return f"Same seeds and same test facts in both arms; in brackets 95 % bootstrap intervals over {over}. "


def measures_table(paired: pd.DataFrame, backbone: str) -> Table:
    """Differences to L1 in the other measures."""
    chosen = paired[(paired["backbone"] == backbone) & (paired["base"] == "L1")]
    by_key = {(row["arm"], row["measure"]): row for row in records(chosen)}
    rows = []
    for arm in dict.fromkeys(arm for arm, _ in by_key):
        cells = [difference_cell(by_key[arm, key]) for key in OTHERS]
        rows.append(Row((Cell(f"{arm_name(arm)} against L1"), *cells)))
    header = ("", *(f"Δ {METRIC[key].label}" for key in OTHERS))
    return Table("Paired differences to L1 in the other measures", header, "lrrrr", tuple(rows), OTHERS_NOTE)


#: all measures but MRR
OTHERS = tuple(measure.key for measure in METRICS if measure.key != "mrr")
OTHERS_NOTE = "Bold: decided by the paired test after Holm's correction within the column. Lower is better for MR only."


def difference_cell(line: dict[str, Any]) -> Cell:
    """A difference in one measure with its interval, bold where it is decided."""
    decimals = 1 if line["measure"] == "mr" else 4
    change = number(line["difference"], decimals, signed=True)
    return Cell(change, ends(line, "difference", decimals), line["verdict"] != "undecided")


def ends(line: dict[str, Any], name: str, decimals: int) -> str:
    """The interval of one quantity of a comparison."""
    return interval(line[f"{name}_low"], line[f"{name}_high"], decimals)


def costs_table(costs: pd.DataFrame, backbone: str) -> Table:
    """Time of each stage by arm, the sum, what these runs spent of it, and the largest memory."""
    by_key = {(row["arm"], row["stage"]): row for row in records(costs[costs["backbone"] == backbone])}
    arms = list(dict.fromkeys(arm for arm, _ in by_key))
    rows = []
    for stage in ordered((stage for _, stage in by_key), STAGES):
        cells = [by_key.get((arm, stage), {"seconds": math.nan, "cached": 0}) for arm in arms]
        shown = [Cell(duration(cell["seconds"]), "c" if cell["cached"] == 1 else "") for cell in cells]
        rows.append(Row((Cell(stage_name(stage)), *shown)))
    for name, key, rule in (("from nothing", "seconds", True), ("spent in these runs", "spent", False)):
        sums = [sum(row[key] for (owner, _), row in by_key.items() if owner == arm) for arm in arms]
        rows.append(Row((Cell(name, strong=rule), *(Cell(duration(total), strong=rule) for total in sums)), rule))
    peaks = [[row["peak_mib"] for (owner, _), row in by_key.items() if owner == arm] for arm in arms]
    known = [max((peak for peak in of_arm if not math.isnan(peak)), default=math.nan) for of_arm in peaks]
    rows.append(Row((Cell("peak memory (MiB)"), *(Cell(number(peak, 0)) for peak in known))))
    note = "Mean of a trial. c: taken from the cache, shown with the time of its first computation; students share it."
    header = ("", *(arm_name(arm) for arm in arms))
    return Table("Cost of each stage", header, "l" + "r" * len(arms), tuple(rows), note)


def to_latex(tables: Sequence[tuple[str, Table]]) -> str:
    """Tables of several backbones as one LaTeX ``tabular`` (packages booktabs and, with arms in Unicode, none)."""
    first = tables[0][1]
    lines = [f"% {latex(first.caption)}", rf"\begin{{tabular}}{{{first.align}}}", r"\toprule"]
    lines += [" & ".join(latex(title) for title in first.header) + r" \\"]
    for backbone, table in tables:
        name = latex(backbone_name(backbone))
        lines += [r"\midrule", rf"\multicolumn{{{len(table.header)}}}{{l}}{{\emph{{{name}}}}} \\"]
        for row in table.rows:
            lines += [r"\addlinespace"] if row.rule else []
            lines += [" & ".join(map(_latex_cell, row.cells)) + r" \\"]
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines + ([f"% {latex(first.note)}"] if first.note else [])) + "\n"


def _latex_cell(cell: Cell) -> str:
    text = rf"\textbf{{{latex(cell.text)}}}" if cell.strong and cell.text else latex(cell.text)
    return rf"{text} {{\footnotesize {latex(cell.extra)}}}" if cell.extra else text


def write(folder: Path, stem: str, frame: pd.DataFrame, tables: Sequence[tuple[str, Table]]) -> None:
    """Write ``frame`` as CSV and parquet and ``tables`` (backbone, table) as LaTeX into ``folder``."""
    safe = frame.map(spreadsheet_cell).rename(columns=lambda name: str(spreadsheet_cell(name)))
    safe.to_csv(folder / f"{stem}.csv", index=False, lineterminator="\n")
    frame.to_parquet(folder / f"{stem}.parquet", index=False)
    text = to_latex(tables) if tables else f"% {stem}: nothing to show\n"
    (folder / f"{stem}.tex").write_text(text, encoding="utf-8")


def terminal_table(trials: pd.DataFrame, layout: Layout) -> rich.table.Table:
    """Test results of each arm as means over seeds, MRR with half of its 95 % t interval from two seeds on.

    Fits into 80 columns; the report has the other intervals.

    Raises:
        UserError: the trials do not pass `validate_trials`.
    """
    current = validate_trials(trials)
    dataset = str(current["dataset"].iloc[0])
    shown = rich.table.Table(
        title=f"Test results on {escape(dataset_name(dataset))}",
        caption="means over n seeds; ±: half of the 95 % interval over seeds",
        box=SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        collapse_padding=True,
        title_justify="left",
        caption_justify="left",
    )
    shown.add_column("arm")  # of all columns the one that may take more lines
    shown.add_column("n", no_wrap=True)
    for measure in METRICS:
        shown.add_column(measure.label, justify="right", no_wrap=True)
    for backbone in ordered(current["backbone"], BACKBONES):
        of_backbone = current[current["backbone"] == backbone]
        shown.add_section()
        shown.add_row(f"[bold]{escape(backbone_name(backbone))}[/bold]")
        for arm in layout.order(of_backbone["arm"]):
            group = of_backbone[of_backbone["arm"] == arm]
            done = group[group["state"] == "complete"]
            failed = int((group["state"] == "failed").sum())
            cells = (
                [_terminal_mean(done[f"test_{measure.key}"].tolist(), measure) for measure in METRICS]
                if len(done)
                else []
            )
            style = "dim" if arm in REFERENCES else None
            shown.add_row(
                escape(arm_name(arm)), f"{len(done)} of {len(group)}" if failed else str(len(done)), *cells, style=style
            )
    return shown


def _terminal_mean(values: list[float], measure: Metric) -> str:
    interval = mean_interval(values)
    text = number(interval.estimate, measure.decimals)
    if measure.key != "mrr" or interval.n < 2:
        return text
    return f"{text} ±{number(interval.high - interval.estimate, measure.decimals)}"
