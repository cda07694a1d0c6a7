"""The log-partition on a CPU with compiled passes over blocks of scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from harness.models.base import Kernel
from harness.models.scoring.compiled import KINDS, L1, L2, add_block, manhattan, pull_back, pull_back_manhattan

#: dimension from which on entities are rows in memory, as gradients are wanted, since turning them takes longer than
#: products of columns save, and scores are kept for the backward pass, since they are read sooner than made
WIDE = 64
#: bytes of scores that are kept at most: the C library takes them from memory that it keeps
KEPT_BYTES = 2**25


class Comparisons:
    """What scores of queries [B, d] against entities [E, d] are made of, and the way back; single precision.

    A squared distance is one product: [q, ‖q‖², 1] · [-2e, 1, ‖e‖²]. The ones in both also make the sums of rows and
    columns of the weights, which the gradient of a distance needs, part of the products for the gradient.
    """

    def __init__(self, query: Tensor, table: Tensor, kernel: Kernel) -> None:
        self.kind = KINDS[kernel]
        self.query, self.table = query.detach().contiguous(), table.detach()
        self.left, d = self.query, query.shape[1]
        if kernel == "l2":
            squares = self.query.square().sum(1, keepdim=True)
            self.left = torch.cat([self.query, squares, torch.ones_like(squares)], 1)
        self.wide = d >= WIDE
        self.right = self._new(len(table), self.left.shape[1])
        torch.mul(self.table, -2 if kernel == "l2" else 1, out=self.right[:, :d])
        if kernel == "l2":
            self.right[:, d] = 1
            torch.sum(self.table.square(), 1, out=self.right[:, d + 1])

    def _new(self, rows: int, columns: int) -> Tensor:
        return torch.empty(rows, columns) if self.wide else torch.empty(columns, rows).T

    def of(self, part: slice, out: Tensor | None = None) -> Tensor:
        """Products, squared distances or distances [B, b] to a part of the entities, in ``out`` if it is given."""
        right = self.right[part]
        out = self.query.new_empty(len(self.query), len(right)) if out is None else out
        if self.kind != L1:
            return torch.mm(self.left, right.T, out=out)
        manhattan(self.query.numpy(), right.T.contiguous().numpy(), out.numpy())
        return out

    def nearest(self) -> float:
        """The distance below which two points nearly coincide: it is lost in rounding, and dividing by it is noise."""
        if self.kind != L2:
            return 0.0
        return 1e-3 * math.sqrt(self.left[:, -2].mean() + self.right[:, -1].contiguous().mean())

    def pulled(self, weights: Iterable[tuple[slice, Tensor]]) -> tuple[Tensor, Tensor]:
        """∂L/∂query [B, d] and ∂L/∂table [E, d] from the weights [B, b] of ``pull_back`` for each part of entities."""
        of_queries, of_entities = self._new(*self.left.shape).zero_(), torch.empty_like(self.right)
        if self.kind == L1:
            of_columns = of_queries.T.contiguous()
            for part, weight in weights:
                columns = self.right[part].T.contiguous()
                pulled = torch.zeros_like(columns)
                pull_back_manhattan(*(x.numpy() for x in (weight, self.query, columns, of_columns, pulled)))
                of_entities[part] = pulled.T
            return of_columns.T, of_entities
        for part, weight in weights:
            of_queries.addmm_(weight, self.right[part])
            torch.mm(weight.T, self.left, out=of_entities[part])
        if self.kind == L2:
            of_queries = of_queries[:, :-2] * -0.5 - of_queries[:, -2:-1] * self.query
            of_entities = of_entities[:, :-2] - of_entities[:, -1:] * self.table
        return of_queries, of_entities


class Blocks(Comparisons):
    """The log-partition of scores of queries [B, d] against entities [E, d], block by block."""

    def __init__(
        self, query: Tensor, table: Tensor, scale: Tensor, kernel: Kernel, temperatures: tuple[float, ...]
    ) -> None:
        super().__init__(query, table, kernel)
        self.scale = np.float32(scale.item())
        self.inverses = np.array([1 / t for t in temperatures], dtype=np.float32)
        size = len(query) * len(table) if self.wide else 0
        self.kept = query.new_empty(size if 4 * size <= KEPT_BYTES else 0)

    def _room(self, part: slice) -> Tensor | None:
        """Where the scores of a part are kept from the forward to the backward pass; None: they are made again."""
        n = len(self.query)
        return self.kept[n * part.start : n * part.stop].view(n, -1) if len(self.kept) else None

    def log_partition(self, parts: Iterable[slice]) -> Tensor:
        """log Σ exp(z/T) [B, K] over the entities of all ``parts``."""
        top = np.full(len(self.query), -np.inf, dtype=np.float32)
        sums = np.zeros((len(self.query), len(self.inverses)), dtype=np.float32)
        for part in parts:
            add_block(self.of(part, self._room(part)).numpy(), self.kind, self.scale, self.inverses, top, sums)
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
                kept = self._room(part)
                weight = self.of(part) if kept is None else kept
                of_scale += pull_back(weight.numpy(), kept is not None, self.kind, self.scale, self.inverses, *given)
                yield part, weight

        of_query, of_table = self.pulled(weights())
        self.kept = self.kept[:0]  # where weights are now
        return of_query, of_table, torch.tensor(of_scale, dtype=torch.float32)
