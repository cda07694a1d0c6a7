"""Features of gaps in loops over facts, which say what they are and nothing else."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from harness.data import UNKNOWN, TemporalGraph
from harness.distill.gaps import EDGES

N = 8  # four relations, as the toy has, and their reciprocals


def plain_score(facts: list[tuple[int, ...]], weights: np.ndarray, s: int, r: int, time: int, entity: int) -> float:
    """One entity's score: loops over facts in both directions (subject, relation, answer, start, end)."""

    def feature(row: int, times: list[tuple[int, int]]) -> float:
        gaps = [0 if a <= time <= b else time - (b if time > b else a) for a, b in times if UNKNOWN not in (a, time)]
        kind = len(EDGES) + 1 if not gaps else bisect_left(EDGES, min(gaps, key=lambda gap: (abs(gap), -gap)))
        return float(weights[row, kind] + np.log1p(len(times)) * weights[row, -1]) if times else 0.0

    total = sum(feature(r * N + q, [f[3:] for f in facts if f[:2] == (entity, q)]) for q in range(N))
    return total + feature(N * N + r, [f[3:] for f in facts if f[:3] == (s, r, entity)])


def both_ways(graph: TemporalGraph) -> list[tuple[int, ...]]:
    start, end = (column.tolist() for column in graph.train.time_points())
    rows = list(zip(*(graph.train.columns[c].tolist() for c in ("head", "relation", "tail")), start, end, strict=True))
    return [*rows, *((t, r + N // 2, h, s, e) for h, r, t, s, e in rows)]
