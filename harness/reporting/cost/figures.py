"""The figure of a report on costs that no other report has: accuracy against cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from harness.reporting.data.frames import records
from harness.reporting.data.text import number
from harness.reporting.output.figures import figure
from harness.vocabulary import BLACK, GRAY, REFERENCES, arm_colors, arm_name

#: markers of batch sizes, ascending; reference rows have a diamond, quantised students a star
_MARKERS = ("o", "s", "^", "v", "P", "X")


def accuracy_cost(front: pd.DataFrame, backbone: str, path: Path) -> bool:
    """Draw test MRR against seconds from nothing and against size (`harness.reporting.cost.numbers.front`).

    A line joins what nothing beats in both. False: nothing to draw.
    """
    shown = front[front["backbone"] == backbone]
    panels = [(cost, best, label) for cost, best, label in (
        ("seconds", "best_seconds", "seconds of training, from nothing"),
        ("size_mb", "best_size", "size, MB"),
    ) if shown[cost].notna().any()]  # fmt: skip
    if not panels:
        return False
    colors = arm_colors(list(dict.fromkeys(shown["arm"])))
    sizes = sorted(shown["batch_size"].dropna().unique())
    with figure(path, 2.2, columns=len(panels)) as axes:
        for panel, (cost, best, label) in zip(axes, panels, strict=True):
            points = shown.dropna(subset=[cost])
            line = points[points[best]].sort_values(cost)
            panel.step(line[cost], line["mrr"], where="post", color=GRAY, linewidth=0.9, zorder=0)
            for row in records(points):
                _point(panel, row, cost, colors[row["arm"]], sizes)
            _scale(panel)
            panel.set_xlabel(label)
            panel.yaxis.set_major_locator(MaxNLocator(5))
        axes[0].set_ylabel("test MRR")
        keys = [Line2D([], [], linestyle="", marker="o" if arm not in REFERENCES else "D", color=color, markersize=5,
                       label=arm_name(arm)) for arm, color in colors.items()]  # fmt: skip
        keys += [Line2D([], [], linestyle="", marker=_MARKERS[k % len(_MARKERS)], color=BLACK, markersize=5,
                        markerfacecolor="white", label=f"batches of {number(size, 0)}")
                 for k, size in enumerate(sizes) if len(sizes) > 1]  # fmt: skip
        if shown["quantised"].any():
            keys.append(Line2D([], [], linestyle="", marker="*", color=BLACK, markersize=7, label="int8"))
        axes[0].figure.legend(handles=keys, loc="outside upper center", ncols=5, frameon=False, fontsize=7.5,
                              handletextpad=0.2, columnspacing=1.2)  # fmt: skip
    return True


def _point(axes: Axes, row: dict[str, Any], cost: str, color: str, sizes: list[float]) -> None:
    marker = "D"
    if row["arm"] not in REFERENCES:
        marker = "*" if row["quantised"] else _MARKERS[sizes.index(row["batch_size"]) % len(_MARKERS)]
    axes.plot(row[cost], row["mrr"], marker, color=color, markersize=9 if row["quantised"] else 6,
              markeredgecolor="white", markeredgewidth=0.4)  # fmt: skip


def _scale(axes: Axes) -> None:
    """A logarithmic axis with round numbers."""
    axes.set_xscale("log")
    axes.margins(x=0.08, y=0.12)
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 300 else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
