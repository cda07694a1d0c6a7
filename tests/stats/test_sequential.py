"""Sequential tests, checked against published tables and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.stats import holm, variances
from harness.stats.sequential import FAR, FUTILE, LOOKS, bounds, judge, sequential_p, spending

FIFTHS = np.arange(1, 6) / 5
SHARES = [look / LOOKS[-1] for look in LOOKS]


def test_bounds_are_those_of_published_tables() -> None:
    """Five equal looks, two-sided .05: Jennison and Turnbull, Group Sequential Methods (2000), chapters 2 and 7."""
    obrien_fleming = 4 * stats.norm.sf(stats.norm.isf(0.05 / 4) / np.sqrt(FIFTHS))
    assert bounds(FIFTHS, obrien_fleming) == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=6e-4)
    pocock = 0.05 * np.log(1 + (np.e - 1) * FIFTHS)
    assert bounds(FIFTHS, pocock) == pytest.approx([2.438, 2.427, 2.410, 2.397, 2.386], abs=6e-4)


def test_bounds_spend_what_they_may() -> None:
    """Of 400,000 paths of sums of independent scores, the planned share crosses at each look."""
    random = np.random.default_rng(0)
    steps = np.sqrt(np.diff([0, *SHARES]))
    z = np.cumsum(random.normal(size=(400_000, len(LOOKS))) * steps, axis=1) / np.sqrt(SHARES)
    crossed = np.abs(z) >= bounds(SHARES, [0.05 * share for share in SHARES])
    by_look = [(crossed[:, look] & ~crossed[:, :look].any(axis=1)).mean() for look in range(len(LOOKS))]
    assert by_look == pytest.approx(np.diff([0, *SHARES]) * 0.05, abs=6e-4)


@pytest.mark.parametrize("looks", [LOOKS, (*LOOKS, 32), (3, 5, 8), (2, 3, 4, 5, 6)])
def test_scores_of_few_seeds_cross_no_more_often_than_they_may(looks: tuple[int, ...]) -> None:
    """Seeds make all the noise: t statistics of the first seeds of 100,000 studies."""
    values = np.random.default_rng(4).normal(size=(100_000, looks[-1]))
    crossed = np.zeros(len(values), dtype=bool)
    for look, bound in zip(looks, bounds([look / looks[-1] for look in looks], spending(0.05, looks)), strict=True):
        t = values[:, :look].mean(axis=1) / values[:, :look].std(axis=1, ddof=1) * look**0.5
        crossed |= np.abs(t) >= stats.t.isf(stats.norm.sf(bound), look - 1)
    assert 0.04 < crossed.mean() <= 0.05 + 3 * (0.05 * 0.95 / len(values)) ** 0.5


def test_a_look_that_spends_nothing_has_no_bound() -> None:
    first, second = bounds([0.5, 1], [0, 0.05])
    assert first == FAR
    assert second == pytest.approx(stats.norm.isf(0.025), abs=1e-3)


def test_one_look_is_the_usual_test() -> None:
    for z in (0.3, 1.0, 1.96, 4.0):
        assert sequential_p([z], [7]) == pytest.approx(2 * stats.norm.sf(z), rel=1e-3)
    assert sequential_p([0.0], [7]) == 1


@settings(deadline=None)  # the first call makes a table
@given(level=st.floats(1e-6, 0.9), look=st.integers(0, len(LOOKS) - 1))
def test_a_score_on_a_bound_has_the_level_of_that_bound(level: float, look: int) -> None:
    limits = bounds(SHARES, spending(level, LOOKS))
    z = [0.0] * look + [limits[look]]
    assert sequential_p(z, LOOKS) == pytest.approx(level, rel=1e-3)
    assert sequential_p([-value for value in z], LOOKS) == sequential_p(z, LOOKS)


def test_a_later_look_takes_nothing_back() -> None:
    assert sequential_p([5.0, 0.0, 0.0], LOOKS) == sequential_p([5.0], LOOKS)


def made(
    effect: float, by_seed: float, by_fact: float, rest: float, *, seeds: int = 20, facts: int = 100
) -> np.ndarray:
    random = np.random.default_rng(1)
    parts = random.normal(0, by_seed, (seeds, 1, 1)) + random.normal(0, by_fact, (1, facts, 1))
    return effect + parts + random.normal(0, rest, (seeds, facts, 1))


def test_a_large_effect_is_decided_early_and_none_is_equivalent() -> None:
    margins = np.array([0.05])
    large = judge(made(1.0, 0.01, 0.01, 0.01)[:3], range(3), margins, LOOKS, 3)
    assert large.p[0] < 0.01
    assert large.p_equal[0] == 1
    none = judge(made(0.0, 0.01, 0.01, 0.01)[:5], range(5), margins, LOOKS, 5)
    assert none.p_equal[0] < 0.01
    assert none.p[0] > 0.05


def test_facts_that_disagree_make_more_seeds_futile() -> None:
    """No number of seeds tells an effect of .1 from none where a hundred facts scatter by 5."""
    values = made(0.1, 0.01, 5.0, 0.01)
    values += 0.1 - values.mean()
    judged = judge(values[:5], range(5), np.array([0.01]), LOOKS, 5)
    assert judged.chance[0] < FUTILE
    open_ = judge(made(0.05, 0.15, 0.0, 0.01)[:3], range(3), np.array([0.01]), LOOKS, 3)
    assert open_.chance[0] > FUTILE


def test_looks_use_the_first_seeds_alone_whatever_failed() -> None:
    values = made(0.4, 0.1, 0.1, 0.1)
    kept = [0, 1, 3, 4]  # seed 2 failed
    judged = judge(values[kept], kept, np.array([0.01]), LOOKS, 5)
    three, five = values[[0, 1]], values[kept]
    z = [variances(part).score(part.mean(axis=(0, 1)))[0] for part in (three, five)]
    assert judged.p[0] == pytest.approx(sequential_p(z, LOOKS))


def test_before_the_first_look_nothing_is_decided() -> None:
    judged = judge(made(1.0, 0.01, 0.01, 0.01)[:2], range(2), np.array([0.05]), LOOKS, 2)
    assert (judged.p[0], judged.p_equal[0]) == (1, 1)


NOISES = [(0.1, 0, 0.05), (0.1, 0.1, 0.3), (0.1, 0.9, 1), (0, 0, 1), (0, 1, 0.2)]


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISES)
def test_of_comparisons_without_a_difference_few_are_ever_decided(noise: tuple[float, float, float]) -> None:
    random, (by_seed, by_fact, rest) = np.random.default_rng(3), noise
    false = 0.0
    for _ in range(5):
        values = random.normal(0, by_seed, (20, 1, 2000)) + random.normal(0, by_fact, (1, 100, 2000))
        values = values + random.normal(0, rest, (20, 100, 2000))
        false += (judge(values, range(20), np.full(2000, 1e-9), LOOKS, 20).p < 0.05).mean() / 5
    assert false <= 0.05 + 3 * (0.05 * 0.95 / 10_000) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "noise", [(0.1, 0.0, 0.05), (0.1, 0.1, 0.3), (0.1, 0.9, 1.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.2)]
)
def test_the_whole_procedure_keeps_its_level_and_stops_early(noise: tuple[float, float, float]) -> None:
    """Families of four, looked at until all is decided or futile, with seeds, facts, both, or neither as noise."""
    random = np.random.default_rng(2)
    by_seed, by_fact, rest = noise
    size = np.sqrt(by_seed**2 / 20 + by_fact**2 / 100 + rest**2 / 2000)  # the standard error of 20 seeds
    effects, margins = np.array([0, 0, 5 * size, 5 * size]), np.full(4, 1.5 * size)
    runs, false, wrongly_equal, power, stopped = 600, 0, 0, 0.0, 0
    for _ in range(runs):
        shape = (20, 100, 4)
        values = effects + random.normal(0, by_seed, (20, 1, 4)) + random.normal(0, by_fact, (1, 100, 4))
        values = values + random.normal(0, rest, shape)
        for look in LOOKS:
            judged = judge(values[:look], range(look), margins, LOOKS, look)
            shown, equal = holm(judged.p) < 0.05, holm(judged.p_equal) < 0.05
            if (shown | equal | (judged.chance < FUTILE)).all():
                break
        false += bool(shown[:2].any())
        wrongly_equal += bool(equal[2:].any())
        power += shown[2:].mean()
        stopped += look
    limit = stats.binom.ppf(0.999, runs, 0.05)
    assert false <= limit
    assert wrongly_equal <= limit
    assert power / runs > 0.6
    assert stopped / runs < 20
