"""Tables of numbers in few bits: codes of 2 to 8 bits or ternary with a scale a row, packed into bytes. NumPy alone.

A row x becomes s·q with q from a symmetric, evenly spaced set: for b bits ±1/2, ±3/2, ..., ±(2ᵇ-1)/2 (no zero, so that
all 2ᵇ codes are used), for ``ternary`` -1, 0, 1. The scale s minimises ‖x - s·q‖²: shares of the row's largest number
are tried as the end of the range, each refitted by s = ⟨x, q⟩ / ⟨q, q⟩, and the best is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Bits = Literal[32, 16, 8, 6, 4, 3, 2, "ternary"]
BITS: tuple[Bits, ...] = get_args(Bits)
#: shares of a row's largest number that are tried as the end of the range, by bits
_CLIPS = {8: (1.0,), 6: (1.0, 0.9, 0.8)}
_FEW_BITS_CLIPS = tuple(np.linspace(0.25, 1.0, 16).tolist())
#: ternary digits that share a byte: 3⁵ = 243
_TRITS = 5
Floats = NDArray[np.float32]


class NotRoundableError(ValueError):
    """A table has numbers that rows of few bits cannot hold, as after a training that diverges."""


def row_bytes(size: int, bits: Bits) -> int:
    """Bytes of a row of ``size`` numbers, its scale included."""
    if bits in (32, 16):
        return size * int(bits) // 8
    return 2 + (-(-size // _TRITS) if bits == "ternary" else -(-size * int(bits) // 8))


def encode(table: Floats, bits: Bits) -> dict[str, NDArray[Any]]:
    """A table [N, d] as arrays to store: ``values``, or packed ``codes`` uint8 [N, bytes] and ``scale`` float16 [N].

    Raises:
        NotRoundableError: the table is not finite, or a number does not fit half precision.
    """
    if not np.isfinite(table).all():
        raise NotRoundableError("a table with NaN or infinite numbers cannot be rounded")
    if bits == 32:
        return {"values": table.astype(np.float32)}
    if bits == 16:
        return {"values": _half(table)}
    levels, scale = _rounded(table, bits)
    return {"codes": _packed(levels, bits), "scale": scale}


def decode(arrays: Mapping[str, NDArray[Any]], bits: Bits, size: int) -> Floats:
    """The table float32 [N, size] that ``encode`` stored.

    Raises:
        ValueError: the arrays do not fit ``bits`` and ``size``.
    """
    if bits in (32, 16):
        values = arrays["values"]
        if values.ndim != 2 or values.shape[1] != size or values.dtype != (np.float32 if bits == 32 else np.float16):
            raise ValueError(f"values {values.dtype} {values.shape} are no rows of {size} numbers of {bits} bits")
        return values.astype(np.float32)
    codes, scale = arrays["codes"], arrays["scale"]
    if codes.dtype != np.uint8 or codes.shape != (len(scale), row_bytes(size, bits) - 2) or scale.dtype != np.float16:
        raise ValueError(f"codes {codes.dtype} {codes.shape} are no rows of {size} numbers in {bits} bits")
    return _unpacked(codes, bits, size) * scale.astype(np.float32)[:, None]


def rounded(table: Floats, bits: Bits) -> Floats:
    """The table as it reads after it was stored: ``decode(encode(table))``."""
    return decode(encode(table, bits), bits, table.shape[1])


def levels(table: Floats, scale: Floats, bits: Bits) -> Floats:
    """The nearest values q of rows [N, d] for given scales [N, 1]."""
    if bits == "ternary":
        return np.asarray(np.rint(table / scale).clip(-1, 1), np.float32)
    half = 2 ** (int(bits) - 1)
    return np.asarray(np.floor(table / scale).clip(-half, half - 1) + 0.5, np.float32)


def _rounded(table: Floats, bits: Bits) -> tuple[Floats, NDArray[np.float16]]:
    """Values q [N, d] and scales [N], with the least squared error of all clips that are tried."""
    largest = np.abs(table).max(axis=1, keepdims=True, initial=0)
    reach = 1.0 if bits == "ternary" else 2 ** (int(bits) - 1) - 0.5
    best = np.full(len(table), np.inf, np.float32)
    scales = np.zeros((len(table), 1), np.float32)
    for clip in _CLIPS.get(bits, _FEW_BITS_CLIPS) if bits != "ternary" else _FEW_BITS_CLIPS:
        scale = np.maximum(largest * np.float32(clip / reach), np.float32(1e-12))
        for _ in range(2):
            q = levels(table, scale, bits)
            squares = (q * q).sum(1, keepdims=True)
            scale = np.where(squares > 0, (table * q).sum(1, keepdims=True) / np.maximum(squares, 1), scale)
            scale = np.maximum(scale, np.float32(1e-12))
        error = np.square(table - scale * levels(table, scale, bits)).sum(1)
        better = error < best
        best[better], scales[better] = error[better], scale[better]
    kept = _half(scales)
    # codes belong to the scale that is stored; one that half precision rounds to 0 makes a row of zeros either way
    return levels(table, np.maximum(kept.astype(np.float32), np.float32(1e-12)), bits), kept[:, 0]


def _half(numbers: Floats) -> NDArray[np.float16]:
    if np.abs(numbers).max(initial=0) > np.finfo(np.float16).max:
        raise NotRoundableError("a number is too large for half precision")
    return numbers.astype(np.float16)


def _packed(q: Floats, bits: Bits) -> NDArray[np.uint8]:
    n, size = q.shape
    if bits == "ternary":
        digits = np.zeros((n, -(-size // _TRITS) * _TRITS), np.uint8)
        digits[:, :size] = (q + 1).astype(np.uint8)
        powers = 3 ** np.arange(_TRITS, dtype=np.uint8)
        return np.asarray((digits.reshape(n, -1, _TRITS) * powers).sum(2, dtype=np.uint8))
    codes = (q - 0.5 + 2 ** (int(bits) - 1)).astype(np.uint8)
    planes = (codes[:, :, None] >> np.arange(int(bits), dtype=np.uint8)) & 1
    return np.packbits(planes.reshape(n, -1), axis=1, bitorder="little")


def _unpacked(codes: NDArray[np.uint8], bits: Bits, size: int) -> Floats:
    if bits == "ternary":
        if codes.max(initial=0) >= 3**_TRITS:
            raise ValueError("a byte holds no ternary digits")
        powers = 3 ** np.arange(_TRITS, dtype=np.uint8)
        digits = (codes[:, :, None] // powers) % 3
        return digits.reshape(len(codes), -1)[:, :size].astype(np.float32) - 1
    values: NDArray[np.uint8]
    if bits == 8:
        values = codes
    elif bits == 4:
        values = np.stack([codes & 15, codes >> 4], axis=2).reshape(len(codes), -1)[:, :size]
    else:
        planes = np.unpackbits(codes, axis=1, bitorder="little", count=size * int(bits))
        powers = np.left_shift(np.uint8(1), np.arange(int(bits), dtype=np.uint8))
        values = (planes.reshape(len(codes), size, int(bits)) * powers).sum(2, dtype=np.uint8)
    return values.astype(np.float32) + np.float32(0.5 - 2 ** (int(bits) - 1))


# ---- the state of a model ------------------------------------------------------------------------------------------

#: the table that ``bits`` are about, by its name in the state of every backbone
ENTITIES = "entity.weight"


def bits_of(name: str, shape: tuple[int, ...], bits: Bits) -> Bits:
    """The bits of a tensor of a student's state: ``bits`` for entities; 8 at least for all else, which is small.

    Single numbers, such as the scale of the scores, and vectors without a row to share a scale keep more.
    """
    if bits in (32, 16) or name == ENTITIES:
        return bits
    return 32 if len(shape) == 0 else 16 if len(shape) == 1 else 8


def as_table(tensor: NDArray[Any]) -> Floats:
    """A tensor of any shape as rows; scalars and vectors are one row."""
    return tensor.reshape(1 if tensor.ndim < 2 else tensor.shape[0], -1).astype(np.float32)


def stored_bytes(shapes: Mapping[str, tuple[int, ...]], bits: Bits) -> tuple[int, int]:
    """Bytes of a state by the shapes of its tensors: of a row of the entity table, and of all other tables."""
    others = sum(table_bytes(name, shape, bits) for name, shape in shapes.items() if name != ENTITIES)
    return row_bytes(shapes[ENTITIES][1], bits), others


def table_bytes(name: str, shape: tuple[int, ...], bits: Bits) -> int:
    """Bytes of a tensor of a student's state."""
    rows = shape[0] if len(shape) > 1 else 1
    size = int(np.prod(shape[1:] if len(shape) > 1 else shape))
    return rows * row_bytes(size, bits_of(name, shape, bits))


def rounded_state(state: Mapping[str, NDArray[Any]], bits: Bits) -> dict[str, Floats]:
    """The state of a student, name to tensor, as it reads after it was stored with ``bits``."""
    return {
        name: rounded(as_table(tensor), bits_of(name, tensor.shape, bits)).reshape(tensor.shape)
        for name, tensor in state.items()
    }
