"""Compiled loops over single-precision arrays, for a CPU.

Tensor operations read and write their arrays once an operation, some thirty times a training step, which costs more
than the arithmetic. Here a row of scores is made, reduced and exponentiated, and a candidate's vector read and
compared, while it lies in the first-level cache. Matrix products stay with the tensor library.

NaN goes in and comes out: none of these functions may assume that there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from harness.models.base import Kernel
from harness.models.scoring.lanes import WIDTH, along, load, spread, store, total

Floats = NDArray[np.float32]
Ids = NDArray[np.signedinteger[Any]]

#: how an entity is compared with a query, as a number for compiled code
KINDS: dict[Kernel, int] = {"dot": 0, "l2": 1, "l1": 2}
DOT, L2, L1 = KINDS["dot"], KINDS["l2"], KINDS["l1"]
F = np.float32
#: a squared distance below this is rounding
SMALLEST = F(1e-12)
#: running maxima of a row are kept in so many lanes, since a compiler may not reorder a maximum that can meet NaN
LANES = 16
LOG2_E, LN_2 = F(1.4426950408889634), F(0.6931471805599453)
# reordering sums is allowed; pretending that NaN and infinity do not exist is not
FAST = {"reassoc", "contract", "arcp", "nsz"}
_jit = numba.njit(fastmath=FAST, nogil=True, error_model="numpy")
_inline = numba.njit(fastmath=FAST, forceinline=True, error_model="numpy")


def _bitcast(_context: Any, _bits: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), generate


#: the float32 with the bits of an int32; Any, since numba itself hands over the context that its type asks for
_bits_as_float: Any = intrinsic(_bitcast)


@_inline
def exp(x: Any) -> Any:
    """e^x for x <= 88, with a relative error of 1e-7·|x|, which e^x makes small in a sum; 1e-38 for very small x.

    2^n · e^f with n integer and |f| <= ln(2)/2, of which the first factor is n written into the exponent's bits, and
    the second a polynomial. Unlike a call of the C library's, a loop over it becomes vector instructions.
    """
    y = x * LOG2_E
    y = F(-126.0) if y < F(-126.0) else y  # in this order NaN stays NaN
    n = np.floor(y + F(0.5))
    f = (y - n) * LN_2
    p = F(1 / 120) + f * (F(1 / 720) + f * F(1 / 5040))
    p = F(1.0) + f * (F(1.0) + f * (F(0.5) + f * (F(1 / 6) + f * (F(1 / 24) + f * p))))
    exponent = np.int32((np.int32(n) + np.int32(127)) << np.int32(23))
    return p * _bits_as_float(exponent)


@_inline
def to_score(x: Any, kind: Any, scale: Any) -> Any:
    """A product, squared distance or distance becomes a score."""
    if kind == DOT:
        return scale * x
    if kind == L2:
        return -scale * np.sqrt(SMALLEST if x < SMALLEST else x)
    return -scale * x


@_inline
def to_scores(row: Any, kind: Any, scale: Any) -> None:
    """The same for a row [b], in place."""
    for j in range(len(row)):
        row[j] = to_score(row[j], kind, scale)


@_inline
def largest(row: Any, lanes: Any) -> Any:
    """The maximum of a row, -inf of none; ``lanes`` [LANES] is overwritten."""
    n_lanes = len(row) - len(row) % LANES
    lanes[:] = F(-np.inf)
    for start in range(0, n_lanes, LANES):
        for lane in range(LANES):
            value = row[start + lane]
            lanes[lane] = value if value > lanes[lane] else lanes[lane]
    maximum = F(-np.inf)
    for lane in range(LANES):
        maximum = max(maximum, lanes[lane])
    for j in range(n_lanes, len(row)):
        maximum = max(maximum, row[j])
    return maximum


@_jit
def add_block(block: Floats, kind: int, scale: F, inverses: Floats, top: Floats, sums: Floats) -> None:
    """Add a block of entities to Σ exp((z - top)/T), and raise ``top`` to the largest score so far.

    Args:
        block: products (dot), squared distances (l2) or distances (l1) [B, b]; overwritten.
        kind: of ``KINDS``.
        scale: of the scores.
        inverses: 1/T of each temperature [K].
        top: largest score so far [B]; changed.
        sums: [B, K]; changed.
    """
    lanes = np.empty(LANES, np.float32)
    for i in range(block.shape[0]):
        z = block[i]
        n = len(z)
        to_scores(z, kind, scale)
        highest = max(top[i], largest(z, lanes))
        for k in range(len(inverses)):
            if highest > top[i] and sums[i, k] > 0:
                sums[i, k] *= np.exp((top[i] - highest) * inverses[k])
            total = F(0.0)
            for j in range(n):
                total += exp((z[j] - highest) * inverses[k])
            sums[i, k] += total
        top[i] = highest


@_jit
def pull_back(
    block: Floats, made: bool, kind: int, scale: F, inverses: Floats, logs: Floats, grad: Floats, floor: F
) -> float:
    """Turn a block into the weights by which queries and entities enter each other's gradient.

    Let g = ∂L/∂z = Σ_k grad_k · exp(z/T_k - logs_k)/T_k. The block becomes scale·g for dot and l1, and
    scale·g/distance for l2.

    Args:
        block, kind, scale, inverses: as in ``add_block``.
        made: the block has the scores that ``add_block`` left in it.
        logs: log Σ exp(z/T) [B, K].
        grad: ∂L/∂logs [B, K].
        floor: distances below are taken for it in the division: theirs is lost in rounding, and so would the gradient.

    Returns:
        Σ g·z/scale over the block: its part of ∂L/∂scale.
    """
    weight = np.empty(block.shape[1], np.float32)
    of_scale: Any = 0.0
    for i in range(block.shape[0]):
        z = block[i]
        if not made:
            to_scores(z, kind, scale)
        weight[:] = F(0.0)
        for k in range(len(inverses)):
            inverse, log, factor = inverses[k], logs[i, k], grad[i, k] * inverses[k]
            for j in range(len(z)):
                weight[j] += factor * exp(z[j] * inverse - log)
        total = F(0.0)
        for j in range(len(z)):
            total += weight[j] * z[j]
        of_scale += total / scale
        if kind == L2:
            nearest = -scale * floor
            square = scale * scale
            for j in range(len(z)):
                z[j] = -square * weight[j] / (nearest if z[j] > nearest else z[j])
        else:
            for j in range(len(z)):
                z[j] = scale * weight[j]
    gradient: float = of_scale
    return gradient


class Pair(NamedTuple):
    """How queries and entities of one kind of score enter each other's loss and gradient, for compiled loops.

    ``scores(query, i, table, ids, scale, out)``: those of the rows ``ids`` int64 [K] of ``table`` [E, d] for row i of
    ``query`` [B, d], into ``out`` [K]. ``weight(g, z, scale)``, with which a score z of derivative g enters the
    gradients, is 0 where two points coincide. ``pull(w, query, i, table, ids, grad_query, grad_table)`` adds to the
    gradients of that query and these entities with weights [K]. ``compare`` and ``pull_columns`` are of one query [d]
    and entities as columns [d, b]: what scores are made of, into ``out`` [b], and the gradients with weights [b].
    """

    scores: Any
    weight: Any
    pull: Any
    compare: Any
    pull_columns: Any


@lru_cache
def pair_of(kind: int) -> Pair:
    """The functions for a kind, which is a constant of the compiled code.

    The dimension is none on purpose: loops of constant length become single numbers, not vectors.
    """

    @_inline
    def part(x: Any, y: Any) -> Any:
        """What a coordinate, or eight, adds to the comparison."""
        if kind == DOT:
            return x * y
        difference = x - y
        return difference * difference if kind == L2 else abs(difference)

    @_inline
    def slope(w: Any, x: Any, y: Any) -> Any:
        """What a coordinate, or eight, adds to the gradient of x; in a distance that of y has the opposite."""
        if kind == DOT:
            return w * y
        return w * (y - x) if kind == L2 else along(w, y - x)

    @_inline
    def scores(query: Any, i: Any, table: Any, ids: Any, scale: Any, out: Any) -> None:
        width = query.shape[1]
        whole = width - width % WIDTH
        out[:] = F(0.0)
        for d in range(whole, width):
            for k in range(len(ids)):
                out[k] += part(query[i, d], table[ids[k], d])
        for k in range(len(ids)):
            sums = spread(F(0.0))
            for d in range(0, whole, WIDTH):
                sums = sums + part(load(query, i, d), load(table, ids[k], d))
            out[k] = to_score(out[k] + total(sums), kind, scale)

    @_inline
    def weight(g: Any, z: Any, scale: Any) -> Any:
        if kind == L2:  # z = -s·‖q - e‖, so ∂z/∂q = s²·(q - e)/z
            coincide = z * z <= scale * scale * SMALLEST
            return F(0.0) if coincide else -(scale * scale * g / z)
        return scale * g

    @_inline
    def pull(w: Any, query: Any, i: Any, table: Any, ids: Any, grad_query: Any, grad_table: Any) -> None:
        width = query.shape[1]
        whole = width - width % WIDTH
        for d in range(0, whole, WIDTH):  # not entity by entity: the query's part and its gradient stay in registers
            x, of_query = load(query, i, d), load(grad_query, i, d)
            for k in range(len(ids)):
                to_query = slope(spread(w[k]), x, load(table, ids[k], d))
                of_query = of_query + to_query
                before = load(grad_table, ids[k], d)
                store(grad_table, ids[k], d, before + spread(w[k]) * x if kind == DOT else before - to_query)
            store(grad_query, i, d, of_query)
        for d in range(whole, width):
            x, of_one = query[i, d], grad_query[i, d]
            for k in range(len(ids)):
                to_one = slope(w[k], x, table[ids[k], d])
                of_one += to_one
                grad_table[ids[k], d] += w[k] * x if kind == DOT else -to_one
            grad_query[i, d] = of_one

    @_inline
    def compare(q: Any, columns: Any, out: Any) -> None:
        out[:] = F(0.0)
        for d in range(len(q)):
            value, column = q[d], columns[d]
            for j in range(len(out)):
                out[j] += part(value, column[j])

    @_inline
    def pull_columns(w: Any, q: Any, columns: Any, grad_q: Any, grad_columns: Any) -> None:
        for d in range(len(q)):
            value, column, grad, of_one = q[d], columns[d], grad_columns[d], F(0.0)
            for j in range(len(w)):
                to_one = slope(w[j], value, column[j])
                of_one += to_one
                grad[j] += w[j] * value if kind == DOT else -to_one
            grad_q[d] += of_one

    return Pair(scores, weight, pull, compare, pull_columns)


_compare, _pull = pair_of(L1).compare, pair_of(L1).pull_columns


@_jit
def manhattan(query: Floats, columns: Floats, out: Floats) -> None:
    """Σ_d |query[:, d] - columns[d, :]| into ``out`` [B, b], for query [B, d] and entities as columns [d, b]."""
    for i in range(query.shape[0]):
        _compare(query[i], columns, out[i])


@_jit
def pull_back_manhattan(weight: Floats, query: Floats, columns: Floats, grad_query: Floats, grad: Floats) -> None:
    """Add -Σ weight·sign(query - entity) to ``grad_query`` [d, B], and the opposite to ``grad`` [d, b]."""
    for i in range(query.shape[0]):
        _pull(weight[i], query[i], columns, grad_query[:, i], grad)


@lru_cache
def candidates_of(kind: int) -> tuple[Callable[..., None], Callable[..., float]]:
    """Two loops over each query's own candidates, rows ``ids`` [B, K] of ``table`` [E, d].

    ``forward(query, table, ids, scale, out)`` puts their scores for queries [B, d] into ``out`` [B, K].
    ``backward(query, table, ids, scale, z, grad, grad_query, grad_table)`` adds to ``grad_query`` [B, d] and
    ``grad_table`` [E, d] what ``grad`` = ∂L/∂z [B, K] makes of them, with ``z`` those scores, and returns ∂L/∂scale.
    """
    scores, weight, pull, *_ = pair_of(kind)

    @_jit
    def forward(query: Any, table: Any, ids: Any, scale: Any, out: Any) -> None:
        for i in range(query.shape[0]):
            scores(query, i, table, ids[i], scale, out[i])

    @_jit
    def backward(
        query: Any, table: Any, ids: Any, scale: Any, z: Any, grad: Any, grad_query: Any, grad_table: Any
    ) -> Any:
        of_scale: Any = 0.0
        weights = np.empty(ids.shape[1], np.float32)
        for i in range(query.shape[0]):
            for k in range(ids.shape[1]):
                of_scale += grad[i, k] * z[i, k]
                weights[k] = weight(grad[i, k], z[i, k], scale)
            pull(weights, query, i, table, ids[i], grad_query, grad_table)
        return of_scale / scale

    return forward, backward


@_jit
def champions(z: Floats, best: Ids) -> None:
    """Column of the highest score of each of K interleaved groups of columns: of k, k + K, ...

    Args:
        z: scores [B, n·K].
        best: int64 [B, K]; overwritten.
    """
    size = best.shape[1]
    top, at = np.empty(size, np.float32), np.empty(size, np.int32)
    for i in range(z.shape[0]):
        top[:] = F(-np.inf)
        at[:] = 0
        for start in range(0, z.shape[1], size):
            row = z[i, start : start + size]
            for k in range(size):
                is_better = row[k] > top[k]
                top[k] = row[k] if is_better else top[k]
                at[k] = np.int32(start) if is_better else at[k]
        for k in range(size):
            best[i, k] = at[k] + k


@_jit
def rank_rows(z: Floats, answer: Ids, first: Ids, entity: Ids, size: int, out: NDArray[np.float64]) -> None:
    """Filtered ranks into ``out`` [B]: 1 + the number of better entities + half the number of equally good ones.

    Args:
        z: finite scores [>= B, >= size]; more rows and columns are not read.
        answer: of each query [B], an entity.
        first: where its known answers begin in ``entity`` [B + 1].
        entity: known answers to leave out, which do not contain ``answer``.
        size: number of entities.
    """
    for i in range(len(answer)):
        row = z[i, :size]
        gold = row[answer[i]]
        better, equal = np.int32(0), np.int32(-1)  # without itself
        for j in range(len(row)):
            better += np.int32(row[j] > gold)
            equal += np.int32(row[j] == gold)
        for k in range(first[i], first[i + 1]):
            other = row[entity[k]]
            better -= np.int32(other > gold)
            equal -= np.int32(other == gold)
        out[i] = 1 + better + equal / 2
