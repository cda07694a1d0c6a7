"""The log-partition on a CPU with compiled passes over blocks of scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from harness.models.base import Kernel
from harness.models.scoring.compiled import KINDS, L1, L2, add_block, manhattan, pull_back, pull_back_manhattan


class Comparisons:
    """What scores of queries [B, d] against entities [E, d] are made of, and the way back; single precision.

    A squared distance is one product: [q, ‖q‖², 1] · [-2e, 1, ‖e‖²]. The ones in both also make the sums of rows and
    columns of the weights, which the gradient of a distance needs, part of the products for the gradient.
    """

    def __init__(self, query: Tensor, table: Tensor, kernel: Kernel) -> None:
        self.kind = KINDS[kernel]
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

    def of(self, part: slice) -> Tensor:
        """Products, squared distances or distances [B, b] to a part of the entities."""
        if self.kind != L1:
            return self.left @ self.columns[:, part]
        out = self.query.new_empty(len(self.query), len(range(*part.indices(len(self.table)))))
        manhattan(self.query.numpy(), self.columns[:, part].contiguous().numpy(), out.numpy())
        return out

    def nearest(self) -> float:
        """The distance below which two points nearly coincide: it is lost in rounding, and dividing by it is noise."""
        squares = self.left[:, -2].mean() + self.columns[-1].mean() if self.kind == L2 else torch.zeros(())
        return 1e-3 * math.sqrt(squares)

    def pulled(self, weights: Iterable[tuple[slice, Tensor]]) -> tuple[Tensor, Tensor]:
        """∂L/∂query [B, d] and ∂L/∂table [E, d] from the weights [B, b] of ``pull_back`` for each part of entities."""
        of_queries = torch.zeros(len(self.columns), len(self.query))
        of_entities = torch.empty_like(self.columns)
        for part, weight in weights:
            if self.kind == L1:
                columns, pulled = self.columns[:, part].contiguous(), torch.zeros(len(self.columns), weight.shape[1])
                pull_back_manhattan(*(x.numpy() for x in (weight, self.query, columns, of_queries, pulled)))
                of_entities[:, part] = pulled
            else:
                of_queries.addmm_(self.columns[:, part], weight.T)
                torch.mm(self.left.T, weight, out=of_entities[:, part])
        if self.kind == L2:
            of_queries = of_queries[:-2] * -0.5 - of_queries[-2] * self.query.T
            of_entities = of_entities[:-2] - of_entities[-1] * self.table.T
        return of_queries.T, of_entities.T


class Blocks(Comparisons):
    """The log-partition of scores of queries [B, d] against entities [E, d], block by block."""

    def __init__(
        self, query: Tensor, table: Tensor, scale: Tensor, kernel: Kernel, temperatures: tuple[float, ...]
    ) -> None:
        super().__init__(query, table, kernel)
        self.scale = np.float32(scale.item())
        self.inverses = np.array([1 / t for t in temperatures], dtype=np.float32)

    def log_partition(self, parts: Iterable[slice]) -> Tensor:
        """log Σ exp(z/T) [B, K] over the entities of all ``parts``."""
        top = np.full(len(self.query), -np.inf, dtype=np.float32)
        sums = np.zeros((len(self.query), len(self.inverses)), dtype=np.float32)
        for part in parts:
            add_block(self.of(part).numpy(), self.kind, self.scale, self.inverses, top, sums)
        return torch.from_numpy(np.log(sums) + top[:, None] * self.inverses)

    def gradients(
        self, parts: Iterable[slice], logs: Tensor, grad: Tensor, nearest: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """∂L/∂query [B, d], ∂L/∂table [E, d] and ∂L/∂scale [] from ∂L/∂logs [B, K].

        Distances below ``nearest`` are taken for it where the gradient divides by them.
        """
        of_scale, given = 0.0, (logs.numpy(), grad.contiguous().numpy(), np.float32(nearest))

        def weights() -> Iterator[tuple[slice, Tensor]]:
            nonlocal of_scale
            for part in parts:
                weight = self.of(part)
                of_scale += pull_back(weight.numpy(), self.kind, self.scale, self.inverses, *given)
                yield part, weight

        of_query, of_table = self.pulled(weights())
        return of_query, of_table, torch.tensor(of_scale, dtype=torch.float32)
