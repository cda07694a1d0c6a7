"""Tab-separated text read by Arrow, column by column: what it takes is read as `harness.data.formats.text` would."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

#: all control characters but tab and line feed; those of two bytes in UTF-8 are looked for apart
_CONTROL = bytes([*range(9), *range(11, 32), 127])
_BLOCK = 1 << 24


def dictionaries(
    content: bytes, widths: Container[int], longest: int
) -> list[tuple[list[str], NDArray[np.int32]]] | None:
    """Of each column the distinct texts in the order in which they first occur, and their positions int32 [rows].

    None: the content is no plain table (another width, empty lines, control characters, no UTF-8, a line that may have
    more than ``longest`` characters ...), and has to be read line by line, which also says what is wrong with it.
    """
    width = content[: content.find(b"\n") % (len(content) + 1)].count(b"\t") + 1
    if width not in widths or not _is_plain(content):
        return None
    names = [f"f{k}" for k in range(width)]
    types = dict.fromkeys(names, pa.dictionary(pa.int32(), pa.string()))
    try:
        table = csv.read_csv(
            pa.BufferReader(content),
            csv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=names),
            csv.ParseOptions(delimiter="\t", quote_char=False, double_quote=False),
            csv.ConvertOptions(column_types=types),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != content.count(b"\n") + (not content.endswith(b"\n")):
        return None
    columns = [_combined(column) for column in table.unify_dictionaries().columns]
    if sum(max(map(len, texts)) for texts, _ in columns) + width > longest:
        return None
    return columns


def _is_plain(content: bytes) -> bool:
    blocks = (content[low : low + _BLOCK] for low in range(0, len(content), _BLOCK))
    if any(len(block.translate(None, _CONTROL)) < len(block) for block in blocks):
        return False
    # C1 control characters are C2 80 to C2 9F
    return content.isascii() or not any(bytes([0xC2, low]) in content for low in range(0x80, 0xA0))


def _combined(column: Any) -> tuple[list[str], NDArray[np.int32]]:
    indices = [chunk.indices.to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return column.chunk(0).dictionary.to_pylist(), np.concatenate(indices)
