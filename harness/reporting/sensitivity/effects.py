"""What the factors of a grid do to validation MRR: main effects, pairs, and the decomposition of variance.

Levels are fixed, seeds are drawn. With several seeds every interval covers other seeds at these same points. With one
seed nothing is known of others: then the other factors' combinations take the place of the seeds, and an effect is
set against how much it changes from one of them to the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

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


#: errors and effects below this are rounding
NO_NOISE = 1e-12


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
    from scipy.stats import studentized_range  # takes half a second to import, and few reports are of a grid

    levels, blocks = values.shape
    means = values.mean(axis=1)
    estimate = float(np.ptp(means))
    if levels < 2 or blocks < 2:
        return Range(estimate, float("nan"), float("nan"), float("nan"))
    residual = values - means[:, None] - values.mean(axis=0) + values.mean()
    df = (levels - 1) * (blocks - 1)
    error = float(np.sqrt((residual**2).sum() / df / blocks))
    if error < NO_NOISE:
        return Range(estimate, estimate, estimate, 0.0 if estimate > NO_NOISE else 1.0)
    half = float(studentized_range.ppf(level, levels, df)) * error
    p = float(np.clip(studentized_range.sf(estimate / error, levels, df), 0, 1))
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

    Of K factors interactions of up to min(3, K) of them are separated, of up to K - 1 with one seed; what is left is
    the rest. Seeds are drawn: the error of a source is its interaction with them (a mixed model). With one seed it is
    all interactions that contain the source. So main effects have the error of `ranges`. ``share`` is a part's share of
    the sum of squares within seeds, ``omega_sq`` the same without what noise adds to it on average. Backbones whose
    grid has gaps are left out.

    Columns: backbone, source (factors joined by ":", "seed" or "rest"), order (number of factors; 0 for seed and rest),
    df, sum_sq, share, omega_sq, f, p.
    """
    rows: list[dict[str, object]] = []
    for backbone in grid.backbones:
        trials = where(grid.complete(), backbone=backbone)
        seeds = trials["seed"].nunique()
        if grid.missing(backbone) or len(trials) != seeds * trials["arm"].nunique():
            continue
        names = [*grid.names, *(["seed"] if seeds > 1 else [])]
        shape = [len(factor.levels) for factor in grid.factors] + ([seeds] if seeds > 1 else [])
        values = trials.sort_values(names)["mrr"].to_numpy(dtype=np.float64).reshape(shape)
        rows += [{"backbone": backbone, **row} for row in _sources(sums_of_squares(values), names, seeds > 1)]
    return pd.DataFrame(rows, columns=VARIANCE_COLUMNS)


#: sum of squares and degrees of freedom
Part = tuple[float, int]


def sums_of_squares(values: Array) -> dict[frozenset[int], Part]:
    """The main effects and interactions of an array with one value a combination of levels, by their axes."""
    axes = range(values.ndim)
    effects: dict[frozenset[int], Array] = {}
    parts = {}
    for chosen in (frozenset(names) for order in range(values.ndim + 1) for names in combinations(axes, order)):
        mean = values.mean(axis=tuple(set(axes) - chosen), keepdims=True)
        # less the effects of fewer of its axes, the mean of all among them
        effects[chosen] = mean - sum(effect for fewer, effect in effects.items() if fewer < chosen)
        square = float((effects[chosen] ** 2).sum()) * values.size / effects[chosen].size
        parts[chosen] = square, math.prod(values.shape[axis] - 1 for axis in chosen)
    del parts[frozenset()]
    return parts


def _sources(
    parts: Mapping[frozenset[int], Part], names: Sequence[str], has_seeds: bool
) -> Iterator[dict[str, object]]:
    """The rows of a backbone; of ``has_seeds`` the last axis is that of the seeds."""
    seed = frozenset([len(names) - 1] if has_seeds else [])
    factors = len(names) - len(seed)
    highest = min(3, factors - (not has_seeds))
    if highest < 1:
        return
    shown = [chosen for chosen in parts if len(chosen) <= highest and not chosen & seed]
    rest = _sum(part for chosen, part in parts.items() if chosen not in shown and chosen != seed)
    total = sum(square for chosen, (square, _) in parts.items() if chosen != seed)
    for chosen in ([seed] if has_seeds else []) + shown:
        is_seed = chosen == seed
        square, df = parts[chosen]
        above = [part for more, part in parts.items() if more > chosen]
        error = rest if is_seed else parts[chosen | seed] if has_seeds else _sum(above)
        noise = error[0] / error[1]
        omega = (square - df * noise) / (total + noise) if total > 0 else 0.0
        f, p = _test(square / df, noise, df, error[1])
        yield {
            "source": ":".join(names[axis] for axis in sorted(chosen)),
            "order": 0 if is_seed else len(chosen),
            "df": df,
            "sum_sq": square,
            "share": np.nan if is_seed else square / total if total > 0 else 0.0,
            "omega_sq": np.nan if is_seed else max(omega, 0.0),
            "f": f,
            "p": p,
        }
    share = rest[0] / total if total > 0 else 0.0
    yield {"source": "rest", "order": 0, "df": rest[1], "sum_sq": rest[0], "share": share} | dict.fromkeys(
        ("omega_sq", "f", "p"), np.nan
    )


def _sum(parts: Iterable[Part]) -> Part:
    squares, df = zip(*parts, strict=True)
    return sum(squares), sum(df)


def _test(mean_square: float, noise: float, df: int, df_error: int) -> tuple[float, float]:
    """F and p; without noise, but for rounding, F is infinite where there is an effect."""
    if noise < NO_NOISE**2:
        return (math.inf, 0.0) if mean_square > NO_NOISE**2 else (np.nan, 1.0)
    return mean_square / noise, float(special.fdtrc(df, df_error, mean_square / noise))
