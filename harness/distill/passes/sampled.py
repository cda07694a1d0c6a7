"""The losses of a step over sampled candidates: each query's own, and some that all queries of the step share.

A query's own candidates C are its true answer and a list: of the entities that its teacher's targets name or, without a
teacher, of those that the model itself scored highest some epochs ago. They stand for themselves. The shared ones S are
drawn uniformly without replacement, and those of them that are not a query's own stand for all entities that are not:

    Σ_e exp(z_e/T)  ≈  Σ_C exp(z_e/T) + (E - |C|)/|S - C| · Σ_{S - C} exp(z_e/T)

The right side is unbiased for the left whatever is on the list (stratified sampling with one stratum taken whole), with
a variance that only the entities outside of it cause: little, if the list has those with large scores. Its logarithm is
low by half of the relative variance. With all entities shared, everything is exact.

There are two ways: tensor operations, which run everywhere and in every precision, and one compiled pass over the batch
that yields losses and gradients at once (``compiled_step``), for single precision on a CPU and work worth compiling.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from harness.distill.passes.terms import NEVER, huber_alignment, listed_divergence, others_divergence
from harness.distill.targets import ScoreTargets, SoftTargets
from harness.models.base import Kernel, gathered_scores, scores
from harness.models.scoring.vmapped import can_compile

if TYPE_CHECKING:
    from harness.distill.passes.compiled_step import Stored

#: scores of a step from which on the compiled pass is used: below, compiling it, some seconds, would not pay
COMPILED_FROM = 2**14
_NOTHING = np.empty((1, 0), np.float32)
#: threads of the compiled pass; None: as many as tensor operations have
_pass_threads: ContextVar[int | None] = ContextVar("threads of the compiled pass", default=None)


@dataclass(frozen=True, eq=False)
class Weighted:
    """w_hard·CE + w_soft·T²·KL + α·L2; a part that is None is left out.

    ``soft`` and ``aligned`` are of all training queries; ``delta`` is the threshold of L2. Numbers are scalar tensors
    for a stack of students.
    """

    hard_weight: float | Tensor = 1.0
    soft: SoftTargets | None = None
    soft_weight: float | Tensor = 1.0
    aligned: ScoreTargets | None = None
    alpha: float | Tensor = 0.0
    delta: float | Tensor = 1.0

    @cached_property
    def stored(self) -> Stored:
        """The targets as the compiled pass reads them."""
        # here, since loading a compiler takes a moment
        from harness.distill.passes.compiled_step import Stored
        from harness.models.scoring.compiled import KINDS

        soft, aligned = self.soft, self.aligned
        teacher = None if soft is None else soft.teacher
        return Stored(
            log_p=_NOTHING if soft is None else soft.log_p.numpy(),
            log_rest=_NOTHING[0] if soft is None else soft.log_rest.numpy(),
            temperature=np.float32(1.0 if soft is None else soft.temperature),
            aligned_ids=_NOTHING.astype(np.int32) if aligned is None else aligned.ids.numpy(),
            aligned=_NOTHING if aligned is None else aligned.scores.numpy(),
            delta=np.float32(self.delta),
            teachers_gold=_NOTHING[0] if teacher is None else teacher.gold.numpy(),
            teachers_scale=np.float32(1.0 if teacher is None else teacher.scale.item()),
            teachers_kind=0 if teacher is None else KINDS[teacher.kernel],
        )


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a step scores besides the true answers: ``shared`` int64 [M], M >= 1, distinct, by all queries of the batch;
    ``lists`` int32 [Q, K] of all training queries, each without repetition, or None.

    ``exact``: the step scores all entities, and leaves the shared ones alone.
    """

    shared: Tensor
    lists: Tensor | None = None
    exact: bool = False


def shared_candidates(n_entities: int, size: int, seed: int) -> Iterator[Tensor]:
    """Draws of ``size`` distinct entities, int64 [min(size, E)], without end; a function of ``seed`` alone.

    Successive draws are windows of one random permutation after another, so that all entities come equally often.
    """
    size = min(size, n_entities)
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(n_entities, generator=generator)[: n_entities - n_entities % size].split(size)


def sampled_losses(
    query: Tensor,
    table: Tensor,
    scale: Tensor,
    kernel: Kernel,
    answer: Tensor,
    index: Tensor,
    candidates: Candidates,
    weighted: Weighted,
    also: Tensor | None = None,
    also_weight: float | Tensor = 1.0,
) -> list[Tensor]:
    """The weighted terms of a batch, each a scalar mean: of CE, and where they are asked for KL, Huber and another CE.

    Args:
        query: query vectors [B, d].
        table: entity vectors [E, d].
        scale: positive scalar factor of the scores.
        kernel: how scores are made of both, see ``Backbone``.
        answer: the true entities int64 [B].
        index: positions of the batch's queries among the training queries, int64 [B].
        candidates: shared ones, and lists, in whose place those of ``weighted.soft`` are used if there are any.
        weighted: targets and weights.
        also: other query vectors [b, d] for the batch's first b queries, of which CE alone is taken, with a weight.

    The compiled way yields the gradient of their sum, so they have to enter the loss with the same factor.
    """
    shared = candidates.shared
    lists = candidates.lists if weighted.soft is None else weighted.soft.ids
    asked = _Asked(kernel, answer, index, shared, lists, weighted, also_weight)
    sizes = len(shared), 0 if lists is None else lists.shape[1]
    if not can_compile(query) or len(query) * sum(sizes) < COMPILED_FROM:
        terms = _composed(query, table, scale, asked)
        if also is not None:
            first = slice(len(also))
            plain = _Asked(kernel, answer[first], index[first], shared, lists, Weighted())
            terms.append(also_weight * _composed(also, table, scale, plain)[0])
        return terms
    apply: Any = _Compiled.apply  # which torch does not annotate
    terms = list(apply(query, also, table, scale, asked))
    return [terms[k] for k, part in enumerate((weighted, weighted.soft, weighted.aligned, also)) if part is not None]


@dataclass(frozen=True, eq=False)
class _Asked:
    """All but what the gradient is taken with respect to, as in ``sampled_losses``."""

    kernel: Kernel
    answer: Tensor
    index: Tensor
    shared: Tensor
    lists: Tensor | None
    weighted: Weighted
    also_weight: float | Tensor = 1.0


def apart_from(ids: Tensor, shared: Tensor, n_entities: int) -> Tensor:
    """Which of ``shared`` int64 [M] are not among a query's ``ids`` int [B, K]: bool [B, M]."""
    numbers = torch.arange(len(shared), device=shared.device)
    position = torch.full((n_entities,), -1, device=shared.device).scatter(0, shared, numbers)
    at = position[ids]
    apart = torch.ones(len(ids), len(shared) + 1, dtype=torch.bool, device=shared.device)
    return apart.scatter(1, at.where(at >= 0, len(shared)), False)[:, :-1]


def _composed(query: Tensor, table: Tensor, scale: Tensor, asked: _Asked) -> list[Tensor]:
    """With tensor operations."""
    kernel, answer, index, shared, lists = asked.kernel, asked.answer, asked.index, asked.shared, asked.lists
    weighted, soft, aligned = asked.weighted, asked.weighted.soft, asked.weighted.aligned
    ids = answer[:, None] if lists is None else torch.cat([answer[:, None], lists[index].long()], 1)
    apart = apart_from(ids, shared, len(table))
    z = gathered_scores(query, table[ids], kernel, scale)
    z_shared = scores(query, table[shared], kernel, scale).masked_fill(~apart, NEVER)
    doubled = (ids[:, 1:] == answer[:, None]).any(1)  # the answer is on the list, too
    others = len(table) - ids.shape[1] + doubled
    log_weight = (others / apart.sum(1).clamp(min=1)).log()[:, None]
    gold, listed = z[:, :1], z[:, 1:]
    once = gold.masked_fill(doubled[:, None], NEVER)
    partition = torch.cat([listed, once, z_shared + log_weight], 1).logsumexp(1)
    terms = [weighted.hard_weight * (partition - gold[:, 0]).mean()]
    if soft is not None:
        t, log_p, log_rest = soft.temperature, soft.log_p[index], soft.log_rest[index]
        outside = torch.cat([once / t, z_shared / t + log_weight], 1).logsumexp(1)
        log_partition = torch.logaddexp((listed / t).logsumexp(1), outside)
        kl = listed_divergence(listed, log_p, log_partition, t)
        if soft.teacher is None:
            mass = log_rest.exp() * (log_rest.clamp(min=-80) - outside + log_partition)
            kl = kl + torch.where((log_rest > -torch.inf) & (outside > -1e20), mass, 0.0)
        else:
            y_gold, y_shared = soft.teacher.gold[index][:, None], soft.teacher.scores(index, shared)
            counted = torch.cat([~doubled[:, None], apart], 1)
            log_weights = torch.cat([torch.zeros_like(log_weight), log_weight.expand(-1, len(shared))], 1)
            unlisted = torch.cat([y_gold, y_shared], 1), torch.cat([once, z_shared], 1)
            kl = kl + others_divergence(*unlisted, counted, log_weights, log_rest, log_partition, t)
        terms.append(weighted.soft_weight * t**2 * kl.mean())
    if aligned is not None:
        z_aligned = gathered_scores(query, table[aligned.ids[index].long()], kernel, scale)
        terms.append(weighted.alpha * huber_alignment(z_aligned, aligned.scores[index], weighted.delta))
    return terms


class _Compiled(torch.autograd.Function):
    """With the compiled pass, which computes the gradients on its way: nothing is left to do in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, also: Tensor | None, table: Tensor, scale: Tensor, asked: _Asked
    ) -> tuple[Tensor, ...]:
        from harness.distill.passes import compiled_step, fused  # here, since loading a compiler takes a moment
        from harness.models.scoring.compiled import KINDS

        weighted, run = asked.weighted, compiled_step.pass_of(KINDS[asked.kernel])
        n, n_also = len(query), 0 if also is None else len(also)
        queries = query.detach().contiguous() if also is None else torch.cat([query.detach(), also.detach()])
        rows = torch.arange(n) if also is None else torch.cat([torch.arange(n), torch.arange(n_also)])
        q, e, factor = queries.numpy(), table.detach().contiguous().numpy(), np.float32(scale.item())
        answer, index, shared = asked.answer[rows].numpy(), asked.index[rows].numpy(), asked.shared.numpy()
        ids = np.empty((1, 0), np.int32) if asked.lists is None else asked.lists.numpy()
        position = np.full(len(e), -1, np.int32)
        position[shared] = np.arange(len(shared), dtype=np.int32)
        weights = weighted.hard_weight, weighted.soft_weight, weighted.alpha, asked.also_weight
        sizes = n, n, n, max(n_also, 1)
        shares = tuple(np.float32(weight / size) for weight, size in zip(weights, sizes, strict=True))
        compared = fused.Comparisons(queries, table.detach()[asked.shared], asked.kernel)
        others, nearest = compared.of(slice(None)), np.float32(-factor * compared.nearest())
        teacher = None if weighted.soft is None else weighted.soft.teacher
        drawn = None if teacher is None else teacher.drawn(asked.shared)

        grad_query = np.zeros_like(q)

        def work(part: slice) -> tuple[Any, Any]:
            grad_table, sums = np.zeros_like(e), np.zeros(5)
            step = q[part], e, factor, answer[part], index[part], others.numpy()[part], nearest, position, ids
            taught = _NOTHING
            if teacher is not None and drawn is not None:
                taught = teacher.compared(asked.index[part.start : min(part.stop, n)], drawn).numpy()
            gradients = grad_query[part], grad_table, sums
            run(step, max(n - part.start, 0), weighted.stored, taught, shares, gradients)
            return grad_table, sums

        size = math.ceil(len(q) / (_pass_threads.get() or torch.get_num_threads()))
        first, *later = (slice(start, min(start + size, len(q))) for start in range(0, len(q), size))
        waiting = [_threads().submit(work, part) for part in later]
        grad_table, sums = totals = work(first)
        for more in waiting:
            for total, part in zip(totals, more.result(), strict=True):
                total += part
        of_queries, of_drawn = compared.pulled([(slice(None), others)])
        grad_query += of_queries.numpy()
        grad_table[shared] += of_drawn.numpy()
        of_scale = torch.tensor(sums[compiled_step.SCALE], dtype=torch.float32)
        ctx.save_for_backward(torch.from_numpy(grad_query), torch.from_numpy(grad_table), of_scale)
        ctx.n, ctx.asked = n, (True, weighted.soft is not None, weighted.aligned is not None, also is not None)
        return tuple(torch.from_numpy(sums[: compiled_step.SCALE] / sizes * weights).float())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        factor, *others = (grad for grad, is_asked in zip(grads, ctx.asked, strict=True) if is_asked)
        if any(other != factor for other in others):
            raise ValueError("the terms of a step must enter the loss with the same factor")
        of_queries, *gradients = ctx.saved_tensors if factor == 1 else [factor * grad for grad in ctx.saved_tensors]
        return (of_queries[: ctx.n], of_queries[ctx.n :] if ctx.asked[-1] else None, *gradients, None)


@contextmanager
def threads_for_the_pass(wanted: bool = True) -> Iterator[None]:
    """Give the threads of tensor operations to the compiled pass, within a block of sampled steps on a CPU.

    The other operations of such a step are too small for several threads; and threads of OpenMP, having done their
    share of an operation, keep a core busy for milliseconds in waiting for the next, which the pass could use.
    """
    threads = torch.get_num_threads()
    if not wanted or threads == 1:
        yield
        return
    token = _pass_threads.set(threads)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _pass_threads.reset(token)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="step")
