"""Figures left blank: drawing them takes nearly all the time of a report, and few tests look at one."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

_draw = Figure.savefig


@lru_cache
def _blank(width: float, height: float, suffix: str) -> bytes:
    file = io.BytesIO()
    _draw(
        Figure(figsize=(width, height)),
        file,
        format=suffix,
        dpi=10,
        metadata={"CreationDate": None} if suffix == "pdf" else None,
    )
    return file.getvalue()


def _leave_blank(figure: Figure, path: Path, **_: Any) -> None:
    path.write_bytes(_blank(*map(float, figure.get_size_inches()), path.suffix[1:]))


@contextmanager
def blank() -> Iterator[None]:
    """Inside, what saves a figure writes an empty one of its size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", _leave_blank)
        yield


@contextmanager
def drawn() -> Iterator[None]:
    """Inside `blank`, figures are drawn again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", _draw)
        yield
