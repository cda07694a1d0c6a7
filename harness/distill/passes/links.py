"""Compiled loops over the training facts of entities: features of gaps in time, and their gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from harness.data.graph import UNKNOWN, Ints
from harness.distill.gaps import EDGES, KINDS, Links

Floats = NDArray[np.float32]
_REACH = max(EDGES) + 1
_KIND = np.searchsorted(np.array(EDGES), np.arange(-_REACH, _REACH + 1)).astype(np.int8)
_inline = numba.njit(inline="always")


class Asked(NamedTuple):
    """Queries [B]: ``start`` and ``end`` of their intervals, and the positions of subject with relation (``group``) and
    of the start among the times that gaps are known for (``time``).

    ``own`` is the answer if the query is a training fact, which is then left out of the ``pairs`` [B, 2] that have it,
    those of its two entities; -1: it is none.
    """

    relation: Ints
    start: Ints
    end: Ints
    own: Ints
    pairs: Ints
    group: Ints
    time: Ints


@numba.njit(nogil=True)
def kinds(times: Ints, links: Links, out: NDArray[np.int8]) -> None:
    """The kind of the gap [U, P] from the nearest fact of each group to each of some times [U]."""
    for u in range(len(times)):
        for p in range(len(links.first) - 1):
            out[u, p] = _nearest(times[u], links, p, np.int64(0), np.int64(0), False)


@_inline
def _nearest(time: Any, links: Any, group: Any, skipped_start: Any, skipped_end: Any, skips: Any) -> Any:
    """The kind of the smallest gap, of equal ones that after the fact; -1 if no fact is left."""
    best, is_known, left, to_skip = np.int64(2**62), False, 0, skips
    for k in range(links.first[group], links.first[group + 1]):
        start, end = links.start[k], links.end[k]
        if to_skip and start == skipped_start and end == skipped_end:
            to_skip = False
            continue
        left += 1
        if start != UNKNOWN and time != UNKNOWN:
            gap = time - end if time > end else (time - start if time < start else np.int64(0))
            if abs(gap) < abs(best) or (abs(gap) == abs(best) and gap > best):
                best, is_known = gap, True
    if left == 0:
        return -1
    within: Any = min(max(best, -_REACH), _REACH)
    return np.int64(_KIND[within + _REACH]) if is_known else KINDS - 1


@_inline
def _touch(
    row: Any, weights: Any, gradient: Any, back: Any, entity: Any, of: Any, kind: Any, often: Any, sign: Any
) -> Any:
    """One feature of an entity: its score, or what the entity's slope means for its weights."""
    if back:
        gradient[of, kind] += sign * row[entity]
        gradient[of, KINDS] += sign * often * row[entity]
    else:
        row[entity] += sign * (weights[of, kind] + often * weights[of, KINDS])


@_inline
def _often(links: Any, group: Any, less: Any) -> Any:
    return np.float32(np.log1p(links.first[group + 1] - links.first[group] - less))


@numba.njit(nogil=True, error_model="numpy", boundscheck=False)
def walk(
    z: Floats, weights: Floats, gradient: Floats, back: bool, masks: bool, asked: Asked, near: NDArray[np.int8],
    pairs: Links, pair_entity: Ints, pair_relation: Ints, repeats: Links, repeat_entity: Ints, groups: Ints,
) -> None:  # fmt: skip
    """Add the scores of features to ``z`` [B, E], or, going ``back``, what the slopes ``z`` mean for ``gradient``.

    Args:
        weights: [n² + n, KINDS + 1] for n relations: of pairs of relations (asked, linked), then of repeated facts; the
            last column weighs the logarithm of how many facts there are.
        gradient: as ``weights``.
        masks: give entities -∞ that another training fact has as answer at that time.
        near: ``kinds`` of the queries' times.
        pairs: facts by entity and relation; ``pair_entity`` and ``pair_relation`` say which.
        repeats: facts by subject, relation and answer, ``repeat_entity``; those of ``asked.group`` k are
            ``groups[k]:groups[k + 1]``.
    """
    n = int(np.sqrt(len(weights)))
    one = np.float32(1)
    often = np.empty(len(pair_entity), np.float32)
    for p in range(len(often)):
        often[p] = _often(pairs, p, 0)
    shared = np.zeros(z.shape[1], np.float32)  # of queries in a row that have relation and time in common
    for b in range(len(z)):
        r, own, start, end, row, known = (
            asked.relation[b], asked.own[b], asked.start[b], asked.end[b], z[b], near[asked.time[b]],
        )  # fmt: skip
        at = np.int64(b - 1 if not back else b + 1)
        is_same = 0 <= at < len(z) and asked.relation[at] == r and asked.time[at] == asked.time[b]
        if back:
            shared += row
        elif not is_same:
            shared[:] = 0
        if not is_same:
            for p in range(len(pair_entity)):
                _touch(
                    shared, weights, gradient, back, pair_entity[p], r * n + pair_relation[p], known[p], often[p], one
                )
        if not back:
            row += shared
        elif not is_same:
            shared[:] = 0
        if own >= 0:
            for side in range(2):
                p = asked.pairs[b, side]
                entity, of = pair_entity[p], r * n + pair_relation[p]
                _touch(row, weights, gradient, back, entity, of, known[p], often[p], -one)
                kind = _nearest(start, pairs, p, start, end, True)
                if kind >= 0:
                    _touch(row, weights, gradient, back, entity, of, kind, _often(pairs, p, 1), one)
        for k in range(groups[asked.group[b]], groups[asked.group[b] + 1]):
            entity = repeat_entity[k]
            is_own = own == entity
            kind = _nearest(start, repeats, k, start, end, is_own)
            if kind >= 0:
                _touch(row, weights, gradient, back, entity, n * n + r, kind, _often(repeats, k, is_own), one)
            if masks and not back and not is_own:
                for fact in range(repeats.first[k], repeats.first[k + 1]):
                    is_dated = repeats.start[fact] != UNKNOWN and start != UNKNOWN
                    if not is_dated or (repeats.start[fact] <= end and repeats.end[fact] >= start):
                        row[entity] = -np.inf
