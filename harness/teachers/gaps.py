"""Gaps in time: which entities can complete a query, by when they took part in which relations.

After the features that TIMEPLEX adds to its products (Jain et al., EMNLP 2020: recurrence and pairs of relations):
someone who was born in 1800 plays for no team in 1990, and a team that one left last year is not where one plays now.
The score of an entity e for (s, r, ?, τ) is a sum over the relations r' in which training facts have e, and over the
facts (s, r, e) themselves,

    Σ_r' w[r, r', kind of the smallest gap from τ to a fact of e and r'] + v[r, kind of the gap to (s, r, e)],

besides a weight times the logarithm of how many such facts there are. Of a training query its fact is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.data import Facts, TemporalGraph, Timeline
from harness.distill.gaps import MIX, WEIGHTS, Lookup, weights_shape
from harness.distill.seeds import derive_seed
from harness.distill.training.loop import Report, Trained, snapshot
from harness.evaluate import RankTask
from harness.models.base import Backbone
from harness.models.batch import QueryTensors
from harness.teachers.ensemble import Ensemble, fit_weights

#: passes over the training queries, queries a step, and Adagrad's learning rate at the start, which falls to a tenth
EPOCHS, BATCH, RATE = 4, 256, 0.3
#: the student's tensors, which keep their names in the state, and those of gaps, by their names as members
_STUDENT, _RENAMED = "members.0.", {"members.1.weights": WEIGHTS, "weights": MIX}


class Gaps(Backbone):
    """Features of gaps, linear in their weights; no vectors.

    Our reading: a weight for each of 29 kinds of gaps stands in the place of a Gaussian's mean and variance; a gap goes
    from a fact's interval to the start of the query's, and is 0 within. All entities are compared, instead of 100 drawn
    ones. The features are trained by themselves; how much they count beside other models is fitted on validation.
    """

    time_input = "points"
    has_vectors = False
    n_entities = 0  # in the place of the property, so that an instance can set it

    def __init__(self, facts: Facts, n_entities: int, n_relations: int) -> None:
        super().__init__()
        self.lookup = Lookup(facts, n_entities, n_relations)
        self.n_entities, self.n_relations = n_entities, self.lookup.n_relations
        self.weights = nn.Parameter(torch.zeros(weights_shape(self.n_relations)))

    @classmethod
    def of(cls, graph: TemporalGraph) -> Gaps:
        """Of a graph's training facts."""
        return cls(graph.train, len(graph.entities), len(graph.relations))

    def direct_scores(self, subject: Tensor, relation: Tensor, time: Tensor, own: Tensor | None = None) -> Tensor:
        z = np.zeros((len(subject), self.n_entities), np.float32)
        self._walker(subject, relation, time, own)(z, np.zeros((0, 0), np.float32), False, False)
        return torch.from_numpy(z).to(subject.device)

    def _walker(self, subject: Tensor, relation: Tensor, time: Tensor, own: Tensor | None) -> Callable[..., None]:
        from harness.distill.passes.links import Asked, kinds, walk  # here, since loading a compiler takes a moment

        look = self.lookup
        s, r, ends = (tensor.cpu().numpy() for tensor in (subject, relation, time))
        start, end = np.ascontiguousarray(ends.T)
        answer = np.full(len(s), -1) if own is None else own.cpu().numpy()
        half = self.n_relations // 2
        keys = np.stack([s * self.n_relations + r, answer * self.n_relations + (r + half) % self.n_relations], 1)
        times, at = np.unique(start, return_inverse=True)
        near = np.empty((len(times), len(look.pair_key)), np.int8)
        kinds(times, look.pairs, near)
        asked = Asked(r, start, end, answer, np.searchsorted(look.pair_key, keys), keys[:, 0].copy(), at)
        weights = self.weights.detach().cpu().numpy()

        def walker(z: np.ndarray, gradient: np.ndarray, back: bool, masks: bool) -> None:
            walk(z, weights, gradient, back, masks, asked, near, look.pairs, look.pair_entity, look.pair_relation,
                 look.repeats, look.repeat_entity, look.groups)  # fmt: skip

        return walker

    def loss(self, queries: QueryTensors) -> float:
        """The mean cross-entropy of training queries [B], other answers at that time left out; sets its gradient."""
        walker = self._walker(queries.subject, queries.relation, queries.time, queries.answer)
        z = np.zeros((len(queries), self.n_entities), np.float32)
        walker(z, np.zeros((0, 0), np.float32), False, True)
        scores, answer = torch.from_numpy(z), queries.answer[:, None].cpu()
        # not the logarithm of a probability, which is infinite where one is too small for a float
        loss = float((scores.logsumexp(1, keepdim=True) - scores.gather(1, answer)).mean())
        slope = scores.softmax(1).scatter_add_(1, answer, torch.full(answer.shape, -1.0))
        gradient = np.zeros(self.weights.shape, np.float32)
        walker(slope.numpy(), gradient, True, False)
        self.weights.grad = torch.from_numpy(gradient / len(queries)).to(self.weights.device)
        return loss


def train(
    model: Gaps, queries: QueryTensors, validate: Callable[[Backbone], float], seed: int, report: Report | None = None
) -> Trained:
    """Train the weights on training queries and keep those of the epoch with the best validation MRR.

    Queries of one relation and time come together, since they share all gaps but those of their own facts.
    """
    optimizer = torch.optim.Adagrad(model.parameters(), lr=RATE)
    result = Trained(best=snapshot(model), last={}, optimizer={})
    alike = torch.stack([queries.relation, queries.time[:, 0]], 1).unique(dim=0, return_inverse=True)[1]
    steps = -(-len(queries) // BATCH)
    for epoch in range(EPOCHS):
        generator = torch.Generator().manual_seed(derive_seed("batches", seed, epoch))
        places = torch.randperm(int(alike.max()) + 1, generator=generator).to(alike.device)
        total = 0.0
        for step, index in enumerate(places[alike].argsort(stable=True).split(BATCH)):
            optimizer.param_groups[0]["lr"] = RATE * (1 - 0.9 * (epoch + step / steps) / EPOCHS)
            total += model.loss(queries[index]) * len(index)
            optimizer.step()
        row = result.close(epoch, {"hard": total / len(queries)}, steps, lambda: validate(model), model)
        if report is not None:
            report((epoch + 1) / EPOCHS, row["valid_mrr"])
    return result


class BesideGaps(Ensemble):
    """A student that looks facts up: scores a · student + b · gaps, weighted as validation answers ask for.

    Its state is the student's, with ``gaps.weights`` and ``gaps.mix`` (a, b).
    """

    def __init__(self, student: Backbone, gaps: Gaps, timeline: Timeline) -> None:
        super().__init__([student, gaps], timeline)
        self.register_state_dict_post_hook(_as_a_student)  # type: ignore[no-untyped-call]  # of PyTorch
        self.register_load_state_dict_pre_hook(_as_members)  # type: ignore[no-untyped-call]  # of PyTorch

    def fit(self, task: RankTask) -> Tensor:
        """Fit how much each counts on validation answers; the two weights."""
        fit_weights(self, task)
        return self.weights.clone()


def _as_a_student(model: Any, state: dict[str, Tensor], *others: Any) -> None:
    _rename(state, lambda name: _RENAMED.get(name) or name.removeprefix(_STUDENT))


def _as_members(model: Any, state: dict[str, Tensor], *others: Any) -> None:
    members = {name: member for member, name in _RENAMED.items()}
    _rename(state, lambda name: members.get(name) or _STUDENT + name)


def _rename(state: dict[str, Tensor], new: Callable[[str], str]) -> None:
    renamed = {new(name): tensor for name, tensor in state.items()}
    state.clear()
    state |= renamed
