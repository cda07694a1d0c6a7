"""The log-partition over all entities, exact, in blocks that stay in the processor's cache.

The textbook way writes and reads a [B, E] matrix several times a step, which on a CPU is bound by memory. Here blocks
of entities small enough for the second-level cache are scored and reduced (the idea of Milakov & Gimelshein, 2018).
The backward pass needs the scores again: it reads them back where they are few enough to keep, else scores once more.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from harness.models.base import Kernel, scores

#: entities a block on a CPU: 512 queries × 512 entities × 4 bytes is 1 MiB, the size of a second-level cache
CPU_BLOCK = 512
#: scores of a batch that are kept for the backward pass, at most: 64 MiB
KEPT_SCORES = 2**24


def _block(query: Tensor) -> int:
    return CPU_BLOCK if query.device.type == "cpu" else 1 << 30


class _LogPartition(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, table: Tensor, scale: Tensor, kernel: Kernel, temperatures: tuple[float, ...]
    ) -> Tensor:
        parts = []
        kept: list[Tensor] | None = [] if len(query) * len(table) <= KEPT_SCORES else None
        for block in torch.split(table, _block(query)):
            z = scores(query, block, kernel, scale)
            if kept is not None:
                kept.append(z)
            top = z.amax(1, keepdim=True)
            below = z - top
            sums = [(below if t == 1 else below / t).exp().sum(1).log_() for t in temperatures[1:]]
            first = temperatures[0]
            sums.insert(0, (below if first == 1 else below.div_(first)).exp_().sum(1).log_())
            parts.append(torch.stack([s + top[:, 0] / t for s, t in zip(sums, temperatures, strict=True)], dim=1))
        result = torch.logsumexp(torch.stack(parts), dim=0)
        ctx.kept = kept
        ctx.save_for_backward(query, table, scale, result)
        ctx.kernel, ctx.temperatures = kernel, temperatures
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, table, scale, result = ctx.saved_tensors
        kernel: Kernel = ctx.kernel
        grad_query, grad_scale = torch.zeros_like(query), torch.zeros_like(scale)
        grad_blocks: list[Tensor] = []
        for k, block in enumerate(torch.split(table, _block(query))):
            z = scores(query, block, kernel, scale) if ctx.kept is None else ctx.kept[k]
            weight = None
            for i, t in enumerate(ctx.temperatures):
                share = (z - result[:, i : i + 1] if t == 1 else (z / t).sub_(result[:, i : i + 1])).exp_()
                share *= (grad[:, i] / t)[:, None]
                weight = share if weight is None else weight.add_(share)
            assert weight is not None
            if ctx.needs_input_grad[2]:
                grad_scale += torch.dot(weight.flatten(), z.flatten()) / scale
            _accumulate(weight, z, query, block, scale, kernel, grad_query, grad_blocks)
        return grad_query, torch.cat(grad_blocks), grad_scale, None, None


def _accumulate(
    weight: Tensor,
    z: Tensor,
    query: Tensor,
    block: Tensor,
    scale: Tensor,
    kernel: Kernel,
    grad_query: Tensor,
    grad_blocks: list[Tensor],
) -> None:
    """Turn ∂L/∂z [B, b] of one block into its parts of ∂L/∂query and ∂L/∂table."""
    if kernel == "dot":
        weight *= scale
        grad_query.addmm_(weight, block)
        grad_blocks.append(weight.T @ query)
    elif kernel == "l2":
        # z = -s·d, so ∂z/∂q = -s·(q - e)/d = s²·(q - e)/z. The distance of two points that nearly coincide is lost in
        # rounding; a floor keeps the gradient from growing with its error
        floor = 1e-3 * (query.square().sum(1).mean() + block.square().sum(1).mean()).sqrt()
        weight.div_(torch.minimum(z, -scale * floor)).mul_(scale * scale)
        grad_query.addcmul_(weight.sum(1, keepdim=True), query).sub_(weight @ block)
        grad_blocks.append(weight.sum(0)[:, None] * block - weight.T @ query)
    else:
        grad_block = torch.empty_like(block)
        for d in range(query.shape[1]):  # one coordinate at a time: [B, b, d] would not fit any cache
            signed = torch.sign(query[:, d, None] - block[None, :, d]).mul_(weight)
            grad_query[:, d] -= scale * signed.sum(1)
            grad_block[:, d] = scale * signed.sum(0)
        grad_blocks.append(grad_block)


def log_partition(
    query: Tensor, table: Tensor, scale: Tensor, kernel: Kernel, temperatures: tuple[float, ...] = (1.0,)
) -> Tensor:
    """log Σ_e exp(z_e / T) over all entities for each temperature T, exact and differentiable.

    Args:
        query: query vectors [B, d].
        table: entity vectors [E, d].
        scale: positive scalar factor of the scores.
        kernel: how scores z are made of both, see ``Backbone``.
        temperatures: the T's, K of them.

    Returns:
        [B, K].
    """
    # torch does not annotate apply, and it is our class's method, so the exclusion of torch's own does not reach it
    result: Tensor = _LogPartition.apply(query, table, scale, kernel, temperatures)  # type: ignore[no-untyped-call]
    return result
