"""The log-partition on a CPU with compiled passes over blocks of scores."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from harness.models.base import Kernel
from harness.models.scoring.compiled import KINDS, L1, L2, add_block, manhattan, pull_back, pull_back_manhattan


class Blocks:
    """The scores of queries [B, d] against entities [E, d], block by block; single precision.

    A squared distance is one product: [q, ‖q‖², 1] · [-2e, 1, ‖e‖²]. Likewise a column of ones makes the sums of rows
    and columns, which the gradient of a distance needs, part of the products for the gradient.
    """

    def __init__(
        self, query: Tensor, table: Tensor, scale: Tensor, kernel: Kernel, temperatures: tuple[float, ...]
    ) -> None:
        self.kind, self.scale = KINDS[kernel], np.float32(scale.item())
        self.inverses = np.array([1 / t for t in temperatures], dtype=np.float32)
        self.query, self.table = query.detach().contiguous(), table.detach()
        d = query.shape[1]
        if kernel == "l2":
            squares = self.query.square().sum(1, keepdim=True)
            self.left = torch.cat([self.query, squares, torch.ones_like(squares)], 1)
            self.columns = table.new_empty(d + 2, len(table))
            torch.mul(self.table.T, -2, out=self.columns[:d])
            self.columns[d] = 1
            torch.sum(self.table.square(), 1, out=self.columns[d + 1])
        else:
            self.left, self.columns = self.query, self.table.T.contiguous()

    def _block(self, part: slice) -> Tensor:
        """What ``add_block`` wants: products, squared distances or distances [B, b]."""
        if self.kind != L1:
            return self.left @ self.columns[:, part]
        out = self.query.new_empty(len(self.query), part.stop - part.start)
        manhattan(self.query.numpy(), self.columns[:, part].contiguous().numpy(), out.numpy())
        return out

    def log_partition(self, parts: Iterable[slice]) -> Tensor:
        """log Σ exp(z/T) [B, K] over the entities of all ``parts``."""
        top = np.full(len(self.query), -np.inf, dtype=np.float32)
        sums = np.zeros((len(self.query), len(self.inverses)), dtype=np.float32)
        for part in parts:
            add_block(self._block(part).numpy(), self.kind, self.scale, self.inverses, top, sums)
        return torch.from_numpy(np.log(sums) + top[:, None] * self.inverses)

    def gradients(
        self, parts: Iterable[slice], logs: Tensor, grad: Tensor, nearest: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """∂L/∂query [B, d], ∂L/∂table [E, d] and ∂L/∂scale [] from ∂L/∂logs [B, K].

        Distances below ``nearest`` are taken for it where the gradient divides by them.
        """
        of_scale, given = 0.0, (logs.numpy(), grad.contiguous().numpy(), np.float32(nearest))
        # a last row of ones gives the sums of rows and columns of the weights
        size = self.query.shape[1] + (self.kind == L2)
        queries, entities = torch.ones(size, len(self.query)), torch.ones(size, len(self.table))
        queries[: self.query.shape[1]], entities[: self.table.shape[1]] = self.query.T, self.table.T
        of_queries, of_entities = torch.zeros_like(queries), torch.zeros_like(entities)
        for part in parts:
            weight = self._block(part)
            of_scale += pull_back(weight.numpy(), self.kind, self.scale, self.inverses, *given)
            if self.kind == L1:
                columns, pulled = entities[:, part].contiguous(), torch.zeros(size, weight.shape[1])
                pull_back_manhattan(*(x.numpy() for x in (weight, self.query, columns, of_queries, pulled)))
                of_entities[:, part] = pulled
            else:
                of_queries.addmm_(entities[:, part], weight.T)
                torch.mm(queries, weight, out=of_entities[:, part])
        if self.kind == L2:
            of_queries = of_queries[:-1] - of_queries[-1] * queries[:-1]
            of_entities = of_entities[:-1] - of_entities[-1] * entities[:-1]
        return of_queries.T, of_entities.T, torch.tensor(of_scale, dtype=torch.float32)
