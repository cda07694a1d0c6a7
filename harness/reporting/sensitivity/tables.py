"""The tables of a report of sensitivity as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.reporting.data.frames import records
from harness.reporting.data.text import interval, number, p_value, percent
from harness.reporting.output.figures import METHODS
from harness.reporting.output.tables import Cell, Row, Table
from harness.reporting.sensitivity.failures import NAMES, SIGNATURES
from harness.reporting.sensitivity.figures import UNIT, source_name
from harness.reporting.sensitivity.points import Cells
from harness.vocabulary import BACKBONES, METRICS, backbone_name, level_name, ordered, symbol_of

MOST_POINTS = 10


def point_name(row: dict[str, Any], names: Sequence[str]) -> str:
    """A point by its levels: "α = 0.1, β = 0.01"."""
    return ", ".join(f"{symbol_of(name)} = {level_name(row[name])}" for name in names)


def levels_table(levels: pd.DataFrame, backbone: str) -> Table:
    """Mean validation MRR at each level of each factor, and its difference to L1."""
    rows: list[Row] = []
    last, lines = "", records(levels[levels["backbone"] == backbone])
    for line in lines:
        factor = str(line["factor"])
        cells = (
            Cell(f"{symbol_of(factor)} = {level_name(line['level'])}"),
            Cell(number(line["mean"], 4), interval(line["low"], line["high"], 4)),
            _change(line, "difference"),
            Cell(str(line["points"])),
        )
        rows.append(Row(cells, rule=last not in ("", factor)))
        last = factor
    over = {line["interval"] for line in lines}
    note = "In brackets 95 % t intervals "
    note += "over seeds, at these same points." if over == {"seeds"} else "over the other factors' points: one seed."
    note += " Points: combinations of the other factors that the mean is taken over."
    header = ("level", "validation MRR", "minus L1", "points")
    return Table("Main effects: validation MRR by level", header, "lrrr", tuple(rows), note)


def _change(line: dict[str, Any], name: str, decimals: int = 4, *, strong: bool = False) -> Cell:
    """A difference with its interval."""
    if math.isnan(line[name]):
        return Cell("–")
    ends = [line[f"{name}_low"], line[f"{name}_high"]] if f"{name}_low" in line else [line["low"], line["high"]]
    return Cell(number(line[name], decimals, signed=True), interval(ends[0], ends[1], decimals), strong)


def ranges_table(ranges: pd.DataFrame, backbone: str) -> Table:
    """The range of each main effect with its test."""
    rows, lines = [], records(ranges[ranges["backbone"] == backbone])
    for line in lines:
        word = "decided" if line["decided"] else "undecided"
        cells = (
            Cell(symbol_of(line["factor"])),
            Cell(level_name(line["best"])),
            Cell(level_name(line["worst"])),
            Cell(number(line["range"], 4), interval(line["low"], line["high"], 4), line["decided"]),
            Cell(p_value(line["p"]).removeprefix("= ")),
            Cell(p_value(line["p_holm"]).removeprefix("= ")),
            Cell(word, strong=line["decided"]),
        )
        rows.append(Row(cells))
    blocks = "seeds" if {line["interval"] for line in lines} == {"seeds"} else "the other factors' points (one seed)"
    note = f"Best minus worst level's mean, with Tukey's 95 % interval; the error is that of levels against {blocks}. "
    note += "Holm's correction over the factors."
    header = ("factor", "best level", "worst level", "range of validation MRR", "p", "p (Holm)", "")
    return Table("Range of the main effects", header, "lrrrrrl", tuple(rows), note)


def pairs_table(pairs: pd.DataFrame, backbone: str) -> Table:
    """The numbers of the maps."""
    lines = records(pairs[pairs["backbone"] == backbone])
    rows: list[Row] = []
    last = ""
    for line in lines:
        pair = f"{symbol_of(line['first'])}, {symbol_of(line['second'])}"
        thousandths = number(line["difference"] * UNIT, 1, signed=True)
        levels = Cell(level_name(line["first_level"])), Cell(level_name(line["second_level"]))
        cells = (Cell(pair), *levels, Cell(number(line["mrr"], 4)), Cell(thousandths), Cell(str(line["points"])))
        rows.append(Row(cells, rule=last not in ("", pair)))
        last = pair
    header = ("factors", "first", "second", "validation MRR", "minus L1 (thousandths)", "points")
    return Table("Validation MRR at each pair of levels", header, "lrrrrr", tuple(rows))


def importance_table(importances: pd.DataFrame, backbone: str) -> Table:
    """Importances by method, with bootstrap intervals and the spread over the evaluator's seeds."""
    of_backbone = importances[importances["backbone"] == backbone]
    cells = {(row["factor"], row["method"]): row for row in records(of_backbone)}
    rows = []
    for factor in dict.fromkeys(of_backbone["factor"]):
        shown = [Cell(symbol_of(factor))]
        for method in METHODS:
            line = cells[factor, method]
            shown.append(Cell(number(line["importance"], 2), interval(line["low"], line["high"], 2)))
        shown.append(Cell(number(cells[factor, "fANOVA"]["seed_sd"], 3)))
        rows.append(Row(tuple(shown)))
    repeats = of_backbone["repeats"].max() if len(of_backbone) else 0
    note = "Scaled to a sum of one; in brackets the middle 95 % of a bootstrap over points. "
    note += (
        f"The last column is the standard deviation over {repeats} seeds of fANOVA's forest; PED-ANOVA draws nothing."
    )
    header = ("factor", *METHODS, "seeds' spread")
    return Table("Importance of the factors", header, "lrrr", tuple(rows), note)


def variance_table(variance: pd.DataFrame, backbone: str) -> Table:
    """The decomposition of the variance."""
    lines = records(variance[variance["backbone"] == backbone])
    rows = [_source_row(line) for line in lines]
    note = "Share of the sum of squares"
    note += " within seeds" if any(line["source"] == "seed" for line in lines) else ""
    note += "; ω²: without what noise adds on average. The rest is noise"
    note += " and what is left of the interactions. " if rows else ". "
    note += "F and p are not corrected for the number of sources: they describe."
    header = ("source", "df", "share", "ω²", "F", "p")
    return Table("Variance of validation MRR over the grid", header, "lrrrrr", tuple(rows), note)


def _source_row(line: dict[str, Any]) -> Row:
    shares = ("–" if math.isnan(line[k]) else percent(line[k], signed=False) for k in ("share", "omega_sq"))
    texts = (source_name(line["source"]), str(line["df"]), *shares, number(line["f"], 1))
    p = p_value(line["p"]).removeprefix("= ")
    return Row(tuple(Cell(text) for text in (*texts, p)), rule=line["source"] == "rest")


def region_table(region: pd.DataFrame, names: Sequence[str], situation: str = "backbone") -> Table:
    """The best robust points, by the smallest difference to L1 on any backbone, or in whatever else a situation is."""
    robust = region[region["robust"]]
    rows = []
    for line in records(robust.head(MOST_POINTS)):
        marks = ("yes" if line["near_best"] else "no", "yes" if line["beats_base"] else "no")
        values = (number(line["least"], 4, signed=True), number(line["lost"], 4))
        rows.append(Row(tuple(Cell(t) for t in (point_name(line, names), *values, *marks))))
    shown = f" The first {MOST_POINTS} are shown." if len(robust) > MOST_POINTS else ""
    note = (
        f"{len(robust)} of {len(region)} points that every {situation} has are robust.{shown} By validation MRR alone: "
    )
    note += f"least gain is the smallest difference to L1 on any {situation}, most lost the largest to the best point."
    header = ("point", "least gain", "most lost", "near the best", "above L1")
    return Table("Robust points", header, "lrrcc", tuple(rows), note)


def chosen_table(chosen: pd.DataFrame, tested: pd.DataFrame, names: Sequence[str], *, fresh: bool = False) -> Table:
    """The best points of a backbone by validation MRR, and what test says of them, or their confirmation runs do."""
    by_arm = {row["arm"]: row for row in records(tested[tested["measure"] == "mrr"])}
    rows = []
    for point in records(chosen):
        line = by_arm[point["arm"]]
        decided = line["verdict"] in ("better", "worse")
        cells = (
            Cell(point_name(point, names)),
            Cell(number(point["mrr"], 4)),
            Cell(number(point["difference"], 4, signed=True)),
            Cell(number(line["value"], 4)),
            _change(line, "difference", strong=decided),
            Cell(p_value(line["p_holm"]).removeprefix("= ")),
            Cell(line["verdict"], strong=decided),
        )
        rows.append(Row(cells))
    over = "seeds and facts" if any(line["seeds"] > 1 for line in by_arm.values()) else "facts of this one seed"
    note = "Validation chose; test was looked at afterwards. "
    if fresh:
        note = "Chosen by validation on the grid; test is of confirmation runs, with seeds that took no part in that. "
    note += f"On test paired differences to L1 of the same {'fresh ' * fresh}seeds, with 95 % bootstrap intervals over "
    note += f"{over}; Holm's correction over the points of the table."
    caption = "Confirmed winners" if fresh else "The best points by validation MRR"
    header = ("point", "validation", "minus L1", "test MRR", "minus L1", "p (Holm)", "")
    return Table(caption, header, "lrrrrrl", tuple(rows), note)


def default_table(tested: pd.DataFrame, fresh: int = 0) -> Table:
    """The recommended default on test: every measure and its difference to L1, on each backbone.

    ``fresh``: how many seeds took no part in choosing it; 0: these are the seeds that chose.
    """
    rows: list[Row] = []
    for backbone in ordered(tested["backbone"], BACKBONES):
        by_metric = {row["measure"]: row for row in records(tested[tested["backbone"] == backbone])}
        values, changes = [Cell(backbone_name(backbone))], [Cell("minus L1")]
        for measure in METRICS:
            line = by_metric[measure.key]
            decimals = 1 if measure.key == "mr" and line["value"] < 1000 else measure.decimals
            values.append(Cell(number(line["value"], decimals)))
            decided = line["verdict"] in ("better", "worse")
            changes.append(_change(line, "difference", 1 if measure.key == "mr" else 4, strong=decided))
        rows += [Row(tuple(values), rule=bool(rows)), Row(tuple(changes))]
    note = "Bold: decided by the paired test on this one point, chosen without test facts, and by its 95 % interval."
    note += f" Confirmation runs: {fresh} seed{'s' * (fresh > 1)} that took no part in choosing it." if fresh else ""
    return Table("The recommended default on test", ("", *(m.label for m in METRICS)), "lrrrrr", tuple(rows), note)


def signatures_table(counts: pd.DataFrame, cells: Cells, backbone: str) -> Table:
    """How many trials show each sign of failure, in all and at each level."""
    by_key = {(row["factor"], level_name(row["level"]), row["signature"]): row
           for row in records(counts[counts["backbone"] == backbone])}  # fmt: skip
    groups = [("", float("nan"))] + [(f.key, level) for f in cells.factors for level in f.levels]
    rows: list[Row] = []
    last = ""
    for factor, level in groups:
        name = f"{symbol_of(factor)} = {level_name(level)}" if factor else "all points"
        shown = [by_key[factor, level_name(level), sign] for sign in SIGNATURES]
        texts = [Cell(f"{r['found']} of {r['assessed']}" if r["assessed"] else "–") for r in shown]
        rows.append(Row((Cell(name), *texts), rule=factor != last))
        last = factor
    note = "Trials that show it, of those of which it can be said. "
    note += "; ".join(f"{NAMES[key]}: {text}" for key, text in SIGNATURES.items()) + "."
    header = ("", *(NAMES[sign] for sign in SIGNATURES))
    return Table("Signs of failure by level", header, "l" + "r" * len(SIGNATURES), tuple(rows), note)
