"""A search in numbers: the value of each configuration, fitted curves, Sobol indices, and temperature."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from harness.errors import UserError
from harness.reporting.data.frames import TRIALS, records, rows_of, validate
from harness.reporting.data.results import ALPHA, corrected, decided
from harness.vocabulary import BACKBONES, SYMBOLS, ordered

Array = NDArray[np.float64]

CURVE_COLUMNS = ["backbone", "factor", "best", "worst", "range", "f", "p", "p_holm", "configurations", "decided"]
SOBOL_COLUMNS = ["backbone", "factor", "first", "first_low", "first_high", "total", "total_low", "total_high", "blocks"]
TEMPERATURE_COLUMNS = [
    *("backbone", "band", "configurations", "difference", "difference_low", "difference_high", "p", "p_holm"),
    *("margin", "p_equal", "verdict"),
]
#: bands of T by name: a factor of about 1.5 around 7, and what lies below and above
BANDS = {"below 4.5": (0.0, 4.5), "around 7": (4.5, 10.5), "above 10.5": (10.5, np.inf)}
MIDDLE = "around 7"
#: Configurations that a band needs to be compared, and blocks of a designed sample that indices need.
FEWEST = 3
FEWEST_BLOCKS = 4


@dataclass(frozen=True)
class Axis:
    """A factor that was searched: its column, and the ends and scale of its range."""

    key: str
    low: float
    high: float
    log: bool

    @property
    def symbol(self) -> str:
        """What it is called in formulas and figures."""
        return SYMBOLS.get(self.key, self.key)

    def scaled(self, values: Any) -> Array:
        """Values on the scale of the search, from -1 to 1 over the range."""
        given = np.asarray(values, dtype=np.float64)
        ends = np.array([self.low, self.high])
        if self.log:
            given, ends = np.log(given), np.log(ends)
        return np.asarray(2 * (given - ends[0]) / (ends[1] - ends[0]) - 1)

    def grid(self, size: int = 101) -> Array:
        """Values over the range, evenly spaced on its scale."""
        return np.geomspace(self.low, self.high, size) if self.log else np.linspace(self.low, self.high, size)


@dataclass(frozen=True, eq=False)
class Trace:
    """The configurations of a search in the order in which they were asked for.

    ``frame`` has a row a backbone and configuration: backbone, number, the factors, seeds (with a result), state
    ("complete"; "given up" after some seeds; "failed"), mrr (mean validation MRR), base (that of L1 with the same
    seeds; NaN without), difference.
    """

    sampler: str
    axes: tuple[Axis, ...]
    frame: pd.DataFrame
    #: the designed sample, a row a configuration, if there is one
    sample: pd.DataFrame | None

    @property
    def names(self) -> list[str]:
        """The columns of the factors."""
        return [axis.key for axis in self.axes]

    @property
    def backbones(self) -> list[str]:
        """The backbones with a configuration that has a result, in order."""
        return ordered(self.frame[self.frame["seeds"] > 0]["backbone"], BACKBONES)


def _keys(factors: Iterable[str], columns: Collection[str]) -> dict[str, str]:
    """What factors are called: by the last part of their names, or in full where that may mean another setting."""
    short = {name: name.split(".")[-1] for name in factors}
    last = list(short.values())
    return {n: n if last.count(s) > 1 or (n in columns and s in columns) else s for n, s in short.items()}


def trace_of(inside: pd.DataFrame, about: Mapping[str, Any]) -> Trace:
    """The configurations among the trials inside a search.

    Args:
        inside: its trials, and those of L1 with the same seeds (role "beside"); metrics of test are missing.
        about: ``sampler``, ``factors`` (low, high and log by dotted name) and, of a designed sample, ``sample``.

    Raises:
        UserError: wrong columns or values, or no configuration has a result.
    """
    checked = validate(TRIALS, inside)
    keys = _keys(about["factors"], checked.columns)
    axes = tuple(
        Axis(keys[name], float(about_factor["low"]), float(about_factor["high"]), bool(about_factor["log"]))
        for name, about_factor in about["factors"].items()
    )
    # a factor without a column of its own has its dotted name
    columns = {key: name if name in checked else key for name, key in keys.items()}
    beside = checked[(checked["role"] == "beside") & (checked["state"] == "complete")]
    base = beside.set_index(["backbone", "seed"])["valid_mrr"].to_dict()
    searched = checked[checked["role"] == "search"].copy()
    searched["configuration"] = searched["configuration"].astype(int)
    # of a trial that was run several times the complete one counts, else the last
    searched = searched.sort_values("state", key=lambda s: s == "complete", kind="stable")
    searched = searched.drop_duplicates(["backbone", "configuration", "seed"], keep="last")
    most = searched.groupby(["backbone", "configuration"])["seed"].size().max()
    rows = []
    for (backbone, number), group in searched.groupby(["backbone", "configuration"]):
        done = group[group["state"] == "complete"]
        l1 = [base.get((backbone, seed), np.nan) for seed in done["seed"]]
        row: dict[str, Any] = {"backbone": backbone, "number": number} | {
            key: float(group[column].iloc[0]) for key, column in columns.items()
        }
        failed = bool((group["state"] == "failed").any())
        row["state"] = "failed" if failed else "complete" if len(done) == most else "given up"
        row |= {"seeds": len(done), "mrr": float(done["valid_mrr"].mean()) if len(done) else np.nan}
        rows.append(row | {"base": float(np.mean(l1)) if l1 else np.nan})
    frame = pd.DataFrame(rows)
    if frame["mrr"].isna().all():
        raise UserError("trials: no configuration of the search has a result; run the study again")
    frame["difference"] = frame["mrr"] - frame["base"]
    given = about.get("sample")
    sample = pd.DataFrame(given).rename(columns=keys)[list(columns)] if given else None
    return Trace(str(about["sampler"]), axes, frame, sample)


def _fitted(trace: Trace, backbone: str) -> tuple[pd.DataFrame, Array, Array] | None:
    """Configurations with a result, what is explained, and the explaining columns ``[n, 1 + 2 K]`` (x and x² of each
    factor on its scale); None with too few of them."""
    rows = trace.frame[(trace.frame["backbone"] == backbone) & trace.frame["mrr"].notna()]
    # the difference to L1 with the same seeds: what was given up after some seeds may be compared as well
    value = rows["difference"] if rows["difference"].notna().all() else rows["mrr"]
    columns = [np.ones(len(rows))]
    for axis in trace.axes:
        x = axis.scaled(rows[axis.key])
        columns += [x, x**2]
    design = np.column_stack(columns)
    if len(rows) < design.shape[1] + 3 or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    return rows, value.to_numpy(dtype=np.float64), design


def curves(trace: Trace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A quadratic in each factor, fitted to all configurations at once; weights are their numbers of seeds.

    Returns:
        tests: a row a backbone and factor: best and worst value and range of its curve, F test of both of its terms, p,
        p_holm (the factors of a backbone are the family), configurations, decided (p_holm below .05).
        lines: backbone, factor, value, mean, low, high (95 %): the curves, other factors as in the mean configuration.
    """
    from statsmodels.regression.linear_model import WLS  # takes time to import, and few reports are of a search

    rows, lines = [], []
    for backbone in trace.backbones:
        if (fitted := _fitted(trace, backbone)) is None:
            continue
        configurations, value, design = fitted
        fit = WLS(value, design, weights=configurations["seeds"].to_numpy(dtype=np.float64)).fit()
        for k, axis in enumerate(trace.axes):
            both = np.zeros((2, design.shape[1]))
            both[0, 1 + 2 * k] = both[1, 2 + 2 * k] = 1
            test = fit.f_test(both)
            x = axis.scaled(axis.grid())
            at = np.tile(design.mean(axis=0), (len(x), 1))
            at[:, 1 + 2 * k], at[:, 2 + 2 * k] = x, x**2
            mean = at @ fit.params
            half = special.stdtrit(fit.df_resid, 0.975) * np.sqrt(np.einsum("ij,jk,ik->i", at, fit.cov_params(), at))
            line = pd.DataFrame({"value": axis.grid(), "mean": mean, "low": mean - half, "high": mean + half})
            lines.append(line.assign(backbone=backbone, factor=axis.key))
            rows.append(
                {"backbone": backbone, "factor": axis.key, "best": axis.grid()[mean.argmax()]}
                | {"worst": axis.grid()[mean.argmin()], "range": float(np.ptp(mean))}
                | {"f": float(test.fvalue), "p": float(test.pvalue), "configurations": len(configurations)}
            )
    frame = pd.DataFrame(rows, columns=[c for c in CURVE_COLUMNS if c not in ("p_holm", "decided")])
    frame["p_holm"] = corrected(frame, ["backbone"])
    frame["decided"] = frame["p_holm"] < ALPHA
    empty = pd.DataFrame(columns=["backbone", "factor", "value", "mean", "low", "high"])
    return frame[CURVE_COLUMNS], pd.concat(lines, ignore_index=True) if lines else empty


def sobol(trace: Trace) -> pd.DataFrame:
    """First and total order indices of a designed sample with 95 % bootstrap intervals (SALib; Saltelli et al., 2010).

    Blocks (a base point and its K + 1 relatives) with a configuration without a result are left out; of fewer than four
    there are no indices. No rows for other searches.
    """
    rows: list[dict[str, Any]] = []
    if trace.sample is None:
        return pd.DataFrame(rows, columns=SOBOL_COLUMNS)
    from SALib.analyze import sobol as analysis

    names, wide = trace.names, len(trace.axes) + 2
    problem = {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)}
    for backbone in trace.backbones:
        # configurations that came to the same trials share their value
        complete = rows_of(trace.frame, backbone=backbone, state="complete")
        value = {tuple(row[n] for n in names): row["mrr"] for row in complete}
        values = np.array([value.get(tuple(float(row[n]) for n in names), np.nan) for row in records(trace.sample)])
        blocks = values[: len(values) // wide * wide].reshape(-1, wide)
        finite = blocks[np.isfinite(blocks).all(axis=1)]
        if len(finite) < FEWEST_BLOCKS or np.ptp(finite) == 0:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of resamples in which a factor does nothing
            # seed 0 would be none to SALib
            indices = analysis.analyze(problem, finite.ravel(), calc_second_order=False, num_resamples=1000, seed=1)
        for k, name in enumerate(names):
            row: dict[str, Any] = {"backbone": backbone, "factor": name, "blocks": len(finite)}
            for kind, key in (("first", "S1"), ("total", "ST")):
                middle, half = float(indices[key][k]), float(indices[f"{key}_conf"][k])
                row |= {kind: middle, f"{kind}_low": middle - half, f"{kind}_high": middle + half}
            rows.append(row)
    return pd.DataFrame(rows, columns=SOBOL_COLUMNS)


def temperature(trace: Trace, margin: float) -> pd.DataFrame:
    """Temperatures below and above 7 set against those around it, other factors taken into account (quadratics).

    Standard errors allow for unequal variances (HC3); Holm's correction over both bands of a backbone. The verdict is
    "better", "worse", "equivalent" (two one-sided t tests show a difference of less than ``margin``, a share of the
    mean validation MRR) or "undecided"; "" of the middle band itself, and of a band with fewer than three
    configurations.
    """
    from statsmodels.regression.linear_model import OLS  # see `curves`

    rows: list[dict[str, Any]] = []
    if "temperature" not in trace.names:
        return pd.DataFrame(rows, columns=TEMPERATURE_COLUMNS)
    for backbone in trace.backbones:
        if (fitted := _fitted(trace, backbone)) is None:
            continue
        configurations, value, design = fitted
        k = trace.names.index("temperature")
        others_design = np.delete(design, [1 + 2 * k, 2 + 2 * k], axis=1)
        t = configurations["temperature"].to_numpy(dtype=np.float64)
        inside = {name: (t >= low) & (t < high) for name, (low, high) in BANDS.items()}
        others = [n for n in BANDS if n != MIDDLE and inside[n].sum() >= FEWEST]
        compared = others if inside[MIDDLE].sum() >= FEWEST else []
        kept = np.any([inside[name] for name in (MIDDLE, *compared)], axis=0)
        dummies = [inside[name][kept].astype(float) for name in compared]
        estimates: dict[str, dict[str, float]] = {}
        if compared and kept.sum() > others_design.shape[1] + len(compared):
            fit = OLS(value[kept], np.column_stack([*dummies, others_design[kept]])).fit(cov_type="HC3", use_t=True)
            limit = margin * float(configurations["mrr"].mean())
            for i, name in enumerate(compared):
                beyond = (limit - abs(fit.params[i])) / fit.bse[i]
                estimates[name] = {"difference": fit.params[i], "p": fit.pvalues[i], "margin": limit}
                estimates[name]["p_equal"] = float(special.stdtr(fit.df_resid, -beyond))
                estimates[name] |= zip(("difference_low", "difference_high"), fit.conf_int()[i], strict=True)
        rows += [
            {"backbone": backbone, "band": name, "configurations": int(inside[name].sum())} | estimates.get(name, {})
            for name in BANDS
        ]
    frame = pd.DataFrame(rows, columns=TEMPERATURE_COLUMNS)
    return decided(frame.assign(metric="mrr"), ["backbone"])[TEMPERATURE_COLUMNS]
