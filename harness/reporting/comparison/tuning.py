"""What each arm was tuned to, with which budget and for how many seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.reporting.data.frames import records, where
from harness.reporting.data.layout import Layout
from harness.reporting.data.results import Frames
from harness.reporting.data.text import duration, number
from harness.reporting.output.tables import Cell, Column, Table, table_of
from harness.vocabulary import arm_name, level_name, symbol_of

COLUMNS = ["backbone", "arm", "configuration", "settings", "trials", "mrr", "seconds", "winner"]


def configurations(frames: Frames) -> pd.DataFrame:
    """The configurations that were tried (`harness.reporting.data.tuning.apart`) with what was searched in them.

    Columns: backbone, arm, configuration (its number), settings (searched ones by their dotted names, as JSON; recipes
    resolved), trials (complete ones), mrr (mean of validation; NaN where a trial failed), seconds, winner.
    """
    tuning, searched = frames.tuning, []
    if tuning.empty:
        return pd.DataFrame(columns=COLUMNS)
    for row in records(tuning):
        spec = json.loads(row["spec"])
        recipe = frames.recipe(spec) if frames.recipe else {}
        values = _searched(row, spec, frames.meta.tune["space"])
        searched.append({name: recipe.get(name) if value is None else value for name, value in values.items()})
    return tuning.assign(settings=[*map(json.dumps, searched)])[COLUMNS]


def _searched(row: Mapping[str, Any], spec: Any, space: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The values of the settings that an arm searches; None: left to the backbone's recipe."""
    names = {key for part in ("all", row["backbone"], *row["losses"].split("+")) for key in space.get(part, {})}
    values = {}
    for name in sorted(names):
        value = spec
        for part in name.split("."):
            value = value[part]
        values[name] = value
    return values


def budget(tune: Mapping[str, Any]) -> str:
    """The budget of each arm, in words."""
    seeds = f"{tune['seeds']} seed{'s' * (tune['seeds'] > 1)}"
    return (
        f"{tune['trials']} configurations of each arm with {seeds} of each, the first with the study's settings; "
        "the highest mean validation MRR wins, and its runs with other seeds are those of this report"
    )


def tuning_table(tried: pd.DataFrame, layout: Layout, backbone: str) -> Table:
    """A row an arm: its budget, its seconds, and its winner beside what it had without tuning."""
    of_backbone = where(tried, backbone=backbone)
    lines = []
    for arm in layout.order(of_backbone["arm"]):
        of_arm = where(of_backbone, arm=arm)
        first = of_arm.loc[of_arm["configuration"] == 0, "mrr"].iloc[0]
        winner = next(iter(records(where(of_arm, winner=True))), None)
        done = f"{int(of_arm['mrr'].notna().sum())} of {len(of_arm)}"
        lines.append({"arm": arm, "done": done, "seconds": of_arm["seconds"].sum(), "first": first, "winner": winner})

    def settings(line: Mapping[str, Any]) -> Cell:
        if line["winner"] is None:
            return Cell("none is complete")
        values = json.loads(line["winner"]["settings"])
        text = ", ".join(f"{symbol_of(name)} {_value(value)}" for name, value in values.items())
        return Cell(f"#{line['winner']['configuration']}", text)

    columns: list[Column] = [
        ("", "l", lambda line: arm_name(line["arm"])),
        ("complete", "r", lambda line: line["done"]),
        ("time", "r", lambda line: duration(line["seconds"])),
        ("winner", "p", settings),
        ("validation MRR", "r", lambda line: number(line["winner"]["mrr"], 4) if line["winner"] else "–"),
        ("untuned", "r", lambda line: number(line["first"], 4)),
    ]
    note = "Winner: the configuration with the highest validation MRR in tuning, which overstates it; untuned: that of "
    note += (
        "configuration #0, with the study's settings. Time: of the students of all configurations, as if nothing had "
    )
    note += "been cached; the teachers are the same for all. Test facts took no part."
    return table_of("What each arm was tuned to", lines, columns, note)


def _value(value: Any) -> str:
    return "as in the recipe" if value is None else f"= {level_name(value)}"
