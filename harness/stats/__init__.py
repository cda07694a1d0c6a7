"""Intervals and tests on per-query results; ``docs/statistics.md`` gives the reasons."""

from harness.stats.intervals import (
    Array,
    Comparison,
    Interval,
    Threshold,
    Variances,
    compare,
    detectable,
    holm,
    mean_interval,
    mean_intervals,
    sign_flip_test,
    threshold,
    variances,
)

__all__ = [
    "Array",
    "Comparison",
    "Interval",
    "Threshold",
    "Variances",
    "compare",
    "detectable",
    "holm",
    "mean_interval",
    "mean_intervals",
    "sign_flip_test",
    "threshold",
    "variances",
]
