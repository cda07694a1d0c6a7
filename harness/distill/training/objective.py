"""The loss of a trial: which of L1, L2 and L3 an arm has, and with what weight, in each stage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from harness.distill.losses.l3 import SemanticAdapter, semantic_cross_entropy, semantic_queries
from harness.distill.passes.sampled import Candidates, Weighted, sampled_losses
from harness.distill.passes.softmax import log_partition
from harness.distill.passes.step import Step, Term
from harness.distill.passes.terms import (
    cross_entropy,
    huber_alignment,
    listed_divergence,
    lumped_divergence,
    others_divergence,
)
from harness.distill.targets import SoftTargets
from harness.models.base import Backbone, scores
from harness.models.batch import QueryTensors
from harness.models.scoring.candidates import candidate_scores

#: (model, batch, positions of the batch's queries in the training set, the entities to score or None for all) -> the
#: terms of the loss, weighted, by name
Objective = Callable[[Backbone, QueryTensors, Tensor, Candidates | None], dict[str, Tensor]]

#: the fields of ``Distillation`` without which a loss that the engine computes is left out
_ENGINE = {"L1": "soft", "L2": "aligned", "L3": "adapter"}


@dataclass(frozen=True, eq=False)
class Distillation(Weighted):
    """L = w_hard·CE + w_soft·T²·KL + α·L2 + β·L3 + λ·penalty + Σ terms of other losses; what is None is left out.

    The undistilled student is the one without any part: cross-entropy with weight 1.
    """

    regularization: float | Tensor = 0.0
    adapter: SemanticAdapter | None = None
    beta: float | Tensor = 0.0
    #: share of a batch, a random sample since batches are, that L3 is taken over: it costs as much as L1 otherwise
    semantic_share: float = 1.0
    #: the teacher's distribution for losses that read it, in arms without L1
    distribution: SoftTargets | None = None
    #: the weighted terms of losses that the engine does not compute itself, by the loss's name
    terms: Mapping[str, Term] = field(default_factory=dict)

    def auxiliary(self) -> nn.ModuleList:
        """What is learned along with the student and dropped afterwards."""
        parts = (self.adapter, *self.terms.values())
        return nn.ModuleList(part for part in parts if isinstance(part, nn.Module))

    def only(self, parts: Collection[str]) -> Distillation:
        """The total of some of its losses."""
        without: dict[str, Any] = {name: None for part, name in _ENGINE.items() if part not in parts}
        return replace(self, terms={name: term for name, term in self.terms.items() if name in parts}, **without)

    def __call__(
        self, model: Backbone, batch: QueryTensors, index: Tensor, candidates: Candidates | None = None
    ) -> dict[str, Tensor]:
        soft = self.distribution if self.soft is None else self.soft
        step = Step.of(model, batch, index, soft, candidates)
        query, table = step.query, step.table
        adapter, share = self.adapter, self.semantic_share
        if candidates is None or candidates.exact:
            # in the first epochs of a sampled training the teacher is asked for no more than it lists: the divergence
            # over all would cost more than all else, and an estimate is too noisy for a student that knows nothing
            terms = self._exact(model, query, batch, index, lumped=candidates is not None)
        else:
            # L3 scores the same candidates, unless a loss other than L1 reads what the teacher lists
            semantic = None if adapter is None or soft is not self.soft else semantic_queries(step, adapter, share)
            given = query, table, model.scale(), model.kernel, batch.answer, index, candidates, self
            sampled = sampled_losses(*given, semantic, self.beta)
            names = ("loss_ce", self), ("loss_l1", self.soft), ("loss_l2", self.aligned), ("loss_l3", semantic)
            terms = dict(zip((name for name, part in names if part is not None), sampled, strict=True))
        if adapter is not None and "loss_l3" not in terms:
            terms["loss_l3"] = self.beta * semantic_cross_entropy(step, adapter, share)
        terms |= {f"loss_{name.lower().replace('-', '_')}": term(step) for name, term in self.terms.items()}
        if isinstance(self.regularization, Tensor) or self.regularization:
            beside = model.penalty_beside_entities(batch.relation, batch.time)
            terms["penalty"] = self.regularization * (model.penalty(query, step.subject, step.answer) + beside)
        return terms

    def _exact(
        self, model: Backbone, query: Tensor, batch: QueryTensors, index: Tensor, *, lumped: bool
    ) -> dict[str, Tensor]:
        """The terms over all entities; ``lumped``: those that the structural teacher does not list are one outcome."""
        table = model.entity_table()
        temperatures: tuple[float | Tensor, ...] = (1.0,) if self.soft is None else (1.0, self.soft.temperature)
        partition = log_partition(query, table, model.scale(), model.kernel, temperatures)
        gold = candidate_scores(model, query, table, batch.answer[:, None])[:, 0]
        terms = {"loss_ce": self.hard_weight * cross_entropy(gold, partition[:, 0])}
        if (soft := self.soft) is not None:
            z = candidate_scores(model, query, table, soft.ids[index])
            log_p, log_rest, log_total, t = soft.log_p[index], soft.log_rest[index], partition[:, 1], soft.temperature
            if lumped or soft.teacher is None:
                kl = lumped_divergence(z, log_p, log_rest, log_total, t)
            else:
                y, all_z = soft.teacher.scores(index), scores(query, table, model.kernel, model.scale())
                counted = torch.ones_like(all_z, dtype=torch.bool).scatter(1, soft.ids[index].long(), False)
                others = others_divergence(y, all_z, counted, y.new_zeros(1, 1), log_rest, log_total, t)
                kl = t**2 * (listed_divergence(z, log_p, log_total, t) + others).mean()
            terms["loss_l1"] = self.soft_weight * kl
        if self.aligned is not None:
            z = candidate_scores(model, query, table, self.aligned.ids[index])
            terms["loss_l2"] = self.alpha * huber_alignment(z, self.aligned.scores[index], self.delta)
        return terms
