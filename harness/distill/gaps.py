"""Gaps in time between a query and the facts of an entity: facts in groups, kinds of gaps, and scores. NumPy alone.

What the features are: `harness.teachers.gaps`, which trains their weights and scores many queries by compiled loops
(`harness.distill.passes.links`). A student's file answers with what is here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.data.graph import UNKNOWN, Facts, Ints, TemporalGraph, both_directions
from harness.distill.packing import pack
from harness.distill.rounding import Bits, Floats, table_bytes

#: gaps of one kind: up to the first of these, up to the second ...; before the query's time they are negative
EDGES = (
    *(-100, -60, -40, -30, -25, -20, -15, -10, -7, -5, -3, -2, -1),
    *(0, 1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 60, 100),
)
#: kinds of gaps: between edges, outside of them, and where a time is not known
KINDS = len(EDGES) + 2
#: the weights of gaps, and how much student and gaps count, by their names in the state of a student that has gaps
WEIGHTS, MIX = NAMES = "gaps.weights", "gaps.mix"


def weights_shape(n_relations: int) -> tuple[int, int]:
    """Of ``n_relations``, reciprocals counted: a row a pair (asked, linked), then a row a relation for repeated facts;
    the last column weighs the logarithm of how many facts there are."""
    return n_relations * (n_relations + 1), KINDS + 1


def bytes_an_entity(graph: TemporalGraph, bits: Bits) -> int:
    """An entity's share of what looking facts up takes in a student's file, rounded up: training facts and weights."""
    shapes = {WEIGHTS: weights_shape(2 * len(graph.relations)), MIX: (2,)}
    size = pack(graph.train).nbytes + sum(table_bytes(name, shape, bits) for name, shape in shapes.items())
    return -(-size // len(graph.entities))


class Links(NamedTuple):
    """Facts in groups: those of group k are ``start`` and ``end`` [first[k]:first[k + 1]], inclusive."""

    first: Ints
    start: Ints
    end: Ints


class Lookup:
    """Training ``facts`` in both directions, in the groups that features are made of.

    ``pairs``: by entity and relation; ``pair_entity`` and ``pair_relation`` say which. ``repeats``: by subject,
    relation and answer, ``repeat_entity``; those of one subject and relation are ``groups[k]:groups[k + 1]``, with k
    the subject's number times the number of all relations, plus the relation's.
    """

    def __init__(self, facts: Facts, n_entities: int, n_relations: int) -> None:
        self.facts, self.n_entities, self.n_relations = facts, n_entities, 2 * n_relations
        both = both_directions(facts, n_relations)
        start, end = both.time_points()
        key = both.subject * self.n_relations + both.relation

        def grouped(key: Ints) -> tuple[Ints, Links]:
            order = np.lexsort([start, key])
            distinct, first = np.unique(key[order], return_index=True)
            return distinct, Links(np.append(first, len(key)), start[order], end[order])

        self.pair_key, self.pairs = grouped(key)
        self.pair_entity, self.pair_relation = np.divmod(self.pair_key, self.n_relations)
        repeat_key, self.repeats = grouped(key * n_entities + both.answer)
        self.repeat_entity = repeat_key % n_entities
        keys = np.arange(n_entities * self.n_relations + 1)
        self.groups = np.searchsorted(repeat_key // n_entities, keys)

    def scores(self, weights: Floats, subject: Ints, relation: Ints, start: Ints) -> Floats:
        """Scores [B, E] of all entities for subjects, relations and starts [B] of queries that are no training facts,
        with weights of `weights_shape`."""
        z, n = np.zeros((len(subject), self.n_entities), np.float32), self.n_relations
        for row, s, r, time in zip(z, subject.tolist(), relation.tolist(), start.tolist(), strict=True):
            of_pairs = _weighed(weights, r * n + self.pair_relation, self.pairs, time)
            row += np.bincount(self.pair_entity, of_pairs, self.n_entities)
            lo, hi = self.groups[s * n + r : s * n + r + 2].tolist()
            repeated = Links(self.repeats.first[lo : hi + 1], self.repeats.start, self.repeats.end)
            row[self.repeat_entity[lo:hi]] += _weighed(weights, n * n + r, repeated, time)
        return z


def _weighed(weights: Floats, rows: Any, links: Links, time: int) -> NDArray[Any]:
    """What each group adds to a score at ``time``."""
    often = np.log1p(np.diff(links.first)).astype(np.float32)
    return np.asarray(weights[rows, _kinds(time, links)] + often * weights[rows, -1])


def _kinds(time: int, links: Links) -> Ints:
    """The kind of the smallest gap of each group, of equal ones that after the fact."""
    first, last = links.first[:1].sum(), links.first[-1:].sum()
    if first == last:
        return np.zeros(0, np.int64)
    start, end = links.start[first:last], links.end[first:last]
    known = (start != UNKNOWN) & (time != UNKNOWN)
    at = np.where(known, time, 0)
    gap = np.maximum(at - np.where(known, end, 0), 0) - np.maximum(np.where(known, start, 0) - at, 0)
    unknown = np.iinfo(np.int64).max
    order = np.where(known, 2 * np.abs(gap) + (gap < 0), unknown)
    best = np.minimum.reduceat(order, links.first[:-1] - first)
    kind = np.searchsorted(EDGES, np.where(best % 2, -(best // 2), best // 2))
    return np.where(best == unknown, KINDS - 1, kind)
