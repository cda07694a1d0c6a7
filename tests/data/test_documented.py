"""The page on data says what the code does."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

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


def test_size_of_lahman_and_of_its_relations(real_data: RealData) -> None:
    graph = real_data("lahman")
    row = next(row for row in table("Data sets") if row[0] == "lahman")
    assert row[2] == " / ".join(f"{len(part):,}" for part in graph.splits.values())
    assert row[3:5] == [f"{len(graph.entities):,}", str(len(graph.relations))]
    counts = Counter(np.concatenate([part.relation for part in graph.splits.values()]).tolist())
    assert {row[0]: row[4] for row in table("lahman")} == {
        graph.relations.names[k]: f"{count:,}" for k, count in counts.items()
    }


@pytest.mark.parametrize("kind", ["head", "tail"])
def test_kinds_of_entities_of_lahman(real_data: RealData, kind: str) -> None:
    graph = real_data("lahman")
    shown = {row[0]: set(row[1 if kind == "head" else 2].split(", ")) for row in table("lahman")}
    actual: dict[str, set[str]] = {}
    for part in graph.splits.values():
        for relation, entity in set(zip(part.relation.tolist(), part.columns[kind].tolist(), strict=True)):
            actual.setdefault(graph.relations.names[relation], set()).add(graph.entities.names[entity].split(":")[0])
    assert shown == actual
