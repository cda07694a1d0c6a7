"""The losses of one training step and all their gradients in a single pass over the batch, for a CPU.

Row by row: a query's stored candidates are gathered and scored, exponentiated with the step's shared ones, whose
comparisons come from a matrix product, and the gradient goes to the query and the candidates while all of them still
lie in the first-level cache. Nothing of size [B, K, d] exists. The formulas are in ``sampled``, the kinds of scores in
``models.scoring.compiled``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from harness.models.scoring.compiled import FAST, LANES, F, exp, largest, pair_of, to_scores

#: what a pass sums up: the cross-entropies, the divergences, the Huber losses, the cross-entropies of other query
#: vectors, ∂L/∂scale
CE, KL, HUBER, ALSO, SCALE = range(5)


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

    Of the shared candidates it gets what their scores are made of, [B, M], and leaves in its place the weights with
    which they enter the gradients, as ``pull_back`` does. Queries after the first ``n_full`` have a cross-entropy
    alone, with a weight of its own. It raises an IndexError if a candidate is not an entity.
    """
    inline = numba.njit(fastmath=FAST, forceinline=True, error_model="numpy")
    scores, factor, pull, *_ = pair_of(kind)

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
    def run(step: Any, n_full: Any, stored: Any, teachers: Any, weights: Any, gradients: Any) -> None:
        query, table, scale, answer, index, shared, nearest, position, ids = step
        log_p, log_rest, temperature, aligned_ids, aligned, delta, teachers_gold, teachers_scale, teachers_kind = stored
        hard_of_full, soft, alpha, hard_of_also = weights
        grad_query, grad_table, sums = gradients
        n_entities, n_listed, n_shared, n_aligned = len(table), ids.shape[1], shared.shape[1], aligned_ids.shape[1]
        inverse = F(1.0) / temperature
        # ``both``: where shared candidates are that the query has of its own
        local, both = np.empty(n_listed + 1, np.int64), np.empty(n_listed + 1, np.int64)
        work, work_s = np.empty((3, n_listed + 1), np.float32), np.empty((3, n_shared), np.float32)
        z, once, warm = work[0], work[1], work[2]
        once_s, warm_s, likely = work_s[0], work_s[1], work_s[2]
        work_a, local_a = np.empty((2, n_aligned), np.float32), np.empty(n_aligned, np.int64)
        za, ta = work_a[0], work_a[1]
        lanes = np.empty(LANES, np.float32)
        for i in range(len(query)):
            row, zs = index[i], shared[i]
            is_full = i < n_full
            hard = hard_of_full if is_full else hard_of_also
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
                at = k if local[k] == gold else at
            local[n_listed] = gold
            n_local = n_listed + (at == n_listed)
            scores(query, i, table, local[:n_local], scale, z[:n_local])
            to_scores(zs, kind, scale)
            n_both = 0
            for k in range(n_local):
                if position[local[k]] >= 0:
                    both[n_both] = position[local[k]]
                    n_both += 1
            # ---- exponentials at T = 1
            top = max(largest(z[:n_local], lanes), largest(zs, lanes))
            total, others = F(0.0), F(0.0)
            for k in range(n_local):
                once[k] = exp(z[k] - top)
                total += once[k]
            for j in range(n_shared):
                once_s[j] = exp(zs[j] - top)
            for k in range(n_both):
                once_s[both[k]] = F(0.0)
            left = n_shared - n_both
            for j in range(n_shared):
                others += once_s[j]
            weight = F(n_entities - n_local) / F(left) if left > 0 else F(0.0)
            total += weight * others
            sums[CE if is_full else ALSO] += np.log(total) + top - z[at]
            # ---- gradients by score, from here on in once and once_s
            per = hard / total
            for k in range(n_local):
                once[k] *= per
            once[at] -= hard
            per *= weight
            for j in range(n_shared):
                once_s[j] *= per
            # ---- the divergence at T
            if is_full and log_p.shape[1] > 0:
                inside, unlisted, entropy = F(0.0), F(0.0), F(0.0)
                for k in range(n_local):
                    warm[k] = exp((z[k] - top) * inverse)
                for k in range(n_listed):
                    inside += warm[k]
                for j in range(n_shared):
                    warm_s[j] = exp((zs[j] - top) * inverse)
                for k in range(n_both):
                    warm_s[both[k]] = F(0.0)
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
                        likely[j] = exp(y[j])
                    for k in range(n_both):
                        likely[both[k]] = F(0.0)
                    for j in range(n_shared):
                        spread += likely[j]
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
                        p = per * likely[j]
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
                once[k] = factor(once[k], z[k], scale)
            pull(once, query, i, table, local[:n_local], grad_query, grad_table)
            for j in range(n_shared):
                of_scale += once_s[j] * zs[j]
                zs[j] = factor(once_s[j], min(zs[j], nearest), scale)
            # ---- the Huber loss between standardised scores
            if is_full and n_aligned > 0:
                for k in range(n_aligned):
                    local_a[k] = aligned_ids[row, k]
                    ta[k] = aligned[row, k]
                scores(query, i, table, local_a, scale, za)
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
                    z_k = mean + deviation * za[k]
                    of_scale += g * z_k
                    za[k] = factor(g, z_k, scale)
                pull(za, query, i, table, local_a, grad_query, grad_table)
            sums[SCALE] += of_scale / scale

    compiled: Callable[..., None] = run
    return compiled
