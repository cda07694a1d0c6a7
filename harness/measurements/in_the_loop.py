"""The exact way with the teachers in the loop: distillation as textbook code has it.

In every step both teachers score the batch against all entities, without gradients, and so does the student, with them;
every loss is over all entities. Plain tensor operations, fairly written: the teachers are frozen, so what does not
depend on the batch (the tables of their entities, all that the language model says) is computed once, and a distance is
a matrix product here as everywhere else. The language model itself never runs in a step, or this would take hours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.distill.losses.l3 import SemanticAdapter
from harness.distill.passes.sampled import Candidates
from harness.distill.passes.terms import huber_alignment
from harness.models.base import Backbone, scores
from harness.models.batch import QueryTensors
from harness.trial.arms import parts_of
from harness.trial.spec import LossSpec
from harness.trial.stages import Stages


@dataclass(frozen=True, eq=False)
class FrozenTeacher:
    """A trained teacher, its entity vectors [E, d], and the training queries [Q] as it reads their time."""

    model: Backbone
    table: Tensor
    data: QueryTensors

    @classmethod
    @torch.no_grad()
    def of(cls, model: Backbone, data: QueryTensors) -> FrozenTeacher:
        return cls(model.eval(), model.entity_table(), data)

    @torch.no_grad()
    def scores(self, index: Tensor) -> Tensor:
        """Scores [B, E] of all entities for the queries at ``index`` int64 [B]."""
        batch = self.data[index]
        query = self.model.encode(batch.subject, batch.relation, batch.time)
        return scores(query, self.table, self.model.kernel, self.model.scale())


@dataclass(frozen=True, eq=False)
class InTheLoop:
    """L = w_hard·CE + w_soft·T²·KL + α·L2 + β·L3 + λ·penalty over all entities; a part that is None is left out.

    An ``Objective`` with the weights and names of ``Distillation``. Differences are what makes it exact: KL and L2
    compare all entities, not stored ones (L2 scores standardised over all of them).
    """

    loss: LossSpec
    regularization: float | Tensor
    teacher: FrozenTeacher | None = None
    language: FrozenTeacher | None = None
    adapter: SemanticAdapter | None = None

    def __call__(
        self, model: Backbone, batch: QueryTensors, index: Tensor, candidates: Candidates | None = None
    ) -> dict[str, Tensor]:
        loss, table, scale = self.loss, model.entity_table(), model.scale()
        subject = table[batch.subject]
        query = model.encode_vectors(subject, model.relation_table()[batch.relation], batch.time)
        z = scores(query, table, model.kernel, scale)
        hard = 1.0 if self.teacher is None else loss.hard_weight
        terms = {"loss_ce": hard * F.cross_entropy(z, batch.answer)}
        if self.teacher is not None:
            t = loss.temperature
            p = F.softmax(self.teacher.scores(index) / t, dim=1)
            kl = F.kl_div(F.log_softmax(z / t, dim=1), p, reduction="batchmean")
            terms["loss_l1"] = loss.soft_weight * t**2 * kl
        if self.language is not None:
            terms["loss_l2"] = loss.alpha * huber_alignment(z, self.language.scores(index), loss.delta)
        if self.adapter is not None:
            part = batch[slice(math.ceil(loss.semantic_share * len(batch)))]
            entity, relation = self.adapter(part.subject, part.relation)
            said = model.encode_vectors(entity, relation, part.time)
            l3 = F.cross_entropy(scores(said, table, model.kernel, scale), part.answer)
            terms["loss_l3"] = loss.beta * l3
        if self.regularization:
            terms["penalty"] = self.regularization * model.penalty(query, subject, table[batch.answer])
        return terms


def in_the_loop(stages: Stages, model: Backbone, *, arm: str) -> InTheLoop:
    """The exact loss of an arm for a student; the counterpart of ``Stages.distillation``."""
    parts, training = parts_of(arm), stages.inputs.training
    teacher = stages.teacher() if "L1" in parts else None
    language = stages.semantic() if "L2" in parts else None
    return InTheLoop(
        loss=stages.spec.loss,
        regularization=stages.distillation(model, ()).regularization,
        teacher=None if teacher is None else FrozenTeacher.of(teacher, training(teacher.time_input)),
        language=None if language is None else FrozenTeacher.of(language, training(language.time_input)),
        adapter=stages.distillation(model, ("L3",)).adapter if "L3" in parts else None,
    )
