"""What every backbone offers: encode a query to a point, score entities against it."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

Kernel = Literal["dot", "l2", "l1"]


class Backbone(nn.Module):
    """A scorer f(s, r, ?, τ) that factors into a query vector and one vector an entity.

    The score of entity e is ``scale · ⟨q, e⟩`` for kernel ``dot`` and ``-scale · ‖q - e‖`` for ``l2`` and
    ``l1``, so that ranking, full-vocabulary losses and distillation need to know nothing else of a model.
    A subclass sets ``kernel`` and ``time_input``, creates ``self.entity`` and implements ``encode``.

    Relations are 2R in number: r + R is the reciprocal of r and asks for the head.
    """

    #: how ``scores`` compares a query with an entity
    kernel: ClassVar[Kernel]
    #: which view of time ``encode`` reads: classes int64 [B, 2] or calendar tokens int64 [B, L]
    time_input: ClassVar[Literal["classes", "tokens"]]

    entity: nn.Embedding

    def encode(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        """Query vectors [B, d] for int64 subject [B], relation [B] and time [B, L]."""
        raise NotImplementedError

    def entity_table(self) -> Tensor:
        """Vectors of all entities [E, d]."""
        return self.entity.weight

    def scale(self) -> Tensor:
        """The positive factor of the scores, a scalar tensor; 1 unless the backbone learns one."""
        return torch.ones((), device=self.entity.weight.device)
