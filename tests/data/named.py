"""The facts of a graph by names, for comparing."""

from __future__ import annotations

from harness.data import TemporalGraph


def facts(graph: TemporalGraph, split: str = "train") -> list[tuple[str, str, str, int, int]]:
    """The facts of a split as names and times."""
    part = graph.splits[split]
    return [
        (graph.entities.names[h], graph.relations.names[r], graph.entities.names[t], s, e)
        for h, r, t, s, e in zip(*(column.tolist() for column in part.columns.values()), strict=True)
    ]
