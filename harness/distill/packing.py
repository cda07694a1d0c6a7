"""Facts in few bytes, for students that look them up: sorted columns of small numbers, byte by byte, and xz.

A fact of YAGO11k has 2.8 bytes and one of Wikidata12k 2.4. Heads or tails first, whole numbers instead of their bytes,
and zlib were tried and take up to two fifths more.
"""

from __future__ import annotations

import lzma

import numpy as np
from numpy.typing import NDArray

from harness.data.graph import UNKNOWN, Facts, Ints

_COLUMNS = 6
#: facts that a stored byte may stand for, at most: different facts do not pack as far
MOST_PACKED = 5
#: bytes that a program keeps while it unpacks, and what it may use at most
_WINDOW, _MEMORY = 2**20, 2**24
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": _WINDOW}]


def pack(facts: Facts) -> NDArray[np.uint8]:
    """Facts [N] as bytes: by relation, head, tail and start, which are lost otherwise.

    Columns: relation and head as differences, tail, start from the first on, length, and an end whose start is not
    known; 0 is an end that is not known.
    """
    facts = Facts(**{name: column[_order(facts)] for name, column in facts.columns.items()})
    has_start, has_end = facts.start != UNKNOWN, facts.end != UNKNOWN
    first = _first(facts)
    columns = [
        np.diff(facts.relation, prepend=0),
        _folded(np.diff(facts.head, prepend=0)),
        facts.tail,
        np.where(has_start, facts.start - first + 1, 0),
        np.where(has_start & has_end, facts.end - facts.start + 1, 0),
        np.where(~has_start & has_end, facts.end - first + 1, 0),
    ]
    planes = np.stack(columns).astype("<i8").view(np.uint8).reshape(_COLUMNS, len(facts), 8).transpose(0, 2, 1)
    content = _folded(np.array([first])).astype("<i8").tobytes() + planes.tobytes()
    return np.frombuffer(lzma.compress(content, lzma.FORMAT_XZ, filters=_FILTERS), np.uint8)


def unpack(packed: NDArray[np.uint8], n: int) -> Facts:
    """The ``n`` facts that `pack` made bytes of.

    Raises:
        ValueError: they are not so many, or no facts.
    """
    size = 8 + 8 * _COLUMNS * n
    try:
        if n > MOST_PACKED * len(packed):
            raise ValueError
        reader = lzma.LZMADecompressor(lzma.FORMAT_XZ, _MEMORY)
        content = reader.decompress(packed.tobytes(), size + 1)  # no more, whatever it unpacks to
    except (lzma.LZMAError, ValueError):
        raise ValueError(f"the training facts are not {n}") from None
    if len(content) != size or not reader.eof or reader.unused_data:
        raise ValueError(f"the training facts are not {n}")
    (first,) = _unfolded(np.frombuffer(content[:8], "<i8"))
    planes = np.frombuffer(content, np.uint8, offset=8).reshape(_COLUMNS, 8, n).transpose(0, 2, 1)
    relation, head, tail, start, length, end = np.ascontiguousarray(planes).view("<i8")[..., 0].astype(np.int64)
    starts = np.where(start > 0, start - 1 + first, UNKNOWN)
    ends = np.where(length > 0, starts + length - 1, np.where(end > 0, end - 1 + first, UNKNOWN))
    return Facts(np.cumsum(_unfolded(head)), np.cumsum(relation), tail, starts, ends)


def _order(facts: Facts) -> Ints:
    return np.lexsort([facts.end, facts.start, facts.tail, facts.head, facts.relation])


def _first(facts: Facts) -> int:
    times = np.concatenate([facts.start, facts.end])
    return int(times[times != UNKNOWN].min(initial=np.iinfo(np.int64).max)) if (times != UNKNOWN).any() else 0


def _folded(numbers: Ints) -> Ints:
    """0, -1, 1, -2, 2 ... as 0, 1, 2, 3, 4 ..."""
    return np.asarray(np.where(numbers < 0, -2 * numbers - 1, 2 * numbers))


def _unfolded(numbers: Ints) -> Ints:
    return np.asarray(np.where(numbers % 2, -(numbers + 1) // 2, numbers // 2))
