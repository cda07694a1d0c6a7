"""Tests that may look at a study again and again as seeds come in, and stop when it is decided.

A look at n of N seeds has information n / N. Of the error probability α a part α · n / N is spent by then (Kim and
DeMets, Biometrika 74 (1987), 149-154, ρ = 1), which gives each look a bound (Lan and DeMets, Biometrika 70 (1983),
659-663). The *sequential p value* is the smallest α at which a look has crossed its bound (Liu and Anderson, Journal of
Biopharmaceutical Statistics 18 (2008), 1-19). It is valid whenever one stops, so Holm's correction takes it as it takes
any other.

The bounds assume that looks are correlated as sums of independent seeds are. All looks share their test facts, which
correlates them more, and that only makes crossing rarer where nothing is there. Scores of few seeds, whose variance is
estimated anew at each look, are correlated less: where seeds make all the noise, simulated plans crossed up to 1.25
times as often as they may (1.11 times with `LOOKS`). So a plan of several looks spends `KEPT` of the error probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from harness.stats.intervals import FAR, Array, variances

#: numbers of seeds at which a study is looked at
LOOKS = (3, 5, 8, 13, 20)
#: a comparison with a smaller chance of a decision at the last look is futile
FUTILE = 0.10
ALPHA = 0.05
#: share of the error probability that a plan of several looks spends
KEPT = 0.8
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(160)
#: levels between which sequential p values are interpolated
_LEVELS = np.concatenate([np.geomspace(1e-15, 0.2, 70), np.linspace(0.21, 1, 60)])


@dataclass(frozen=True)
class Sequential:
    """K metrics of two arms after some looks.

    ``p`` are two-sided sequential p values of no difference, ``p_equal`` those of a difference of at least the margin
    (two one-sided tests: Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15 (1987), 657-680), neither
    corrected for the number of tests. ``chance`` is the probability that the last look decides, from what is known now;
    0 at the last look.
    """

    p: Array
    p_equal: Array
    chance: Array


def bounds(information: Sequence[float], spent: Sequence[float]) -> list[float]:
    """Two-sided bounds of |z| at looks at shares of the information.

    Args:
        information: at each look, ascending, in (0, 1].
        spent: error probability that is spent by each look, not descending.
    """
    limits: list[float] = []
    # of the sum of scores, where no look has crossed: places, and the density there times the weights of the integral
    places, density = np.zeros(1), np.ones(1)
    before = used = 0.0
    for share, by_now in zip(information, spent, strict=True):
        root, step, part = share**0.5, (share - before) ** 0.5, by_now - used
        excess = partial(_excess, root=root, step=step, places=places, density=density, part=part)
        bound = FAR if excess(FAR) >= 0 else 0.0 if excess(0.0) <= 0 else brentq(excess, 0, FAR)
        limits.append(float(bound))
        at = bound * root * _NODES
        moves = np.exp(-(((at[:, None] - places) / step) ** 2) / 2) / (step * np.sqrt(2 * np.pi))
        places, density = at, bound * root * _WEIGHTS * (moves @ density)
        before, used = share, by_now
    return limits


def _excess(bound: float, *, root: float, step: float, places: Array, density: Array, part: float) -> float:
    """The probability of crossing a bound of |z| at a look and at none before, above ``part``."""
    over = ndtr((places - bound * root) / step) + ndtr((-places - bound * root) / step)
    return float(density @ over) - part


def spending(level: float, looks: Sequence[int]) -> list[float]:
    """The error probability spent by each look of a plan at a level."""
    return [(KEPT if len(looks) > 1 else 1.0) * level * look / looks[-1] for look in looks]


@lru_cache(maxsize=16)
def _levels(looks: tuple[int, ...]) -> list[PchipInterpolator]:
    """For each look, log p by the square of z."""
    shares = [look / looks[-1] for look in looks]
    table = np.array([bounds(shares, spending(level, looks)) for level in _LEVELS])
    tables = []
    for squares in (table**2).T:
        kept, first = np.unique(squares, return_index=True)  # of levels with the bound 0 or the furthest, one
        tables.append(PchipInterpolator(kept, np.log(_LEVELS)[first], extrapolate=False))
    return tables


def sequential_p(z: ArrayLike, looks: Sequence[int]) -> float:
    """The two-sided sequential p value of z at the first looks of a plan.

    Args:
        z: of the looks so far, any sign.
        looks: numbers of seeds of all looks of the plan.
    """
    tables = _levels(tuple(looks))
    p = 1.0
    for value, table in zip(np.asarray(z, dtype=float), tables, strict=False):
        square = np.clip(value**2, table.x[0], table.x[-1])
        p = min(p, float(np.exp(table(square))) if value**2 > table.x[0] else 1.0)
    return p


def judge(differences: Array, seeds: Sequence[int], margins: Array, looks: Sequence[int], so_far: int) -> Sequential:
    """Judge paired differences of K metrics by looks at the first seeds.

    The score of a look is the z whose tail gives an interval that just reaches zero (`harness.stats.Variances`), so
    that tests and intervals agree. With Satterthwaite's degrees of freedom, which take variances between three seeds at
    their word, three times as many false decisions as it may spend fell at the first look.

    Args:
        differences: ``[S, F, K]``, arm minus base.
        seeds: ``[S]``, the place of each seed in the study, from 0, ascending; seeds that failed are missing.
        margins: ``[K]``, differences too small to matter, in units of the metrics.
        looks: numbers of seeds of all looks of the plan.
        so_far: how many seeds the study has.
    """
    reached = [look for look in looks if look <= so_far]
    metrics = differences.shape[2]
    z, z_equal = np.zeros((len(reached), metrics)), np.zeros((len(reached), metrics))
    for row, look in enumerate(reached):
        part = differences[: int(np.searchsorted(seeds, look))]
        if len(part) > 1:
            mean, known = part.mean(axis=(0, 1)), variances(part)
            z[row], z_equal[row] = known.score(np.abs(mean)), known.score(margins - np.abs(mean))
    p = [sequential_p(column, looks) for column in z.T]
    # one-sided: half of the two-sided one, and nothing where the mean lies beyond the margin
    p_equal = [sequential_p(np.maximum(column, 0), looks) / 2 if (column > 0).any() else 1.0 for column in z_equal.T]
    return Sequential(np.array(p), np.array(p_equal), _chance(differences, seeds, margins, looks, reached))


def _chance(
    differences: Array, seeds: Sequence[int], margins: Array, looks: Sequence[int], reached: list[int]
) -> Array:
    """The probability ``[K]`` that the last look alone decides, without correction for the number of tests.

    The mean of all seeds is expected where the mean of these is, give or take the part of its variance that the seeds
    to come bring; test facts stay the same.
    """
    if not reached or reached[-1] == looks[-1]:
        return np.zeros(differences.shape[2])
    part = differences[: int(np.searchsorted(seeds, reached[-1]))]
    if len(part) < 2:
        return np.ones(differences.shape[2])
    mean, known = part.mean(axis=(0, 1)), variances(part)
    share = reached[-1] / looks[-1]
    last, move = np.sqrt(known.alone + known.seeds * share), np.sqrt(known.seeds * (1 - share))
    bound = bounds([look / looks[-1] for look in looks], spending(ALPHA, looks))[-1]
    equal = np.maximum(margins + ndtri(ALPHA) * last, 0)

    def below(value: Array) -> Array:
        """P(mean of all seeds < value)."""
        return np.asarray(ndtr((value - mean) / np.where(move > 0, move, np.finfo(float).tiny)))

    chance = below(-bound * last) + 1 - below(bound * last) + below(equal) - below(-equal)
    return np.asarray(np.clip(chance, 0, 1))
