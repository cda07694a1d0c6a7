"""The compiled log-partition against the dense matrix of scores in double precision."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
import torch

from harness.distill.passes import fused, softmax
from harness.distill.passes.softmax import CPU_BLOCK, log_partition
from harness.models.scoring.compiled import LANES, exp
from tests.distill.conftest import dense, inputs

KERNELS = ["dot", "l2", "l1"]


@pytest.fixture(autouse=True)
def compiled_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the problem, the compiled way is gone, and nothing else can be."""
    monkeypatch.setattr(softmax, "FUSED_FROM", 0)
    monkeypatch.setattr(softmax, "_LogPartition", None)


@pytest.mark.parametrize("temperatures", [(1.0,), (7.0,), (1.0, 7.0), (0.5, 1.0, 20.0)])
@pytest.mark.parametrize("n_entities", [1, LANES - 1, LANES + 3, CPU_BLOCK - 1, CPU_BLOCK, 2 * CPU_BLOCK + 5])
@pytest.mark.parametrize("kernel", KERNELS)
def test_value_and_gradient_are_those_of_the_dense_matrix(
    kernel: Any, n_entities: int, temperatures: tuple[float, ...]
) -> None:
    given = inputs(5, n_entities, 6, torch.float32)
    exact = [part.detach().double().requires_grad_() for part in given]
    actual, expected = log_partition(*given, kernel, temperatures), dense(*exact, kernel, temperatures)
    torch.testing.assert_close(actual.double(), expected, rtol=1e-6, atol=1e-5)
    # another weight for every query and temperature, some of them negative
    weight = torch.linspace(-1, 2, actual.numel()).reshape(actual.shape)
    for ours, reference in zip(
        torch.autograd.grad((actual * weight).sum(), given),
        torch.autograd.grad((expected * weight.double()).sum(), exact),
        strict=True,
    ):
        torch.testing.assert_close(ours.double(), reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kept", [0, 1 << 30])
@pytest.mark.parametrize("kernel", KERNELS)
def test_wide_and_narrow_vectors_have_equal_gradients(kernel: Any, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows or columns of entities, scores kept or made again: also for a second backward pass, after the first."""
    given = inputs(5, CPU_BLOCK + 5, 6, torch.float32)
    exact = [part.detach().double().requires_grad_() for part in given]
    reference = torch.autograd.grad(dense(*exact, kernel, (1.0, 7.0)).square().sum(), exact)
    monkeypatch.setattr(fused, "WIDE", 0)
    monkeypatch.setattr(fused, "KEPT_BYTES", kept)
    actual = log_partition(*given, kernel, (1.0, 7.0)).square().sum()
    for _ in range(2):
        for ours, expected in zip(torch.autograd.grad(actual, given, retain_graph=True), reference, strict=True):
            torch.testing.assert_close(ours.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", KERNELS)
def test_extreme_scores_neither_overflow_nor_vanish(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One block's scores lie thousands below the other's: exp alone would be 0 or infinite."""
    monkeypatch.setattr(softmax, "CPU_BLOCK", 4)
    query, table, scale = (part.detach() for part in inputs(3, 8, 4, torch.float32))
    for far in (slice(4, 8), slice(0, 4)):  # the largest comes first, then last
        spread = table.clone()
        spread[far] *= 1e4
        parts = [part.clone().requires_grad_() for part in (query, spread, scale)]
        actual = log_partition(*parts, kernel, (1.0, 7.0))
        torch.testing.assert_close(actual, dense(*parts, kernel, (1.0, 7.0)), rtol=1e-5, atol=1e-4)
        for gradient in torch.autograd.grad(actual.sum(), parts):
            assert gradient.isfinite().all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_diverged_model_is_not_hidden(kernel: Any, bad: float) -> None:
    """A compiler that takes NaN for impossible would make a number of it."""
    query, table, scale = (part.detach() for part in inputs(3, 40, 4, torch.float32))
    query[1, 2] = bad
    actual = log_partition(query, table, scale, kernel, (1.0, 7.0))
    assert not actual[1].isfinite().any()
    assert actual[[0, 2]].isfinite().all()
    table[39, 0] = float("nan")
    assert log_partition(query, table, scale, kernel, (1.0, 7.0)).isnan().all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_query_that_hits_an_entity_has_a_finite_gradient(kernel: Any) -> None:
    _, table, scale = inputs(1, 6, 4, torch.float32)
    query = table[:2].detach().clone().requires_grad_()
    for gradient in torch.autograd.grad(log_partition(query, table, scale, kernel).sum(), (query, table)):
        assert gradient.isfinite().all()
        assert gradient.norm(dim=1).max() < 2 * scale * max(4, table.detach().norm(dim=1).max())


def test_inputs_stay_as_they_are_and_need_not_be_contiguous() -> None:
    query, table, scale = (part.detach() for part in inputs(5, 40, 6, torch.float32))
    before = query.clone(), table.clone()
    expected = log_partition(query, table, scale, "l2")
    for strided in (query.T.contiguous().T, table.T.contiguous().T):
        assert not strided.is_contiguous()
    actual = log_partition(query.T.contiguous().T, table.T.contiguous().T, scale, "l2")
    torch.testing.assert_close(actual, expected)
    assert torch.equal(query, before[0])
    assert torch.equal(table, before[1])


def test_the_exponential_is_good_to_single_precision_where_it_counts() -> None:
    @numba.njit
    def of(x: Any, out: Any) -> None:
        for j in range(len(x)):
            out[j] = exp(x[j])

    x = np.linspace(-86, 80, 100_001).astype(np.float32)
    out = np.empty_like(x)
    of(x, out)
    error = np.abs(out / np.exp(x.astype(np.float64)) - 1)
    assert (error < 2e-7 + 1e-7 * np.abs(x)).all()
    special = np.array([np.nan, -np.inf, -1000], np.float32)
    out = np.empty_like(special)
    of(special, out)
    assert np.isnan(out[0])
    assert (out[1:] < 1e-37).all()
