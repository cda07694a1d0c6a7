"""L2: the Huber loss on standardised scores."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.distill.alignment import huber_alignment, standardize


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
