"""The figures of a report: differences, learning curves, gains by relation, costs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness.reporting.frames import records
from harness.reporting.labels import ARMS, STAGES, ordered, student_arms
from harness.reporting.style import ARM_COLORS, BLACK, BLUE, GRAY, LIGHT, STAGE_COLORS, VERMILION, figure, spread
from harness.reporting.text import duration, number

_SIGNED = FuncFormatter(lambda value, _: number(value, 3, signed=True))


def forest(paired: pd.DataFrame, backbone: str, path: Path) -> bool:
    """Draw the paired differences of MRR with their intervals; filled where decided. False: nothing to draw."""
    own = paired[(paired["backbone"] == backbone) & (paired["measure"] == "mrr")]
    if own.empty:
        return False
    family = own["base"].where(own["base"].isin(["L1", "none"]), "parts")
    # a gap of half a row between the families
    places = [-float(i + 0.6 * step) for i, step in enumerate((family != family.shift()).cumsum() - 1)]
    with figure(path, 0.55 + 0.24 * (len(own) + 0.6 * family.nunique())) as (axes,):
        axes.axvline(0, color=GRAY, linewidth=0.8, zorder=0)
        for place, (_, row) in zip(places, own.iterrows(), strict=True):
            color, decided = ARM_COLORS[row["arm"]], row["verdict"] != "undecided"
            axes.plot([row["difference_low"], row["difference_high"]], [place, place], color=color, linewidth=1.6)
            face = color if decided else "white"
            axes.plot(row["difference"], place, "o", color=color, markerfacecolor=face, markersize=5.5)
        axes.set_yticks(places, [f"{ARMS[a]} against {ARMS[b]}" for a, b in zip(own["arm"], own["base"], strict=True)])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_formatter(_SIGNED)
        axes.set_xlabel("difference of test MRR, with 95 % interval")
    return True


def learning_curves(curves: pd.DataFrame, backbone: str, path: Path) -> bool:
    """Draw validation MRR against updates: mean and range over seeds, and where stage 2 starts."""
    own = curves[(curves["backbone"] == backbone) & curves["valid_mrr"].notna()]
    arms = student_arms(own["arm"])
    if not arms:
        return False
    with figure(path, 2.7) as (axes,):
        ends = []
        for arm in arms:
            # a seed that diverged early must not bend the mean: only updates that all the arm's seeds reached
            seeds = own[own["arm"] == arm].groupby("updates")["valid_mrr"].agg(["mean", "min", "max", "count"])
            seeds = seeds[seeds["count"] == seeds["count"].max()]
            color = ARM_COLORS[arm]
            axes.fill_between(seeds.index, seeds["min"], seeds["max"], color=color, alpha=0.15, linewidth=0)
            axes.plot(seeds.index, seeds["mean"], color=color, linestyle="--" if arm == "none" else "-")
            ends.append((seeds.index[-1], seeds["mean"].iloc[-1]))
        first, last = own["updates"].min(), own["updates"].max()
        second = own[own["stage"] == 2]["updates"].min()
        before = own[(own["stage"] == 1)]["updates"].max()
        if pd.notna(second) and pd.notna(before):
            axes.axvline(before, color=GRAY, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)
            axes.annotate("stage 2", (before, 0.03), (4, 0), ("data", "axes fraction"), "offset points", color=GRAY)
        axes.set_xlim(first, last)
        _label_ends(axes, arms, ends)
        axes.set_xlabel("updates")
        axes.set_ylabel("validation MRR")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 0)))
    return True


def _label_ends(axes: Axes, arms: list[str], ends: list[tuple[float, float]]) -> None:
    """Write each arm's name beside the end of its line, moved apart where lines end close together."""
    low, high = axes.get_ylim()
    right = axes.get_xlim()[1]
    for arm, (x, y), place in zip(arms, ends, spread([y for _, y in ends], 0.075 * (high - low)), strict=True):
        axes.annotate(
            ARMS[arm],
            (x, y),
            (right + 0.03 * (right - axes.get_xlim()[0]), place),
            color=ARM_COLORS[arm],
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": ARM_COLORS[arm], "linewidth": 0.5, "shrinkA": 1, "shrinkB": 0},
        )


def relation_gains(gains: pd.DataFrame, backbone: str, path: Path) -> bool:
    """Draw the gain in MRR by relation: one line a relation, one marker a direction. False: nothing to draw."""
    own = gains[gains["backbone"] == backbone]
    if own.empty:
        return False
    relations = list(dict.fromkeys(own["relation"]))
    styles = {"tail": ("o", BLUE, 0.14, "tail asked"), "head": ("s", VERMILION, -0.14, "head asked")}
    with figure(path, 0.8 + 0.24 * len(relations)) as (axes,):
        axes.axvline(0, color=GRAY, linewidth=0.8, zorder=0)
        for direction, (marker, color, shift, label) in styles.items():
            rows = own[own["direction"] == direction].set_index("relation").loc[relations]
            places = [shift - i for i in range(len(relations))]
            axes.hlines(places, rows["low"], rows["high"], color=color, linewidth=1.1)
            axes.plot(rows["difference"], places, marker, color=color, markersize=4, label=label)
        facts = own[own["direction"] == "tail"].set_index("relation")["facts"]
        names = [f"{_shortened(name)}  ({number(facts[name], 0)})" for name in relations]
        # parse_math: a relation named "a$b$" is not a formula
        axes.set_yticks([-i for i in range(len(relations))], names, parse_math=False)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(0.6 - len(relations), 0.5)
        axes.hlines([-i - 0.5 for i in range(len(relations) - 1)], 0, 1, LIGHT, linewidth=0.4, zorder=0,
                    transform=axes.get_yaxis_transform())  # fmt: skip
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_formatter(_SIGNED)
        arm, base = own.iloc[0]["arm"], own.iloc[0]["base"]
        axes.set_xlabel(f"test MRR of {ARMS[arm]} minus that of {ARMS[base]}, with 95 % interval")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, handletextpad=0.3)
    return True


def _shortened(name: str, most: int = 34) -> str:
    return name if len(name) <= most else f"{name[: most - 1].rstrip()}…"


def stage_costs(costs: pd.DataFrame, backbone: str, path: Path) -> bool:
    """Draw the time of each arm, stacked by stage; hatched where it came from the cache. False: nothing to draw."""
    own = costs[(costs["backbone"] == backbone) & (costs["seconds"] > 0)]
    if own.empty:
        return False
    arms, stages = ordered(own["arm"], ARMS), ordered(own["stage"], STAGES)
    cells = {(row["arm"], row["stage"]): row for row in records(own)}
    unit, factor = ("minutes", 60) if own.groupby("arm")["seconds"].sum().max() > 180 else ("seconds", 1)
    with figure(path, 1.0 + 0.26 * len(arms)) as (axes,):
        for place, arm in enumerate(arms):
            left = 0.0
            for stage in stages:
                if (cell := cells.get((arm, stage))) is None:
                    continue
                width = cell["seconds"] / factor
                hatch = "////" if cell["cached"] == 1 else None
                axes.barh(-place, width, 0.62, left, color=STAGE_COLORS[stage], edgecolor="white", linewidth=0.5,
                          hatch=hatch)  # fmt: skip
                left += width
            axes.annotate(duration(left * factor), (left, -place), (4, 0), textcoords="offset points", va="center",
                          fontsize=8)  # fmt: skip
        axes.set_yticks([-i for i in range(len(arms))], [ARMS[arm] for arm in arms])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.14)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(f"{unit} a trial")
        keys = [Patch(facecolor=STAGE_COLORS[stage], label=STAGES[stage]) for stage in stages]
        if (own["cached"] == 1).any():
            keys.append(Patch(facecolor="white", edgecolor=BLACK, hatch="////", linewidth=0.4, label="from the cache"))
        axes.legend(handles=keys, loc="lower center", bbox_to_anchor=(0.4, 1), ncols=5, frameon=False, fontsize=7.5,
                    handlelength=1.2, handleheight=0.9, columnspacing=1.2)  # fmt: skip
    return True
