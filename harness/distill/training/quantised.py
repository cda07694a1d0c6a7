"""Training through rounding: the forward pass has the rounded table, the gradient passes as if it were not rounded.

The straight-through estimator of Bengio et al. (arXiv 1308.3432), as quantisation-aware training uses it (Jacob et al.,
CVPR 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.distill.rounding import Bits, encode


@dataclass(frozen=True, eq=False)
class StraightThrough:
    """Rounds a table [E, d] with fixed scales [E, 1]."""

    scale: Tensor
    bits: Bits

    @classmethod
    def fitted(cls, table: Tensor, bits: Bits) -> StraightThrough:
        """With the scales that storing the table now would give it."""
        stored = encode(table.detach().cpu().numpy(), bits)
        scale = torch.from_numpy(stored["scale"]).float().clamp(min=1e-12)[:, None]
        return cls(scale.to(table.device), bits)

    def __call__(self, table: Tensor) -> Tensor:
        with torch.no_grad():
            q = table / self.scale
            if self.bits == "ternary":
                q = q.round_().clamp_(-1, 1)
            else:
                half = 2 ** (int(self.bits) - 1)
                q = q.floor_().clamp_(-half, half - 1).add_(0.5)
            moved = q.mul_(self.scale).sub_(table)
        return table + moved
