"""The tables of a report of sensitivity as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.reporting.data.frames import rows_of, where
from harness.reporting.data.text import interval, number, p_value, percent
from harness.reporting.output.figures import METHODS
from harness.reporting.output.tables import (
    P_HOLM,
    Cell,
    Column,
    Row,
    Table,
    decided_cell,
    difference_cell,
    table_of,
    verdict_cell,
)
from harness.reporting.sensitivity.failures import MODES
from harness.reporting.sensitivity.figures import UNIT, source_name
from harness.reporting.sensitivity.points import Grid
from harness.vocabulary import BACKBONES, METRICS, backbone_name, level_name, ordered, symbol_of

MOST_POINTS = 10


def point_name(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """A point by its levels: "α = 0.1, β = 0.01"."""
    return ", ".join(f"{symbol_of(name)} = {level_name(row[name])}" for name in names)


def levels_table(levels: pd.DataFrame, backbone: str) -> Table:
    """Mean validation MRR at each level of each factor, and its difference to L1."""
    lines = rows_of(levels, backbone=backbone)
    columns: list[Column] = [
        ("level", "l", lambda line: f"{symbol_of(line['factor'])} = {level_name(line['level'])}"),
        ("validation MRR", "r", lambda line: Cell(number(line["mean"], 4), interval(line["low"], line["high"], 4))),
        ("minus L1", "r", difference_cell),
        ("points", "r", lambda line: str(line["points"])),
    ]
    over_seeds = {line["interval"] for line in lines} == {"seeds"}
    note = "In brackets 95 % t intervals "
    note += "over seeds, at these same points." if over_seeds else "over the other factors' points: one seed."
    note += " Points: combinations of the other factors that the mean is taken over."
    caption = "Main effects: validation MRR by level"
    return table_of(caption, lines, columns, note, group=lambda line: line["factor"])


def ranges_table(ranges: pd.DataFrame, backbone: str) -> Table:
    """The range of each main effect with its test."""
    lines = rows_of(ranges, backbone=backbone)
    columns: list[Column] = [
        ("factor", "l", lambda line: symbol_of(line["factor"])),
        ("best level", "r", lambda line: level_name(line["best"])),
        ("worst level", "r", lambda line: level_name(line["worst"])),
        (
            "range of validation MRR",
            "r",
            lambda line: Cell(number(line["range"], 4), interval(line["low"], line["high"], 4), line["decided"]),
        ),
        ("p", "r", lambda line: p_value(line["p"])),
        P_HOLM,
        ("", "l", decided_cell),
    ]
    blocks = "seeds" if {line["interval"] for line in lines} == {"seeds"} else "the other factors' points (one seed)"
    note = f"Best minus worst level's mean, with Tukey's 95 % interval; the error is that of levels against {blocks}. "
    note += "Holm's correction over the factors."
    return table_of("Range of the main effects", lines, columns, note)


def pairs_table(pairs: pd.DataFrame, backbone: str) -> Table:
    """The numbers of the maps."""
    columns: list[Column] = [
        ("factors", "l", lambda line: f"{symbol_of(line['first'])}, {symbol_of(line['second'])}"),
        ("first", "r", lambda line: level_name(line["first_level"])),
        ("second", "r", lambda line: level_name(line["second_level"])),
        ("validation MRR", "r", lambda line: number(line["mrr"], 4)),
        ("minus L1 (thousandths)", "r", lambda line: number(line["difference"] * UNIT, 1, signed=True)),
        ("points", "r", lambda line: str(line["points"])),
    ]
    lines = rows_of(pairs, backbone=backbone)
    caption = "Validation MRR at each pair of levels"
    return table_of(caption, lines, columns, group=lambda line: (line["first"], line["second"]))


def importance_table(importances: pd.DataFrame, backbone: str, over: str = "points") -> Table:
    """Importances by method, with bootstrap intervals over points or configurations, and the spread over seeds."""
    of_backbone = where(importances, backbone=backbone)
    by_key = {(row["factor"], row["method"]): row for row in rows_of(of_backbone)}

    def shown(factor: str, method: str) -> Cell:
        line = by_key[factor, method]
        return Cell(number(line["importance"], 2), interval(line["low"], line["high"], 2))

    columns: list[Column] = [
        ("factor", "l", symbol_of),
        *((method, "r", lambda factor, method=method: shown(factor, method)) for method in METHODS),
        ("seeds' spread", "r", lambda factor: number(by_key[factor, "fANOVA"]["seed_sd"], 3)),
    ]
    repeats = of_backbone["repeats"].max() if len(of_backbone) else 0
    note = f"Scaled to a sum of one; in brackets the middle 95 % of a bootstrap over {over}. The last column is the "
    note += f"standard deviation over {repeats} seeds of fANOVA's forest; PED-ANOVA draws nothing."
    return table_of("Importance of the factors", dict.fromkeys(of_backbone["factor"]), columns, note)


def variance_table(variance: pd.DataFrame, backbone: str) -> Table:
    """The decomposition of the variance."""
    lines = rows_of(variance, backbone=backbone)

    def share(value: float) -> str:
        return "–" if math.isnan(value) else percent(value, signed=False)

    columns: list[Column] = [
        ("source", "l", lambda line: source_name(line["source"])),
        ("df", "r", lambda line: str(line["df"])),
        ("share", "r", lambda line: share(line["share"])),
        ("ω²", "r", lambda line: share(line["omega_sq"])),
        ("F", "r", lambda line: number(line["f"], 1)),
        ("p", "r", lambda line: p_value(line["p"])),
    ]
    within = " within seeds" if any(line["source"] == "seed" for line in lines) else ""
    note = f"Share of the sum of squares{within}; ω²: without what noise adds on average. The rest is noise and what "
    note += "is left of the interactions. The error of a source is "
    note += "its interaction with seeds" if within else "all interactions that contain it (one seed)"
    note += ", as of the ranges above. F and p are not corrected for the number of sources: they describe."
    caption = "Variance of validation MRR over the grid"
    return table_of(caption, lines, columns, note, group=lambda line: line["source"] == "rest")


def region_table(region: pd.DataFrame, names: Sequence[str], case: str = "backbone", most: int = MOST_POINTS) -> Table:
    """The best stable points, up to ``most``, by the smallest difference to L1 in any case."""
    stable = region[region["stable"]]
    columns: list[Column] = [
        ("point", "l", lambda line: point_name(line, names)),
        ("least gain", "r", lambda line: number(line["least"], 4, signed=True)),
        ("most lost", "r", lambda line: number(line["lost"], 4)),
        ("near the best", "c", lambda line: "yes" if line["near_best"] else "no"),
        ("above L1", "c", lambda line: "yes" if line["beats_base"] else "no"),
    ]
    shown = f" The first {most} are shown." if len(stable) > most else ""
    note = (
        f"{len(stable)} of the {len(region)} points that every {case} has are stable.{shown} By validation MRR alone: "
    )
    note += f"least gain is the smallest difference to L1 on any {case}, most lost the largest to the best point."
    return table_of("Stable points", rows_of(stable.head(most)), columns, note)


def chosen_lines(chosen: pd.DataFrame, tested: pd.DataFrame, backbone: str) -> list[dict[str, Any]]:
    """Points of a backbone with their test MRR (`on_test`); ``gain`` is the difference to L1 on validation."""
    by_arm = {row["arm"]: row for row in rows_of(tested, backbone=backbone, metric="mrr")}
    points = rows_of(chosen, backbone=backbone)
    return [point | {"gain": point["difference"]} | by_arm[point["arm"]] for point in points]


#: validation MRR of a point, and its test MRR with the difference to L1
VALIDATION: Column = ("validation", "r", lambda line: number(line["mrr"], 4))
ON_TEST: tuple[Column, ...] = (
    ("test MRR", "r", lambda line: number(line["value"], 4)),
    ("minus L1", "r", difference_cell),
    P_HOLM,
    ("", "l", verdict_cell),
)


def chosen_table(lines: Sequence[Mapping[str, Any]], names: Sequence[str], *, fresh: bool = False) -> Table:
    """The best points by validation MRR, and their test MRR, or that of their confirmation runs (`chosen_lines`)."""
    columns: list[Column] = [
        ("point", "l", lambda line: point_name(line, names)),
        VALIDATION,
        ("minus L1", "r", lambda line: number(line["gain"], 4, signed=True)),
        *ON_TEST,
    ]
    over = "seeds and facts" if any(line["seeds"] > 1 for line in lines) else "facts of this one seed"
    note = "Validation chose; test was looked at afterwards. "
    if fresh:
        note = "Chosen by validation on the grid; test is of confirmation runs, with seeds that took no part in that. "
    note += f"On test paired differences to L1 of the same {'fresh ' * fresh}seeds, with 95 % intervals over "
    note += f"{over}; Holm's correction over the points of the table."
    return table_of("Confirmed winners" if fresh else "The best points by validation MRR", lines, columns, note)


def default_table(tested: pd.DataFrame, fresh: int = 0) -> Table:
    """The recommended default on test: every metric and its difference to L1, on each backbone.

    ``fresh``: how many seeds took no part in choosing it; 0: these are the seeds that chose.
    """
    rows: list[Row] = []
    for backbone in ordered(tested["backbone"], BACKBONES):
        values, changes = [Cell(backbone_name(backbone))], [Cell("minus L1")]
        by_metric = {row["metric"]: row for row in rows_of(tested, backbone=backbone)}
        for metric in METRICS:
            line = by_metric[metric.key]
            decimals = 1 if metric.key == "mr" and line["value"] < 1000 else metric.decimals
            values.append(Cell(number(line["value"], decimals)))
            changes.append(difference_cell(line))
        rows += [Row(tuple(values), rule=bool(rows)), Row(tuple(changes))]
    note = "Bold: decided by the paired test on this one point, chosen without test facts, and by its 95 % interval."
    note += f" Confirmation runs: {fresh} seed{'s' * (fresh > 1)} that took no part in choosing it." if fresh else ""
    return Table("The recommended default on test", ("", *(m.label for m in METRICS)), "lrrrrr", tuple(rows), note)


def failures_words(counts: pd.DataFrame, backbone: str) -> str:
    """How many trials of all points show each failure mode, in a sentence."""
    rows = {row["mode"]: row for row in rows_of(counts, backbone=backbone, factor="")}
    known = [(short, rows[mode]) for mode, (short, _) in MODES.items() if rows[mode]["assessed"]]
    return "; ".join(f"{short}: {row['count']} of {row['assessed']} trials" for short, row in known) + "."


def failures_table(counts: pd.DataFrame, grid: Grid, backbone: str) -> Table:
    """How many trials show each failure mode, in all and at each level."""
    by_key = {(row["factor"], level_name(row["level"]), row["mode"]): row for row in rows_of(counts, backbone=backbone)}

    def count(group: tuple[str, float], mode: str) -> str:
        row = by_key[group[0], level_name(group[1]), mode]
        return f"{row['count']} of {row['assessed']}" if row["assessed"] else "–"

    columns: list[Column] = [
        ("", "l", lambda group: f"{symbol_of(group[0])} = {level_name(group[1])}" if group[0] else "all points"),
        *((short, "r", lambda group, mode=mode: count(group, mode)) for mode, (short, _) in MODES.items()),
    ]
    groups = [("", math.nan), *((factor.key, level) for factor in grid.factors for level in factor.levels)]
    note = "Trials that show it, of those for which this is known. "
    note += "; ".join(f"{short}: {meaning}" for short, meaning in MODES.values()) + "."
    return table_of("Signs of failure by level", groups, columns, note, group=lambda group: group[0])
