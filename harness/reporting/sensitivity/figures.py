"""The figures of a report of sensitivity: main effects, pairs of factors, importances, variance, stable points."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from harness.reporting.data.frames import records
from harness.reporting.data.text import number, percent
from harness.reporting.output.figures import draw_importances, figure, name_rows, signed_ticks
from harness.reporting.sensitivity.points import Factor, Grid
from harness.vocabulary import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    LIGHT,
    ORANGE,
    SKY,
    VERMILION,
    backbone_name,
    level_name,
    symbol_of,
)

#: colours and markers of backbones in one figure
KINDS = tuple(
    (marker, color)
    for markers in ("o^sD", "v<PX")
    for marker, color in zip(markers, (BLUE, VERMILION, GREEN, ORANGE), strict=True)
)
#: unit of the numbers in maps: differences of MRR are thousandths
UNIT = 1000


def source_name(source: str) -> str:
    """A part of the variance as people write it: "α × δ"."""
    plain = {"seed": "seed", "rest": "rest"}
    return plain.get(source) or " × ".join(symbol_of(name) for name in source.split(":"))


def main_effects(levels: pd.DataFrame, grid: Grid, backbone: str, path: Path) -> bool:
    """Draw the mean validation MRR at each level of each factor with L1 as a line, and below it the difference to L1,
    whose intervals leave out what students of one seed have in common. False: nothing to draw."""
    shown = levels[levels["backbone"] == backbone]
    factors = [factor for factor in grid.factors if factor.key in set(shown["factor"])]
    if not factors:
        return False
    kinds = ["mean", "difference"] if shown["difference"].notna().any() else ["mean"]
    columns = len(factors)
    with figure(path, 0.3 + 1.45 * len(kinds), columns, rows=len(kinds), share_y="row") as axes:
        for position, panel in enumerate(axes):
            kind, factor = kinds[position // columns], factors[position % columns]
            _effect(panel, shown[shown["factor"] == factor.key], factor, kind)
            if position % columns == 0:
                panel.set_ylabel("validation MRR" if kind == "mean" else "minus L1")
                if kind == "difference":
                    signed_ticks(panel.yaxis, 5)
            if position // columns == len(kinds) - 1:
                panel.set_xlabel(factor.symbol)
    return True


def _effect(panel: Axes, at: pd.DataFrame, factor: Factor, kind: str) -> None:
    low, high = ("low", "high") if kind == "mean" else ("difference_low", "difference_high")
    color = BLUE if kind == "mean" else VERMILION
    base = float(at["base"].mean()) if kind == "mean" else 0.0
    if math.isfinite(base):
        panel.axhline(base, color=BLACK, linewidth=0.9, linestyle=(0, (4, 2)), zorder=0)
    places = np.array([factor.levels.index(level) for level in at["level"]])
    known = at[low].notna().to_numpy()
    panel.vlines(places[known], at[low][known], at[high][known], color=color, linewidth=1.1)
    panel.plot(places, at[kind], "o-", color=color, markersize=4)
    panel.set_xticks(range(len(factor.levels)), [level_name(level) for level in factor.levels])
    panel.set_xlim(-0.4, len(factor.levels) - 0.6)


def interactions(pairs: pd.DataFrame, grid: Grid, backbone: str, path: Path) -> bool:
    """Draw a map for each pair of factors: validation MRR minus that of L1, in thousandths; without L1 the MRR itself.

    All maps have the same colours; the best pair of levels of each is framed. False: there are no two factors.
    """
    rows_of = pairs[pairs["backbone"] == backbone]
    drawn = [(a, b) for a, b in grid.pairs() if ((rows_of["first"] == a.key) & (rows_of["second"] == b.key)).any()]
    if not drawn:
        return False
    relative = bool(rows_of["difference"].notna().any())
    shown = rows_of.assign(value=rows_of["difference"] * UNIT if relative else rows_of["mrr"])
    rows = math.ceil(len(drawn) / 3)
    tall = max(len(a.levels) for a, _ in drawn)
    norm, colors = _scale(shown["value"].to_numpy(dtype=float), relative=relative)
    with figure(path, (0.55 + 0.3 * tall) * rows, math.ceil(len(drawn) / rows), rows=rows) as axes:
        for panel, (first, second) in zip(axes, drawn, strict=False):
            at = shown[(shown["first"] == first.key) & (shown["second"] == second.key)]
            _map(panel, at, first, second, norm, colors, relative=relative)
        for panel in axes[len(drawn) :]:
            panel.set_visible(False)
        root = axes[0].get_figure(root=True)
        assert root is not None
        scale = mpl.cm.ScalarMappable(norm, mpl.colormaps[colors])
        bar = root.colorbar(scale, ax=axes, shrink=0.85 if rows == 1 else 0.5, aspect=18, pad=0.015)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7)
        bar.set_label("thousandths of MRR" if relative else "MRR", fontsize=7.5)
        if relative:
            signed_ticks(bar.ax.yaxis, 5)
    return True


def _scale(values: np.ndarray[tuple[int], np.dtype[np.float64]], *, relative: bool) -> tuple[Normalize, str]:
    """Colours that all maps share: around zero, orange for worse and purple for better, or from low to high."""
    if relative:
        most = max(float(np.nanmax(np.abs(values))), 1e-3)
        return TwoSlopeNorm(0, -most, most), "PuOr"
    return Normalize(float(np.nanmin(values)), float(np.nanmax(values))), "cividis"


def _map(
    panel: Axes, at: pd.DataFrame, first: Factor, second: Factor, norm: Normalize, colors: str, *, relative: bool
) -> None:
    table = at.pivot_table(index="first_level", columns="second_level", values="value")
    table = table.reindex(index=list(first.levels), columns=list(second.levels))
    values = table.to_numpy(dtype=float)
    palette = mpl.colormaps[colors]
    panel.set_facecolor(LIGHT)  # of pairs of levels without a complete point
    panel.imshow(np.ma.masked_invalid(values), cmap=palette, norm=norm, aspect="auto", origin="lower")
    small = 7.5 if values.shape[1] <= 4 else 6
    for (row, column), value in np.ndenumerate(values):
        if not math.isfinite(value):
            continue
        red, green, blue, _ = palette(norm(value))
        ink = BLACK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
        fine = 1 if (norm.vmax or 1) >= 1 else 2
        text = number(value, fine, signed=True) if relative else number(value, 3).lstrip("0")
        panel.text(column, row, text, ha="center", va="center", color=ink, fontsize=small)
    row, column = np.unravel_index(int(np.nanargmax(values)), values.shape)
    panel.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=BLACK, linewidth=1.4, zorder=3))
    panel.set_yticks(range(len(first.levels)), [level_name(level) for level in first.levels])
    panel.set_xticks(range(len(second.levels)), [level_name(level) for level in second.levels])
    turned: dict[str, Any] = {"rotation": 0, "va": "center"} if len(first.symbol) == 1 else {}
    panel.set_ylabel(first.symbol, labelpad=3, **turned)
    panel.set_xlabel(second.symbol, labelpad=1)
    panel.tick_params(length=0)
    for spine in panel.spines.values():
        spine.set_visible(False)


def importance(importances: pd.DataFrame, variance: pd.DataFrame, backbone: str, path: Path) -> bool:
    """Draw the importances with their bootstrap intervals, and beside them the shares of the variance. False: nothing
    to draw."""
    shown = importances[(importances["backbone"] == backbone) & importances["importance"].notna()]
    parts = variance[(variance["backbone"] == backbone) & variance["share"].notna()]
    if shown.empty and parts.empty:
        return False
    factors = {factor: symbol_of(factor) for factor in shown["factor"]}
    tall = max(len(factors) * 1.6, len(parts))
    both = bool(len(shown)) and bool(len(parts))
    with figure(path, 0.8 + 0.19 * tall, 2 if both else 1) as axes:
        if len(shown):
            draw_importances(axes[0], shown, factors)
        if len(parts):
            _shares(axes[-1], parts)
    return True


def _shares(axes: Axes, parts: pd.DataFrame) -> None:
    colors = {0: LIGHT, 1: BLUE, 2: SKY, 3: GREEN}
    for place, row in enumerate(records(parts)):
        axes.barh(-place, row["share"], 0.68, color=colors[row["order"]])
        axes.annotate(percent(row["share"], signed=False), (row["share"], -place), (3, 0), textcoords="offset points",
                      va="center", fontsize=7.5)  # fmt: skip
    name_rows(axes, [*map(source_name, parts["source"])])
    axes.set_xlim(0, min(1.0, 1.25 * float(parts["share"].max())))
    axes.set_xlabel("share of the variance of validation MRR", fontsize=8)


def stable_points(
    region: pd.DataFrame, points: pd.DataFrame, names: list[str], path: Path, *, case: str = "backbone"
) -> bool:
    """Draw each point's difference to L1 in every case (a column of ``points``), best first by the smallest of them;
    the default is shaded and stable points are filled. False: there is no L1, or nothing to draw."""
    if region.empty or region["least"].isna().any():
        return False
    with figure(path, 2.2) as (axes,):
        axes.axhline(0, color=GRAY, linewidth=0.8, zorder=0)
        axes.axvspan(0.5, 1.5, color=LIGHT, linewidth=0, alpha=0.7, zorder=0)
        places = np.arange(1, len(region) + 1)
        filled = region["stable"].to_numpy(dtype=bool)
        keys: list[Artist] = []
        for (marker, color), backbone in zip(KINDS, points[case].unique(), strict=False):
            gains = points[points[case] == backbone].set_index(names)["difference"]
            values = region[names].merge(gains.reset_index(), "left", on=names)["difference"].to_numpy(dtype=float)
            for shown, face in ((filled, color), (~filled, "white")):
                axes.plot(places[shown], values[shown], marker, color=color, markerfacecolor=face, markersize=3.8)
            keys.append(Line2D([], [], marker=marker, color=color, linestyle="", label=backbone_name(backbone)))
        keys.append(Patch(facecolor=LIGHT, alpha=0.7, label="default"))
        axes.set_xlim(0.2, len(region) + 0.8)
        axes.set_xlabel(f"points, by the smallest difference on any {case}")
        axes.set_ylabel("validation MRR minus L1")
        signed_ticks(axes.yaxis, 5)
        axes.legend(
            handles=keys,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=6 if len(keys) <= 3 else 3,  # names of several data sets are long
            frameon=False,
            fontsize=8,
            handletextpad=0.2,
        )
    return True
