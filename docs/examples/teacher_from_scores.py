"""A teacher read from a file of scores that any other program made: top-k entities of each training query.

The file is Parquet with a row for each training query, in the harness's order, and two columns: ``entities``, a list
of entity ids, and ``log_probabilities``, their natural logarithms among all entities. Its metadata has
``data_digest``, the digest of the data that it was made for. See teacher_from_scores.md.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.errors import UserError
from harness.registry import MethodOptions, option
from harness.teachers.sources import Asked, Listed, teacher

#: numbers of a file; a large one has 128 entities for each of a million queries
MOST = 2 * 128 * 10**6


class Scores(MethodOptions):
    """Options of the teacher."""

    file: str = option("", "Parquet file of the teacher's entities and log-probabilities")


def digest(options: Scores) -> str:
    """The SHA-256 of the file, by which results of two files differ."""
    path = Path(options.file)
    try:
        about = path.stat()
        return _digest(path, about.st_mtime_ns, about.st_size)
    except OSError as error:
        where = f"teacher 'scores': file {options.file!r}"
        raise UserError(f"{where}: {error.strerror}; name it with --set teacher.scores.file=PATH") from None


@lru_cache(maxsize=8)
def _digest(path: Path, _changed: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@teacher("scores", version=1, options=Scores, content=digest)
def scores(asked: Asked, options: Scores) -> Listed:
    """Read the file; the harness checks the numbers themselves."""
    where = f"teacher 'scores': file {options.file!r}"
    try:
        about = pq.read_metadata(options.file)
        if sum(about.row_group(k).total_byte_size for k in range(about.num_row_groups)) > 8 * MOST:
            raise UserError(f"{where}: is larger than {8 * MOST:,} bytes when it is unpacked; list fewer entities")
        table = pq.read_table(options.file)
        columns = [table[name].combine_chunks() for name in ("entities", "log_probabilities")]
    except (OSError, KeyError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{where}: is no Parquet file with entities and log_probabilities ({reason})") from None
    made_for = (table.schema.metadata or {}).get(b"data_digest", b"").decode()
    if made_for != asked.graph.digest:
        names = made_for[:12] or "(none)", asked.graph.digest[:12]
        raise UserError(f"{where}: was made for data {names[0]}, and this is {names[1]}; make it again")
    rows = len(table)
    sizes = {len(values.flatten()) // max(rows, 1) for values in columns}
    if len(sizes) != 1 or any(set(np.diff(values.offsets.to_numpy())) - sizes for values in columns):
        raise UserError(f"{where}: every row must list the same number of entities, and as many log-probabilities")
    ids, log_p = (values.flatten().to_numpy(zero_copy_only=False).reshape(rows, -1) for values in columns)
    return Listed(ids, log_p)
