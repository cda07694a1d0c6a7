"""The log-partition over all entities, exact, in blocks that stay in the processor's cache.

The textbook way writes and reads a [B, E] matrix several times a step, which on a CPU is bound by memory. Here blocks
of entities small enough for the second-level cache are scored and reduced (the idea of Milakov & Gimelshein, 2018), and
the backward pass scores them once more. There are two ways through a block: tensor operations, which run everywhere and
in every precision, and passes compiled for the CPU (``fused``), for single precision and work that is worth compiling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from harness.models.base import Kernel, scores
from harness.models.scoring.vmapped import can_compile, is_vmapped

#: entities a block on a CPU: 512 queries × 256 entities × 4 bytes is half of a second-level cache of 1 MiB
CPU_BLOCK = 256
#: scores of a step from which on the compiled passes are used: below, compiling them, a second or two, would not pay
FUSED_FROM = 2**18


def _is_fused(query: Tensor, table: Tensor) -> bool:
    return can_compile(query) and len(query) * len(table) >= FUSED_FROM


def _blocks(query: Tensor, table: Tensor) -> Iterator[slice]:
    size = CPU_BLOCK if query.device.type == "cpu" else 1 << 30
    for start in range(0, len(table), size):
        yield slice(start, min(start + size, len(table)))


class _LogPartition(torch.autograd.Function):
    """With tensor operations."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, table: Tensor, scale: Tensor, kernel: Kernel, temperatures: tuple[float, ...]
    ) -> Tensor:
        parts = []
        for block in _blocks(query, table):
            z = scores(query, table[block], kernel, scale)
            parts.append(torch.stack([torch.logsumexp(z if t == 1 else z / t, dim=1) for t in temperatures], dim=1))
        result = torch.logsumexp(torch.stack(parts), dim=0)
        ctx.save_for_backward(query, table, scale, result)
        ctx.kernel, ctx.temperatures = kernel, temperatures
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, table, scale, result = ctx.saved_tensors
        grad_query, grad_table, grad_scale = map(torch.zeros_like, (query, table, scale))
        for block in _blocks(query, table):
            z = scores(query, table[block], ctx.kernel, scale)
            weight = torch.zeros_like(z)
            for k, t in enumerate(ctx.temperatures):
                weight += (z / t - result[:, k : k + 1]).exp_() * (grad[:, k] / t)[:, None]
            grad_scale += torch.dot(weight.flatten(), z.flatten()) / scale
            _accumulate(weight, z, query, table[block], scale, ctx.kernel, grad_query, grad_table[block])
        return grad_query, grad_table, grad_scale, None, None


def _accumulate(
    weight: Tensor,
    z: Tensor,
    query: Tensor,
    block: Tensor,
    scale: Tensor,
    kernel: Kernel,
    grad_query: Tensor,
    grad_block: Tensor,
) -> None:
    """Turn ∂L/∂z [B, b] of one block into its parts of ∂L/∂query and ∂L/∂table."""
    if kernel == "dot":
        weight *= scale
        grad_query.addmm_(weight, block)
        grad_block.addmm_(weight.T, query)
    elif kernel == "l2":
        # z = -s·d, so ∂z/∂q = -s·(q - e)/d = s²·(q - e)/z
        weight.div_(torch.minimum(z, -scale * _nearest(query, block))).mul_(scale * scale)
        grad_query.addcmul_(weight.sum(1, keepdim=True), query).sub_(weight @ block)
        grad_block.addcmul_(weight.sum(0)[:, None], block).sub_(weight.T @ query)
    else:
        for d in range(query.shape[1]):  # one coordinate at a time: [B, b, d] would not fit any cache
            signed = torch.sign(query[:, d, None] - block[None, :, d]).mul_(weight)
            grad_query[:, d] -= scale * signed.sum(1)
            grad_block[:, d] = scale * signed.sum(0)


def _nearest(query: Tensor, table: Tensor) -> Tensor:
    """The distance below which two points nearly coincide: it is lost in rounding, and dividing by it makes noise."""
    return 1e-3 * (query.square().sum(1).mean() + table.square().sum(1).mean()).sqrt()


class _FusedLogPartition(torch.autograd.Function):
    """With compiled passes; single precision on a CPU."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, table: Tensor, scale: Tensor, kernel: Kernel, temperatures: tuple[float, ...]
    ) -> Tensor:
        from harness.distill.passes import fused  # here, since loading a compiler takes a moment

        ctx.work = fused.Blocks(query, table, scale, kernel, temperatures)
        result: Tensor = ctx.work.log_partition(_blocks(query, table))
        ctx.save_for_backward(query, table, result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, table, result = ctx.saved_tensors
        nearest = float(_nearest(query, table))
        return (*ctx.work.gradients(_blocks(query, table), result, grad, nearest), None, None)


def log_partition(
    query: Tensor, table: Tensor, scale: Tensor, kernel: Kernel, temperatures: tuple[float | Tensor, ...] = (1.0,)
) -> Tensor:
    """log Σ_e exp(z_e / T) over all entities for each temperature T, exact and differentiable.

    Args:
        query: query vectors [B, d].
        table: entity vectors [E, d].
        scale: positive scalar factor of the scores.
        kernel: how scores z are made of both, see ``Backbone``.
        temperatures: the T's, K of them; scalar tensors for a stack of students.

    Returns:
        [B, K].
    """
    if is_vmapped():
        z = scores(query, table, kernel, scale)
        return torch.stack([(z / t).logsumexp(1) for t in temperatures], dim=1)
    way = _FusedLogPartition if _is_fused(query, table) else _LogPartition
    apply: Callable[..., Tensor] = way.apply  # which torch does not annotate
    return apply(query, table, scale, kernel, temperatures)
