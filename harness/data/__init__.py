"""Temporal knowledge graphs: reading, checking, time classes, known answers, and the data sets by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.data.graph import UNKNOWN, Facts, Ints, Queries, TemporalGraph, Vocabulary, both_directions
from harness.data.known import KnownAnswers, expand_by_class, expand_by_time
from harness.data.timeline import Timeline

if TYPE_CHECKING:
    from harness.data.registry import load, names

__all__ = [
    "UNKNOWN",
    "Facts",
    "Ints",
    "KnownAnswers",
    "Queries",
    "TemporalGraph",
    "Timeline",
    "Vocabulary",
    "both_directions",
    "expand_by_class",
    "expand_by_time",
    "load",
    "names",
]


def __getattr__(name: str) -> Any:
    """Reading data needs pandas; a student that answers needs the arrays alone."""
    if name in ("load", "names"):
        from harness.data import registry

        return getattr(registry, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
