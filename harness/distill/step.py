"""What a term of the loss may read of a training step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.models.base import Backbone
from harness.models.batch import QueryTensors


@dataclass(frozen=True, eq=False)
class Step:
    """A batch as the student sees it.

    ``index`` int64 [B] are the batch's positions among the training queries, ``table`` [E, d] the entity vectors,
    ``query`` [B, d] the query vectors, ``subject`` and ``answer`` [B, d] the vectors of the entities that are given.
    """

    model: Backbone
    batch: QueryTensors
    index: Tensor
    table: Tensor
    query: Tensor
    subject: Tensor
    answer: Tensor

    def entities(self, most: int) -> Tensor:
        """Distinct entities of the batch, ascending, int64 [<= most]: those of its first queries, in random order."""
        half = most // 2
        found: Tensor = torch.unique(torch.cat([self.batch.subject[:half], self.batch.answer[:half]]))
        return found


#: a term of the loss, a scalar, before its weight
Term = Callable[[Step], Tensor]
