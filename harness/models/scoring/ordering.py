"""What orders all entities as their scores do, and is quicker to make: for ranks and hard candidates, on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.models.base import Kernel

#: queries at a time: 32 × 12,000 numbers about fit a second-level cache
ROWS = 32
#: and of this dimension on, where what a product reads of the table costs more than what it writes
WIDE, ROWS_OF_WIDE = 128, 128
#: entities that L1 distances are added up of at a time: 32 dimensions × 1024 fit the cache as well
L1_BLOCK = 1024


class Ordering:
    """Numbers that rise with the scores of all rows of ``table`` [E, d]; single precision.

    The positive scale is left out, and for ``l2`` it is ⟨q, e⟩ - ‖e‖²/2, one product [q, 1] · [e, -‖e‖²/2], which falls
    when ‖q - e‖ rises.
    """

    def __init__(self, table: Tensor, kernel: Kernel) -> None:
        self.kernel, self.dim = kernel, table.shape[1]
        self.rows = ROWS if self.dim < WIDE else ROWS_OF_WIDE
        # all products have this shape, the last one too: with few queries a library may add up in another order
        self.query = torch.ones(self.rows, self.dim + (kernel == "l2"))
        self.z = torch.empty(self.rows, len(table))
        if kernel == "l2":
            table = torch.cat([table, table.square().sum(1, keepdim=True) * -0.5], 1)
        self.columns = table.T.contiguous()
        self.blocks = [block.contiguous() for block in self.columns.split(L1_BLOCK, 1)] if kernel == "l1" else []

    def of(self, query: Tensor) -> Tensor:
        """[b, E] for queries [b, d], b <= ``rows``; the next call overwrites it."""
        self.query[: len(query), : self.dim] = query
        if self.kernel != "l1":
            return torch.mm(self.query, self.columns, out=self.z)[: len(query)]
        from harness.models.scoring.compiled import manhattan  # here, since loading a compiler takes a moment

        for block, out in zip(self.blocks, self.z.split(L1_BLOCK, 1), strict=True):
            distance = torch.empty_like(out, memory_format=torch.contiguous_format)
            manhattan(self.query.numpy(), block.numpy(), distance.numpy())
            torch.neg(distance, out=out)
        return self.z[: len(query)]
