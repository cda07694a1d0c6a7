"""The same trained models under every ranking protocol, beside published models under the protocol of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.reporting.data.frames import records, where
from harness.reporting.data.results import Results
from harness.reporting.data.text import number
from harness.reporting.output.tables import Cell, Column, Table, dimension, table_of
from harness.stats import mean_interval
from harness.vocabulary import METRIC, METRICS, PROTOCOLS, arm_name

COLUMNS = ["backbone", "arm", "protocol", "own", "metric", "mean", "low", "high", "n"]
NOTE = (
    "Test MRR, mean ± half of the 95 % interval over seeds, of the same state of a model under each protocol; *: the "
    "protocol that chose it. Numbers compare within a column alone. Columns timeplex and expanded ask for single years "
    "and time classes, tkbi for the start alone; in expanded a fact counts once for each class, so that long intervals "
    "weigh most. Published models are larger, and treat ties in other ways."
)


def by_protocol(results: Results) -> pd.DataFrame:
    """Means over seeds of test metrics under each protocol, a row a backbone, arm, protocol and metric.

    Columns: backbone, arm, protocol, own (whether it is that of the trials), metric, mean, low, high (95 % t interval
    over seeds; NaN with one seed), n (seeds). Protocols that no trial of an arm was scored under are left out.
    """
    done, rows = where(results.trials, state="complete"), []
    chosen_by = set(done["protocol"]) if "protocol" in done else set()
    if len(chosen_by) != 1:
        return pd.DataFrame(columns=COLUMNS)
    (selected,) = chosen_by
    for backbone in results.backbones:
        for arm in results.arms(backbone):
            trials = where(done, backbone=backbone, arm=arm)
            for protocol in PROTOCOLS:
                prefix = "test" if protocol == selected else f"test_{protocol}"
                for metric in METRICS:
                    if (name := f"{prefix}_{metric.key}") not in trials or not len(values := trials[name].dropna()):
                        continue
                    interval = mean_interval(values.to_numpy(dtype=float))
                    key = {"backbone": backbone, "arm": arm, "protocol": protocol, "own": protocol == selected}
                    mean = {"mean": interval.estimate, "low": interval.low, "high": interval.high, "n": len(values)}
                    rows.append(key | {"metric": metric.key} | mean)
    return pd.DataFrame(rows, columns=COLUMNS)


def protocols_table(
    rows: pd.DataFrame, published: Sequence[dict[str, Any]], trials: pd.DataFrame, backbone: str
) -> Table:
    """MRR of each arm under every protocol, and below it of the published models of which the protocol is known.

    Without trials that were scored under more than their own protocol the table is empty.

    Args:
        rows: `by_protocol`.
        published: rows of ``published_figures.csv`` of the data set.
        trials: all trials, for the arms' dimensions.
        backbone: whose arms are shown.
    """
    shown = records(where(rows, backbone=backbone, metric="mrr"))
    if len({row["protocol"] for row in shown}) < 2:
        return Table("", (), "", ())
    values = {(row["arm"], row["protocol"]): row for row in shown}
    stated = [row for row in published if isinstance(row.get("protocol"), str) and row["protocol"] in PROTOCOLS]
    selected = next(row["protocol"] for row in shown if row["own"])
    lines: list[Any] = [*dict.fromkeys(row["arm"] for row in shown), *stated]

    def name(line: Any) -> Cell:
        if isinstance(line, dict):
            return Cell(str(line["model"]), "published")
        return Cell(arm_name(line), dimension(trials, backbone, line))

    def cell(line: Any, protocol: str) -> Cell:
        decimals = METRIC["mrr"].decimals
        if isinstance(line, dict):
            return Cell(number(line["mrr"], 3) if line["protocol"] == protocol else "–")
        row = values.get((line, protocol))
        if row is None:
            return Cell("–")
        half = f"±{number((row['high'] - row['low']) / 2, decimals)}" if row["n"] > 1 else ""
        return Cell(number(row["mean"], decimals), half)

    columns: list[Column] = [
        ("", "l", name),
        *(
            (f"{protocol}{'*' if protocol == selected else ''}", "r", lambda line, key=protocol: cell(line, key))
            for protocol in PROTOCOLS
        ),
    ]
    return table_of(
        "The same models under every protocol", lines, columns, NOTE, group=lambda line: isinstance(line, dict)
    )
