"""What teachers leave for students: a distribution over entities, or scores, of each training query."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from harness.models.base import Kernel, compared, scores


@dataclass(frozen=True, eq=False)
class TeacherVectors:
    """What gives a teacher's score of any entity for any training query: its query and entity vectors.

    ``query`` [Q, D], in half precision to save memory; ``table`` [E, D]; ``scale`` and ``kernel`` as of ``Backbone``;
    ``gold`` [Q] are the scores of the queries' true answers.
    """

    query: Tensor
    table: Tensor
    scale: Tensor
    kernel: Kernel
    gold: Tensor

    def scores(self, index: Tensor, entities: Tensor | None = None) -> Tensor:
        """Scores [B, M] of entities int64 [M] (None: of all), without a gradient."""
        table = self.table if entities is None else self.table[entities]
        return scores(self.query[index].to(table.dtype), table, self.kernel, self.scale)

    def drawn(self, entities: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors [M, D] of entities int64 [M] and their squared lengths [M], for ``compared``."""
        return self.table[entities], self._squares[1][entities]

    def compared(self, index: Tensor, drawn: tuple[Tensor, Tensor]) -> Tensor:
        """What scores of ``drawn`` entities are made of, see ``harness.models.base``, [B, M]."""
        vectors, squares = drawn
        query = self.query[index].to(vectors.dtype)
        if self.kernel != "l2":
            return compared(query, vectors, self.kernel)
        squared = torch.addmm(squares[None, :], query, vectors.T, alpha=-2.0)
        return squared.add_(self._squares[0][index][:, None])

    @cached_property
    def _squares(self) -> tuple[Tensor, Tensor]:
        """Squared lengths of all queries [Q] and entities [E]."""
        of_queries = [part.to(self.table.dtype).square().sum(1) for part in self.query.split(4096)]
        return torch.cat(of_queries), self.table.square().sum(1)


@dataclass(frozen=True, eq=False)
class SoftTargets:
    """A teacher's distribution softmax(t/T) over all entities: its K best one by one, and the mass of all others.

    ``ids`` int32 [Q, K]; ``log_p`` float32 [Q, K] their log-probabilities, over all entities; ``log_rest`` float32 [Q]
    the log of the mass of all others, -inf where there are none. ``temperature`` T is a scalar tensor for a stack of
    students. ``teacher`` gives how that mass is spread over the others; None: they count as one outcome.
    """

    ids: Tensor
    log_p: Tensor
    log_rest: Tensor
    temperature: float | Tensor
    teacher: TeacherVectors | None = None


@dataclass(frozen=True, eq=False)
class ScoreTargets:
    """Scores of K entities a query by the LLM teacher: ``ids`` int32 [Q, K], ``scores`` float32 [Q, K].

    The entities are the true one, the teacher's best of the others, and uniform draws from all, which may repeat some.
    """

    ids: Tensor
    scores: Tensor
