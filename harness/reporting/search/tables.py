"""The tables of a report of a search as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.reporting.data.frames import rows_of
from harness.reporting.data.text import interval, number, p_value
from harness.reporting.output.tables import (
    P_HOLM,
    Cell,
    Column,
    Table,
    decided_cell,
    difference_cell,
    table_of,
    verdict_cell,
)
from harness.reporting.search.trace import MIDDLE, Trace
from harness.reporting.sensitivity.tables import ON_TEST, VALIDATION, point_name
from harness.vocabulary import level_name, symbol_of

FACTOR: Column = ("factor", "l", lambda line: symbol_of(line["factor"]))


def configurations_table(trace: Trace, backbone: str) -> Table:
    """All configurations, best first."""
    columns: list[Column] = [
        ("no.", "r", lambda line: str(line["number"])),
        *((axis.symbol, "r", lambda line, key=axis.key: level_name(line[key])) for axis in trace.axes),
        ("validation MRR", "r", lambda line: number(line["mrr"], 4)),
        ("minus L1", "r", lambda line: number(line["difference"], 4, signed=True)),
        ("seeds", "r", lambda line: str(line["seeds"])),
        ("", "l", lambda line: line["state"]),
    ]
    ranked = trace.frame.sort_values("mrr", ascending=False)
    return table_of("All configurations", rows_of(ranked, backbone=backbone), columns)


def factors_table(curves: pd.DataFrame, backbone: str) -> Table:
    """The fitted curves and their tests."""
    columns: list[Column] = [
        FACTOR,
        ("best", "r", lambda line: level_name(line["best"])),
        ("worst", "r", lambda line: level_name(line["worst"])),
        ("range of the curve", "r", lambda line: Cell(number(line["range"], 4), strong=line["decided"])),
        ("p", "r", lambda line: p_value(line["p"])),
        P_HOLM,
        ("", "l", decided_cell),
    ]
    note = "A quadratic in each factor, on the scale of its range, fitted to all configurations at once. F test "
    note += "of both terms; Holm's correction over the factors. Configurations that a sampler chose are no random "
    note += "sample: the curves are sharpest where the search looked most."
    return table_of("What each factor does", rows_of(curves, backbone=backbone), columns, note)


def sobol_table(sobol: pd.DataFrame, backbone: str) -> Table:
    """Sobol indices of a designed sample."""
    lines = rows_of(sobol, backbone=backbone)

    def index(line: Mapping[str, Any], kind: str) -> Cell:
        return Cell(number(line[kind], 2), interval(line[f"{kind}_low"], line[f"{kind}_high"], 2))

    columns: list[Column] = [
        FACTOR,
        ("first order", "r", lambda line: index(line, "first")),
        ("total", "r", lambda line: index(line, "total")),
    ]
    blocks = lines[0]["blocks"] if lines else 0
    note = f"Of {blocks} base points; 95 % bootstrap intervals. First order: the share of the variance that the factor "
    note += "explains alone; total: with all its interactions. Wide intervals may leave the range from 0 to 1."
    return table_of("Sobol indices of validation MRR", lines, columns, note)


def temperature_table(bands: pd.DataFrame, backbone: str) -> Table:
    """Other temperatures against those around 7."""
    columns: list[Column] = [
        ("", "l", lambda line: f"T {line['band']}"),
        ("configurations", "r", lambda line: str(line["configurations"])),
        (f"minus T {MIDDLE}", "r", difference_cell),
        P_HOLM,
        ("", "l", verdict_cell),
    ]
    note = "Validation MRR minus that of configurations with T around 7, other factors taken into account; "
    note += "intervals and tests with HC3 standard errors, Holm's correction over the bands. Equivalent: shown to "
    note += "differ by less than the study's margin."
    return table_of("Temperature", rows_of(bands, backbone=backbone), columns, note)


def confirmed_table(lines: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    """The winners of a backbone: validation inside the search, test with fresh seeds (see `chosen_lines`)."""
    columns: list[Column] = [
        ("configuration", "l", lambda line: f"#{line['number']}: {point_name(line, names)}"),
        VALIDATION,
        *ON_TEST,
    ]
    note = "The best configurations by the search's validation MRR, in confirmation runs with seeds that the "
    note += "search has not used, scored on test once. Paired differences to L1 at the "
    note += "same temperature and switch, with the same seeds; "
    note += "Holm's correction over the rows."
    return table_of("Confirmed winners", lines, columns, note)
