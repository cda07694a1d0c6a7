"""Intervals and tests on per-query results; ``docs/statistics.md`` gives the reasons."""

from harness.stats.intervals import (
    Array,
    Comparison,
    Interval,
    Threshold,
    bootstrap_intervals,
    compare,
    detectable,
    errors,
    holm,
    mean_interval,
    sign_flip_test,
    threshold,
)

__all__ = [
    "Array",
    "Comparison",
    "Interval",
    "Threshold",
    "bootstrap_intervals",
    "compare",
    "detectable",
    "errors",
    "holm",
    "mean_interval",
    "sign_flip_test",
    "threshold",
]
