"""The report of a study of dimensions and bits: what each byte of an entity buys, and who is best for its size."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator, NullLocator

from harness.reporting.content import HOW_MEANS, HOW_RANKS, ONE_SEED, Front, case_of, figure_name, report
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
    rows = by_size(results)
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
        return Section(
            backbone_name(backbone),
            [
                Figure(figure_name(results, backbone, "frontier"), drawn, CAPTION),
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


def by_size(results: Results) -> pd.DataFrame:
    """One row a backbone, arm, dimension and number of bits: bytes, MRR with interval, and ``front``.

    Columns: backbone, condition (an arm or variant), arm (with its levels), dim, bits, bytes_entity, bytes_others, n,
    mean, low, high, kept (share of the teacher's MRR, NaN without one) and front (whether no student of at most as many
    bytes is as good).
    """
    sizes = results.trials[results.trials["state"] == "complete"].drop_duplicates(["backbone", "arm"])
    about = {(row["backbone"], row["arm"]): row for row in records(sizes)}
    rows = []
    for row in records(means(results).query("metric == 'mrr'")):
        trial = about[row["backbone"], row["arm"]]
        is_teacher = row["arm"] in REFERENCES
        bits = "32" if is_teacher else str(json.loads(trial["spec"])["student"].get("bits", 32))
        named = {"condition": str(row["arm"]).split(LEVELS)[0], "dim": int(trial["dim"]), "bits": bits}
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
        )
        shown.append(Row(cells))
    header = ("bytes an entity", "arm", "dim", "bits", "MRR", "of the teacher", "all else, kB")
    title = "The best students for their size" if only_front else "All students by size"
    note = (
        "Bytes an entity: of a row of the entity table with its scale, and of an entity's share of facts that the "
        "student looks up and their weights. All else: relations, times and what reads them."
    )
    return Table(title, header, "rlrrrrr", tuple(shown), note)


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
    students = rows[~rows["arm"].isin(REFERENCES) & rows["bytes_entity"].notna()]
    with figure(path, 3.4) as (axes,):
        for condition, of_arm in students.groupby("condition", sort=False):
            for bits, points in of_arm.groupby("bits", sort=False):
                axes.errorbar(
                    points["bytes_entity"].astype(float), points["mean"],
                    [points["mean"] - points["low"], points["high"] - points["mean"]],
                    fmt=MARKERS.get(str(bits), "."), color=colors[str(condition)], markersize=4,
                    linewidth=0.7, capsize=0,
                    label=f"{arm_name(str(condition))}, {bits}{'' if bits == 'ternary' else ' bits'}",
                )  # fmt: skip
        front = students[students["front"]].sort_values("bytes_entity")
        axes.plot(front["bytes_entity"].astype(float), front["mean"], color=GRAY, linewidth=0.8, zorder=0)
        for row in records(rows[rows["arm"] == "teacher"]):
            axes.axhline(row["mean"], color=colors["teacher"], linewidth=1, zorder=0)
            axes.annotate(f"teacher, {row['dim']}-d", (0, row["mean"]), (2, 2), ("axes fraction", "data"),
                          "offset points", fontsize=8, color=readable(colors["teacher"]))  # fmt: skip
        for model in published:
            axes.plot(model["bytes_entity"], model["mrr"], "x", color=GRAY, markersize=5)
            axes.annotate(
                f"{model['model']}, {model['protocol']}", (model["bytes_entity"], model["mrr"]), (-5, 0),
                textcoords="offset points", ha="right", va="center", fontsize=7, color=readable(GRAY),
            )  # fmt: skip
        axes.set_xscale("log")
        shown = [*students["bytes_entity"].astype(int), *(int(row["bytes_entity"]) for row in published)]
        sizes = sorted(set(shown))
        ticks = [size for k, size in enumerate(sizes) if k == 0 or size >= 1.35 * sizes[k - 1]]
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("bytes of an entity")
        axes.set_ylabel("test MRR")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=7.5)
    return True
