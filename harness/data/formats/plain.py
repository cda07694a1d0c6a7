"""Facts separated by tabs, without a header: head, relation, tail, date; or head, relation, tail, start, end."""

from __future__ import annotations

from pathlib import Path

from harness.data.formats.text import Columns, read_columns


def fits(_path: Path, _line: str) -> bool:
    """Whatever no other format reads."""
    return True


def read(path: Path) -> tuple[Columns, str]:
    """The columns of a file; errors as of `harness.data.formats.text.read_columns`."""
    return read_columns(path, (4, 5)), "columns separated by tabs"
