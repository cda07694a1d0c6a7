"""The figures of a search: its history, what each factor does, importances and Sobol indices."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from harness.reporting.data.frames import where
from harness.reporting.output.figures import (
    draw_importances,
    figure,
    legend_above,
    name_rows,
    signed_ticks,
)
from harness.reporting.search.trace import Axis, Trace
from harness.vocabulary import BLACK, BLUE, GRAY, GREEN, LIGHT, ORANGE, VERMILION, level_name

#: marker and colour of configurations by what became of them
STATES = {"complete": ("o", BLUE), "given up": ("x", GRAY)}


def history(trace: Trace, backbone: str, path: Path) -> bool:
    """Draw the mean validation MRR of each configuration in order, the best so far and L1. False: nothing to draw."""
    rows = trace.frame[(trace.frame["backbone"] == backbone) & trace.frame["mrr"].notna()]
    if rows.empty:
        return False
    with figure(path, 2.1) as (axes,):
        for state, (marker, color) in STATES.items():
            at = rows[rows["state"] == state]
            if len(at):
                axes.plot(at["number"], at["mrr"], marker, color=color, markersize=4, label=state)
        done = rows[rows["state"] == "complete"]
        if trace.sample is None and len(done):
            axes.step(done["number"], done["mrr"].cummax(), where="post", color=VERMILION, label="best so far")
        base = done["base"].mean() if len(done) else float("nan")
        if math.isfinite(base):
            axes.axhline(base, color=BLACK, linewidth=0.9, linestyle=(0, (4, 2)), zorder=0, label="L1")
        axes.set_xlabel("configuration")
        axes.set_ylabel("validation MRR")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, fontsize=8, handletextpad=0.4)
    return True


def factors(trace: Trace, lines: pd.DataFrame, backbone: str, path: Path) -> bool:
    """Draw the configurations against each factor, with its fitted curve. False: nothing to draw."""
    shown = where(trace.frame, backbone=backbone).dropna(subset=["mrr"])
    if shown.empty:
        return False
    relative = bool(shown["difference"].notna().all())
    values = shown["difference" if relative else "mrr"]
    rows = math.ceil(len(trace.axes) / 3)
    columns = math.ceil(len(trace.axes) / rows)
    with figure(path, 0.3 + 1.55 * rows, columns, rows=rows, share_y="all") as panels:
        for position, (panel, axis) in enumerate(zip(panels, trace.axes, strict=False)):
            line = lines[(lines["backbone"] == backbone) & (lines["factor"] == axis.key)]
            if len(line):
                panel.fill_between(line["value"], line["low"], line["high"], color=VERMILION, alpha=0.16, linewidth=0)
                panel.plot(line["value"], line["mean"], color=VERMILION)
            for state, (marker, color) in STATES.items():
                of_state = shown["state"] == state
                panel.plot(shown[axis.key][of_state], values[of_state], marker, color=color, markersize=2.8)
            if relative:
                panel.axhline(0, color=BLACK, linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
            _scale(panel, axis)
            panel.set_xlabel(axis.symbol, labelpad=1)
            if position % columns == 0:
                panel.set_ylabel("minus L1" if relative else "validation MRR")
        if relative:
            signed_ticks(panels[0].yaxis, 5)
        # configurations that failed to learn must not flatten what lies between the others
        low, high = values.quantile(0.1), values.max()
        panels[0].set_ylim(low - 0.6 * (high - low) - 1e-4, high + 0.15 * (high - low) + 1e-4)
        for panel in panels[len(trace.axes) :]:
            panel.set_visible(False)
    return True


def _scale(panel: Axes, axis: Axis) -> None:
    if axis.log:
        panel.set_xscale("log")
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: level_name(value)))
    if not axis.log:
        return
    panel.xaxis.set_minor_locator(NullLocator())
    if axis.high / axis.low < 100:
        panel.xaxis.set_major_locator(FixedLocator([1, 2, 4, 7, 12, 20]))
    else:
        panel.xaxis.set_major_locator(LogLocator(10, numticks=5))
    panel.set_xlim(axis.low * 0.9, axis.high * 1.1)


def indices(sobol: pd.DataFrame, importances: pd.DataFrame, trace: Trace, backbone: str, path: Path) -> bool:
    """Draw the importances by Optuna's evaluators, and Sobol indices of a designed sample. False: nothing to draw."""
    by_factor = where(sobol, backbone=backbone).set_index("factor")
    shown = where(importances, backbone=backbone).dropna(subset=["importance"])
    if by_factor.empty and shown.empty:
        return False
    symbols = {axis.key: axis.symbol for axis in trace.axes}
    with figure(path, 0.75 + 0.3 * len(symbols), bool(len(shown)) + bool(len(by_factor))) as panels:
        if len(shown):
            draw_importances(panels[0], shown, symbols)
        if len(by_factor):
            rows, panel, places = by_factor.reindex(trace.names), panels[-1], -np.arange(len(symbols), dtype=float)
            for kind, marker, color, shift in (("first", "o", GREEN, 0.14), ("total", "s", ORANGE, -0.14)):
                panel.hlines(places + shift, rows[f"{kind}_low"], rows[f"{kind}_high"], color=color, linewidth=1.1)
                panel.plot(rows[kind], places + shift, marker, color=color, markersize=4.5, label=f"{kind} order")
            panel.axvline(0, color=LIGHT, linewidth=0.8, zorder=0)
            panel.set_xlabel("Sobol index, with 95 % interval", fontsize=8)
            name_rows(panel, [*symbols.values()])
            panel.set_ylim(0.5 - len(symbols), 0.5)
            legend_above(panel)
    return True
