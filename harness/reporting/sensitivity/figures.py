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
from harness.selection import TOLERANCE
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
    """Draw what each level of a factor does to validation MRR: the difference to L1, whose intervals leave out what
    students of one seed have in common; without L1 the MRR itself. False: nothing to draw."""
    shown = levels[levels["backbone"] == backbone]
    factors = [factor for factor in grid.factors if factor.key in set(shown["factor"])]
    if not factors:
        return False
    kind = "difference" if shown["difference"].notna().any() else "mean"
    with figure(path, 1.7, len(factors), share_y="row") as axes:
        for panel, factor in zip(axes, factors, strict=True):
            _effect(panel, shown[shown["factor"] == factor.key], factor, kind)
            panel.set_xlabel(factor.symbol)
        axes[0].set_ylabel("validation MRR" if kind == "mean" else "validation MRR minus L1")
        if kind == "difference":
            signed_ticks(axes[0].yaxis, 5)
    return True


def _effect(panel: Axes, at: pd.DataFrame, factor: Factor, kind: str) -> None:
    low, high = ("low", "high") if kind == "mean" else ("difference_low", "difference_high")
    if kind == "difference":
        panel.axhline(0, color=BLACK, linewidth=0.9, linestyle=(0, (4, 2)), zorder=0)
    places = np.array([factor.levels.index(level) for level in at["level"]])
    known = at[low].notna().to_numpy()
    panel.vlines(places[known], at[low][known], at[high][known], color=BLUE, linewidth=1.1)
    panel.plot(places, at[kind], "o-", color=BLUE, markersize=4)
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
            table = at.pivot_table(index="first_level", columns="second_level", values="value")
            table = table.reindex(index=list(first.levels), columns=list(second.levels))
            best = np.unravel_index(int(np.nanargmax(table.to_numpy(dtype=float))), table.shape)
            _map(panel, table, (first.symbol, second.symbol), norm, colors, relative=relative, framed=best)
        for panel in axes[len(drawn) :]:
            panel.set_visible(False)
        _color_bar(axes, norm, colors, relative=relative, shrink=0.85 if rows == 1 else 0.5)
    return True


def settings_map(
    region: pd.DataFrame, points: pd.DataFrame, names: list[str], path: Path, *, case: str = "backbone"
) -> bool:
    """Draw the smallest difference to L1 over the cases at every point of a grid of two or three factors, a map a level
    of the last; the default is framed, stable points are in bold. Of other grids `stable_points` is drawn. False: there
    is no L1, or nothing to draw."""
    if region.empty or region["least"].isna().any():
        return False
    if not _is_map(region, names):
        return stable_points(region, points, names, path, case=case)
    values = region.assign(value=region["least"] * UNIT, panel=region[names[2]] if len(names) == 3 else 0.0)
    first, second = names[:2]
    rows, columns = (sorted(region[name].unique()) for name in (first, second))
    norm, colors = _scale(values["value"].to_numpy(dtype=float), relative=True)
    panels = sorted(values["panel"].unique())
    with figure(path, 0.75 + 0.28 * len(rows), len(panels), share_y="all") as axes:
        for position, (panel, level) in enumerate(zip(axes, panels, strict=True)):
            at = values[values["panel"] == level].astype({"stable": float, "default": float})
            tables = {
                key: at.pivot_table(key, first, second).reindex(index=rows, columns=columns)
                for key in ("value", "stable", "default")
            }
            framed = np.argwhere(tables["default"].eq(1).to_numpy())
            _map(
                panel,
                tables["value"],
                (symbol_of(first) if position == 0 else "", symbol_of(second)),
                norm,
                colors,
                relative=True,
                framed=tuple(framed[0]) if len(framed) else None,
                bold=tables["stable"].eq(1).to_numpy(),
            )
            if len(names) == 3:
                panel.set_title(f"{symbol_of(names[2])} = {level_name(float(level))}", fontsize=8)
        _color_bar(axes, norm, colors, relative=True, shrink=0.85)
    return True


def _is_map(region: pd.DataFrame, names: list[str]) -> bool:
    """Whether a grid fits into a row of maps."""
    sizes = [region[name].nunique() for name in names]
    return len(names) in (2, 3) and min(sizes[:2]) > 1 and sizes[2:] <= [6]


def settings_caption(region: pd.DataFrame, names: list[str], case: str = "backbone") -> str:
    """The caption of `settings_map`."""
    stable = (
        f"stable, that is within {TOLERANCE:g} of the best point on every {case} or better than L1 on every {case}."
    )
    if _is_map(region, names):
        what = f"The smallest difference of validation MRR to L1 on any {case}, in thousandths, of every point. "
        return f"{what}Framed: the recommended default. Bold: {stable}"
    return f"Every point's validation MRR minus that of L1 with the same seeds. Shaded: the default. Filled: {stable}"


def _color_bar(axes: list[Axes], norm: Normalize, colors: str, *, relative: bool, shrink: float) -> None:
    root = axes[0].get_figure(root=True)
    assert root is not None
    bar = root.colorbar(
        mpl.cm.ScalarMappable(norm, mpl.colormaps[colors]), ax=axes, shrink=shrink, aspect=18, pad=0.015
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("thousandths of MRR" if relative else "MRR", fontsize=7.5)
    if relative:
        signed_ticks(bar.ax.yaxis, 5)


def _scale(values: np.ndarray[tuple[int], np.dtype[np.float64]], *, relative: bool) -> tuple[Normalize, str]:
    """Colours that all maps share: around zero, orange for worse and purple for better, or from low to high."""
    if relative:
        most = max(float(np.nanmax(np.abs(values))), 1e-3)
        return TwoSlopeNorm(0, -most, most), "PuOr"
    return Normalize(float(np.nanmin(values)), float(np.nanmax(values))), "cividis"


def _map(
    panel: Axes,
    table: pd.DataFrame,
    symbols: tuple[str, str],
    norm: Normalize,
    colors: str,
    *,
    relative: bool,
    framed: tuple[Any, ...] | None,
    bold: np.ndarray[Any, np.dtype[np.bool_]] | None = None,
) -> None:
    """Draw a table of two factors' levels as a map with its numbers."""
    values = table.to_numpy(dtype=float)
    palette = mpl.colormaps[colors]
    panel.set_facecolor(LIGHT)  # of pairs of levels without a complete point
    panel.imshow(np.ma.masked_invalid(values), cmap=palette, norm=norm, aspect="auto", origin="lower")
    small = 7.5 if values.shape[1] <= 4 else 6
    fine = 1 if (norm.vmax or 1) >= 1 else 2
    for (row, column), value in np.ndenumerate(values):
        if not math.isfinite(value):
            continue
        red, green, blue, _ = palette(norm(value))
        ink = BLACK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
        text = number(value, fine, signed=True) if relative else number(value, 3)
        weight = "bold" if bold is not None and bold[row, column] else "normal"
        panel.text(column, row, text, ha="center", va="center", color=ink, fontsize=small, fontweight=weight)
    if framed is not None:
        place = (framed[1] - 0.5, framed[0] - 0.5)
        panel.add_patch(Rectangle(place, 1, 1, fill=False, edgecolor=BLACK, linewidth=1.6, zorder=3))
    panel.set_yticks(range(len(table.index)), [*map(level_name, map(float, table.index))])
    panel.set_xticks(range(len(table.columns)), [*map(level_name, map(float, table.columns))])
    turned: dict[str, Any] = {"rotation": 0, "va": "center"} if len(symbols[0]) == 1 else {}
    panel.set_ylabel(symbols[0], labelpad=3, **turned)
    panel.set_xlabel(symbols[1], labelpad=1)
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
