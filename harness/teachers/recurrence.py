"""The recurrence baseline: answers are those that training facts have seen before, without anything trained.

After Gastinger et al., "History repeats itself: a baseline for temporal knowledge graph forecasting" (IJCAI 2024), for
interpolation: what is near in time counts, be it before or after the query. A training fact weighs 2^(-gap/half-life),
where gap is the time between its interval and the query's, 0 where they meet. An entity's score is

    share · (its part of the weight of facts (s, r, ·)) + (1 - share) · (its part of the weight of facts (·, r, ·)).
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from harness.data import UNKNOWN, TemporalGraph, both_directions
from harness.evaluate import RankTask, rank_of
from harness.models.base import Backbone

#: what is tried on validation, relation by relation: half-lives in units of the graph's time, and shares
HALF_LIVES = (1.0, 4.0, 16.0, 64.0, float("inf"))
SHARES = (0.0, 0.5, 0.99)
#: queries ranked in one go
_BATCH = 64


class Recurrence(Backbone):
    """How often and how lately entities completed (s, r, ?) and (·, r, ?), as a reference row.

    Our reading: a missing end is its fact's start and a missing start its end (`Timed.time_points`); what has no time
    meets every interval. Validation chooses half-life and share for each relation and direction.
    """

    time_input = "points"
    has_vectors = False
    n_entities = 0  # in the place of the property, so that an instance can set it
    half_life: Tensor
    share: Tensor

    def __init__(self, graph: TemporalGraph) -> None:
        super().__init__()
        self.n_entities, self.n_relations = len(graph.entities), 2 * len(graph.relations)
        facts = both_directions(graph.train, len(graph.relations))
        start, end = facts.time_points()
        both = facts.subject * self.n_relations + facts.relation
        for name, key in {"both": both, "relation": facts.relation}.items():
            order = np.argsort(key, kind="stable")
            for of, column in {"key": key, "answer": facts.answer, "start": start, "end": end}.items():
                self.register_buffer(f"{name}_{of}", torch.from_numpy(column[order]), persistent=False)
        self.register_buffer("half_life", torch.full((self.n_relations,), torch.inf))
        self.register_buffer("share", torch.zeros(self.n_relations))

    def direct_scores(self, subject: Tensor, relation: Tensor, time: Tensor, own: Tensor | None = None) -> Tensor:
        assert own is None  # no student learns from it
        half_life, share = self.half_life[relation], self.share[relation, None]
        of_both, of_relation = self.parts(subject, relation, time, half_life)
        return share * of_both + (1 - share) * of_relation

    def parts(self, subject: Tensor, relation: Tensor, time: Tensor, half_life: Tensor) -> tuple[Tensor, Tensor]:
        """Entities' parts [B, E] of the weight of facts (s, r, ·) and (·, r, ·), for int64 subject and relation [B],
        start and end [B, 2], and half-lives [B]; 0 where there is no such fact."""
        of_both = self._part("both", subject * self.n_relations + relation, time, half_life)
        return of_both, self._part("relation", relation, time, half_life)

    def _part(self, name: str, key: Tensor, time: Tensor, half_life: Tensor) -> Tensor:
        keys, answer, start, end = (getattr(self, f"{name}_{of}") for of in ("key", "answer", "start", "end"))
        first: Tensor = torch.searchsorted(keys, key)
        count = torch.searchsorted(keys, key, right=True) - first
        row = torch.arange(len(key), device=key.device).repeat_interleave(count)
        fact = torch.arange(len(row), device=key.device) + (first - count.cumsum(0) + count)[row]
        asked = time[row]
        gap = torch.maximum(start[fact] - asked[:, 1], asked[:, 0] - end[fact]).clamp_min_(0)
        gap[(start[fact] == UNKNOWN) | (asked[:, 0] == UNKNOWN)] = 0
        weight = torch.exp2(-gap / half_life[row])
        total = torch.zeros(len(key) * self.n_entities, device=key.device)
        total = total.index_add_(0, row * self.n_entities + answer[fact], weight).view(len(key), -1)
        return total / total.sum(1, keepdim=True).clamp_min(torch.finfo().tiny)


@torch.no_grad()
def fit(model: Recurrence, task: RankTask) -> float:
    """Give each relation and direction the half-life and share of the best validation MRR, which is returned; one
    without validation queries gets those that are best of all."""
    queries, settings = task.queries, list(itertools.product(HALF_LIVES, SHARES))
    reciprocal = torch.zeros(len(settings), len(queries), dtype=torch.float64, device=queries.subject.device)
    for start in range(0, len(queries), _BATCH):
        rows = slice(start, start + _BATCH)
        batch = queries[rows]
        known = slice(*torch.searchsorted(task.row, torch.tensor([start, start + len(batch)])).tolist())
        left_out = task.left_out(start, known)
        for k, half_life in enumerate(HALF_LIVES):
            lives = torch.full((len(batch),), half_life, device=batch.subject.device)
            both, alone = model.parts(batch.subject, batch.relation, batch.time, lives)
            for j, share in enumerate(SHARES):
                z = share * both + (1 - share) * alone
                reciprocal[k * len(SHARES) + j, rows] = 1 / rank_of(z, batch.answer, *left_out)
    by_relation = torch.zeros(len(settings), model.n_relations, dtype=torch.float64, device=reciprocal.device)
    by_relation.index_add_(1, queries.relation, reciprocal)
    best = by_relation.argmax(0)
    best[by_relation.sum(0) == 0] = by_relation.sum(1).argmax()
    chosen = torch.tensor(settings, device=reciprocal.device)[best]
    model.half_life.copy_(chosen[:, 0])
    model.share.copy_(chosen[:, 1])
    return float(by_relation.amax(0).sum() / max(len(queries), 1))
