"""The tables of a report of a search as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.reporting.data.frames import records
from harness.reporting.data.text import interval, number, p_value
from harness.reporting.output.figures import METHODS
from harness.reporting.output.tables import Cell, Row, Table
from harness.reporting.search.trace import MIDDLE, Trace
from harness.vocabulary import level_name


def _point(row: Mapping[str, Any], trace: Trace) -> str:
    return ", ".join(f"{axis.symbol} = {level_name(row[axis.key])}" for axis in trace.axes)


def _p(value: float) -> Cell:
    return Cell(p_value(value).removeprefix("= "))


def configurations_table(trace: Trace, backbone: str) -> Table:
    """All configurations, best first."""
    ranked = trace.frame[trace.frame["backbone"] == backbone].sort_values("mrr", ascending=False)
    rows = []
    for line in records(ranked):
        values = (Cell(level_name(line[name])) for name in trace.names)
        metrics = number(line["mrr"], 4), number(line["difference"], 4, signed=True)
        cells = (Cell(str(line["number"])), *values, *map(Cell, metrics), Cell(str(line["seeds"])), Cell(line["state"]))
        rows.append(Row(tuple(cells)))
    symbols = tuple(axis.symbol for axis in trace.axes)
    header = ("no.", *symbols, "validation MRR", "minus L1", "seeds", "")
    return Table("All configurations", header, "r" + "r" * len(symbols) + "rrrl", tuple(rows))


def factors_table(curves: pd.DataFrame, trace: Trace, backbone: str) -> Table:
    """The fitted curves and their tests."""
    symbols = {axis.key: axis.symbol for axis in trace.axes}
    rows = []
    for line in records(curves[curves["backbone"] == backbone]):
        word = "decided" if line["decided"] else "undecided"
        levels = Cell(level_name(line["best"])), Cell(level_name(line["worst"]))
        tests = Cell(number(line["range"], 4), strong=line["decided"]), _p(line["p"]), _p(line["p_holm"])
        rows.append(Row((Cell(symbols[line["factor"]]), *levels, *tests, Cell(word, strong=line["decided"]))))
    note = (
        "A quadratic in each factor, on the scale of its range, fitted to all configurations at once. F test of both "
    )
    note += "terms; Holm's correction over the factors. Configurations that a sampler chose are no random sample: "
    note += "the curves are sharpest where the search looked most."
    header = ("factor", "best", "worst", "range of the curve", "p", "p (Holm)", "")
    return Table("What each factor does", header, "lrrrrrl", tuple(rows), note)


def importance_table(importances: pd.DataFrame, trace: Trace, backbone: str) -> Table:
    """Importances by Optuna's evaluators."""
    of_backbone = importances[importances["backbone"] == backbone]
    cells = {(row["factor"], row["method"]): row for row in records(of_backbone)}
    rows = []
    for axis in trace.axes if len(of_backbone) else ():
        lines = [cells[axis.key, method] for method in METHODS]
        shown = (Cell(number(r["importance"], 2), interval(r["low"], r["high"], 2)) for r in lines)
        rows.append(Row((Cell(axis.symbol), *shown, Cell(number(lines[-1]["seed_sd"], 3)))))
    note = "Scaled to a sum of one; in brackets the middle 95 % of a bootstrap over configurations. The last column is "
    note += "the standard deviation over seeds of fANOVA's forest."
    header = ("factor", *METHODS, "seeds' spread")
    return Table("Importance of the factors", header, "lrrr", tuple(rows), note)


def sobol_table(sobol: pd.DataFrame, trace: Trace, backbone: str) -> Table:
    """Sobol indices of a designed sample."""
    lines = records(sobol[sobol["backbone"] == backbone])
    symbols = {axis.key: axis.symbol for axis in trace.axes}
    rows = []
    for line in lines:
        shown = (Cell(number(line[k], 2), interval(line[f"{k}_low"], line[f"{k}_high"], 2)) for k in ("first", "total"))
        rows.append(Row((Cell(symbols[line["factor"]]), *shown)))
    blocks = lines[0]["blocks"] if lines else 0
    note = f"Of {blocks} base points; 95 % bootstrap intervals. First order: the share of the variance that the factor "
    note += "explains alone; total: with all its interactions. Wide intervals may leave the range from 0 to 1."
    return Table("Sobol indices of validation MRR", ("factor", "first order", "total"), "lrr", tuple(rows), note)


def temperature_table(bands: pd.DataFrame, backbone: str) -> Table:
    """Other temperatures against those around 7."""
    rows = []
    for line in records(bands[bands["backbone"] == backbone]):
        decided = line["verdict"] in ("better", "worse")
        change = Cell("–")
        if not np.isnan(line["difference"]):
            ends = interval(line["low"], line["high"], 4)
            change = Cell(number(line["difference"], 4, signed=True), ends, decided)
        name = Cell(f"T {line['band']}"), Cell(str(line["configurations"]))
        rows.append(Row((*name, change, _p(line["p_holm"]), Cell(line["verdict"], strong=decided))))
    note = (
        "Validation MRR minus that of configurations with T around 7, other factors taken into account; intervals and "
    )
    note += "tests with HC3 standard errors, Holm's correction over the bands."
    header = ("", "configurations", f"minus T {MIDDLE}", "p (Holm)", "")
    return Table("Temperature", header, "lrrrl", tuple(rows), note)


def confirmed_table(chosen: pd.DataFrame, confirmed: pd.DataFrame, trace: Trace, backbone: str) -> Table:
    """The winners of a backbone: validation inside the search, test with fresh seeds."""
    tested = confirmed[(confirmed["backbone"] == backbone) & (confirmed["measure"] == "mrr")]
    by_arm = {row["arm"]: row for row in records(tested)}
    rows = []
    for point in records(chosen[chosen["backbone"] == backbone]):
        line = by_arm[point["arm"]]
        decided = line["verdict"] in ("better", "worse")
        change = Cell("–")
        if not np.isnan(line["difference"]):
            change = Cell(number(line["difference"], 4, signed=True), interval(line["low"], line["high"], 4), decided)
        cells = (
            Cell(f"#{point['number']}: {_point(point, trace)}"),
            Cell(number(point["mrr"], 4)),
            Cell(number(line["value"], 4)),
            change,
            _p(line["p_holm"]),
            Cell(line["verdict"], strong=decided),
        )
        rows.append(Row(cells))
    note = (
        "The best configurations by the search's validation MRR, in confirmation runs with seeds that the search has "
    )
    note += (
        "not used, scored on test once. Paired differences to L1 of the same seeds; Holm's correction over the rows."
    )
    header = ("configuration", "validation", "test MRR", "minus L1", "p (Holm)", "")
    return Table("Confirmed winners", header, "lrrrrl", tuple(rows), note)
