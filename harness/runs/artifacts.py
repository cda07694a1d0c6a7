"""Files of a store: ranks, learning curves. Their names come from the store, and both may be others' work."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from harness.errors import UserError
from harness.runs.cache import replacing

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
#: rows and bytes of a table, unpacked; the largest data sets have a million test queries
_MOST_ROWS, _MOST_BYTES = 4_000_000, 2**29


def path_of(folder: Path, name: object) -> Path:
    """The file of an artifact.

    Raises:
        UserError: its name is not one that Optuna gives, such as a path out of the folder.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(
            f"artifact {str(name)[:100]!r}: is no name of an artifact; was this store written by the harness?"
        )
    return folder / name


def read_table(path: Path) -> pd.DataFrame:
    """A parquet file; one that would take all memory when it is unpacked is not.

    Raises:
        OSError, ValueError: it cannot be read, or is too large.
    """
    try:
        about = pq.read_metadata(path)
        size = sum(about.row_group(k).total_byte_size for k in range(about.num_row_groups))
        if about.num_rows > _MOST_ROWS or size > _MOST_BYTES:
            raise ValueError("too large")
        return pd.read_parquet(path)
    except (pa.ArrowException, TypeError) as error:
        raise ValueError(str(error)) from None


def read_csv(path: Path) -> pd.DataFrame:
    """A small CSV file.

    Raises:
        OSError, ValueError: it cannot be read, or is too large.
    """
    if path.stat().st_size > _MOST_BYTES // 16:
        raise ValueError("too large")
    return pd.read_csv(path)


def copy_to(source: Path, target: Path) -> None:
    """Copy a file, which appears as a whole or not at all.

    Raises:
        UserError: one of the two cannot be read or written.
    """
    try:
        with source.open("rb") as content:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with replacing(target) as file:
                    shutil.copyfileobj(content, file, 1 << 20)
            except OSError as error:
                raise UserError(f"artifact {target}: cannot be written ({error.strerror})") from None
    except OSError as error:
        raise UserError(
            f"artifact {source}: cannot be read ({error.strerror}); name its folder with --artifacts"
        ) from None
