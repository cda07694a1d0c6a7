"""Eight numbers at once in compiled code: as NumPy has them, NaN among them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from harness.models.scoring.lanes import WIDTH, along, load, spread, store, total

pytestmark = pytest.mark.compiles

ROWS = np.array([[0, 1, -2, np.nan, 4, -5, 6, 7, 8, 9, 10], [3, 0, -0.5, 1, 0, 2, -7, np.nan, 8, 1, 0]], np.float32)


@numba.njit
def _mixed(table: Any, out: Any) -> Any:
    x, y, three = load(table, 0, 2), load(table, 1, 0), spread(np.float32(3.0))
    store(out, 0, 1, x + y)
    store(out, 1, 1, x - y)
    store(out, 2, 1, three * y)
    store(out, 3, 1, abs(y))
    store(out, 4, 1, along(three, x))
    return total(load(table, 1, 3) * spread(np.float32(0.0)) + three)


@numba.njit
def _one(number: Any, direction: Any) -> Any:
    return along(number, direction)


def test_eight_numbers_go_through_operators_as_one_does() -> None:
    out = np.full((5, WIDTH + 2), -1, np.float32)
    assert np.isnan(_mixed(ROWS, out))
    x, y = ROWS[0, 2 : 2 + WIDTH], ROWS[1, :WIDTH]
    expected = np.stack([x + y, x - y, 3 * y, np.abs(y), np.nan_to_num(3 * np.sign(x))])
    np.testing.assert_array_equal(out[:, 1:-1], expected)
    assert (out[:, [0, -1]] == -1).all(), "writes eight numbers and no more"
    clean = np.nan_to_num(ROWS)
    assert _mixed(clean, out) == 3 * WIDTH


@pytest.mark.parametrize(("direction", "expected"), [(2.5, 3), (-0.1, -3), (0, 0), (np.nan, 0)])
def test_one_number_takes_a_sign(direction: float, expected: float) -> None:
    for function in (_one, along):  # compiled, and as it stands
        assert function(np.float32(3), np.float32(direction)) == expected


def test_a_table_in_another_order_is_refused() -> None:
    """Its rows do not lie number by number."""
    with pytest.raises(numba.core.errors.TypingError):
        _mixed(np.asfortranarray(ROWS), np.empty((5, WIDTH + 2), np.float32))
