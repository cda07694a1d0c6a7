"""A teacher that is no better than a student without one is named."""

from __future__ import annotations

import pandas as pd
import pytest

from harness.reporting.data.teachers import weak_teacher


def trials(*rows: tuple[str, int, float]) -> pd.DataFrame:
    """Complete trials of losses, dimension and test MRR, two seeds each, 0.001 up and down."""
    made = [
        {"backbone": "ttranse", "state": "complete", "losses": losses, "arm": f"{losses} · dim={dim}", "dim": dim}
        | {"seed": seed, "test_mrr": mrr + 0.001 * (2 * seed - 1)}
        for losses, dim, mrr in rows
        for seed in (0, 1)
    ]
    return pd.DataFrame(made)


def test_a_student_that_needs_no_teacher_is_told_with_both_numbers() -> None:
    warning = weak_teacher(trials(("none", 25, 0.1481), ("L1", 25, 0.16), ("teacher", 400, 0.1479)), "ttranse")
    assert warning == (
        "The teacher (0.1479, 400-d) is not better than the undistilled student (0.1481, 25-d): "
        "distillation from it cannot be expected to help."
    )


def test_of_several_sizes_those_are_named_that_need_no_teacher() -> None:
    sizes = trials(("none", 200, 0.33), ("none", 25, 0.3), ("none", 100, 0.312), ("teacher", 400, 0.309))
    warning = weak_teacher(sizes, "ttranse")
    assert warning is not None
    assert "student (0.3120, 100-d)" in warning
    assert warning.endswith("help students of 100 and 200 dimensions.")


@pytest.mark.parametrize(
    "rows",
    [
        [("none", 25, 0.28), ("teacher", 400, 0.31)],
        [("none", 25, 0.28)],
        [("L1", 25, 0.4), ("teacher", 400, 0.31)],
    ],
)
def test_where_the_teacher_is_better_or_not_there_nothing_is_said(rows: list[tuple[str, int, float]]) -> None:
    assert weak_teacher(trials(*rows), "ttranse") is None


def test_failed_trials_and_other_backbones_say_nothing() -> None:
    frame = trials(("none", 25, 0.4), ("teacher", 400, 0.3))
    assert weak_teacher(frame, "ta-distmult") is None
    assert weak_teacher(frame.assign(state="failed", test_mrr=float("nan")), "ttranse") is None


def test_frames_without_sizes_are_enough() -> None:
    frame = trials(("none", 25, 0.4), ("teacher", 400, 0.3)).drop(columns=["losses", "dim"])
    warning = weak_teacher(frame.assign(arm=["none", "none", "teacher", "teacher"]), "ttranse")
    assert warning is not None
    assert "(0.4000)" in warning
