"""The page on data says what the code does."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from harness.data import TemporalGraph, registry
from harness.data.checks import FINDINGS

RealData = Callable[[str], TemporalGraph]
PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text("utf-8")


def table(heading: str) -> list[list[str]]:
    """The body of the first table under a heading."""
    section = PAGE[PAGE.index(f"\n## {heading}\n") :]
    actual = re.search(r"(?:^\|.*\|\n)+", section, re.M)
    assert actual is not None
    return [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in actual[0].splitlines()[2:]]


def test_findings() -> None:
    assert [row[0] for row in table("Checks")] == list(FINDINGS.values())


def test_data_sets_and_their_folders() -> None:
    assert [row[0] for row in table("Data sets")] == registry.names()
    for source in registry.SOURCES.values():
        assert f"`{source.folder}`" in PAGE
        repository, commit = re.findall(r"githubusercontent.com/([^/]+/[^/]+)/([0-9a-f]{40})/", source.url)[0]
        assert f"{repository}](https://github.com/{repository}) at {commit[:7]}" in PAGE


def test_size_of_lahman(real_data: RealData) -> None:
    graph = real_data("lahman")
    row = next(row for row in table("Data sets") if row[0] == "lahman")
    assert row[2] == " / ".join(f"{len(part):,}" for part in graph.splits.values())
    assert row[3:5] == [f"{len(graph.entities):,}", str(len(graph.relations))]
