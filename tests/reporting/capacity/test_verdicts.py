"""Verdicts and sentences on dimensions, from numbers set by hand; levels of a factor."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.reporting.capacity.numbers import GAINS_COLUMNS, KEPT_COLUMNS, THRESHOLD_COLUMNS, Numbers, Sizes
from harness.reporting.capacity.verdicts import dimension, judge, summary, threshold_in_words
from harness.reporting.data.about import facts, settings
from harness.vocabulary import arm_name
from tests.reporting.conftest import CAPACITY, DIMS

Make = Callable[..., Any]
FULL = "L1+L2+L3"


def numbers_of(
    verdicts: dict[int, str], grown: tuple[tuple[int, int], ...] = (), seeds: int = 3, few: int | None = None
) -> Numbers:
    """A backbone with the verdicts at each dimension; ``grown`` are the decided contrasts, which have ``few`` seeds."""
    rows: list[dict[str, Any]] = []
    key = {"backbone": "ttranse", "arm": FULL, "base": "L1", "metric": "mrr", "detectable": 0.004}
    for dim, verdict in verdicts.items():
        place = {"dim": dim, "smaller": pd.NA, "difference": 0.01, "difference_low": 0, "difference_high": 0.02}
        rows.append(key | place | {"verdict": verdict, "seeds": seeds, "detectable": 0.002 if dim == 5 else 0.004})
        for smaller in [other for other in verdicts if other < dim]:
            decided = "better" if (dim, smaller) in grown else "undecided"
            more = {"smaller": smaller, "difference": 0.001 * dim, "verdict": decided, "seeds": few or seeds}
            rows.append(key | place | more | {"difference_low": 0.0005, "difference_high": 0.09})
    gains = pd.DataFrame(rows, columns=GAINS_COLUMNS).astype({"smaller": "Int64"})
    means = pd.DataFrame(columns=["backbone", "arm", "dim", "metric", "mean", "n"])
    return Numbers(means, gains, pd.DataFrame(columns=KEPT_COLUMNS), pd.DataFrame(columns=THRESHOLD_COLUMNS))


def verdict(name: str, numbers: Numbers, dims: list[int]) -> tuple[str, str]:
    (claim,) = judge([name, "C2"], numbers, {"ttranse": dims})
    assert claim.backbone == "TTransE"
    return claim.verdict, claim.reason.replace("\N{NO-BREAK SPACE}", " ")


def better(*dims: int, of: tuple[int, ...] = DIMS) -> dict[int, str]:
    return {dim: "better" if dim in dims else "undecided" for dim in of}


def test_c9_is_supported_by_a_gain_that_grows_from_a_size_without_one() -> None:
    word, reason = verdict("C9", numbers_of(better(50, 100), ((50, 5), (100, 25))), [*DIMS])
    assert word == "supported"
    assert reason == (
        "better than L1 at 50 and 100 dimensions, not at 5, 10, 25 and 200; "
        "the gain at 100 dimensions minus that at 25 is +0.1000 [0.0005, 0.0900]"
    )


@pytest.mark.parametrize(
    "grown",
    [
        # no contrast; one between two sizes without a gain; one between two sizes with a gain
        (),
        ((25, 5),),
        ((100, 50),),
        # from a size with a gain to one without
        ((200, 50),),
    ],
)
def test_c9_needs_a_decided_contrast_of_a_gain_and_none_at_a_smaller_size(grown: tuple[tuple[int, int], ...]) -> None:
    word, reason = verdict("C9", numbers_of(better(50, 100), grown), [*DIMS])
    assert word == "undecided"
    assert "the gain at 100 dimensions minus that at" in reason
    assert reason.endswith("which is not decided; a difference of 0.0040 would be seen with a power of 80 %")


def test_c9_is_contradicted_by_a_gain_at_every_size() -> None:
    assert verdict("C9", numbers_of(better(*DIMS)), [*DIMS])[0] == "contradicted"
    word, reason = verdict("C9", numbers_of(better(10, 25, of=(10, 25))), [5, 10, 25])
    assert (word, reason) == ("undecided", "better than L1 at 10 and 25 dimensions; nothing to compare at 5")


def test_c9_without_any_gain_says_what_could_have_been_seen() -> None:
    word, reason = verdict("C9", numbers_of(better()), [*DIMS])
    assert word == "undecided"
    assert reason == (
        "the language model is shown to help at none of the dimensions; a difference of 0.0020 to 0.0040, depending on "
        "the dimension, would be seen with a power of 80 %"
    )
    assert "and to harm at 10" in verdict("C9", numbers_of(better() | {10: "worse"}), [*DIMS])[1]


def test_c9_is_equivalent_where_no_dimension_gains_more_than_the_margin() -> None:
    same = dict.fromkeys(DIMS, "equivalent")
    assert verdict("C9", numbers_of(same), [*DIMS])[0] == "equivalent"
    assert verdict("C9", numbers_of(same | {5: "undecided"}), [*DIMS])[0] == "undecided"
    numbers = numbers_of(same)
    numbers.gains["relative"] = 0.001
    assert "No difference beyond the margin at 5 (+0.1" in summary(numbers, [*DIMS], "ttranse")[0]


def test_c9_is_not_about_larger_students_without_a_gain() -> None:
    word, reason = verdict("C9", numbers_of(better(5, 10), ((200, 5),)), [*DIMS])
    assert word == "undecided"
    assert "where it does not help, students are larger, not smaller" in reason


def test_c9_needs_two_dimensions() -> None:
    assert verdict("C9", numbers_of({25: "better"}), [25])[0] == "not tested"


@pytest.mark.parametrize(("seeds", "few"), [(1, None), (3, 1)])
def test_one_seed_decides_nothing_about_c9(seeds: int, few: int | None) -> None:
    """Neither one seed at each dimension, nor one that both dimensions of the contrast have."""
    numbers = numbers_of(better(50, 100), ((100, 5),), seeds, few)
    word, reason = verdict("C9", numbers, [*DIMS])
    assert word == "undecided"
    assert reason.endswith("with one seed this is no verdict on the method (it would read: supported)")


def shares(low: float, high: float, n: int = 3, arms: tuple[str, ...] = ("none", "L1", FULL)) -> Numbers:
    means = [("ttranse", arm, 25, "mrr", 0.3, n) for arm in arms] + [("ttranse", "teacher", 400, "mrr", 0.31, 1)]
    ends = {"none": (0.85, 0.87), "L1": (0.9, 0.92), FULL: (low, high)}
    rows = [("ttranse", arm, 25, np.mean(ends[arm]), *ends[arm]) for arm in arms]
    columns = ["backbone", "arm", "dim", "metric", "mean", "n"]
    frame, none = pd.DataFrame(means, columns=columns), numbers_of({})
    return dataclasses.replace(none, means=frame, kept=pd.DataFrame(rows, columns=KEPT_COLUMNS))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.95, 1.01, "supported"),
        (0.96, 0.99, "supported"),
        (0.949, 0.99, "undecided"),
        (0.9, 0.95, "undecided"),
        (0.9, 0.949, "contradicted"),
    ],
)
def test_c10_asks_for_nineteen_twentieths(low: float, high: float, expected: str) -> None:
    word, reason = verdict("C10", shares(low, high), [25])
    assert word == expected
    stated = f"{50 * (low + high):.1f} % [{100 * low:.1f}, {100 * high:.1f}] of the MRR of its teacher (400-d)"
    assert reason == f"L1 + L2 + L3 keeps {stated}; no distillation 86.0 % [85.0, 87.0] and L1 91.0 % [90.0, 92.0]"


def test_c10_needs_the_student_the_teacher_and_seeds() -> None:
    assert verdict("C10", shares(0.97, 0.99, n=1), [25])[0] == "undecided"
    word, reason = verdict("C10", shares(0.97, 0.99, arms=("L1",)), [25])
    assert word == "not tested"
    assert reason.endswith("kept of the MRR of its teacher (400-d): L1 91.0 % [90.0, 92.0]")
    mine = shares(0.97, 0.99)
    alone = dataclasses.replace(mine, means=mine.means[mine.means["arm"] != "teacher"], kept=mine.kept.iloc[:0])
    assert verdict("C10", alone, [25]) == ("not tested", "there is no teacher to compare with")
    larger = dataclasses.replace(mine, means=mine.means.assign(dim=mine.means["dim"].replace({25: 50})))
    assert verdict("C10", larger, [50]) == ("not tested", "there is no student of 25 dimensions")


def threshold_row(estimate: float, low: float, high: float, **others: Any) -> Numbers:
    values = {"backbone": "ttranse", "arm": FULL, "base": "L1", "threshold": estimate, "low": low, "high": high}
    remaining = {"always": 0.0, "never": 0.0, "smallest": 5, "largest": 200, "seeds": 3, "facts": 4000}
    return dataclasses.replace(numbers_of({}), thresholds=pd.DataFrame([values | remaining | others]))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            threshold_row(14.2, 6.4, 61.7),
            "is positive from 14 dimensions on (95 % interval of the threshold: 6.4 to 62; over 3 seeds).",
        ),
        (
            threshold_row(0, 0, 25, always=0.61, seeds=1),
            "is positive at all dimensions looked at, 5 to 200 (95 % interval of the threshold: below 5 to 25; over "
            "the facts of one seed). In 61.0 % of resamples it is positive at every size.",
        ),
        (
            threshold_row(math.inf, math.inf, math.inf, never=1.0),
            "is not positive at 200 dimensions, so there is no threshold up to there (95 % interval of the threshold: "
            "none up to 200; over 3 seeds). In 100.0 % of resamples it is not positive even at 200.",
        ),
    ],
)
def test_threshold_in_words(row: Numbers, words: str) -> None:
    stated = threshold_in_words(row)
    assert stated is not None
    assert stated.replace("\N{NO-BREAK SPACE}", " ") == f"The gain of L1 + L2 + L3 over L1 in MRR {words}"


def test_no_threshold_no_words() -> None:
    assert threshold_in_words(numbers_of({})) is None
    assert dimension(9.96, {}) == "10.0"


def test_levels_come_in_the_order_of_arms_and_by_size() -> None:
    labels = [f"{arm} · dim={dim}" for arm in ("L1+L2+L3", "none", "L1") for dim in (100, 5, 25)]
    actual = CAPACITY.order(["teacher", "other", *labels])
    assert actual == [
        *(f"{arm} · dim={dim}" for arm in ("none", "L1", "L1+L2+L3") for dim in (5, 25, 100)),
        "other",
        "teacher",
    ]
    assert CAPACITY.order(["a 0.5", "a 10", "a 0.25"]) == ["a 0.25", "a 0.5", "a 10"]


def test_levels_are_kept_in_the_name_of_an_arm() -> None:
    assert arm_name("L1+L2+L3 · dim=5") == "L1 + L2 + L3 · dim=5"
    assert arm_name("switch after 1/2") == "switch after 1/2"


def test_what_was_run_lists_arms_and_levels(sizes: Make) -> None:
    study = sizes(facts=20, dims=(5, 25), seeds=2)
    actual = Sizes.load(study.of(CAPACITY))
    stated = dict(facts(actual.results, {}, "Wikidata12k", {"Dimensions": [5, 25]}))
    assert stated["Arms"] == "no distillation, L1, L1 + L2 + L3; seeds 0–1"
    assert stated["Dimensions"] == "5, 25"
    assert list(stated).index("Dimensions") == list(stated).index("Arms") + 1
    names = dict(settings(actual.results.trials)[0])
    assert names["student.epochs"] == "12"
    assert "student.dim" not in names
