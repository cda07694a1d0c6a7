"""Tables in few bits: stored and read back, against a brute-force search for the nearest codes and scales."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_arrays

from harness.distill.rounding import BITS, Bits, bits_of, decode, encode, levels, rounded, row_bytes
from harness.distill.training.quantised import StraightThrough

tables = of_arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 23)),
    elements=st.floats(-1000, 1000, width=32, allow_nan=False),
)


@pytest.mark.parametrize("bits", BITS)
@settings(max_examples=60, deadline=None)
@given(table=tables)
def test_stored_and_read_back(bits: Bits, table: Any) -> None:
    """A row takes the bytes that are stated, codes survive packing, and the error is that of the nearest codes."""
    stored = encode(table, bits)
    assert sum(array.nbytes for array in stored.values()) == len(table) * row_bytes(table.shape[1], bits)
    back = decode(stored, bits, table.shape[1])
    assert np.array_equal(back, rounded(table, bits))
    if bits in (32, 16):
        assert np.array_equal(back, table.astype(np.float32 if bits == 32 else np.float16).astype(np.float32))
        return
    scale = stored["scale"].astype(np.float64)[:, None]
    codes = np.arange(-1, 2) if bits == "ternary" else np.arange(2 ** int(bits)) - (2 ** int(bits) - 1) / 2
    possible = scale[:, :, None] * codes
    nearest = np.abs(possible - table[:, :, None].astype(np.float64)).min(2)
    assert np.abs(back - table) == pytest.approx(nearest, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(
    ("bits", "worst"), [(8, 6e-5), (6, 1e-3), (4, 0.0116), (3, 0.0375), (2, 0.1189), ("ternary", 0.1903)]
)
def test_normal_numbers_lose_no_more_than_the_best_uniform_quantiser(bits: Bits, worst: float) -> None:
    """Mean squared error on normal numbers: the best for a scale over all, which a scale a row can only improve."""
    table = np.random.default_rng(0).normal(size=(400, 100)).astype(np.float32)
    assert float(np.square(rounded(table, bits) - table).mean()) < worst


def test_the_scale_of_a_row_is_close_to_the_best_there_is() -> None:
    rows = np.random.default_rng(1).normal(size=(20, 30)).astype(np.float32)
    ours = np.square(rounded(rows, 2) - rows).sum(1)
    scales = np.linspace(0.2, 2.0, 2000, dtype=np.float32)
    best = np.min([np.square(s * levels(rows, np.full((20, 1), s), 2) - rows).sum(1) for s in scales], axis=0)
    assert (ours <= 1.02 * best + 1e-6).all()


def test_rows_of_zeros_and_of_one_number() -> None:
    table = np.array([[0, 0, 0], [5, 5, 5], [0, 0, 7]], np.float32)
    for bits in BITS:
        back = rounded(table, bits)
        assert np.isfinite(back).all()
        assert back[0] == pytest.approx(0, abs=1e-6)
        assert back[1] == pytest.approx(5, rel=5e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        encode(np.array([[1, bad]], np.float32), 4)
    with pytest.raises(ValueError, match="half precision"):
        encode(np.array([[1, 1e6]], np.float32), 16)


def test_sizes_that_do_not_fit_are_refused() -> None:
    stored = encode(np.ones((3, 10), np.float32), 4)
    for bits, size in itertools.product((3, 6, "ternary"), (10,)):
        with pytest.raises(ValueError, match="are no rows"):
            decode(stored, bits, size)  # type: ignore[arg-type]  # what types refuse
    with pytest.raises(ValueError, match="ternary digits"):
        decode({"codes": np.full((1, 1), 250, np.uint8), "scale": np.ones(1, np.float16)}, "ternary", 5)


def test_few_bits_are_for_entities_and_all_else_keeps_more() -> None:
    assert bits_of("entity.weight", (9, 4), 2) == 2
    assert [bits_of("x", shape, 2) for shape in ((9, 4), (9,), ())] == [8, 16, 32]
    assert bits_of("x", (9, 4), 16) == 16


@pytest.mark.parametrize("bits", [4, 3, 2, "ternary"])
def test_training_sees_what_is_stored_and_the_gradient_passes(bits: Bits) -> None:
    table = torch.randn(7, 12, generator=torch.Generator().manual_seed(0)).requires_grad_()
    seen = StraightThrough.fitted(table, bits)(table)
    assert seen.detach().numpy() == pytest.approx(rounded(table.detach().numpy(), bits), abs=1e-6)
    weight = torch.randn(7, 12, generator=torch.Generator().manual_seed(1))
    (seen * weight).sum().backward()
    assert table.grad is not None
    assert torch.equal(table.grad, weight)
