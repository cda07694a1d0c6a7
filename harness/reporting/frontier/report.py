"""The report of a study of dimensions and bits: what each byte of an entity buys, and who is best for its size."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from harness.reporting.content import HOW_MEANS, HOW_RANKS, ONE_SEED, Front, case_of, figure_name, report
from harness.reporting.cost.numbers import measured, with_batch_size
from harness.reporting.data.frames import records
from harness.reporting.data.published import published_figures
from harness.reporting.data.results import Frames, Results, means
from harness.reporting.data.text import number, percent
from harness.reporting.kinds import report_kind
from harness.reporting.output.document import Detail, Document, Figure, Section
from harness.reporting.output.figures import figure, readable
from harness.reporting.output.tables import Cell, Row, Table, mean_cell
from harness.vocabulary import GRAY, LEVELS, REFERENCES, arm_colors, arm_name, backbone_name

#: how a number of bits is drawn
MARKERS = {"32": "o", "16": "h", "8": "s", "6": "p", "4": "D", "3": "^", "2": "v", "ternary": "x"}


@report_kind("frontier", label="quality for the bytes of a student")
def content(frames: Frames) -> Document:
    """Turn the results of one study on one data set into a document.

    Raises:
        UserError: the frames do not pass their checks.
    """
    results = frames.results()
    rows = with_latency(by_size(results), measured(frames.meta.measured, with_batch_size(results.trials)).files)
    tables = {
        backbone: {"frontier": frontier_table(rows[rows["backbone"] == backbone], only_front=True),
                   "sizes": frontier_table(rows[rows["backbone"] == backbone])}
        for backbone in results.backbones
    }  # fmt: skip

    colors = arm_colors([*map(str, rows["condition"].unique()), "teacher"])
    published = published_figures(str(results.trials["dataset"].iloc[0]))

    def section(backbone: str) -> Section:
        of_backbone = rows[rows["backbone"] == backbone]
        drawn = partial(draw, of_backbone, colors, [row for row in published if row["bytes_entity"] > 0])
        latency = Figure(figure_name(results, backbone, "latency"), partial(draw_latency, of_backbone, colors), LATENCY)
        return Section(
            backbone_name(backbone),
            [
                Figure(figure_name(results, backbone, "frontier"), drawn, CAPTION),
                latency,
                tables[backbone]["frontier"],
                Detail(tables[backbone]["sizes"]),
            ],
            case=case_of(results, backbone),
        )

    findings = [
        f"{backbone_name(name)}: {' '.join(sentences)}"
        for name in results.backbones
        if (sentences := summary(rows[rows["backbone"] == name]))
    ]
    one_seed = bool((rows[~rows["arm"].isin(REFERENCES)]["n"] == 1).all())
    sections = map(section, results.backbones)
    files = {"sizes": (rows, "sizes")}
    return report(
        frames,
        results,
        sections,
        files=files,
        tables=tables,
        front=Front(findings, (), [ONE_SEED] * one_seed),
        reading=[HOW_MEANS, HOW_RANKS],
    )


CAPTION = (
    "Test MRR against the bytes of a row of the entity table. Mean over seeds with its 95 % interval; the line is the "
    "Pareto front: no smaller student is as good. Crosses: published models in 32 bits, each under the protocol named "
    "beside it; numbers compare under one protocol alone."
)

LATENCY = (
    "Test MRR against milliseconds of a core a question of the student's file: from names to ten answers, by the NumPy "
    "reader, on the machine that measured it (median over turns; the files take turns). The reader holds tables as "
    "numbers of 32 bits, so dimensions count and bits do not."
)


def by_size(results: Results) -> pd.DataFrame:
    """One row a backbone, arm, dimension and number of bits: bytes, MRR with interval, and ``front``.

    Columns: backbone, condition (an arm or variant), arm (with its levels), dim, bits, gaps, bytes_entity,
    bytes_others, n, mean, low, high, kept (share of the teacher's MRR, NaN without one) and front (whether no student
    of at most as many bytes is as good).
    """
    sizes = results.trials[results.trials["state"] == "complete"].drop_duplicates(["backbone", "arm"])
    about = {(row["backbone"], row["arm"]): row for row in records(sizes)}
    rows = []
    for row in records(means(results).query("metric == 'mrr'")):
        trial = about[row["backbone"], row["arm"]]
        is_teacher = row["arm"] in REFERENCES
        student = {} if is_teacher else json.loads(trial["spec"])["student"]
        named = {"condition": str(row["arm"]).split(LEVELS)[0], "dim": int(trial["dim"])}
        named |= {"bits": str(student.get("bits", 32)), "gaps": bool(student.get("gaps", False))}
        counts = {key: int(trial[key]) for key in ("bytes_entity", "bytes_others") if pd.notna(trial.get(key))}
        rows.append({**{key: row[key] for key in ("backbone", "arm", "n", "mean", "low", "high")}, **named, **counts})
    frame = pd.DataFrame(rows)
    for key in ("bytes_entity", "bytes_others"):  # of stores of before
        frame[key] = frame.get(key, np.nan)
    teachers = frame[frame["arm"] == "teacher"].set_index("backbone")["mean"]
    frame["kept"] = frame["mean"] / frame["backbone"].map(teachers)
    frame["front"] = False
    for _, students in frame[~frame["arm"].isin(REFERENCES)].groupby("backbone"):
        ordered = students.sort_values(["bytes_entity", "mean"], ascending=[True, False])
        best = ordered["mean"].cummax().shift(fill_value=-np.inf)
        frame.loc[ordered.index[ordered["mean"] > best], "front"] = True
    return frame


def with_latency(rows: pd.DataFrame, files: pd.DataFrame) -> pd.DataFrame:
    """The rows of `by_size` with ``latency_ms`` of a question and ``queries_per_second`` of a batch: medians of turns.

    NaN of the teacher, and where ``files``, as of `harness.reporting.cost.numbers.measured`, lack the shape.
    """
    keys = ["backbone", "dim", "bits", "gaps"]
    speeds = {name: [float(np.median(turns)) for turns in files[name]] for name in ("latency_ms", "queries_per_second")}
    shapes = files[keys].assign(**speeds).astype(rows[keys].dtypes)  # an empty frame has none
    merged = rows.merge(shapes, how="left", on=keys)
    merged.loc[merged["arm"].isin(REFERENCES), list(speeds)] = np.nan
    return merged


def frontier_table(rows: pd.DataFrame, *, only_front: bool = False) -> Table:
    """The students by bytes; ``only_front``: those that no smaller one equals."""
    chosen = rows[rows["front"]] if only_front else rows[~rows["arm"].isin(REFERENCES)]
    shown = []
    for row in records(chosen.sort_values(["bytes_entity", "mean"])):
        cells = (
            Cell(number(row["bytes_entity"], 0)),
            Cell(arm_name(row["condition"])),
            Cell(str(row["dim"])),
            Cell(row["bits"]),
            mean_cell({**row, "metric": "mrr"}),
            Cell("–" if pd.isna(row["kept"]) else percent(row["kept"], signed=False)),
            Cell(number(row["bytes_others"] / 1000, 1)),
            Cell("–" if pd.isna(row["latency_ms"]) else number(row["latency_ms"], 2)),
        )
        shown.append(Row(cells))
    header = ("bytes an entity", "arm", "dim", "bits", "MRR", "of the teacher", "all else, kB", "ms a question")
    title = "The best students for their size" if only_front else "All students by size"
    note = (
        "Bytes an entity: of a row of the entity table with its scale, and of an entity's share of facts that the "
        "student looks up and their weights. All else: relations, times and what reads them. Milliseconds: of the "
        "file, from names to ten answers."
    )
    return Table(title, header, "rlrrrrrr", tuple(shown), note)


def summary(rows: pd.DataFrame) -> Sequence[str]:
    """What the figure shows, in sentences."""
    front = rows[rows["front"]].sort_values("bytes_entity")
    teachers = rows[rows["arm"] == "teacher"]
    if front.empty or teachers.empty or front["bytes_entity"].isna().any():
        return ()
    teacher = records(teachers)[0]
    best = records(front)[-1]
    texts = [
        f"The best student has {number(best['bytes_entity'], 0)} bytes an entity ({best['dim']} dimensions of "
        f"{best['bits']} bits) and MRR {number(best['mean'], 3)}; its teacher of {teacher['dim']} dimensions has "
        f"{number(teacher['bytes_entity'], 0)} bytes and {number(teacher['mean'], 3)}."
    ]
    as_good = front[front["mean"] >= teacher["mean"]]
    if len(as_good):
        small = records(as_good)[0]
        factor = teacher["bytes_entity"] / small["bytes_entity"]
        texts.append(
            f"The smallest that is as good as the teacher has {number(small['bytes_entity'], 0)} bytes: "
            f"{small['dim']} dimensions of {small['bits']} bits, {number(factor, 0)} times fewer than the teacher."
        )
    return texts


def draw(rows: pd.DataFrame, colors: Mapping[str, str], published: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """MRR against bytes: a colour an arm, a marker a number of bits, a line for the Pareto front, crosses for what was
    published (rows of `published_figures`)."""
    with figure(path, 3.4) as (axes,):
        students = _points(axes, rows, "bytes_entity", colors)
        front = students[students["front"]].sort_values("bytes_entity")
        axes.plot(front["bytes_entity"], front["mean"], color=GRAY, linewidth=0.8, zorder=0)
        for model in published:
            axes.plot(model["bytes_entity"], model["mrr"], "x", color=GRAY, markersize=5)
            axes.annotate(
                f"{model['model']}, {model['protocol']}", (model["bytes_entity"], model["mrr"]), (-5, 0),
                textcoords="offset points", ha="right", va="center", fontsize=7, color=readable(GRAY),
            )  # fmt: skip
        _scale(axes, [*students["bytes_entity"], *(float(row["bytes_entity"]) for row in published)], 0)
        axes.set_xlabel("bytes of an entity")
    return True


def draw_latency(rows: pd.DataFrame, colors: Mapping[str, str], path: Path) -> bool:
    """MRR against milliseconds a question, as `draw`; nothing where none was measured."""
    if rows["latency_ms"].isna().all():
        return False
    with figure(path, 3.4) as (axes,):
        students = _points(axes, rows, "latency_ms", colors)
        _scale(axes, students["latency_ms"], 1)
        axes.set_xlabel("milliseconds of a core a question")
    return True


def _points(axes: Axes, rows: pd.DataFrame, key: str, colors: Mapping[str, str]) -> pd.DataFrame:
    """Draw the students' MRR against a column, and the teacher's as a line; the students that have the column."""
    students = rows[~rows["arm"].isin(REFERENCES) & rows[key].notna()].astype({key: float})
    for condition, of_arm in students.groupby("condition", sort=False):
        for bits, points in of_arm.groupby("bits", sort=False):
            axes.errorbar(
                points[key], points["mean"], [points["mean"] - points["low"], points["high"] - points["mean"]],
                fmt=MARKERS.get(str(bits), "."), color=colors[str(condition)], markersize=4, linewidth=0.7, capsize=0,
                label=f"{arm_name(str(condition))}, {bits}{'' if bits == 'ternary' else ' bits'}",
            )  # fmt: skip
    for row in records(rows[rows["arm"] == "teacher"]):
        axes.axhline(row["mean"], color=colors["teacher"], linewidth=1, zorder=0)
        axes.annotate(f"teacher, {row['dim']}-d", (0, row["mean"]), (2, 2), ("axes fraction", "data"),
                      "offset points", fontsize=8, color=readable(colors["teacher"]))  # fmt: skip
    axes.set_ylabel("test MRR")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=7.5)
    return students


def _scale(axes: Axes, values: Iterable[float], places: int) -> None:
    """A logarithmic scale whose ticks are at values, a third apart or more."""
    axes.set_xscale("log")
    ticks: list[float] = []
    for value in sorted(values):
        ticks += [value] if not ticks or value >= 1.35 * ticks[-1] else []
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.{places}f}")
    axes.xaxis.set_minor_locator(NullLocator())
