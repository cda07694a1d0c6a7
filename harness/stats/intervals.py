"""Intervals and paired tests on per-query results. Knows arrays only; ``docs/statistics.md`` gives the reasons.

The unit of sampling is the test fact: its two queries (tail and head) are dependent, so callers average them first.
Paired arrays have the shape ``[S, F, K]``: S seeds, F test facts, K metrics (such as MRR and MR), where the same
position in both arrays is the same seed and the same fact. Every random step has a seed: same input, same output.

Quantiles and tails come from ``scipy.special``: ``scipy.stats`` has the same numbers and takes half a second to import.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtrit

Array = NDArray[np.float64]

#: coverage of the intervals
LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
#: no score lies further out
FAR = 12.0
RESAMPLES = 5000
PERMUTATIONS = 9999
#: Elements of one block of resampling weights: bounds the memory (8 bytes each), whatever the number of facts.
BLOCK = 2_000_000
#: Up to this many facts all 2^F sign patterns are enumerated and the p value is exact.
EXACT_FACTS = 13


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its interval; ``n`` is the number of independent units it rests on."""

    estimate: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """One metric of two arms, compared over the same seeds and the same test facts.

    ``difference`` is arm minus base in the metric's unit, ``relative`` the same as a share of the base's mean,
    ``effect`` the standardised mean difference d_z = mean / standard deviation of the differences of single facts under
    single seeds, which the number of seeds does not change. ``p`` is the two-sided p value of the sign-flip test, not
    yet corrected for the number of tests; ``detectable`` the smallest difference that this design shows with a power of
    80 %, see `detectable`.
    """

    difference: Interval
    relative: Interval
    effect: Interval
    p: float
    per_seed: tuple[float, ...]
    detectable: float


def mean_interval(values: ArrayLike) -> Interval:
    """Mean of independent values ``[n]``, n at least 1, with Student's t interval; the ends are NaN for n = 1.

    Raises:
        ValueError: no value, or a value that is not finite.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0 or not np.isfinite(sample).all():
        raise ValueError("an interval needs a one-dimensional array of at least one finite value")
    mean, n = float(sample.mean()), int(sample.size)
    if n < 2:
        return Interval(mean, float("nan"), float("nan"), n)
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2) * sample.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def mean_intervals(values: Array) -> list[Interval]:
    """Means over seeds and facts of ``[S, F, K]`` with the intervals of `Variances`; their ``n`` is F.

    Raises:
        ValueError: an axis is empty, or a value is not finite.
    """
    _check(values)
    return _intervals(values.mean(axis=(0, 1)), variances(values).reach(TAIL), values.shape[1])


def compare(arm: Array, base: Array, permutations: int = PERMUTATIONS, seed: int = 0) -> list[Comparison]:
    """Compare two arms over the same seeds and test facts, metric by metric.

    Intervals: those of `Variances`, for relative and effect by the delta method: of what one more value of a seed and
    fact adds to them, to first order.

    Test: sign flips of the facts' differences averaged over seeds, null hypothesis: the two arms are exchangeable on
    every test fact. It is exact up to 13 facts, otherwise p = (1 + extreme) / (1 + permutations).

    Args:
        arm: ``[S, F, K]`` values of the arm.
        base: ``[S, F, K]`` values of what it is compared with.
        permutations: number of random sign patterns.
        seed: of the sign patterns.

    Returns:
        K comparisons.

    Raises:
        ValueError: the shapes differ, an axis is empty, or a value is not finite.
    """
    _check(arm)
    _check(base)
    if arm.shape != base.shape:
        raise ValueError(f"paired values need equal shapes, got {arm.shape} and {base.shape}")
    delta = arm - base
    mean, of_base, spread = delta.mean(axis=(0, 1)), base.mean(axis=(0, 1)), delta.std(axis=(0, 1))
    relative, effect = _ratio(mean, of_base), _ratio(mean, spread)
    of_relative = _ratio(delta - relative * base, of_base)
    of_effect = _ratio(delta, spread) - effect / 2 * _ratio(delta - mean, spread) ** 2
    intervals = (
        _intervals(estimate, variances(parts).reach(TAIL), delta.shape[1])
        for estimate, parts in ((mean, delta), (relative, of_relative), (effect, of_effect))
    )
    p = sign_flip_test(delta.mean(axis=0), permutations, seed)
    per_seed, metrics = delta.mean(axis=1).T, delta.transpose(2, 0, 1)
    return [
        Comparison(difference, relative, effect, float(p[k]), tuple(per_seed[k].tolist()), detectable(metrics[k]))
        for k, (difference, relative, effect) in enumerate(zip(*intervals, strict=True))
    ]


def sign_flip_test(differences: Array, permutations: int = PERMUTATIONS, seed: int = 0) -> Array:
    """Two-sided sign-flip permutation test of mean zero.

    Args:
        differences: ``[F, K]`` paired differences, one row a test fact.
        permutations: random sign patterns drawn when there are more than 13 facts.
        seed: of the sign patterns.

    Returns:
        ``[K]`` p values; the same sign patterns serve all K columns.
    """
    facts = differences.shape[0]
    observed = np.abs(differences.sum(axis=0))
    # A pattern that ties with the observed one must count as extreme, whatever the rounding of its sum.
    threshold = observed - 1e-12 * np.abs(differences).sum(axis=0)
    if facts <= EXACT_FACTS:
        codes = np.arange(2**facts)[:, None] >> np.arange(facts)
        sums = (1.0 - 2.0 * (codes & 1)) @ differences
        return np.asarray((np.abs(sums) >= threshold).mean(axis=0))
    random = np.random.default_rng([seed, 1])
    extreme = np.zeros(differences.shape[1])
    for count in _blocks(permutations, facts):
        drawn = random.integers(0, 256, size=(count, -(-facts // 8)), dtype=np.uint8)
        signs = 1.0 - 2.0 * np.unpackbits(drawn, axis=1)[:, :facts]
        extreme += (np.abs(signs @ differences) >= threshold).sum(axis=0)
    return np.asarray((1 + extreme) / (1 + permutations))


def holm(p: Sequence[float] | Array) -> Array:
    """Holm's step-down correction of p values ``[m]`` (Scandinavian Journal of Statistics 6 (1979), 65-70)."""
    raw = np.asarray(p, dtype=np.float64)
    order = np.argsort(raw, kind="stable")
    corrected = np.empty_like(raw)
    corrected[order] = np.minimum(np.maximum.accumulate(raw[order] * np.arange(raw.size, 0, -1)), 1)
    return corrected


def _check(values: Array) -> None:
    if values.ndim != 3 or 0 in values.shape or not np.isfinite(values).all():
        raise ValueError(f"paired values need a filled, finite array [seeds, facts, metrics], got {values.shape}")


def _blocks(total: int, width: int) -> Iterator[int]:
    size = max(1, BLOCK // width)
    for start in range(0, total, size):
        yield min(size, total - start)


def _resample(values: Array, resamples: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """Yield blocks of weights ``[B, S]`` of seeds and ``[B, F]`` of facts; each row sums to one."""
    seeds, facts, _ = values.shape
    random = np.random.default_rng([seed, 0])
    drawn = max(seeds - 1, 1)
    for count in _blocks(resamples, facts):
        seed_weights = random.multinomial(drawn, np.full(seeds, 1 / seeds), size=count) / drawn
        picks = random.integers(0, facts, size=(count, facts)) + np.arange(count)[:, None] * facts
        counts = np.bincount(picks.ravel(), minlength=count * facts).reshape(count, facts)
        yield seed_weights, counts / facts


def _by_fact(values: Array) -> Array:
    """Values ``[S, F, K]`` as a table ``[F, S * K]``, by which weights of facts are multiplied."""
    return values.transpose(1, 0, 2).reshape(values.shape[1], -1)


def _mean(seed_weights: Array, fact_weights: Array, table: Array) -> Array:
    """Weighted means ``[B, K]`` of the values of a table, see `_by_fact`."""
    by_seed = (fact_weights @ table).reshape(*seed_weights.shape, -1)
    return np.asarray(np.einsum("bs,bsk->bk", seed_weights, by_seed))


def _means(values: Array, resamples: int, seed: int) -> Array:
    """Means ``[resamples, K]`` of resamples of values ``[S, F, K]``."""
    table = _by_fact(values)
    return np.concatenate([_mean(*weights, table) for weights in _resample(values, resamples, seed)])


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Quotient that is 0 where the numerator is 0 and NaN where only the denominator is."""
    safe = np.where(denominator == 0, 1, denominator)
    return np.where(numerator == 0, 0.0, np.where(denominator == 0, np.nan, numerator / safe))


class Variances(NamedTuple):
    """Estimates ``[K]`` of the parts of the variance of a mean over S seeds and F facts, and intervals from them.

    A value has a part of its seed, a part of its fact, and a rest, with variances σs², σf², σe²; the variance of the
    mean is σs²/S + σf²/F + σe²/(SF), estimated from mean squares (Henderson, Biometrics 9 (1953), 226-252).
    ``seeds`` is σs²/S + σe²/(SF), that of a mean of seeds' means, with S - 1 degrees of freedom; 0 for one seed.
    ``facts`` is σf²/F + σe²/(SF), the variance for these seeds, with F - 1; ``alone`` the first part of it.
    """

    seeds: Array
    facts: Array
    alone: Array
    shape: tuple[int, int]

    def reach(self, tail: ArrayLike) -> Array:
        """How far the end of an interval that leaves out ``tail``, in (0, .5), on its side lies from the mean.

        ``seeds`` and ``alone`` have a t interval each, and the squares of their lengths add up (Howe, JASA 69 (1974),
        789-794), so few seeds count as few. It is no shorter than the interval of the facts for these seeds. NaN with
        one fact, which shows no variance.
        """
        seeds, facts = self.shape
        t_seeds = -stdtrit(seeds - 1, tail) if seeds > 1 else 0.0
        t_facts = -stdtrit(facts - 1, tail) if facts > 1 else np.nan
        both = t_seeds**2 * self.seeds + t_facts**2 * self.alone
        return np.sqrt(np.maximum(both, t_facts**2 * self.facts))

    def score(self, distance: Array) -> Array:
        """The standard normal z, at most `FAR`, whose tail gives an interval that reaches as far as ``distance``."""
        size = np.abs(distance)
        low, high = np.zeros_like(size), np.full_like(size, FAR)
        for _ in range(45):  # halves, to the last digits
            middle = (low + high) / 2
            is_short = self.reach(ndtr(-middle)) < size
            low, high = np.where(is_short, middle, low), np.where(is_short, high, middle)
        return np.sign(distance) * low


def variances(values: Array) -> Variances:
    """Variances of the means of values ``[S, F, K]``."""
    seeds, facts, metrics = values.shape
    by_fact, by_seed = values.mean(axis=0), values.mean(axis=1)
    of_facts = by_fact.var(axis=0, ddof=1) / facts if facts > 1 else np.full(metrics, np.nan)
    if seeds == 1:
        return Variances(np.zeros(metrics), of_facts, of_facts, (seeds, facts))
    rest = values - by_fact - by_seed[:, None] + by_seed.mean(axis=0)
    noise = (rest**2).sum(axis=(0, 1)) / ((seeds - 1) * max(facts - 1, 1)) / (seeds * facts)
    of_seeds = by_seed.var(axis=0, ddof=1) / seeds
    return Variances(of_seeds, of_facts, np.maximum(of_facts - noise, 0), (seeds, facts))


def _intervals(estimates: Array, reach: Array, n: int) -> list[Interval]:
    return [Interval(float(e), float(e - r), float(e + r), n) for e, r in zip(estimates, reach, strict=True)]


@dataclass(frozen=True)
class Threshold:
    """Where a gain along an axis becomes positive for good.

    ``estimate`` and the ends of its interval ``low`` and ``high`` are in units of the axis: -inf where the gain is
    positive at all positions, inf where it is not even at the last one. ``always`` and ``never`` are the shares of
    resamples in which that is so.
    """

    estimate: float
    low: float
    high: float
    always: float
    never: float


def threshold(gains: Array, positions: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> Threshold:
    """The position from which on the mean gain is positive, with its bootstrap interval.

    Between positions it is interpolated linearly. The bootstrap is a percentile bootstrap with both factors resampled,
    seeds outside and facts inside (two-way, or "pigeonhole": Owen, Annals of Applied Statistics 1 (2007), 386-411).
    A resample uses the same facts for all seeds, and the same facts and seeds at all positions. Of S seeds, S - 1 are
    drawn (Rao and Wu, JASA 83 (1988), 231-241), without which the variance between so few would come out (S - 1) / S
    too small.

    Args:
        gains: ``[S, F, K]``, at each of K positions.
        positions: ``[K]``, ascending.
        resamples: number of bootstrap resamples.
        seed: of the resampling.

    Raises:
        ValueError: an axis is empty, a value is not finite, or the positions do not ascend.
    """
    _check(gains)
    places = np.asarray(positions, dtype=np.float64)
    if places.shape != gains.shape[2:] or not (np.diff(places) > 0).all():
        raise ValueError("positions must ascend, one for each gain")
    onsets = np.array([_last_root(row, places) for row in _means(gains, resamples, seed)])
    low, high = np.quantile(onsets, [TAIL, 1 - TAIL], method="inverted_cdf").tolist()
    always, never = (float((onsets == end).mean()) for end in (-np.inf, np.inf))
    return Threshold(_last_root(gains.mean(axis=(0, 1)), places), low, high, always, never)


def _last_root(gains: Array, places: Array) -> float:
    """Where interpolated gains become positive for the last time; -inf: they always are, inf: not at the end."""
    if gains[-1] <= 0:
        return float("inf")
    if (gains > 0).all():
        return float("-inf")
    k = np.flatnonzero(gains <= 0)[-1]
    share = -gains[k] / (gains[k + 1] - gains[k])
    return float(places[k] + share * (places[k + 1] - places[k]))


def detectable(differences: Array, power: float = 0.8, level: float = 0.05, tests: int = 1) -> float:
    """The smallest mean difference that the reports' rule would call better with the given power.

    The rule asks for two things: the interval of `compare` excludes zero, and the sign-flip test is significant as one
    of ``tests`` (the first step of Holm's correction). So the mean must exceed half the length of that interval, and
    z_{1 - level/(2 tests)} standard errors of the test; and the reach of an interval of this power more.

    Args:
        differences: ``[S, F]`` paired differences by seed and test fact.
        power: probability of showing it, in (0, 1).
        level: of test and interval, two-sided, in (0, 1).
        tests: size of the family that Holm's correction is applied to.

    Returns:
        The difference in the unit of ``differences``; NaN with fewer than two facts, which show no variance.
    """
    if differences.shape[1] < 2:
        return float("nan")
    known = variances(differences[:, :, None])
    of_test = -ndtri(level / 2 / tests) * np.sqrt(known.facts)
    return float((np.maximum(known.reach(level / 2), of_test) + known.reach(1 - power))[0])
