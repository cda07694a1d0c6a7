"""A training step as terms of the loss read it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from harness.distill.passes.sampled import Candidates, Weighted, apart_from, sampled_losses
from harness.distill.passes.softmax import log_partition
from harness.distill.passes.terms import NEVER, cross_entropy
from harness.distill.targets import SoftTargets
from harness.models.base import Backbone, gathered_scores, scores
from harness.models.batch import QueryTensors
from harness.models.scoring.candidates import candidate_scores

#: the least log-probability of an entity in a sample: none is impossible
LEAST = -80.0


@dataclass(frozen=True, eq=False)
class Outcomes:
    """A distribution for each query of a batch, over the same outcomes for teacher and student.

    ``log_probabilities`` [B, K + 2]: first the true answer, then the K entities that the teacher lists, of which the
    true answer, where it is among them, has NEVER (about -1e30, probability 0), and last all other entities together.
    """

    log_probabilities: Tensor


@dataclass(frozen=True, eq=False)
class Sample:
    """Entities that stand for all: of each query of a batch the true answer, those that the teacher lists, and others.

    ``teacher`` [B, C] are its log-probabilities at its temperature, without a gradient, ``student`` [B, C] the scores.
    ``log_weight`` [B, C]: log of how many entities each stands for; NEVER: it is there already and does not count. The
    last ``shared`` columns are the same entities in all queries: the random ones of a sampled step, else all.
    """

    teacher: Tensor
    student: Tensor
    log_weight: Tensor
    shared: int


@dataclass(frozen=True, eq=False)
class Step:
    """A batch as the student sees it.

    ``index`` int64 [B] are the batch's positions among the training queries, ``table`` [E, d] the entity vectors,
    ``query`` [B, d] the query vectors, ``subject`` and ``answer`` [B, d] the vectors of the entities that are given.
    ``soft``: the teacher's distributions, where a loss of the arm needs them. ``candidates``: what a sampled step
    scores; None: all entities.
    """

    model: Backbone
    batch: QueryTensors
    index: Tensor
    table: Tensor
    query: Tensor
    subject: Tensor
    answer: Tensor
    soft: SoftTargets | None = None
    candidates: Candidates | None = None

    @classmethod
    def of(
        cls,
        model: Backbone,
        batch: QueryTensors,
        index: Tensor,
        soft: SoftTargets | None = None,
        candidates: Candidates | None = None,
    ) -> Step:
        """The step of a batch, with the vectors that the model has for it."""
        table = model.entity_table()
        # read in one go: each reading has a gradient of the table's size
        subject, answer = table[torch.cat([batch.subject, batch.answer])].tensor_split(2)
        query = model.query(subject, batch.relation, batch.time)
        return cls(model, batch, index, table, query, subject, answer, soft, candidates)

    def entities(self, most: int) -> Tensor:
        """Distinct entities of the batch, ascending, int64 [<= most]: those of its first queries, in random order."""
        half = most // 2
        distinct: Tensor = torch.unique(torch.cat([self.batch.subject[:half], self.batch.answer[:half]]))
        return distinct

    @property
    def temperature(self) -> float | Tensor:
        """T of `teacher` and `student`."""
        return self._soft.temperature

    @cached_property
    def teacher(self) -> Outcomes:
        """The teacher's distribution at its temperature, without a gradient; for losses that need ``teacher``.

        The true answer's probability is exact where the teacher lists it or its vectors are stored
        (``loss.others=estimated``); else it has an even share of what is not listed.
        """
        soft, listed = self._soft, self._soft.ids[self.index].long()
        log_p, log_rest = soft.log_p[self.index], soft.log_rest[self.index][:, None]
        is_answer = listed == self.batch.answer[:, None]
        is_listed = is_answer.any(1, keepdim=True)
        answer = log_p.masked_fill(~is_answer, NEVER).amax(1, keepdim=True)
        answer = torch.where(is_listed, answer, self._unlisted_answer(log_rest))
        # what is left of the others' mass without the answer's
        others = torch.log1p(-(answer - log_rest).clamp(max=-1e-6).exp()) + log_rest
        others = torch.where(is_listed | (log_rest < NEVER / 2), log_rest, others).clamp(min=NEVER)
        return Outcomes(torch.cat([answer, log_p.masked_fill(is_answer, NEVER), others], 1))

    def _unlisted_answer(self, log_rest: Tensor) -> Tensor:
        """The teacher's log-probability [B, 1] of answers that it does not list."""
        teacher = self._soft.teacher
        if teacher is None:
            return self._even
        gold = teacher.gold[self.index][:, None] / self.temperature - self._log_total
        return torch.minimum(gold, log_rest).clamp(min=NEVER)

    @cached_property
    def student(self) -> Outcomes:
        """The student's distribution at the teacher's temperature; estimated from the candidates of a sampled step."""
        listed, t = self._soft.ids[self.index].long(), self.temperature
        ids = torch.cat([self.batch.answer[:, None], listed], 1)
        z = candidate_scores(self.model, self.query, self.table, ids) / t
        repeated = torch.cat([torch.zeros_like(ids[:, :1], dtype=torch.bool), listed == ids[:, :1]], 1)
        z = z.masked_fill(repeated, NEVER)
        if self.candidates is None or self.candidates.exact:
            log_total = log_partition(self.query, self.table, self.model.scale(), self.model.kernel, (t,))
            inside = (z - log_total).logsumexp(1, keepdim=True).clamp(max=-1e-6)  # rounding may reach more than all
            return Outcomes(torch.cat([z - log_total, (-torch.expm1(inside)).log()], 1))
        shared = self.candidates.shared
        apart = apart_from(ids, shared, len(self.table))
        z_shared = scores(self.query, self.table[shared], self.model.kernel, self.model.scale()) / t
        others = len(self.table) - ids.shape[1] + repeated.sum(1, keepdim=True)
        log_weight = (others / apart.sum(1, keepdim=True).clamp(min=1)).log()
        unlisted = z_shared.masked_fill(~apart, NEVER).logsumexp(1, keepdim=True) + log_weight
        z = torch.cat([z, unlisted.clamp(min=NEVER)], 1)
        return Outcomes(z - z.logsumexp(1, keepdim=True))

    @cached_property
    def sample(self) -> Sample:
        """Teacher and student entity by entity.

        Both are to be normalised over the sample, so that a student like its teacher has nothing to learn.
        """
        listed, n_entities = self._soft.ids[self.index].long(), len(self.table)
        answer = self.batch.answer[:, None]
        own = torch.cat([answer, listed], 1)
        every = torch.arange(n_entities, device=own.device) if self.candidates is None else self.candidates.shared
        apart, repeated = apart_from(own, every, n_entities), listed == answer
        others = n_entities - own.shape[1] + repeated.sum(1, keepdim=True)
        weight = (others / apart.sum(1, keepdim=True).clamp(min=1)).log().to(self.query.dtype)
        alone = torch.cat([torch.zeros_like(repeated[:, :1]), repeated], 1)
        log_weight = torch.cat([torch.zeros_like(own, dtype=weight.dtype).masked_fill(alone, NEVER),
                                weight.expand(-1, len(every)).masked_fill(~apart, NEVER)], 1)  # fmt: skip
        z = candidate_scores(self.model, self.query, self.table, own)
        z_shared = scores(self.query, self.table[every], self.model.kernel, self.model.scale())
        teacher = torch.cat([self.teacher.log_probabilities[:, :-1], self._teacher_over(every)], 1).clamp(min=LEAST)
        return Sample(teacher, torch.cat([z, z_shared], 1), log_weight, len(every))

    @cached_property
    def distributions(self) -> tuple[Tensor, Tensor]:
        """Log-probabilities of teacher and student over the same outcomes [B, C], the true answer first.

        Entity by entity from `sample` wherever L1 is taken so, else what is not listed is one outcome: if the teacher
        has no scores of it, and in the first epochs of a sampled training.
        """
        if self._soft.teacher is None or (self.candidates is not None and self.candidates.exact):
            log_p, log_q = self.teacher.log_probabilities, self.student.log_probabilities
            # where a step draws nothing that is not listed, others have no outcome
            return log_p.masked_fill(log_q < NEVER / 2, NEVER), log_q
        sample = self.sample
        log_q = (sample.student / self.temperature + sample.log_weight).log_softmax(1)
        return (sample.teacher + sample.log_weight).log_softmax(1), log_q

    def unlisted_log_p(self, ids: Tensor) -> Tensor:
        """The teacher's log-probabilities [B, K] of each query's own entities int64 [B, K] that it does not list."""
        soft, t = self._soft, self.temperature
        if (teacher := soft.teacher) is None:
            return self._even.expand(-1, ids.shape[1])
        query = teacher.query[self.index].to(teacher.table.dtype)
        y = gathered_scores(query, teacher.table[ids], teacher.kernel, teacher.scale)
        return (y / t - self._log_total).clamp(min=NEVER)

    def _teacher_over(self, entities: Tensor) -> Tensor:
        """The teacher's log-probabilities [B, M] of the same entities int64 [M] for all queries."""
        soft, size = self._soft, len(entities)
        if soft.teacher is None:
            y = self._even.expand(-1, size)
        else:
            y = (soft.teacher.scores(self.index, entities) / self.temperature - self._log_total).clamp(min=NEVER)
        numbers = torch.arange(size, device=entities.device)
        position = torch.full((len(self.table),), size, device=entities.device).scatter(0, entities, numbers)
        at = position[soft.ids[self.index].long()]
        return torch.cat([y, y[:, :1]], 1).scatter(1, at, soft.log_p[self.index])[:, :-1]

    @property
    def _even(self) -> Tensor:
        """The log-probability [B, 1] of an entity that is not listed, if all of them are equally likely."""
        n_others = max(len(self.table) - self._soft.ids.shape[1], 1)
        return (self._soft.log_rest[self.index][:, None] - math.log(n_others)).clamp(min=NEVER)

    @cached_property
    def _log_total(self) -> Tensor:
        """The teacher's log Σ exp(y/T) [B, 1], for scores made of its vectors."""
        soft = self._soft
        assert soft.teacher is not None
        teacher, listed = soft.teacher, soft.ids[self.index].long()
        query = teacher.query[self.index].to(teacher.table.dtype)
        best = gathered_scores(query, teacher.table[listed[:, :1]], teacher.kernel, teacher.scale)
        return best / self.temperature - soft.log_p[self.index][:, :1]

    @property
    def _soft(self) -> SoftTargets:
        if self.soft is None:
            raise LookupError("a loss reads the teacher's distribution and does not declare needs=('teacher',)")
        return self.soft

    def cross_entropy(self, query: Tensor, rows: slice) -> Tensor:
        """-log softmax(z')[answer], batch mean, where z' scores other query vectors [b, d] of the batch's ``rows``."""
        answer, scale, kernel = self.batch.answer[rows], self.model.scale(), self.model.kernel
        if (candidates := self.candidates) is not None and not candidates.exact:
            if self.soft is not None:
                candidates = replace(candidates, lists=self.soft.ids)
            plain = Weighted()
            return sampled_losses(query, self.table, scale, kernel, answer, self.index[rows], candidates, plain)[0]
        partition = log_partition(query, self.table, scale, kernel)
        gold = candidate_scores(self.model, query, self.table, answer[:, None])[:, 0]
        return cross_entropy(gold, partition[:, 0])


#: a weighted term of the total, a scalar
Term = Callable[[Step], Tensor]
