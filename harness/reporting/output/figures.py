"""One look for all figures: serif type that goes with the report, colours that colour-blind readers can tell apart."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from scipy.optimize import isotonic_regression

from harness.reporting.data.frames import records
from harness.reporting.data.text import duration, number
from harness.vocabulary import BLACK, BLUE, GRAY, STAGES, VERMILION, arm_name, ordered, stage_colors, stage_name

#: Width of the report's text column in inches.
WIDTH = 6.5

#: marker, colour and shift of importances by method
METHODS = {"PED-ANOVA": ("o", BLUE, 0.14), "fANOVA": ("s", VERMILION, -0.14)}

_RC: dict[Any, Any] = {
    # the second family lends glyphs that the first lacks
    "font.family": ["STIXGeneral", "DejaVu Sans"],
    "mathtext.fontset": "stix",
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": GRAY,
    "xtick.color": GRAY,
    "ytick.color": GRAY,
    "xtick.labelcolor": BLACK,
    "ytick.labelcolor": BLACK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.3,
    "hatch.linewidth": 0.5,
    "axes.unicode_minus": True,
    # TrueType, embedded: text stays text
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}


@contextmanager
def figure(
    path: Path,
    height: float,
    columns: int = 1,
    width: float = WIDTH,
    rows: int = 1,
    *,
    share_y: Literal["none", "row", "all"] = "none",
) -> Iterator[list[Axes]]:
    """Yield ``rows`` × ``columns`` axes, row by row, of a figure that is saved as ``path`` with suffixes .pdf and .png.

    Height and width are inches; ``share_y``: which axes have the same vertical scale.
    """
    with mpl.rc_context(_RC), warnings.catch_warnings():
        # a name in a script that neither font knows shows as boxes, as it does in the PDF
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        drawing = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(drawing)
        yield list(drawing.subplots(rows, columns, sharey=share_y, squeeze=False).flat)
        path.parent.mkdir(parents=True, exist_ok=True)
        # no date: the same numbers give the same file
        drawing.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})
        drawing.savefig(path.with_suffix(".png"), metadata={"Software": None})


def signed_ticks(axis: Axis, most: int = 7) -> None:
    """Round tick positions with a sign and as many decimals as their step needs."""
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))

    def label(value: float, _: int | None) -> str:
        places = axis.get_majorticklocs()
        step = float(np.diff(places).min()) if len(places) > 1 else 1.0
        return number(value, max(0, -math.floor(math.log10(step) + 1e-9)), signed=True)

    axis.set_major_formatter(FuncFormatter(label))


def name_rows(axes: Axes, names: Sequence[str], places: Sequence[float] | None = None) -> None:
    """Write names (none of it a formula) beside the rows of a figure, at ``places`` or else 0, -1, -2 ..."""
    axes.set_yticks([-k for k in range(len(names))] if places is None else places, names, parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def zero_line(axes: Axes) -> None:
    """A vertical line at no difference."""
    axes.axvline(0, color=GRAY, linewidth=0.8, zorder=0)


def draw_difference(axes: Axes, row: Mapping[str, Any], place: float, color: str) -> None:
    """Draw a difference with its interval at a height: a filled dot where it is decided, else a hollow one."""
    axes.plot([row["difference_low"], row["difference_high"]], [place, place], color=color, linewidth=1.6)
    face = "white" if row["verdict"] == "undecided" else color
    axes.plot(row["difference"], place, "o", color=color, markerfacecolor=face, markersize=5.5)


def draw_importances(axes: Axes, importances: pd.DataFrame, names: Mapping[str, str]) -> None:
    """Draw importances of one backbone with their intervals, a row a factor; ``names``: what each factor is called."""
    places = -np.arange(len(names), dtype=float)
    for method, (marker, color, shift) in METHODS.items():
        rows = importances[importances["method"] == method].set_index("factor").reindex([*names])
        axes.hlines(places + shift, rows["low"], rows["high"], color=color, linewidth=1.1)
        axes.plot(rows["importance"], places + shift, marker, color=color, markersize=4.5, label=method)
    name_rows(axes, [*names.values()])
    axes.set_ylim(0.5 - len(names), 0.5)
    axes.set_xlim(-0.03, 1.03)
    axes.set_xlabel("importance (sums to 1), with 95 % bootstrap interval", fontsize=8)
    legend_above(axes)


def readable(color: str) -> str:
    """A colour for text: the same hue, as dark as a ratio of 4.5 to white asks for (WCAG 2.1, contrast)."""
    red, green, blue = mpl.colors.to_rgb(color)
    while _contrast(red, green, blue) < 4.5:
        red, green, blue = 0.95 * red, 0.95 * green, 0.95 * blue
    return mpl.colors.to_hex((red, green, blue))


def _contrast(*rgb: float) -> float:
    """To white."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


def legend_above(axes: Axes) -> None:
    """A legend of two columns above the axes."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, handletextpad=0.3, fontsize=8)


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Positions moved as little as needed to lie at least ``gap`` apart, in the same order (for labels of lines)."""
    order, gaps = np.argsort(positions, kind="stable"), gap * np.arange(len(positions))
    moved = np.empty(len(order))
    # the least squares change that keeps the order of what is left when the gaps are taken out
    moved[order] = isotonic_regression(np.asarray(positions, dtype=float)[order] - gaps).x + gaps
    return [float(value) for value in moved]


def label_ends(axes: Axes, lines: Sequence[tuple[str, float, str]]) -> None:
    """Write the names of lines (name, height of the end or NaN, colour) beside their ends, moved apart where these are
    close together; the limits of ``axes`` must be final."""
    low, high = axes.get_ylim()
    drawn = [line for line in lines if not math.isnan(line[1])]
    places = spread([end for _, end, _ in drawn], 0.085 * (high - low))
    # kept inside the axes, as far as all the names fit
    shift = min(0.0, high - max(places, default=low)) + max(0.0, low - min(places, default=high))
    for (name, end, color), place in zip(drawn, places, strict=True):
        line = {"arrowstyle": "-", "color": color, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0}
        axes.annotate(
            name,
            (1, end),
            (1.07, place + shift),
            axes.get_yaxis_transform(),
            color=readable(color),
            fontsize=8,
            va="center",
            annotation_clip=False,
            arrowprops=line | {"relpos": (0, 0.5)},
        )


def stage_costs(costs: pd.DataFrame, backbone: str, path: Path) -> bool:
    """Draw the time of each arm, stacked by stage; hatched where it came from the cache. False: nothing to draw."""
    shown = costs[(costs["backbone"] == backbone) & (costs["seconds"] > 0)]
    if shown.empty:
        return False
    arms, stages = list(shown["arm"].unique()), ordered(shown["stage"], STAGES)
    colors = stage_colors(stages)
    cells = {(row["arm"], row["stage"]): row for row in records(shown)}
    unit, factor = ("minutes", 60) if shown.groupby("arm")["seconds"].sum().max() > 180 else ("seconds", 1)
    with figure(path, 0.95 + 0.22 * len(arms)) as (axes,):
        for place, arm in enumerate(arms):
            left = 0.0
            for stage in stages:
                if (cell := cells.get((arm, stage))) is None:
                    continue
                width = cell["seconds"] / factor
                hatch = "////" if cell["cached"] == 1 else None
                axes.barh(-place, width, 0.62, left, color=colors[stage], edgecolor="white", linewidth=0.5,
                          hatch=hatch)  # fmt: skip
                left += width
            axes.annotate(duration(left * factor), (left, -place), (4, 0), textcoords="offset points", va="center",
                          fontsize=8)  # fmt: skip
        name_rows(axes, [*map(arm_name, arms)])
        axes.margins(x=0.14)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(f"{unit} a trial")
        keys = [Patch(facecolor=colors[stage], label=stage_name(stage)) for stage in stages]
        if (shown["cached"] == 1).any():
            keys.append(Patch(facecolor="white", edgecolor=BLACK, hatch="////", linewidth=0.4, label="from the cache"))
        axes.legend(handles=keys, loc="lower center", bbox_to_anchor=(0.4, 1), ncols=5, frameon=False, fontsize=7.5,
                    handlelength=1.2, handleheight=0.9, columnspacing=1.2)  # fmt: skip
    return True
