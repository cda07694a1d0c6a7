"""The file with the ranks of all trials of a study: parquet, a row group a block of trials.

A block has the ranks of its trials for the first query, for the second, and so on: those of one query are alike, and
take a quarter of the room that they take trial by trial. Ranks are doubled, since ties have halves, and integers are
packed better. The file's metadata name the trials of the blocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness.errors import UserError

#: doubled ranks of one trial, in the order of the queries
Doubled = NDArray[np.int32]
#: how numbers are written that share their leading bytes with their neighbours
BYTES = "BYTE_STREAM_SPLIT"
#: the column, and which trials are in which block (a list of lists of their keys)
_COLUMN, _TRIALS = "doubled_rank", b"trials"
_SCHEMA = pa.schema([(_COLUMN, pa.int32())])
#: ranks of a block, and how many of a block or bytes of it are read at most
_BLOCK, _MOST_ROWS, _MOST_BYTES = 1_000_000, 8_000_000, 2**29
#: zstd's level: a study's file is written once or twice, and kept
_LEVEL = 15


def blocks(path: Path) -> list[list[str]]:
    """The keys of the trials by block; none if there is no such file.

    Raises:
        UserError: it cannot be read.
    """
    if not path.exists():
        return []
    with reading_file(path):
        return _blocks(pq.ParquetFile(path))


def trial_of(path: Path, places: Mapping[str, tuple[int, int]], key: str) -> Doubled | None:
    """The ranks of a trial, None if it is not there; ``places`` as of `places_of`.

    Raises:
        UserError: they cannot be read.
    """
    if key not in places:
        return None
    number, column = places[key]
    with reading_file(path):
        return _block(path, path.stat().st_mtime_ns, number)[:, column]


def places_of(path: Path) -> dict[str, tuple[int, int]]:
    """The block of each trial and its place in it, by its key; errors as of `blocks`."""
    return {key: (number, k) for number, block in enumerate(blocks(path)) for k, key in enumerate(block)}


def write_ranks(target: IO[bytes], path: Path, trials: Mapping[str, Doubled]) -> None:
    """Write the ranks of ``trials``, and of the other trials that ``path`` has.

    Raises:
        UserError: ``path`` cannot be read.
    """
    pending, written = dict(trials), list[list[str]]()
    options = {"compression_level": _LEVEL, "use_dictionary": False, "column_encoding": {_COLUMN: BYTES}}
    with pq.ParquetWriter(target, _SCHEMA, compression="zstd", **options) as writer:

        def write(keys: list[str], block: NDArray[np.int32]) -> None:
            writer.write_table(pa.table([block.ravel()], schema=_SCHEMA), row_group_size=max(1, block.size))
            written.append(keys)

        for number, keys in enumerate(blocks(path)):
            with reading_file(path):
                block = _block(path, path.stat().st_mtime_ns, number)
            if block.size > _BLOCK // 2 and pending.keys().isdisjoint(keys):  # stays as it is
                write(keys, block)
            else:
                pending = dict(zip(keys, block.T, strict=True)) | pending
        for size in sorted({len(doubled) for doubled in pending.values()}):  # one, since all rank the same facts
            names = [key for key, doubled in pending.items() if len(doubled) == size]
            most = max(1, _BLOCK // size)
            for first in range(0, len(names), most):
                keys = names[first : first + most]
                write(keys, np.stack([pending[key] for key in keys], axis=1))
        writer.add_key_value_metadata({_TRIALS: json.dumps(written)})


def _blocks(file: pq.ParquetFile) -> list[list[str]]:
    keys: list[list[str]] = json.loads((file.metadata.metadata or {}).get(_TRIALS, b""))
    is_known = isinstance(keys, list) and len(keys) == file.num_row_groups and all(isinstance(k, list) for k in keys)
    if not is_known or not all(keys) or file.schema_arrow.names != _SCHEMA.names:
        raise ValueError("is not the ranks of a study")
    return keys


@lru_cache(maxsize=4)
def _block(path: Path, changed: int, number: int) -> NDArray[np.int32]:
    """The ranks of a block [queries, trials]; ``changed``, the time of the file, keeps the cache up to date."""
    file = pq.ParquetFile(path)
    keys, about = _blocks(file)[number], file.metadata.row_group(number)
    if about.num_rows > _MOST_ROWS or about.total_byte_size > _MOST_BYTES:
        raise ValueError("too large")
    return doubled_of(file.read_row_group(number).column(_COLUMN).to_pandas()).reshape(-1, len(keys))


def doubled_ranks(ranks: NDArray[np.float64]) -> Doubled:
    """Ranks as they are stored: doubled; those that are no halves, means over times, as the bits of -rank in float32.

    Such bits are negative as an integer, and a doubled rank is positive.
    """
    doubled = np.rint(2 * ranks)
    return np.where(doubled == 2 * ranks, doubled.astype(np.int32), (-ranks).astype(np.float32).view(np.int32))


def ranks_of(doubled: Doubled) -> NDArray[np.float64]:
    """What `doubled_ranks` was made of, means over times in single precision."""
    return np.where(doubled < 0, -doubled.view(np.float32).astype(np.float64), doubled / 2)


def doubled_of(column: pd.Series[Any]) -> Doubled:
    """The values of a column of doubled ranks.

    Raises:
        ValueError: they are no 32-bit integers.
    """
    if column.dtype != np.int32:
        raise ValueError("ranks are no integers")
    return column.to_numpy()


@contextmanager
def reading_file(path: Path, kind: str = "artifact") -> Iterator[None]:
    """Report a damaged file.

    Raises:
        UserError: names the file and its kind.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:100]
        raise UserError(f"{kind} {path}: cannot be read ({type(error).__name__}: {reason}); restore it") from None
