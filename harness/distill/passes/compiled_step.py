"""The losses of one training step and all their gradients in a single pass over the batch, for a CPU.

Row by row: a query's stored candidates are gathered and scored, the step's shared candidates are scored, both are
exponentiated, and the gradient goes to the query and the candidates while all of them still lie in the first-level
cache. Nothing of size [B, K, d] or [B, M] exists. The formulas are in ``sampled``, the kinds of scores in
``models.compiled``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from harness.models.scoring.compiled import FAST, LANES, F, exp, largest, pair_of, to_scores

#: what a pass sums up: the cross-entropies, the divergences, the Huber losses, ∂L/∂scale
CE, KL, HUBER, SCALE = range(4)


class Stored(NamedTuple):
    """The targets of all training queries as the pass reads them; of length 0 where there are none.

    ``log_p`` [Q, K] and ``log_rest`` [Q] are those of ``SoftTargets``, whose ``ids`` the pass gets as the queries'
    lists; ``aligned_ids`` int32 [Q, K'] and ``aligned`` [Q, K'] are those of ``ScoreTargets``; ``teachers_gold`` [Q],
    scale and kind those of ``TeacherVectors``.
    """

    log_p: NDArray[np.float32]
    log_rest: NDArray[np.float32]
    temperature: np.float32
    aligned_ids: NDArray[np.int32]
    aligned: NDArray[np.float32]
    delta: np.float32
    teachers_gold: NDArray[np.float32]
    teachers_scale: np.float32
    teachers_kind: int


@lru_cache(maxsize=32)
def pass_of(kind: int) -> Callable[..., None]:
    """The pass for a kind of score, which is a constant of the compiled code.

    It raises an IndexError if a candidate is not an entity.
    """
    inline = numba.njit(fastmath=FAST, inline="always", error_model="numpy")
    score, compare, factor, pull, pull_columns = pair_of(kind)

    @inline
    def standardize(row: Any) -> Any:
        """As in ``alignment``, in place; returns mean and standard deviation."""
        mean, square, n = F(0.0), F(0.0), F(len(row))
        for k in range(len(row)):
            mean += row[k]
        mean /= n
        for k in range(len(row)):
            row[k] -= mean
            square += row[k] * row[k]
        deviation = np.sqrt(square / n + F(1e-8))
        for k in range(len(row)):
            row[k] /= deviation
        return mean, deviation

    @numba.njit(fastmath=FAST, nogil=True, error_model="numpy")
    def run(step: Any, stored: Any, teachers: Any, weights: Any, gradients: Any) -> None:
        query, table, scale, answer, index, columns, position, ids = step
        log_p, log_rest, temperature, aligned_ids, aligned, delta, teachers_gold, teachers_scale, teachers_kind = stored
        hard, soft, alpha = weights
        grad_query, grad_table, grad_columns, sums = gradients
        n_entities, n_listed, n_shared, n_aligned = len(table), ids.shape[1], columns.shape[1], aligned_ids.shape[1]
        inverse = F(1.0) / temperature
        local = np.empty(n_listed + 1, np.int64)
        work, work_s = np.empty((3, n_listed + 1), np.float32), np.empty((3, n_shared), np.float32)
        z, once, warm = work[0], work[1], work[2]
        zs, once_s, warm_s = work_s[0], work_s[1], work_s[2]
        work_a = np.empty((2, n_aligned), np.float32)
        za, ta = work_a[0], work_a[1]
        lanes = np.empty(LANES, np.float32)
        for i in range(len(query)):
            q, grad_q, row = query[i], grad_query[i], index[i]
            # ---- scores
            gold = answer[i]
            lowest = highest = gold
            for k in range(n_listed):
                lowest, highest = min(lowest, ids[row, k]), max(highest, ids[row, k])
            for k in range(n_aligned):
                lowest, highest = min(lowest, aligned_ids[row, k]), max(highest, aligned_ids[row, k])
            if lowest < 0 or highest >= n_entities:
                raise IndexError("a candidate is not an entity")
            at = n_listed
            for k in range(n_listed):
                local[k] = ids[row, k]
                z[k] = score(q, table[local[k]], scale)
                if local[k] == gold:
                    at = k
            n_local = n_listed
            if at == n_listed:
                local[at] = gold
                z[at] = score(q, table[gold], scale)
                n_local += 1
            compare(q, columns, zs)
            to_scores(zs, kind, scale)
            # ---- exponentials at T = 1
            top = z[at]
            for k in range(n_local):
                top = max(top, z[k])
            top = max(top, largest(zs, lanes))
            total, others = F(0.0), F(0.0)
            for k in range(n_local):
                once[k] = exp(z[k] - top)
                total += once[k]
            for j in range(n_shared):
                once_s[j] = exp(zs[j] - top)
            left = n_shared
            for k in range(n_local):
                if position[local[k]] >= 0:
                    once_s[position[local[k]]] = F(0.0)
                    left -= 1
            for j in range(n_shared):
                others += once_s[j]
            weight = F(n_entities - n_local) / F(left) if left > 0 else F(0.0)
            total += weight * others
            sums[CE] += np.log(total) + top - z[at]
            # ---- gradients by score, from here on in once and once_s
            per = hard / total
            for k in range(n_local):
                once[k] *= per
            once[at] -= hard
            per *= weight
            for j in range(n_shared):
                once_s[j] *= per
            # ---- the divergence at T
            if log_p.shape[1] > 0:
                inside, unlisted, entropy = F(0.0), F(0.0), F(0.0)
                for k in range(n_local):
                    warm[k] = exp((z[k] - top) * inverse)
                for k in range(n_listed):
                    inside += warm[k]
                for j in range(n_shared):
                    warm_s[j] = exp((zs[j] - top) * inverse)
                for k in range(n_local):
                    if position[local[k]] >= 0:
                        warm_s[position[local[k]]] = F(0.0)
                for j in range(n_shared):
                    unlisted += warm_s[j]
                unlisted *= weight
                if at == n_listed:
                    unlisted += warm[at]
                total_warm = inside + unlisted
                log_total = np.log(total_warm)
                outside = np.exp(log_rest[row])
                for k in range(n_listed):
                    p = exp(log_p[row, k])
                    entropy += p * (log_p[row, k] - (z[k] - top) * inverse + log_total)
                    once[k] += soft * temperature * (warm[k] / total_warm - p)
                spread, known = F(0.0), teachers.shape[1] > 0
                if known:  # how the teacher's mass lies on what it does not list
                    y, y_gold = teachers[i], teachers_gold[row] * inverse
                    to_scores(y, teachers_kind, teachers_scale * inverse)
                    highest = max(y_gold, largest(y, lanes))
                    y_gold -= highest
                    for j in range(n_shared):
                        y[j] -= highest
                    for k in range(n_local):
                        if position[local[k]] >= 0:
                            y[position[local[k]]] = F(-1e30)
                    for j in range(n_shared):
                        spread += exp(y[j])
                    spread *= weight
                    if at == n_listed:
                        spread += exp(y_gold)
                if known and spread > F(0.0):
                    log_part = log_rest[row] - np.log(spread) if outside > F(0.0) else F(-80.0)
                    per = outside / spread
                    if at == n_listed:
                        p = per * exp(y_gold)
                        entropy += p * (log_part + y_gold - (z[at] - top) * inverse + log_total)
                        once[at] += soft * temperature * (warm[at] / total_warm - p)
                    fall, flow, of_rest = F(1.0) / total_warm, soft * temperature * weight, F(0.0)
                    for j in range(n_shared):
                        p = per * exp(y[j])
                        p = p if y[j] > F(-1e29) else F(0.0)
                        of_rest += p * (log_part + y[j] - (zs[j] - top) * inverse + log_total)
                        once_s[j] += flow * (warm_s[j] * fall - p)
                    entropy += weight * of_rest
                elif unlisted > F(0.0):
                    if outside > F(0.0):
                        entropy += outside * (log_rest[row] - np.log(unlisted) + log_total)
                    per = soft * temperature * (F(1.0) / total_warm - outside / unlisted)
                    if at == n_listed:
                        once[at] += per * warm[at]
                    per *= weight
                    for j in range(n_shared):
                        once_s[j] += per * warm_s[j]
                sums[KL] += temperature * temperature * entropy
            # ---- to the query and the candidates
            of_scale = F(0.0)
            for k in range(n_local):
                of_scale += once[k] * z[k]
                pull(factor(once[k], z[k], scale), q, table[local[k]], grad_q, grad_table[local[k]])
            for j in range(n_shared):
                of_scale += once_s[j] * zs[j]
                once_s[j] = factor(once_s[j], zs[j], scale)
            pull_columns(once_s, q, columns, grad_q, grad_columns)
            # ---- the Huber loss between standardised scores
            if n_aligned > 0:
                for k in range(n_aligned):
                    za[k] = score(q, table[aligned_ids[row, k]], scale)
                    ta[k] = aligned[row, k]
                standardize(ta)
                mean, deviation = standardize(za)
                huber, of_mean, of_deviation = F(0.0), F(0.0), F(0.0)
                for k in range(n_aligned):
                    away = za[k] - ta[k]
                    ta[k] = min(max(away, -delta), delta)  # the derivative
                    huber += ta[k] * (away - F(0.5) * ta[k])
                    of_mean += ta[k]
                    of_deviation += ta[k] * za[k]
                per = F(1.0) / F(n_aligned)
                sums[HUBER] += huber * per
                of_mean, of_deviation = of_mean * per, of_deviation * per
                per *= alpha / deviation
                for k in range(n_aligned):
                    g = per * (ta[k] - of_mean - za[k] * of_deviation)
                    z_k, candidate = mean + deviation * za[k], aligned_ids[row, k]
                    of_scale += g * z_k
                    pull(factor(g, z_k, scale), q, table[candidate], grad_q, grad_table[candidate])
            sums[SCALE] += of_scale / scale

    compiled: Callable[..., None] = run
    return compiled
