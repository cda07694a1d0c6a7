"""Small data sets, in memory and as folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest

from harness.data import Facts

Row = tuple[int, int, int, int, int]

#: a data set of names with intervals in years
LINES = {
    "train": ["ann\tlives in\tRome\t1990-##-##\t1995-##-##", "bob\tlives in\tOslo\t2001-##-##\t####-##-##"],
    "valid": ["ann\tlives in\tOslo\t1996-##-##\t1999-##-##"],
    "test": ["bob\tlives in\tRome\t####-##-##\t2000-##-##"],
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """``write(train=[...])`` is a folder with these lines, bytes or text as files; other splits are those of LINES."""

    def folder(name: str = "mine", **files: list[str] | str | bytes | None) -> Path:
        where = tmp_path / name
        where.mkdir(exist_ok=True)
        for split, content in {**LINES, **files}.items():
            path = where / (split.replace("_tsv", ".tsv") if split.endswith("_tsv") else f"{split}.txt")
            if content is None:
                continue
            if isinstance(content, list):
                content = "".join(f"{line}\n" for line in content)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return where

    return folder


@pytest.fixture(scope="session")
def as_facts() -> Callable[[Iterable[Row]], Facts]:
    """Facts of rows (head, relation, tail, start, end)."""

    def facts(rows: Iterable[Row]) -> Facts:
        table = np.array(list(rows), np.int64).reshape(-1, 5)
        return Facts(*(np.ascontiguousarray(column) for column in table.T))

    return facts


@pytest.fixture(scope="session")
def lines() -> Mapping[str, list[str]]:
    """The lines of the data set that ``write`` writes by default."""
    return LINES
