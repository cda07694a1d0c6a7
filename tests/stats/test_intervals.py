"""Intervals and tests, checked against scipy and statsmodels and by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower, TTestPower

from harness.stats import (
    compare,
    detectable,
    holm,
    mean_interval,
    mean_intervals,
    sign_flip_test,
    threshold,
    variances,
)


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


def test_with_one_seed_the_interval_is_a_t_interval_over_facts() -> None:
    values = np.random.default_rng(6).exponential(1, (1, 30, 2))
    for k, interval in enumerate(mean_intervals(values)):
        low, high = stats.ttest_1samp(values[0, :, k], 0).confidence_interval(0.95)
        assert (interval.low, interval.high, interval.n) == (pytest.approx(low), pytest.approx(high), 30)


def test_one_fact_shows_no_variance() -> None:
    for seeds in (1, 3):
        interval = mean_intervals(np.ones((seeds, 1, 1)))[0]
        assert interval.estimate == 1
        assert np.isnan([interval.low, interval.high]).all()


def test_where_seeds_make_all_the_noise_the_interval_is_a_t_interval_over_seeds() -> None:
    per_seed = np.linspace(0, 1, 6)
    values = np.repeat(per_seed[:, None, None], 5, axis=1)
    comparison = compare(values, np.zeros_like(values))[0]
    low, high = stats.ttest_1samp(per_seed, 0).confidence_interval(0.95)
    assert (comparison.difference.low, comparison.difference.high) == pytest.approx((low, high))
    assert comparison.per_seed == pytest.approx(tuple(per_seed))


def test_variances_are_those_of_an_analysis_of_variance() -> None:
    """Of statsmodels, by the method of moments: E MSs = F σs² + σe², E MSf = S σf² + σe², E MSe = σe²."""
    seeds, facts = 4, 7
    values = (
        normal((seeds, facts, 1), seed=20) + 2 * normal((seeds, 1, 1), seed=21) + 3 * normal((1, facts, 1), seed=22)
    )
    table = pd.DataFrame([(s, f, values[s, f, 0]) for s in range(seeds) for f in range(facts)], columns=["s", "f", "v"])
    anova = anova_lm(ols("v ~ C(s) + C(f)", table).fit())
    of_seeds, of_facts, rest = anova["sum_sq"] / anova["df"]
    components = {"s": (of_seeds - rest) / facts, "f": (of_facts - rest) / seeds}
    known = variances(values)
    assert known.seeds[0] == pytest.approx(components["s"] / seeds + rest / (seeds * facts))
    assert known.facts[0] == pytest.approx(components["f"] / facts + rest / (seeds * facts))
    assert known.alone[0] == pytest.approx(components["f"] / facts)
    t_seeds, t_facts = stats.t.isf(0.025, [seeds - 1, facts - 1])
    assert known.reach(0.025)[0] == pytest.approx(
        np.hypot(t_seeds * known.seeds[0] ** 0.5, t_facts * known.alone[0] ** 0.5)
    )


def test_the_interval_is_no_shorter_than_that_of_facts_for_these_seeds() -> None:
    """Seeds that agree by chance more than the rest allows."""
    values = normal((3, 50, 1), seed=23)
    values -= values.mean(axis=1, keepdims=True)
    by_fact = mean_intervals(values.mean(axis=0, keepdims=True))[0]
    interval = mean_intervals(values)[0]
    assert (interval.low, interval.high) == pytest.approx((by_fact.low, by_fact.high))


def test_a_score_is_the_tail_of_an_interval_that_just_reaches() -> None:
    known = variances(normal((4, 60, 3), seed=24) + normal((4, 1, 3), seed=25) * [0, 0.1, 1])
    for z in (0.5, 1.96, 5.0):
        distance = known.reach(stats.norm.sf(z))
        assert known.score(distance) == pytest.approx(np.full(3, z))
        assert known.score(-distance) == pytest.approx(np.full(3, -z))
    assert (known.score(np.zeros(3)) == 0).all()


def test_compare_reports_difference_relative_gain_and_effect() -> None:
    base = np.abs(normal((3, 400, 2), seed=7)) + 0.5
    noise = 0.1 * normal((3, 400, 2), seed=8)
    arm = base + 0.2 + noise
    first, second = compare(arm, base, permutations=499)
    second_delta = (arm - base)[..., 1]
    assert first.difference.estimate == pytest.approx(0.2, abs=0.02)
    assert first.difference.low < first.difference.estimate < first.difference.high
    assert first.relative.estimate == pytest.approx((arm - base)[..., 0].mean() / base[..., 0].mean())
    assert second.effect.estimate == pytest.approx(second_delta.mean() / second_delta.std())
    assert second.effect.low < second.effect.estimate < second.effect.high
    assert first.p == 1 / 500
    assert first.difference.n == 400


def test_intervals_of_ratios_are_those_of_a_direct_bootstrap() -> None:
    base = np.abs(normal((1, 400, 1), seed=9)) + 1
    arm = base + 0.4 + normal((1, 400, 1), seed=26)
    ours = compare(arm, base)[0]
    picked = np.random.default_rng(1).integers(0, 400, (8000, 400))
    sample, of_base = (arm - base)[0, picked, 0], base[0, picked, 0]
    for interval, drawn in (
        (ours.relative, sample.mean(axis=1) / of_base.mean(axis=1)),
        (ours.effect, sample.mean(axis=1) / sample.std(axis=1)),
    ):
        assert (interval.low, interval.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.01)


def test_equal_arms_differ_by_nothing() -> None:
    values = normal((2, 40, 1), seed=10) + 3
    comparison = compare(values, values)[0]
    assert comparison.difference == comparison.effect == comparison.relative
    assert (comparison.difference.low, comparison.difference.high, comparison.p) == (0, 0, 1)


def test_same_seed_same_numbers_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    arm, base = normal((3, 100, 1), seed=11), normal((3, 100, 1), seed=12)
    first = compare(arm, base)
    assert compare(arm, base) == first
    assert compare(arm, base, seed=1)[0].p != first[0].p
    monkeypatch.setattr("harness.stats.intervals.BLOCK", 100_000)
    assert compare(arm, base)[0].difference == first[0].difference


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


#: (σs²/S, σf²/F, σe²/(SF)), parts of the variance of a mean
PARTS = [(0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 0.5, 1), (3, 1, 0.3), (1, 1, 0.01), (10, 0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5, 8, 20])
@pytest.mark.parametrize("parts", PARTS)
def test_intervals_cover_the_truth_with_few_seeds(parts: tuple[float, float, float], seeds: int) -> None:
    """At least 95 % of 8,000 intervals hold the true mean (0), give or take three errors of the simulation."""
    random, facts, runs = np.random.default_rng(13), 60, 8000
    by_seed, by_fact, rest = np.sqrt(np.multiply(parts, (seeds, facts, seeds * facts)))
    covered = 0
    for _ in range(8):
        values = random.normal(0, by_seed, (seeds, 1, 1000)) + random.normal(0, by_fact, (1, facts, 1000))
        values = values + random.normal(0, rest, (seeds, facts, 1000))
        covered += int((np.abs(values.mean(axis=(0, 1))) <= variances(values).reach(0.025)).sum())
    assert covered / runs >= 0.95 - 3 * (0.05 * 0.95 / runs) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 8, 20])
def test_intervals_cover_gains_of_reciprocal_ranks(seeds: int) -> None:
    """Ranks of two arms over seeds, heavy-tailed and correlated by fact, drawn from a population of 4,000 facts."""
    random, facts, runs = np.random.default_rng(27), 300, 2000
    hardness, gain = random.normal(3, 2, 4000), random.normal(0.1, 0.3, 4000)  # log rank, and what the arm improves

    def drawn(hard: np.ndarray, seeds: int) -> np.ndarray:
        """Reciprocal ranks ``[S, F]``."""
        return 1 / np.maximum(
            1, np.exp(hard + random.normal(0, 0.02, (seeds, 1)) + random.normal(0, 0.7, (seeds, len(hard))))
        )

    truth = np.array([drawn(hardness - gain, 500).mean(), drawn(hardness, 500).mean()])
    covered = np.zeros(2)
    for _ in range(runs):
        chosen = random.integers(0, 4000, facts)
        arm, base = drawn((hardness - gain)[chosen], seeds), drawn(hardness[chosen], seeds)
        of_run = compare(arm[..., None], base[..., None], permutations=1)[0]
        for k, (interval, value) in enumerate(
            [(of_run.difference, truth[0] - truth[1]), (of_run.relative, truth[0] / truth[1] - 1)]
        ):
            covered[k] += interval.low <= value <= interval.high
    assert covered.min() / runs >= 0.95 - 3 * (0.05 * 0.95 / runs) ** 0.5


POSITIONS = np.log2([5, 10, 25, 50, 100, 200])


def gains_of(truth: list[float], random: np.random.Generator, seeds: int, facts: int) -> np.ndarray:
    """Gains ``[S, F, K]`` around the truth, with parts of seeds, of facts (partly shared by positions), and a rest."""
    k = len(truth)
    shared = random.normal(0, 0.5, (1, facts, 1)) + random.normal(0, 0.5, (1, facts, k))
    return np.asarray(truth) + random.normal(0, 0.02, (seeds, 1, k)) + shared + random.normal(0, 0.5, (seeds, facts, k))


def test_threshold_is_where_the_line_between_two_positions_crosses_zero() -> None:
    truth = [-0.4, -0.3, -0.1, 0.3, 0.4, 0.5]
    values = gains_of(truth, np.random.default_rng(0), seeds=2, facts=50)
    # the means are exact: only the noise around them is drawn
    actual = threshold(values - values.mean(axis=(0, 1)) + truth, POSITIONS, resamples=200)
    # a quarter of the way from 25 to 50
    assert actual.estimate == pytest.approx(np.log2(25) + 0.25)
    assert actual.low < actual.estimate < actual.high
    assert (actual.always, actual.never) == (0, 0)


def test_threshold_is_the_last_crossing() -> None:
    gains = np.tile([[-0.1, 0.1, -0.1, 0.2, 0.0, 0.1]], (1, 20, 1))
    actual = threshold(gains, range(6), resamples=20)
    assert (actual.estimate, actual.low, actual.high) == (4, 4, 4)


def test_threshold_of_a_gain_everywhere_or_not_at_the_end_is_infinite() -> None:
    above = gains_of([2.0] * 6, np.random.default_rng(1), seeds=3, facts=40)
    always, never = threshold(above, POSITIONS, resamples=100), threshold(-above, POSITIONS, resamples=100)
    assert (always.estimate, always.low, always.high, always.always, always.never) == (-np.inf,) * 3 + (1, 0)
    assert (never.estimate, never.low, never.high, never.always, never.never) == (np.inf,) * 3 + (0, 1)


def test_threshold_shares_count_resamples_without_a_crossing() -> None:
    """One fact in twenty carries the whole gain: a resample without it has none, (19/20)^20 of them."""
    gains = np.full((1, 20, 2), -0.01)
    gains[0, 0] = [-0.01, 5.0]
    actual = threshold(gains, [0, 1], resamples=4000)
    assert actual.never == pytest.approx(0.95**20, abs=0.025)
    assert actual.high == np.inf
    assert actual.always == 0


@pytest.mark.parametrize("positions", [[1, 2], [1, 3, 3], [3, 2, 1], [[1, 2, 3]]])
def test_threshold_refuses_positions_that_do_not_ascend(positions: list[float]) -> None:
    with pytest.raises(ValueError, match="positions must ascend, one for each gain"):
        threshold(np.zeros((1, 5, 3)), positions)


@pytest.mark.parametrize(("slope", "least"), [(0.04, 0.9), (0.2, 0.9)])
def test_threshold_interval_covers_the_true_crossing(slope: float, least: float) -> None:
    """Gains that grow linearly and cross zero at position 3.3: shallow (wide, often open intervals) and steep."""
    places, random, covered, runs = np.arange(6.0), np.random.default_rng(14), 0, 150
    for _ in range(runs):
        gains = gains_of(list(slope * (places - 3.3)), random, seeds=3, facts=150)
        actual = threshold(gains, places, resamples=300)
        covered += actual.low <= 3.3 <= actual.high
    assert least <= covered / runs


def test_threshold_interval_is_not_wider_than_it_has_to_be() -> None:
    """With noise of facts only, the interval covers 95 %, not 100 %; its width is that of the delta method."""
    places, random, widths, covered, runs = np.arange(6.0), np.random.default_rng(15), [], 0, 200
    for _ in range(runs):
        noise = random.normal(0, 0.5, (1, 200, 6))
        actual = threshold(0.3 * (places - 3.3) + noise, places, resamples=400)
        covered += actual.low <= 3.3 <= actual.high
        widths.append(actual.high - actual.low)
    # the crossing is 3 + a / (a + b) with a = .09, b = .21: by the delta method
    error = 0.5 / np.sqrt(200) * np.hypot(0.21, 0.09) / 0.3**2
    assert np.median(widths) == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert 0.9 <= covered / runs <= 0.99


def test_detectable_with_one_seed_is_that_of_a_z_test_over_facts() -> None:
    differences = normal((1, 400), seed=16) * 0.1
    for tests in (1, 6):
        # one sample: the second one is infinitely large
        effect = NormalIndPower(ddof=0).solve_power(nobs1=400, alpha=0.05 / tests, power=0.8, ratio=0)
        actual = detectable(differences, tests=tests)
        assert actual == pytest.approx(effect * differences.std(ddof=1), rel=5e-3)


def test_detectable_with_many_seeds_is_that_of_a_t_test_over_seeds() -> None:
    """Seeds cause all the noise: what sees it is a t test over seeds, whose factor with 60 of them is nearly z's."""
    by_seed = normal((60, 1), seed=17)
    effect = TTestPower().solve_power(nobs=60, alpha=0.01, power=0.9)
    actual = detectable(np.tile(by_seed, (1, 50)), power=0.9, level=0.01)
    assert actual == pytest.approx(effect * by_seed.std(ddof=1), rel=0.03)


def test_detectable_grows_with_power_and_with_the_family() -> None:
    differences = normal((3, 200), seed=18)
    assert detectable(differences, power=0.9) > detectable(differences, power=0.8)
    assert detectable(differences, tests=50) > detectable(differences, tests=1)
    assert np.isnan(detectable(normal((3, 1), seed=1)))


@pytest.mark.parametrize(
    ("seeds", "by_seed", "by_fact", "others", "tests"),
    [(1, 0, 0.1, 0, 6), (3, 0.003, 0.05, 0.1, 1), (5, 0.01, 0.05, 0.1, 6), (5, 0, 0, 0.1, 1), (5, 0.1, 0.05, 0.1, 1)],
)
def test_a_difference_that_is_detectable_is_seen_four_times_in_five(
    seeds: int, by_seed: float, by_fact: float, others: float, tests: int
) -> None:
    """Of the reports' own rule: the interval and the sign-flip test, as the first of ``tests`` by Holm."""
    random, facts = np.random.default_rng(19), 100

    def drawn(mean: float) -> np.ndarray:
        noise = random.normal(0, by_seed, (seeds, 1)) + random.normal(0, by_fact, (1, facts))
        return mean + noise + random.normal(0, others, (seeds, facts))

    wanted = float(np.mean([detectable(drawn(0), tests=tests) for _ in range(300)]))
    seen, runs = 0, 250
    for _ in range(runs):
        actual = compare(drawn(wanted)[..., None], np.zeros((seeds, facts, 1)), permutations=1199)[0]
        seen += actual.difference.low > 0 and actual.p * tests < 0.05
    # three standard errors of 250 runs are .076, and few seeds show too little variance more often than too much
    assert 0.68 <= seen / runs <= 0.9
