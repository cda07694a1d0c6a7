"""Temporal knowledge graphs: reading, checking, time classes, known answers, and the data sets by name."""

from harness.data.graph import UNKNOWN, Facts, Ints, Queries, TemporalGraph, Vocabulary, both_directions
from harness.data.known import KnownAnswers, expand_by_time
from harness.data.registry import load, names
from harness.data.timeline import Timeline

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
    "expand_by_time",
    "load",
    "names",
]
