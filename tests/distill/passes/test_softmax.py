"""The log-partition against the dense matrix of scores, its gradient against autograd's and finite differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.distill.passes.softmax import CPU_BLOCK, log_partition
from tests.distill.conftest import dense, inputs

KERNELS = ["dot", "l2", "l1"]


@pytest.mark.parametrize("temperatures", [(1.0,), (7.0,), (1.0, 7.0), (1.0, 1.0), (0.5, 1.0, 20.0)])
@pytest.mark.parametrize("n_entities", [1, 2, CPU_BLOCK - 1, CPU_BLOCK, CPU_BLOCK + 1, 2 * CPU_BLOCK + 3])
@pytest.mark.parametrize("kernel", KERNELS)
def test_value_and_gradient_are_those_of_the_dense_matrix(
    kernel: Any, n_entities: int, temperatures: tuple[float, ...]
) -> None:
    given = inputs(5, n_entities, 4)
    actual, expected = (f(*given, kernel, temperatures) for f in (log_partition, dense))
    torch.testing.assert_close(actual, expected)
    # another weight for every query and temperature
    weight = torch.linspace(-1, 2, actual.numel(), dtype=torch.double).reshape(actual.shape)
    for ours, reference in zip(
        torch.autograd.grad((actual * weight).sum(), given),
        torch.autograd.grad((expected * weight).sum(), given),
        strict=True,
    ):
        torch.testing.assert_close(ours, reference)


@pytest.mark.parametrize("temperatures", [(1.0,), (1.0, 3.0)])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.usefixtures("small_blocks")
def test_gradient_equals_finite_differences(kernel: Any, temperatures: tuple[float, ...]) -> None:
    given = inputs(3, 10, 4)
    assert torch.autograd.gradcheck(lambda *parts: log_partition(*parts, kernel, temperatures), given)


@pytest.mark.parametrize("kernel", KERNELS)
def test_single_precision_is_good_to_six_digits(kernel: Any) -> None:
    given = inputs(4, 2 * CPU_BLOCK + 3, 25, torch.float32)
    exact = dense(*(part.double() for part in given), kernel, (1.0, 7.0))
    torch.testing.assert_close(log_partition(*given, kernel, (1.0, 7.0)).double(), exact, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.usefixtures("small_blocks")
def test_extreme_scores_neither_overflow_nor_vanish(kernel: Any) -> None:
    """One block's scores lie thousands below the other's: exp alone would be 0 or infinite."""
    query, table, scale = (part.detach() for part in inputs(3, 8, 4, torch.float32))
    table[4:] *= 1e4
    parts = [part.requires_grad_() for part in (query, table, scale)]
    actual = log_partition(*parts, kernel, (1.0, 7.0))
    torch.testing.assert_close(actual, dense(*parts, kernel, (1.0, 7.0)), rtol=1e-5, atol=1e-4)
    for gradient in torch.autograd.grad(actual.sum(), parts):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_query_that_hits_an_entity_has_a_finite_gradient(kernel: Any) -> None:
    """The norm has no derivative there; any bounded subgradient will do."""
    _, table, scale = inputs(1, 6, 4)
    query = table[:2].detach().clone().requires_grad_()
    for gradient in torch.autograd.grad(log_partition(query, table, scale, kernel).sum(), (query, table)):
        assert gradient.isfinite().all()
        assert gradient.norm(dim=1).max() < 2 * scale * max(4, table.detach().norm(dim=1).max())


@pytest.mark.parametrize("frozen", [0, 1, 2])
@pytest.mark.parametrize("kernel", KERNELS)
def test_parts_that_need_no_gradient_get_none(kernel: Any, frozen: int) -> None:
    given = inputs(3, 7, 4)
    wanted = [part for k, part in enumerate(given) if k != frozen]
    expected = torch.autograd.grad(log_partition(*given, kernel).sum(), wanted)
    given[frozen].requires_grad_(False)
    for ours, reference in zip(torch.autograd.grad(log_partition(*given, kernel).sum(), wanted), expected, strict=True):
        torch.testing.assert_close(ours, reference)
