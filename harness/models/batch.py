"""Queries as tensors, ready for a backbone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class QueryTensors:
    """Queries (subject, relation, ?, time) with their answers; int64 [Q], and time int64 [Q, L]."""

    subject: Tensor
    relation: Tensor
    time: Tensor
    answer: Tensor

    def __len__(self) -> int:
        return len(self.subject)

    def __getitem__(self, index: Tensor | slice) -> QueryTensors:
        return QueryTensors(self.subject[index], self.relation[index], self.time[index], self.answer[index])

    def in_epoch(self, seed: int) -> QueryTensors:
        """The queries as an epoch of training asks them; ``seed`` is the epoch's own. These are always the same."""
        return self

    def to(self, device: torch.device | str) -> QueryTensors:
        return QueryTensors(*(tensor.to(device) for tensor in (self.subject, self.relation, self.time, self.answer)))
