"""Intervals and tests, checked against scipy and statsmodels and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from harness.stats import bootstrap_intervals, compare, holm, mean_interval, sign_flip_test


def normal(shape: tuple[int, ...], seed: int = 0, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, shape)


def test_mean_interval_is_scipys_t_interval() -> None:
    sample = [0.2986, 0.2991, 0.3003]
    interval = mean_interval(sample)
    low, high = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-12)
    assert interval.estimate == pytest.approx(np.mean(sample))
    assert interval.n == 3


def test_mean_interval_of_one_value_has_no_ends() -> None:
    interval = mean_interval([0.3])
    assert (interval.estimate, interval.n) == (0.3, 1)
    assert np.isnan([interval.low, interval.high]).all()


@pytest.mark.parametrize("values", [[], [0.1, np.nan], [[0.1]]])
def test_mean_interval_refuses(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one finite value"):
        mean_interval(values)


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_holm_is_that_of_statsmodels(size: int) -> None:
    # rounding makes ties
    p = np.random.default_rng(size).uniform(0, 0.2, size).round(2)
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-12)


def test_sign_flip_is_exact_for_few_facts() -> None:
    differences = normal((10, 1), seed=3, mean=0.5)
    expected = stats.permutation_test((differences[:, 0],), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_test(differences)[0] == pytest.approx(expected.pvalue, abs=1e-12)


def test_sign_flip_agrees_with_scipy_for_many_facts() -> None:
    differences = normal((203, 2), seed=4, mean=0.12)
    expected = stats.permutation_test((differences[:, 0],), np.mean, permutation_type="samples", rng=1)
    t_test = stats.ttest_1samp(differences[:, 0], 0).pvalue
    p = sign_flip_test(differences, permutations=20_000)
    assert p[0] == pytest.approx(expected.pvalue, abs=0.015)
    assert p[0] == pytest.approx(t_test, abs=0.015)


def test_sign_flip_never_gives_zero_and_gives_one_for_no_difference() -> None:
    assert sign_flip_test(np.ones((50, 1)), permutations=999)[0] == 1 / 1000
    assert sign_flip_test(np.zeros((50, 1)), permutations=999)[0] == 1
    assert sign_flip_test(np.zeros((5, 1)))[0] == 1


def test_sign_flip_keeps_its_level() -> None:
    """Under the null hypothesis a p value below .05 comes up once in twenty: 1,000 columns are 1,000 tests."""
    p = sign_flip_test(normal((60, 1000), seed=5), permutations=999)
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.025)


def test_bootstrap_of_one_seed_is_scipys_bootstrap_over_facts() -> None:
    values = np.random.default_rng(6).exponential(1, (1, 300, 1))
    ours = bootstrap_intervals(values, resamples=20_000)[0]
    theirs = stats.bootstrap((values[0, :, 0],), np.mean, method="percentile", n_resamples=20_000, rng=1)
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.01)
    assert ours.estimate == values.mean()


def test_bootstrap_without_noise_between_facts_has_the_variance_between_seeds() -> None:
    """Rao and Wu's S - 1 draws: the bootstrap variance is s²/S, not s²(S - 1)/S²."""
    per_seed = np.linspace(0, 1, 6)
    values = np.repeat(per_seed[:, None, None], 5, axis=1)
    comparison = compare(values, np.zeros_like(values), resamples=20_000)[0]
    standard_error = per_seed.std(ddof=1) / np.sqrt(6)
    half = (comparison.difference.high - comparison.difference.low) / 2
    assert half == pytest.approx(1.96 * standard_error, rel=0.05)
    assert comparison.per_seed == pytest.approx(tuple(per_seed))


def test_compare_reports_difference_relative_gain_and_effect() -> None:
    base = np.abs(normal((3, 400, 2), seed=7)) + 0.5
    noise = 0.1 * normal((3, 400, 2), seed=8)
    arm = base + 0.2 + noise
    first, second = compare(arm, base, resamples=500, permutations=499)
    second_delta = (arm - base)[..., 1]
    assert first.difference.estimate == pytest.approx(0.2, abs=0.02)
    assert first.difference.low < first.difference.estimate < first.difference.high
    assert first.relative.estimate == pytest.approx((arm - base)[..., 0].mean() / base[..., 0].mean())
    assert second.effect.estimate == pytest.approx(second_delta.mean() / second_delta.std())
    assert second.effect.low < second.effect.estimate < second.effect.high
    assert first.p == 1 / 500
    assert first.difference.n == 400


def test_effect_interval_is_that_of_a_direct_bootstrap() -> None:
    """Moments from weights equal those of drawn samples."""
    delta = normal((1, 150, 1), seed=9, mean=0.4)
    ours = compare(delta + 5, np.full_like(delta, 5), resamples=8000)[0].effect
    random = np.random.default_rng(1)
    sample = delta[0, random.integers(0, 150, (8000, 150)), 0]
    low, high = np.quantile(sample.mean(axis=1) / sample.std(axis=1), [0.025, 0.975])
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.02)


def test_equal_arms_differ_by_nothing() -> None:
    values = normal((2, 40, 1), seed=10) + 3
    comparison = compare(values, values)[0]
    assert comparison.difference == comparison.effect == comparison.relative
    assert (comparison.difference.low, comparison.difference.high, comparison.p) == (0, 0, 1)


def test_same_seed_same_numbers_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    arm, base = normal((3, 100, 1), seed=11), normal((3, 100, 1), seed=12)
    first = compare(arm, base, resamples=300)
    assert compare(arm, base, resamples=300) == first
    assert compare(arm, base, resamples=300, seed=1) != first
    monkeypatch.setattr("harness.stats.BLOCK", 100_000)
    assert compare(arm, base, resamples=300)[0].difference == first[0].difference


@pytest.mark.parametrize(
    ("arm", "base"),
    [
        (np.zeros((2, 3, 1)), np.zeros((2, 4, 1))),
        (np.zeros((2, 0, 1)), np.zeros((2, 0, 1))),
        (np.full((1, 3, 1), np.nan), np.zeros((1, 3, 1))),
        (np.zeros((3, 1)), np.zeros((3, 1))),
    ],
)
def test_compare_refuses(arm: np.ndarray, base: np.ndarray) -> None:
    with pytest.raises(ValueError, match="paired values need"):
        compare(arm, base)


@pytest.mark.slow
@pytest.mark.parametrize("between_seeds", [0.0, 0.0015, 0.004])
def test_interval_covers_the_truth_with_three_seeds(between_seeds: float) -> None:
    """95 % intervals hold the true difference (0) at least 93 % of the time, with facts shared by the seeds."""
    random = np.random.default_rng(13)
    covered, runs = 0, 300
    for _ in range(runs):
        delta = random.normal(0, between_seeds, (3, 1, 1)) + random.normal(0, 0.05, (1, 500, 1))
        interval = bootstrap_intervals(delta + random.normal(0, 0.1, (3, 500, 1)), resamples=600)[0]
        covered += interval.low <= 0 <= interval.high
    assert covered / runs >= 0.93
