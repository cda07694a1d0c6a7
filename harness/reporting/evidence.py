"""What a study's results say of a claim on one data set: verdicts, the numbers behind them, and a figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting.capacity.figures import capacity
from harness.reporting.capacity.numbers import BASE, FULL, Numbers, Sizes
from harness.reporting.capacity.verdicts import judge as judge_sizes
from harness.reporting.claims import QUESTIONS, Claim, judge
from harness.reporting.comparison.document import Meta
from harness.reporting.cost import report as cost
from harness.reporting.cost import tables as cost_tables
from harness.reporting.cost.figures import accuracy_cost
from harness.reporting.data.frames import curves_of, records
from harness.reporting.data.layout import Layout
from harness.reporting.data.results import LoadRanks, Results, paired
from harness.reporting.data.text import interval, number, p_value, percent
from harness.reporting.output.figures import figure, signed_ticks
from harness.reporting.output.tables import Cell, Row, Table
from harness.reporting.search import report as search
from harness.reporting.search.figures import temperature
from harness.reporting.search.tables import temperature_table
from harness.reporting.search.trace import is_search
from harness.reporting.sensitivity import report as sensitivity
from harness.reporting.sensitivity.figures import robust
from harness.reporting.sensitivity.tables import region_table
from harness.vocabulary import BLUE, FRESH_SEEDS, GRAY, METRIC, VERMILION, backbone_name

#: rows of a table of points
MOST_POINTS = 12


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one data set says of a claim.

    Attributes:
        verdicts: one a backbone.
        table: the numbers behind them, to be read.
        numbers: the same for programs; with a column "backbone".
        figures: what draws each figure for a path without suffix (False: there is nothing to draw), by the end of its
            name.
        trials: what it rests on, one row a trial.
        marks: what filled and hollow marks of the figures mean, a sentence; "" where there are none.
    """

    verdicts: list[Claim]
    table: Table
    numbers: pd.DataFrame
    figures: Mapping[str, Callable[[Path], bool]]
    trials: pd.DataFrame
    marks: str = ""


#: takes layout, trials, curves, ranks and meta; returns the evidence by claim
Source = Callable[[Layout, pd.DataFrame, pd.DataFrame, LoadRanks, Mapping[str, Any]], dict[str, Evidence]]


def of_comparisons(
    layout: Layout, trials: pd.DataFrame, curves: pd.DataFrame, load_ranks: LoadRanks, meta: Mapping[str, Any]
) -> dict[str, Evidence]:
    """The evidence of a study that compares arms, by claim.

    Raises:
        UserError: the frames do not pass their checks.
    """
    results = Results.load(trials, load_ranks, layout)
    compared = paired(results)
    found = {}
    for claim in layout.claims:
        if claim not in QUESTIONS:
            continue
        rows = _rows(claim, compared)
        found[claim] = Evidence(
            verdicts=judge([claim], compared, results.backbones),
            table=_table(rows),
            numbers=rows,
            figures={"": partial(_forest, rows)},
            trials=results.trials,
            marks="Filled: decided; hollow: undecided.",
        )
    return found


def _rows(claim: str, compared: pd.DataFrame) -> pd.DataFrame:
    """The comparisons that a claim is about, in its order, with their names as column ``step``."""
    question, parts = QUESTIONS[claim], []
    for backbone in dict.fromkeys(compared["backbone"]):
        for step, (arm, base) in question.steps.items():
            own = compared[(compared["backbone"] == backbone) & (compared["arm"] == arm) & (compared["base"] == base)]
            own = own[own["measure"].isin(question.measures)]
            parts.append(own.assign(step=step))
    return pd.concat(parts, ignore_index=True) if parts else compared.assign(step="").iloc[:0]


def _by_backbone(rows: pd.DataFrame, cells: Callable[[dict[str, Any]], tuple[Cell, ...]]) -> tuple[Row, ...]:
    """Rows that begin with their backbone where it is another one than before, below a line."""
    shown: list[Row] = []
    last = ""
    for row in records(rows):
        backbone = backbone_name(row["backbone"])
        is_new = backbone != last
        shown.append(Row((Cell(backbone if is_new else ""), *cells(row)), rule=bool(shown) and is_new))
        last = backbone
    return tuple(shown)


def _table(rows: pd.DataFrame) -> Table:
    def cells(row: dict[str, Any]) -> tuple[Cell, ...]:
        decimals = 1 if row["measure"] == "mr" else 4
        return (
            Cell(row["step"]),
            Cell(METRIC[row["measure"]].label),
            Cell(
                number(row["difference"], decimals, signed=True),
                interval(row["difference_low"], row["difference_high"], decimals),
            ),
            Cell(f"{row['seeds_up']} of {row['seeds']}"),
            Cell(p_value(row["p_holm"]).removeprefix("= ")),
            Cell(number(row["detectable"], decimals)),
            Cell(row["verdict"], strong=row["verdict"] != "undecided"),
        )

    header = ("", "", "measure", "difference", "seeds up", "p (Holm)", "80 % power", "verdict")
    note = (
        "Difference with 95 % bootstrap interval over seeds and facts. 80 % power: the smallest difference that this "
    )
    note += "number of seeds and facts shows four times in five."
    return Table("The comparisons behind the verdict", header, "lllrcrrl", _by_backbone(rows, cells), note)


def _forest(rows: pd.DataFrame, path: Path) -> bool:
    """Draw differences with their intervals, a panel a backbone; of the first measure if there are several."""
    if rows.empty:
        return False
    measure = rows["measure"].iloc[0] if "mrr" not in set(rows["measure"]) else "mrr"
    own = rows[rows["measure"] == measure]
    backbones, steps = list(dict.fromkeys(own["backbone"])), list(dict.fromkeys(own["step"]))
    with figure(path, 0.75 + 0.22 * len(steps), columns=len(backbones)) as axes:
        for panel, backbone in zip(axes, backbones, strict=True):
            panel.axvline(0, color=GRAY, linewidth=0.8, zorder=0)
            for row in records(own[own["backbone"] == backbone]):
                place = -steps.index(row["step"])
                up = (row["difference"] > 0) == METRIC[measure].higher_is_better
                color = BLUE if up else VERMILION
                decided = row["verdict"] != "undecided"
                panel.plot([row["difference_low"], row["difference_high"]], [place] * 2, color=color, linewidth=1.6)
                face = color if decided else "white"
                panel.plot(row["difference"], place, "o", color=color, markerfacecolor=face, markersize=5.5)
            first = backbone == backbones[0]
            panel.set_yticks([-k for k in range(len(steps))], steps if first else [""] * len(steps), parse_math=False)
            panel.set_ylim(0.6 - len(steps), 0.6)
            panel.tick_params(axis="y", length=0)
            panel.spines["left"].set_visible(False)
            signed_ticks(panel.xaxis, 5)
            panel.set_title(backbone_name(backbone))
            panel.set_xlabel(f"difference of test {METRIC[measure].label}")
    return True


def of_factors(
    layout: Layout, trials: pd.DataFrame, curves: pd.DataFrame, load_ranks: LoadRanks, meta: Mapping[str, Any]
) -> dict[str, Evidence]:
    """The evidence of a study that varies factors, by claim.

    Raises:
        UserError: the frames do not pass their checks, or nothing is varied.
    """
    if is_search(trials):
        return _of_search(layout, trials, load_ranks, meta)
    results, anew = sensitivity.loaded(layout, trials, load_ranks)
    numbers = sensitivity.measure(results, curves_of(curves), None, anew)
    every = [results.trials]
    if anew is not None:
        every.append(anew.trials.assign(arm=anew.trials["arm"].str.removesuffix(FRESH_SEEDS)))
    return {
        claim["id"]: Evidence(
            verdicts=[Claim(claim["id"], claim["text"], **line) for line in claim["lines"]],
            table=region_table(numbers.region.head(MOST_POINTS), numbers.cells.names),
            numbers=numbers.region,
            figures={"": partial(robust, numbers.region, numbers.points, numbers.cells.names)},
            trials=pd.concat(every, ignore_index=True),
            marks="Filled: robust; hollow: not; shaded: the recommended default.",
        )
        for claim in sensitivity.judged(results, numbers)
    }


def _of_search(
    layout: Layout, trials: pd.DataFrame, load_ranks: LoadRanks, meta: Mapping[str, Any]
) -> dict[str, Evidence]:
    _, results, numbers = search.found_by(layout, trials, load_ranks, Meta.model_validate(dict(meta)), None)
    bands = numbers.temperature
    backbones = numbers.trace.backbones
    whole = _together([(name, temperature_table(bands, name)) for name in backbones])
    return {
        claim["id"]: Evidence(
            verdicts=[Claim(claim["id"], claim["text"], **line) for line in claim["lines"]],
            table=whole,
            numbers=bands,
            figures={f"_{k}": partial(temperature, bands, name) for k, name in enumerate(backbones)},
            trials=results.trials,
        )
        for claim in search.judged(results, numbers)
    }


def _together(tables: Sequence[tuple[str, Table]]) -> Table:
    """Tables of single backbones as one, with a column that names the backbone; the words are those of the first."""
    rows = [
        Row((Cell(backbone_name(name) if k == 0 else ""), *row.cells), rule=row.rule or (k == 0 and place > 0))
        for place, (name, table) in enumerate(tables)
        for k, row in enumerate(table.rows)
    ]
    first = tables[0][1]
    return Table(first.caption, ("", *first.header), f"l{first.align}", tuple(rows), first.note)


def of_costs(
    layout: Layout, trials: pd.DataFrame, curves: pd.DataFrame, load_ranks: LoadRanks, meta: Mapping[str, Any]
) -> dict[str, Evidence]:
    """The evidence of a study on costs, by claim.

    Raises:
        UserError: the frames do not pass their checks.
    """
    results = Results.load(trials, load_ranks, layout)
    numbers = cost.numbers_of(results, Meta.model_validate(dict(meta)))
    verdicts = cost.judged(results, numbers)
    shown = {"C11": (cost_tables.inference_table, numbers.inference), "C12": (cost_tables.loop_table, numbers.loops)}
    figures = {f"_{k}": partial(accuracy_cost, numbers.front, name) for k, name in enumerate(results.backbones)}
    found = {}
    for claim in layout.claims:
        make, frame = shown.get(claim, (cost_tables.amortised_table, numbers.amortised))
        found[claim] = Evidence(
            verdicts=[each for each in verdicts if each.id == claim],
            table=_together([(name, make(frame[frame["backbone"] == name])) for name in results.backbones]),
            numbers=frame,
            figures=figures,
            trials=results.trials,
        )
    return found


def of_sizes(
    layout: Layout, trials: pd.DataFrame, curves: pd.DataFrame, load_ranks: LoadRanks, meta: Mapping[str, Any]
) -> dict[str, Evidence]:
    """The evidence of a study that crosses arms with dimensions, by claim.

    Raises:
        UserError: the frames do not pass their checks.
    """
    sizes = Sizes.load(trials, load_ranks, layout)
    numbers = Numbers.of_sizes(sizes)
    backbones = sizes.results.backbones
    judged = judge_sizes(layout.claims, numbers, {name: sizes.dims.get(name, []) for name in backbones})
    figures = {f"_{k}": partial(capacity, numbers.of(name)) for k, name in enumerate(backbones)}
    found = {}
    for claim in layout.claims:
        verdicts = [each for each in judged if each.id == claim]
        table, rows = _sizes_table(numbers)
        found[claim] = Evidence(verdicts, table, rows, figures, sizes.results.trials)
    return found


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
    return Table("By dimension of the student", header, "llrrrlr", _by_backbone(rows, cells), note), rows


#: the evidence that each kind of report gives
SOURCES: dict[str, Source] = {
    "comparison": of_comparisons,
    "capacity": of_sizes,
    "cost": of_costs,
    "sensitivity": of_factors,
}
