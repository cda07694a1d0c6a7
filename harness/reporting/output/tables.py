"""Display tables of a report for people (PDF, LaTeX), and tidy frames for programs (CSV, parquet)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
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
from harness.reporting.data.results import alone
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
    """A table of one backbone as people read it; ``align`` has a letter a column: l, r, c, or p for a paragraph."""

    caption: str
    header: tuple[str, ...]
    align: str
    rows: tuple[Row, ...]
    note: str = ""


#: header, alignment, and what makes the text or cell of a line
Column = tuple[str, str, Callable[[Any], "Cell | str"]]
#: verdicts on a difference that are shown in bold
DECIDED = ("better", "worse", "equivalent")


def table_of(
    caption: str,
    lines: Iterable[Any],
    columns: Sequence[Column],
    note: str = "",
    *,
    group: Callable[[Any], object] | None = None,
    once: bool = False,
) -> Table:
    """A table with a row a line.

    Args:
        caption: of the table.
        lines: what the columns are made of.
        columns: from left to right.
        note: below the table.
        group: what a line belongs to; a rule is drawn where it changes.
        once: whether the first cell is shown only in the first row of a group.
    """
    rows: list[Row] = []
    last: object = None
    for line in lines:
        made = [make(line) for _, _, make in columns]
        cells = [cell if isinstance(cell, Cell) else Cell(cell) for cell in made]
        is_new = not rows or (group is not None and group(line) != last)
        last = group(line) if group else None
        if once and not is_new:
            cells[0] = Cell("")
        rows.append(Row(tuple(cells), rule=is_new and bool(rows)))
    return Table(caption, tuple(c[0] for c in columns), "".join(c[1] for c in columns), tuple(rows), note)


def main_table(means: pd.DataFrame, paired: pd.DataFrame, trials: pd.DataFrame, backbone: str) -> Table:
    """All arms with all metrics as mean ± half of the 95 % interval; bold where better than L1 (see `paired`)."""
    by_key = {(row["arm"], row["metric"]): row for row in records(means[means["backbone"] == backbone])}
    bold = {
        (row["arm"], row["metric"])
        for row in records(paired[paired["backbone"] == backbone])
        if row["base"] == "L1" and row["verdict"] == "better"
    }

    def seeds(arm: str) -> Cell:
        row = by_key[arm, "mrr"]
        return Cell(str(row["n"]), f"{row['failed']} failed" if row["failed"] else "†" if row["n"] == 1 else "")

    columns: list[Column] = [
        ("", "l", lambda arm: Cell(arm_name(arm), dimension(trials, backbone, arm))),
        ("n", "l", seeds),
        *(
            (metric.label, "r", lambda arm, key=metric.key: mean_cell(by_key[arm, key], strong=(arm, key) in bold))
            for metric in METRICS
        ),
    ]
    note = "Mean ± half of the 95 % interval over n seeds (Student's t). MR: mean rank, lower is better. "
    note += ONE_SEED_NOTE if any(row["n"] == 1 for row in by_key.values()) else ""
    arms = dict.fromkeys(arm for arm, _ in by_key)
    with_l1 = paired[(paired["backbone"] == backbone) & (paired[["arm", "base"]] == "L1").any(axis=1)]
    untested = [arm_name(arm) for arm in arms if arm not in {*with_l1["arm"], *with_l1["base"], *REFERENCES}]
    if bold:
        note += "Bold: better than L1 by the paired test after Holm's correction. "
        note += f"Not tested against L1: {', '.join(untested)}." if untested else ""
    return table_of("Test results of all arms", arms, columns, note, group=lambda arm: arm in REFERENCES)


ONE_SEED_NOTE = "† One seed: the interval is over test facts and does not cover the choice of the seed. "


def mean_cell(row: dict[str, Any], strong: bool = False) -> Cell:
    """A mean ± half of its interval (a row of `harness.reporting.data.results.means`)."""
    metric = METRIC[row["metric"]]
    decimals = 1 if metric.key == "mr" and row["mean"] < 100 else metric.decimals
    return Cell(number(row["mean"], decimals), f"±{number((row['high'] - row['low']) / 2, decimals)}", strong)


def dimension(trials: pd.DataFrame, backbone: str, arm: str) -> str:
    """The dimension of an arm's model as text, "" where it is unknown."""
    of_arm = trials[(trials["backbone"] == backbone) & (trials["arm"] == arm)]
    dims = set(of_arm["dim"].dropna()) if "dim" in of_arm else set()
    return f"{dims.pop()}-d" if len(dims) == 1 else ""


def ends(line: dict[str, Any], name: str, decimals: int, scale: float = 1) -> str:
    """The 95 % interval of one quantity of a line, in brackets."""
    return interval(scale * line[f"{name}_low"], scale * line[f"{name}_high"], decimals)


def difference_cell(line: dict[str, Any]) -> Cell:
    """A difference with its interval, bold where it is decided; "–" where there is none."""
    decimals = 1 if line.get("metric") == "mr" else 4
    if math.isnan(line["difference"]):
        return Cell("–")
    change = number(line["difference"], decimals, signed=True)
    return Cell(change, ends(line, "difference", decimals), line.get("verdict") in DECIDED)


def verdict_cell(line: dict[str, Any]) -> Cell:
    """A verdict, bold where it is decided; one that is not with the part of the rule that it meets, if it meets one."""
    part = alone(line)
    return Cell(line["verdict"], f"{part} alone" if part else "", strong=line["verdict"] in DECIDED)


def decided_cell(line: dict[str, Any]) -> Cell:
    """Whether an effect is decided."""
    return Cell("decided" if line["decided"] else "undecided", strong=line["decided"])


#: the p value after Holm's correction
P_HOLM: Column = ("p (Holm)", "r", lambda line: p_value(line["p_holm"]))
#: a comparison of MRR
COMPARISON: tuple[Column, ...] = (
    ("Δ MRR", "r", difference_cell),
    ("relative", "r", lambda line: percent(line["relative"])),
    ("effect d", "r", lambda line: Cell(number(line["effect"], 3, signed=True), ends(line, "effect", 3))),
    ("seeds up", "c", lambda line: f"{line['seeds_up']} of {line['seeds']}"),
    ("p", "r", lambda line: p_value(line["p"])),
    P_HOLM,
    ("verdict", "l", verdict_cell),
)


def paired_table(paired: pd.DataFrame, backbone: str) -> Table:
    """Differences of MRR with interval, relative gain, effect size and corrected p value."""
    lines = records(paired[(paired["backbone"] == backbone) & (paired["metric"] == "mrr")])
    columns: list[Column] = [("", "l", lambda line: versus(line["arm"], line["base"])), *COMPARISON]
    note = paired_note(lines)
    return table_of("Paired differences of test MRR", lines, columns, note, group=lambda line: line["base"])


def paired_note(lines: Sequence[dict[str, Any]]) -> str:
    """How to read a table of comparisons."""
    over = "seeds and facts" if any(line["seeds"] > 1 for line in lines) else "facts of this one seed"
    note = f"Same seeds and same test facts in both arms; in brackets 95 % intervals over {over}. "
    by_looks = any(pd.notna(line.get("chance")) for line in lines)
    test = "sequential t test over seeds and facts" if by_looks else "sign-flip test over facts"
    return f"{note}p: {test}; lines separate the families of Holm's correction."


#: all metrics but MRR
OTHERS = tuple(metric.key for metric in METRICS if metric.key != "mrr")
OTHERS_NOTE = "Bold: decided by the paired test after Holm's correction within the column. Lower is better for MR only."


def metrics_table(paired: pd.DataFrame, backbone: str) -> Table:
    """Differences to L1 in the other metrics."""
    chosen = paired[(paired["backbone"] == backbone) & (paired["base"] == "L1")]
    by_key = {(row["arm"], row["metric"]): row for row in records(chosen)}
    columns: list[Column] = [
        ("", "l", lambda arm: f"{arm_name(arm)} against L1"),
        *((f"Δ {METRIC[key].label}", "r", lambda arm, key=key: difference_cell(by_key[arm, key])) for key in OTHERS),
    ]
    arms = dict.fromkeys(arm for arm, _ in by_key)
    return table_of("Paired differences to L1 in the other metrics", arms, columns, OTHERS_NOTE)


def costs_table(costs: pd.DataFrame, backbone: str) -> Table:
    """Time of each stage by arm, the sum, what these runs spent of it, and the largest memory."""
    of_backbone = costs[costs["backbone"] == backbone]
    by_key = {(row["arm"], row["stage"]): row for row in records(of_backbone)}
    by_arm = of_backbone.groupby("arm", sort=False)
    arms = [str(arm) for arm in by_arm.groups]
    rows = []
    for stage in ordered(of_backbone["stage"], STAGES):
        lines = [by_key.get((arm, stage), {"seconds": math.nan, "cached": 0}) for arm in arms]
        shown = [Cell(duration(line["seconds"]), "c" if line["cached"] == 1 else "") for line in lines]
        rows.append(Row((Cell(stage_name(stage)), *shown)))
    for name, key, rule in (("from nothing", "seconds", True), ("spent in these runs", "spent", False)):
        sums = [Cell(duration(total), strong=rule) for total in by_arm[key].sum()]
        rows.append(Row((Cell(name, strong=rule), *sums), rule))
    rows.append(Row((Cell("peak memory (MiB)"), *(Cell(number(peak, 0)) for peak in by_arm["peak_mib"].max()))))
    note = "Mean of a trial. c: taken from the cache, shown with the time of its first computation; students share it."
    header = ("", *map(arm_name, arms))
    return Table("Cost of each stage", header, "l" + "r" * len(arms), tuple(rows), note)


def to_latex(tables: Sequence[tuple[str, Table]]) -> str:
    """Tables of several backbones as one LaTeX ``tabular`` (packages booktabs and, with arms in Unicode, none)."""
    first = tables[0][1]
    lines = [f"% {latex(first.caption)}", rf"\begin{{tabular}}{{{first.align.replace('p', 'l')}}}", r"\toprule"]
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
    for metric in METRICS:
        shown.add_column(metric.label, justify="right", no_wrap=True)
    for backbone in ordered(current["backbone"], BACKBONES):
        of_backbone = current[current["backbone"] == backbone]
        shown.add_section()
        shown.add_row(f"[bold]{escape(backbone_name(backbone))}[/bold]")
        for arm in layout.order(of_backbone["arm"]):
            group = of_backbone[of_backbone["arm"] == arm]
            done = group[group["state"] == "complete"]
            n = f"{len(done)} of {len(group)}" if (group["state"] == "failed").any() else str(len(done))
            means = [_terminal_mean(done[f"test_{metric.key}"].tolist(), metric) for metric in METRICS if len(done)]
            shown.add_row(escape(arm_name(arm)), n, *means, style="dim" if arm in REFERENCES else None)
    return shown


def _terminal_mean(values: list[float], metric: Metric) -> str:
    mean = mean_interval(values)
    text = number(mean.estimate, metric.decimals)
    if metric.key != "mrr" or mean.n < 2:
        return text
    return f"{text} ±{number(mean.high - mean.estimate, metric.decimals)}"
