"""What the factors of a grid do to validation MRR: main effects, pairs, and the decomposition of variance.

Levels are fixed, seeds are drawn. With several seeds every interval covers other seeds at these same points. With one
seed nothing is known of others: then the other factors' combinations take the place of the seeds, and an effect is
set against how much it changes from one of them to the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from harness.reporting.data.frames import interval_columns, where
from harness.reporting.data.results import ALPHA, corrected
from harness.reporting.sensitivity.points import Factor, Grid, has_several
from harness.stats import mean_interval

Array = NDArray[np.float64]

LEVEL_COLUMNS = [
    *("backbone", "factor", "level", "mean", "low", "high", "difference", "difference_low", "difference_high"),
    *("base", "points", "seeds", "interval"),
]
RANGE_COLUMNS = [
    *("backbone", "factor", "best", "worst", "range", "low", "high", "p", "p_holm", "points", "blocks", "interval"),
    *("decided",),
]
PAIR_COLUMNS = ["backbone", "first", "second", "first_level", "second_level", "mrr", "difference", "points"]
VARIANCE_COLUMNS = ["backbone", "source", "order", "df", "sum_sq", "share", "omega_sq", "f", "p"]


@dataclass(frozen=True)
class Range:
    """The difference between the best and the worst of several levels, with an interval that allows for the choice."""

    estimate: float
    low: float
    high: float
    p: float


def tukey_range(values: Array, level: float = 0.95) -> Range:
    """The range of the means of levels by the studentised range (Tukey's HSD), of values ``[levels, blocks]``.

    The error is the interaction of levels and blocks, so that what blocks have in common does not count. The interval
    is one of a family that holds for all pairs of levels at once: that the pair was chosen for its difference does no
    harm. With one block its ends are NaN; p is that of no difference among the levels.
    """
    levels, blocks = values.shape
    means = values.mean(axis=1)
    estimate = float(np.ptp(means))
    if levels < 2 or blocks < 2:
        return Range(estimate, float("nan"), float("nan"), float("nan"))
    residual = values - means[:, None] - values.mean(axis=0) + values.mean()
    df = (levels - 1) * (blocks - 1)
    error = float(np.sqrt((residual**2).sum() / df / blocks))
    if error < 1e-12:  # no noise at all, but for rounding
        return Range(estimate, estimate, estimate, 0.0 if estimate > 1e-12 else 1.0)
    half = float(stats.studentized_range.ppf(level, levels, df)) * error
    p = float(np.clip(stats.studentized_range.sf(estimate / error, levels, df), 0, 1))
    return Range(estimate, estimate - half, estimate + half, p)


def matched(grid: Grid, backbone: str, factor: Factor) -> pd.DataFrame:
    """The trials at those combinations of the other factors that have every level of ``factor``, all seeds complete.

    In a grid without gaps these are all. With gaps, means of other sets would mix up the factors. A level without any
    complete point is left out of account.
    """
    rows = where(grid.complete(), backbone=backbone)
    others = [name for name in grid.names if name != factor.key]
    group = rows[others].apply(tuple, axis=1) if others else pd.Series([()] * len(rows), index=rows.index)
    rows = rows.assign(group=group)
    has_all = rows.groupby("group")[factor.key].transform("nunique") == rows[factor.key].nunique()
    return rows[has_all]


def _blocks(rows: pd.DataFrame, factor: Factor) -> tuple[pd.DataFrame, str]:
    """Validation MRR by level and block, and what the blocks are: "seeds", or "points" where there is one seed."""
    by = "seed" if has_several(rows["seed"]) else "group"
    table = rows.pivot_table(index=factor.key, columns=by, values="mrr", aggfunc="mean", sort=True)
    return table.dropna(axis=1), "seeds" if by == "seed" else "points"


def levels(grid: Grid) -> pd.DataFrame:
    """Mean validation MRR at each level of each factor, over all combinations of the others, with 95 % t intervals.

    Columns: backbone, factor, level, mean, low, high, difference (to L1, with _low and _high; NaN without), base (mean
    of L1), points (combinations of the other factors), seeds, interval ("seeds": over other seeds; "points": of one
    seed, over other combinations).
    """
    rows = []
    for backbone in grid.backbones:
        for factor in grid.factors:
            trials = matched(grid, backbone, factor)
            for level in sorted(trials[factor.key].unique()):
                at = trials[trials[factor.key] == level]
                by = "seed" if has_several(at["seed"]) else "group"
                mean = mean_interval(at.groupby(by)["mrr"].mean())
                row = {"backbone": backbone, "factor": factor.key, "level": level}
                row |= {"mean": mean.estimate, "low": mean.low, "high": mean.high}
                gain = (at["mrr"] - at["base"]).groupby(at[by]).mean().dropna()
                row |= interval_columns("difference", mean_interval(gain) if len(gain) else None)
                row |= {"base": float(at["base"].mean()), "points": at["group"].nunique()}
                row |= {"seeds": at["seed"].nunique(), "interval": "seeds" if by == "seed" else "points"}
                rows.append(row)
    return pd.DataFrame(rows, columns=LEVEL_COLUMNS)


def ranges(grid: Grid) -> pd.DataFrame:
    """Range of the main effect of each factor: best minus worst level's mean, see `tukey_range`.

    Holm's correction takes the factors of a backbone as a family. ``decided``: the corrected p value is below .05 and
    the interval excludes zero.
    """
    rows = []
    for backbone in grid.backbones:
        for factor in grid.factors:
            trials = matched(grid, backbone, factor)
            if trials.empty:
                continue
            table, interval = _blocks(trials, factor)
            means, span = table.mean(axis=1), tukey_range(table.to_numpy(dtype=np.float64))
            rows.append(
                {"backbone": backbone, "factor": factor.key}
                | {"best": table.index[int(means.argmax())], "worst": table.index[int(means.argmin())]}
                | {"range": span.estimate, "low": span.low, "high": span.high, "p": span.p}
                | {"points": trials["group"].nunique(), "blocks": table.shape[1], "interval": interval}
            )
    frame = pd.DataFrame(rows, columns=[c for c in RANGE_COLUMNS if c not in ("p_holm", "decided")])
    frame["p_holm"] = corrected(frame, ["backbone"])
    frame["decided"] = (frame["p_holm"] < ALPHA) & (frame["low"] > 0)
    return frame[RANGE_COLUMNS]


def pairs(grid: Grid) -> pd.DataFrame:
    """Mean validation MRR, and its difference to L1, at each pair of levels of each pair of factors."""
    points = grid.points()
    frames = []
    for first, second in grid.pairs():
        grouped = points.groupby(["backbone", first.key, second.key], sort=False)
        means = grouped[["mrr", "difference"]].mean().assign(points=grouped.size()).reset_index()
        means = means.rename(columns={first.key: "first_level", second.key: "second_level"})
        frames.append(means.assign(first=first.key, second=second.key))
    return pd.concat(frames, ignore_index=True)[PAIR_COLUMNS] if frames else pd.DataFrame(columns=PAIR_COLUMNS)


def variance(grid: Grid) -> pd.DataFrame:
    """The variance of validation MRR over a complete grid, split into main effects and interactions (ANOVA).

    Seeds are blocks. Of K factors interactions of up to min(3, K) of them are separated, of up to K - 1 with one seed;
    the rest is the error. ``share`` is a part's share of the sum of squares within seeds, ``omega_sq`` the same without
    what noise adds to it on average. Backbones whose grid has gaps are left out.

    Columns: backbone, source (factors joined by ":", "seed" or "rest"), order (number of factors; 0 for seed and rest),
    df, sum_sq, share, omega_sq, f, p.
    """
    rows = []
    for backbone in grid.backbones:
        trials = where(grid.complete(), backbone=backbone)
        seeds = trials["seed"].nunique()
        if grid.missing(backbone) or len(trials) != seeds * trials["arm"].nunique():
            continue
        highest = min(3, len(grid.factors) - (seeds == 1))
        if highest < 1:
            continue
        # a formula is evaluated: names from a store must not get into it
        aliases = {name: f"factor{k}" for k, name in enumerate(grid.names)}
        data = trials[grid.names].astype(str).rename(columns=aliases)
        data = data.assign(mrr=trials["mrr"] - trials["mrr"].mean(), seed=trials["seed"].astype(str))
        terms = ["C(seed)"] if seeds > 1 else []
        for order in range(1, highest + 1):
            terms += [":".join(f"C({name})" for name in names) for names in combinations(aliases.values(), order)]
        table = anova_lm(ols(f"mrr ~ {' + '.join(terms)}", data).fit(), typ=1)
        rows += _sources(backbone, table, {alias: name for name, alias in aliases.items()})
    return pd.DataFrame(rows, columns=VARIANCE_COLUMNS)


def _sources(backbone: str, table: pd.DataFrame, names: Mapping[str, str]) -> list[dict[str, object]]:
    total = float(table["sum_sq"].drop("C(seed)", errors="ignore").sum())
    error = table["sum_sq"]["Residual"] / table["df"]["Residual"] if table["df"]["Residual"] > 0 else np.nan
    rows: list[dict[str, object]] = []
    for name, row in table.iterrows():
        parts = str(name).replace("C(", "").replace(")", "").replace("Residual", "rest").split(":")
        source = ":".join(names.get(part, part) for part in parts)
        is_rest, is_seed = source == "rest", source == "seed"
        omega = (row["sum_sq"] - row["df"] * error) / (total + error) if total > 0 else 0.0
        rows.append(
            {
                "backbone": backbone,
                "source": source,
                "order": 0 if is_rest or is_seed else source.count(":") + 1,
                "df": int(row["df"]),
                "sum_sq": float(row["sum_sq"]),
                "share": np.nan if is_seed else float(row["sum_sq"] / total) if total > 0 else 0.0,
                "omega_sq": np.nan if is_rest or is_seed else max(float(omega), 0.0),
                "f": np.nan if is_rest else float(row["F"]),
                "p": np.nan if is_rest else float(row["PR(>F)"]),
            }
        )
    return rows
