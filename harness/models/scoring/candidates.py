"""Scores of each query's own candidates: stored targets of a teacher, the true answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.models.base import Backbone, Kernel, gathered_scores
from harness.models.scoring.vmapped import can_compile

#: candidates of a step from which on compiled loops are used: below, compiling them would not pay
COMPILED_FROM = 2**14


def candidate_scores(model: Backbone, query: Tensor, table: Tensor, ids: Tensor) -> Tensor:
    """Scores [B, K] of each query's own candidates: ``ids`` int [B, K] are rows of ``table`` [E, d]."""
    if can_compile(query) and ids.numel() >= COMPILED_FROM:
        apply: Callable[..., Tensor] = _Candidates.apply  # which torch does not annotate
        return apply(query, table, model.scale(), ids, model.kernel)
    return gathered_scores(query, nn.functional.embedding(ids, table), model.kernel, model.scale())


class _Candidates(torch.autograd.Function):
    """With compiled loops, which neither store the gathered vectors [B, K, d] nor scatter a gradient of that size."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, table: Tensor, scale: Tensor, ids: Tensor, kernel: Kernel) -> Tensor:
        from harness.models.scoring import compiled  # here, since loading a compiler takes a moment

        out = torch.empty(ids.shape, dtype=query.dtype)
        query, table, ids = (x.detach().contiguous() for x in (query, table, ids))
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < len(table):
            raise IndexError("a candidate is not an entity")  # compiled code does not look
        forward, ctx.pull_back = compiled.candidates_of(compiled.KINDS[kernel])
        forward(query.numpy(), table.numpy(), ids.numpy(), np.float32(scale.item()), out.numpy())
        ctx.save_for_backward(query, table, ids, scale, out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, table, ids, scale, z = ctx.saved_tensors
        grad_query, grad_table = torch.zeros_like(query), torch.zeros_like(table)
        given = (x.numpy() for x in (z, grad.contiguous(), grad_query, grad_table))
        of_scale = ctx.pull_back(query.numpy(), table.numpy(), ids.numpy(), np.float32(scale.item()), *given)
        return grad_query, grad_table, torch.tensor(of_scale, dtype=query.dtype), None, None
