"""Which factors matter, by Optuna's evaluators, with the spread over their seeds and over what was tried."""

from __future__ import annotations

import warnings

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.trial import create_trial

from harness.search.adaptive import quiet

#: up to so many distinct values a factor counts as one with levels, however far they lie apart
MOST_LEVELS = 12
#: configurations that PED-ANOVA contrasts with all others: fewer would make it a matter of chance
LEAST_TARGETS = 5
#: trees of a random forest
TREES = 32
COLUMNS = ["method", "factor", "importance", "low", "high", "seed_sd", "repeats"]


def importances(
    factors: pd.DataFrame, values: pd.Series[float], *, repeats: int = 10, resamples: int = 30
) -> pd.DataFrame:
    """Importance of each factor for a value that is to be large, by PED-ANOVA and by fANOVA.

    PED-ANOVA (Watanabe et al., IJCAI 2023) measures how far a factor's distribution among the best tenth (at least
    five) of the configurations differs from that among all; fANOVA (Hutter et al., ICML 2014) which share of a random
    forest's variance is due to the factor alone, interactions left out. Both are scaled to a sum of one.

    Args:
        factors: a row a configuration, a column a factor; numbers, on the scale on which they are to be compared.
        values: results of the configurations, in the order of the rows.
        repeats: evaluators with different seeds, on all configurations.
        resamples: bootstrap samples of configurations, with one evaluator each.

    Returns:
        A row a method and factor: ``importance`` (mean over ``repeats``), ``low`` and ``high`` (the middle 95 % of the
        bootstrap), ``seed_sd`` (standard deviation over the repeats; 0 for PED-ANOVA, which draws nothing). NaN where
        all values are equal; no rows with fewer than four configurations.
    """
    points, target = factors.reset_index(drop=True), np.array(values.tolist(), dtype=np.float64)
    if len(points) < 4:
        return pd.DataFrame(columns=COLUMNS)
    rows = []
    scaled, distributions = _scaled(points)
    quantile = min(max(0.1, LEAST_TARGETS / len(points)), 0.5)
    everything = np.arange(len(points))
    random = np.random.default_rng(0)
    drawn = [random.integers(0, len(points), len(points)) for _ in range(resamples)]
    for method in ("PED-ANOVA", "fANOVA"):
        samples = {
            "complete": [(everything, seed) for seed in range(repeats if method == "fANOVA" else 1)],
            "resampled": [(index, repeats + seed) for seed, index in enumerate(drawn)],
        }
        shares = {
            kind: np.array(
                [_shares(method, scaled, target, distributions, index, seed, quantile) for index, seed in some]
            )
            for kind, some in samples.items()
        }
        for k, name in enumerate(points.columns):
            complete, resampled = shares["complete"][:, k], shares["resampled"][:, k]
            known = resampled[np.isfinite(resampled)]
            low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
            rows.append(
                (method, name, float(complete.mean()), float(low), float(high), float(complete.std()), len(complete))
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def _scaled(points: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, BaseDistribution]]:
    """Levels as their ranks, other factors as they are, with their distributions."""
    scaled, distributions = pd.DataFrame(index=points.index), dict[str, BaseDistribution]()
    for name, column in points.items():
        levels = np.sort(column.unique())
        if len(levels) <= MOST_LEVELS:
            scaled[name] = np.searchsorted(levels, column)
            distributions[str(name)] = IntDistribution(0, len(levels) - 1)
        else:
            scaled[name] = column.astype(float)
            distributions[str(name)] = FloatDistribution(float(levels[0]), float(levels[-1]))
    return scaled, distributions


def _shares(
    method: str,
    points: pd.DataFrame,
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
    distributions: dict[str, BaseDistribution],
    index: np.ndarray[tuple[int], np.dtype[np.int64]],
    seed: int,
    quantile: float,
) -> list[float]:
    """The importances of one sample of configurations; NaN where it has one value only."""
    if np.ptp(values[index]) == 0:
        return [float("nan")] * points.shape[1]
    evaluator: BaseImportanceEvaluator = FanovaImportanceEvaluator(n_trees=TREES, seed=seed)
    if method == "PED-ANOVA":
        evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
    rows = zip(points.iloc[index].to_dict("records"), values[index].tolist(), strict=True)
    with quiet():
        study = optuna.create_study(direction="maximize")
        study.add_trials(
            create_trial(params={str(k): v for k, v in row.items()}, distributions=distributions, value=value)
            for row, value in rows
        )
        # of samples in which the best and all are the same: the shares are equal then
        warnings.filterwarnings("ignore", message="Target and region quantiles")
        try:
            shares = get_param_importances(study, evaluator=evaluator)
        except RuntimeError:  # a forest of stumps: equal values but for rounding
            return [float("nan")] * points.shape[1]
    return [float(shares[str(name)]) for name in points.columns]
