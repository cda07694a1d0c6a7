"""The figures of a report: differences, learning curves, gains by relation, costs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness.reporting.data.frames import records
from harness.reporting.data.text import number
from harness.reporting.output.figures import (
    draw_difference,
    figure,
    label_ends,
    legend_above,
    name_rows,
    signed_ticks,
    zero_line,
)
from harness.vocabulary import (
    BLACK,
    BLUE,
    LIGHT,
    METRIC,
    VERMILION,
    arm_name,
    backbone_name,
    student_arms,
    versus,
)


def forest(paired: pd.DataFrame, backbone: str, colors: Mapping[str, str], path: Path) -> bool:
    """Draw the paired differences of MRR with their intervals; filled where decided. False: nothing to draw.

    ``colors``: of the arms, the same in all figures of a report, as in the next function; contrasts are black.
    """
    rows = paired[(paired["backbone"] == backbone) & (paired["metric"] == "mrr")]
    if rows.empty:
        return False
    family = rows["base"]
    # a gap of half a row between the families
    places = [-float(i + 0.6 * step) for i, step in enumerate((family != family.shift()).cumsum() - 1)]
    with figure(path, 0.5 + 0.165 * (len(rows) + 0.6 * family.nunique())) as (axes,):
        zero_line(axes)
        for place, row in zip(places, records(rows), strict=True):
            draw_difference(axes, row, place, colors.get(row["arm"], BLACK))
        name_rows(axes, [*map(versus, rows["arm"], rows["base"])], places)
        signed_ticks(axes.xaxis)
        axes.set_xlabel("difference of test MRR, with 95 % interval")
    return True


def learning_curves(
    curves: pd.DataFrame, losses: Mapping[str, str], backbone: str, colors: Mapping[str, str], path: Path
) -> bool:
    """Draw validation MRR against updates, and its difference to L1 of the same seed; mean and range over seeds.

    A dot on the curve of an arm that learns from the language model is where its stage 2 begins. Without arm L1 only
    the first panel is drawn. ``losses``: what each arm is trained with. False: nothing to draw.
    """
    shown = curves[(curves["backbone"] == backbone) & curves["valid_mrr"].notna()]
    arms = student_arms(shown["arm"])
    if not arms:
        return False
    shown = shown[shown["arm"].isin(arms)]  # a teacher's epochs have no stages
    by_arm = {  # [updates, seeds]
        arm: shown[shown["arm"] == arm].pivot_table(index="updates", columns="seed", values="valid_mrr") for arm in arms
    }
    panels = [by_arm]
    if "L1" in arms and len(arms) > 1:
        # only updates and seeds that both arms have
        panels.append({arm: (values - by_arm["L1"]).dropna(how="all", axis=1) for arm, values in by_arm.items()})
    began = {arm: switch(shown[shown["arm"] == arm]) for arm in arms if {"L2", "L3"} & {*losses[arm].split("+")}}
    with figure(path, 2.1, columns=len(panels)) as axes:
        for panel, values in zip(axes, panels, strict=True):
            ends = [_draw_curve(panel, arm, values[arm], colors[arm], began.get(arm)) for arm in arms]
            first = shown["updates"].min()
            panel.set_xlim(first, max(shown["updates"].max(), first + 1))  # a curve may be one epoch long
            panel.set_xlabel("updates")
            panel.xaxis.set_major_locator(MaxNLocator(5))
            panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 0)))
        axes[0].set_ylabel("validation MRR")
        if len(panels) > 1:
            axes[1].set_ylabel("difference to L1")
            signed_ticks(axes[1].yaxis, 5)
        label_ends(axes[-1], [(arm_name(arm), end, colors[arm]) for arm, end in zip(arms, ends, strict=True)])
    return True


def switch(curves: pd.DataFrame) -> float | None:
    """Updates of an arm at the end of its stage 1; None where it has one stage."""
    first = curves[curves["stage"] == 1]["updates"]
    return float(first.max()) if len(first) and (curves["stage"] == 2).any() else None


def _draw_curve(axes: Axes, arm: str, values: pd.DataFrame, color: str, began: float | None) -> float:
    """Draw mean and range over seeds of ``values`` [updates, seeds]; return where the line ends.

    ``began``: the updates at which stage 2 begins.
    """
    # a seed that diverged early must not bend the mean: only updates that all the arm's seeds reached
    seeds = values.dropna()
    mean = seeds.mean(axis=1)
    axes.fill_between(seeds.index, seeds.min(axis=1), seeds.max(axis=1), color=color, alpha=0.14, linewidth=0)
    axes.plot(seeds.index, mean, color=color, linestyle="--" if arm == "none" else "-")
    if began is not None and began in mean.index:
        axes.plot([began], [mean[began]], "o", color=color, markersize=4, markeredgecolor="white", markeredgewidth=0.5)
    return float(mean.iloc[-1]) if len(mean) else float("nan")


def relation_gains(gains: pd.DataFrame, backbone: str, path: Path) -> bool:
    """Draw the gain in MRR by relation: one line a relation, one marker a direction. False: nothing to draw."""
    shown = gains[gains["backbone"] == backbone]
    if shown.empty:
        return False
    relations = list(dict.fromkeys(shown["relation"]))
    styles = {"tail": ("o", BLUE, 0.14, "tail asked"), "head": ("s", VERMILION, -0.14, "head asked")}
    with figure(path, 0.75 + 0.21 * len(relations)) as (axes,):
        zero_line(axes)
        for direction, (marker, color, shift, label) in styles.items():
            rows = shown[shown["direction"] == direction].set_index("relation").loc[relations]
            places = [shift - i for i in range(len(relations))]
            axes.hlines(places, rows["low"], rows["high"], color=color, linewidth=1.1)
            axes.plot(rows["difference"], places, marker, color=color, markersize=4, label=label)
        facts = shown[shown["direction"] == "tail"].set_index("relation")["facts"]
        names = [f"{_shortened(name)}  ({number(facts[name], 0)})" for name in relations]
        name_rows(axes, names)
        axes.set_ylim(0.6 - len(relations), 0.5)
        axes.hlines([-i - 0.5 for i in range(len(relations) - 1)], 0, 1, LIGHT, linewidth=0.4, zorder=0,
                    transform=axes.get_yaxis_transform())  # fmt: skip
        signed_ticks(axes.xaxis)
        arm, base = shown.iloc[0]["arm"], shown.iloc[0]["base"]
        axes.set_xlabel(f"test MRR of {arm_name(arm)} minus that of {arm_name(base)}, with 95 % interval")
        legend_above(axes)
    return True


def split_gains(splits: pd.DataFrame, backbone: str, path: Path) -> bool:
    """Draw the gain in MRR by label and degree, a panel for each end of a query. False: nothing to draw."""
    shown = splits[splits["backbone"] == backbone]
    if shown.empty:
        return False
    ends = {"subject": "by the entity that is given", "answer": "by the entity that is asked for"}
    most = shown.groupby("end").size().max()
    with figure(path, 0.85 + 0.2 * most, columns=len(ends)) as axes:
        for panel, (end, title) in zip(axes, ends.items(), strict=True):
            rows = shown[shown["end"] == end]
            places = [-i - 0.5 * (by == "degree") for i, by in enumerate(rows["by"])]
            colors = [VERMILION if by == "label" else BLUE for by in rows["by"]]
            zero_line(panel)
            panel.hlines(places, rows["low"], rows["high"], color=colors, linewidth=1.3)
            panel.scatter(rows["difference"], places, color=colors, s=18, zorder=3)
            names = [f"{row['group']}  ({number(row['queries'], 0)})" for row in records(rows)]
            name_rows(panel, names, places)
            panel.set_title(title)
            signed_ticks(panel.xaxis, 5)
            panel.set_xlabel("difference of test MRR")
    return True


def _shortened(name: str, most: int = 40) -> str:
    """Cut in the middle: long names of relations tend to differ at their ends."""
    return name if len(name) <= most else f"{name[: most - 16].rstrip()}…{name[-15:].lstrip()}"


def claim_forest(rows: pd.DataFrame, path: Path) -> bool:
    """Draw differences of MRR, or else of the first metric, with their intervals, a panel a backbone.

    False: there are fewer than two, which the table beside it shows as well.
    """
    if rows["step"].nunique() < 2:
        return False
    metric = "mrr" if "mrr" in set(rows["metric"]) else rows["metric"].iloc[0]
    shown = rows[rows["metric"] == metric]
    backbones, steps = list(dict.fromkeys(shown["backbone"])), list(dict.fromkeys(shown["step"]))
    with figure(path, 0.68 + 0.18 * len(steps), columns=len(backbones)) as axes:
        for panel, backbone in zip(axes, backbones, strict=True):
            zero_line(panel)
            for row in records(shown[shown["backbone"] == backbone]):
                is_better = (row["difference"] > 0) == METRIC[metric].higher_is_better
                draw_difference(panel, row, -steps.index(row["step"]), BLUE if is_better else VERMILION)
            name_rows(panel, steps if backbone == backbones[0] else [""] * len(steps))
            panel.set_ylim(0.6 - len(steps), 0.6)
            signed_ticks(panel.xaxis, 5)
            panel.set_title(backbone_name(backbone))
            panel.set_xlabel(f"difference of test {METRIC[metric].label}")
    return True
