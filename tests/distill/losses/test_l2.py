"""L2: the Huber loss on standardised scores."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.distill.losses.l2 import ALIGNMENTS, with_outliers
from harness.distill.passes.terms import huber_alignment, standardize
from harness.distill.targets import ScoreTargets


@pytest.fixture
def both() -> tuple[Tensor, Tensor]:
    """Student's and teacher's scores [5, 8], far apart in scale, with an outlier of the teacher."""
    student, teacher = torch.randn(2, 5, 8, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    teacher = 40 * teacher + 300
    teacher[2, 3] += 5000
    return student.requires_grad_(), teacher


def test_standardised_rows_have_mean_0_and_deviation_1(both: tuple[Tensor, Tensor]) -> None:
    for part in both:
        rows = standardize(part).detach()
        torch.testing.assert_close(rows.mean(1), torch.zeros(5, dtype=torch.double))
        torch.testing.assert_close(rows.std(1, correction=0), torch.ones(5, dtype=torch.double), rtol=1e-6, atol=0)


@pytest.mark.parametrize("delta", [0.01, 0.1, 1.0, 10.0])
def test_it_is_the_huber_loss(both: tuple[Tensor, Tensor], delta: float) -> None:
    def by_hand(rows: np.ndarray) -> np.ndarray:
        return (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)

    student, teacher = (part.detach().numpy() for part in both)
    expected = scipy.special.huber(delta, by_hand(student) - by_hand(teacher)).mean()
    assert huber_alignment(*both, delta).item() == pytest.approx(expected, rel=1e-6)


def test_the_threshold_divides_squares_from_distances(both: tuple[Tensor, Tensor]) -> None:
    student, teacher = both
    distance = (standardize(student) - standardize(teacher)).abs()
    torch.testing.assert_close(huber_alignment(student, teacher, 100.0), distance.square().mean() / 2)
    torch.testing.assert_close(huber_alignment(student, teacher, 1e-6), 1e-6 * distance.mean(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("delta", [0.1, 1.0, 10.0])
def test_gradient_equals_finite_differences(both: tuple[Tensor, Tensor], delta: float) -> None:
    student, teacher = both
    assert torch.autograd.gradcheck(lambda z: huber_alignment(z, teacher, delta), student)


@given(st.floats(0.01, 100), st.floats(-1000, 1000))
def test_neither_scale_nor_shift_of_a_side_matters(factor: float, shift: float) -> None:
    student, teacher = torch.randn(2, 3, 6, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    expected = huber_alignment(student, teacher, 1.0)
    torch.testing.assert_close(huber_alignment(student, factor * teacher + shift, 1.0), expected, rtol=1e-3, atol=1e-9)
    torch.testing.assert_close(huber_alignment(factor * student + shift, teacher, 1.0), expected, rtol=1e-3, atol=1e-9)


def test_it_vanishes_where_the_shapes_agree_and_ignores_an_order_alone(both: tuple[Tensor, Tensor]) -> None:
    _, teacher = both
    assert huber_alignment(2 * teacher + 1, teacher, 1.0).item() == pytest.approx(0, abs=1e-12)
    assert huber_alignment(-teacher, teacher, 1.0) > 0.1


def test_equal_scores_of_a_query_are_no_error() -> None:
    flat = torch.full((2, 4), 3.0, requires_grad=True)
    loss = huber_alignment(flat, torch.randn(2, 4, generator=torch.Generator().manual_seed(0)), 1.0)
    loss.backward()
    assert loss.isfinite()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


def by_scipy(kind: str, student: np.ndarray, teacher: np.ndarray) -> float:
    z, t = (scipy.stats.zscore(rows, axis=1) for rows in (student, teacher))
    if kind == "mse":
        return float(((z - t) ** 2).mean())
    if kind == "kl":
        return float(scipy.stats.entropy(scipy.special.softmax(t, 1), scipy.special.softmax(z, 1), axis=1).mean())
    return 1 - float(np.mean([scipy.stats.pearsonr(a, b).statistic for a, b in zip(z, t, strict=True)]))


@pytest.mark.parametrize("kind", ALIGNMENTS)
def test_other_comparisons_are_what_they_are_called(both: tuple[Tensor, Tensor], kind: str) -> None:
    student, teacher = (part.detach().numpy() for part in both)
    assert ALIGNMENTS[kind](*both).item() == pytest.approx(by_scipy(kind, student, teacher), rel=1e-6)


@pytest.mark.parametrize("kind", ALIGNMENTS)
def test_gradients_of_other_comparisons(both: tuple[Tensor, Tensor], kind: str) -> None:
    student, teacher = both
    assert torch.autograd.gradcheck(lambda z: ALIGNMENTS[kind](z, teacher), student)


def test_outliers_move_a_share_of_the_scores_by_their_size() -> None:
    scores = 3 + 2 * torch.randn(2000, 50, generator=torch.Generator().manual_seed(2))
    targets = ScoreTargets(torch.zeros(2000, 50, dtype=torch.int32), scores)
    actual = with_outliers(targets, share=0.1, size=10.0, seed=4)
    moved = actual.scores != scores
    assert moved.float().mean().item() == pytest.approx(0.1, abs=0.005)
    assert (actual.scores - scores)[moved].std().item() == pytest.approx(20, rel=0.05)
    assert torch.equal(with_outliers(targets, 0.1, 10.0, 4).scores, actual.scores)
    assert torch.equal(with_outliers(targets, 0.0, 10.0, 4).scores, scores)
