"""A teacher made of several: the weighted sum of their scores, which is the weighted mean of their log-probabilities.

log softmax(Σ w_k z_k) and Σ w_k log softmax(z_k) differ, query by query, by a number that all entities share: so the
mean of per-query log-softmax, as MulDE (Wang et al., WWW 2021) and others combine teachers, is a model whose vectors
are those of its members, side by side. That asks for members that score by products; gaps, which have no vectors, add
their scores.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import numpy as np
import torch
from pydantic import field_validator
from torch import Tensor, nn

from harness.data import Timeline
from harness.errors import UserError, nearest
from harness.evaluate import RankTask, time_of
from harness.models import BACKBONES, Backbone
from harness.models.base import scores
from harness.models.batch import QueryTensors
from harness.registry import MethodOptions, option
from harness.teachers.sources import Teacher, register

#: members that are no backbones, by the arms whose models they are
OTHERS = {"llm": "llm-teacher", "gaps": "gaps"}
#: what the search for weights multiplies one with, round by round
FACTORS = ((0.0, 0.125, 0.25, 0.5, 2.0, 4.0), (0.6, 1.6), (0.8, 1.25), (0.9, 1.1))
#: scores that weights are fitted on, at most (4 bytes each): ranks of a few queries favour weights by chance
FITTED_ON = 2**28
#: queries of a block, and those that likelihoods are of
BLOCK, LIKELY = 1024, 2048


class EnsembleOptions(MethodOptions):
    """Options of the ensemble."""

    members: str = option("tntcomplex,ta-distmult,llm", "backbones, llm and gaps, with commas between")
    penalties: str = option("", "weights of penalties by member, as tcomplex=0.03,timeplex=0.05; others: the recipe's")
    weights: Literal["fitted", "equal"] = option("fitted", "of members: fitted on validation answers, or equal")

    @field_validator("members")
    @classmethod
    def _without_spaces(cls, members: str) -> str:
        return ",".join(filter(None, map(str.strip, members.split(","))))

    @field_validator("penalties")
    @classmethod
    def _in_one_form(cls, penalties: str) -> str:
        """Equal weights are written in one way, since teachers are identified by what is written."""
        parts = [part.partition("=")[::2] for part in penalties.split(",") if part.strip()]
        try:
            weights = {name.strip(): float(value) for name, value in parts}
        except ValueError:
            raise ValueError("write MEMBER=WEIGHT, as tcomplex=0.03") from None
        if not all(0 <= weight < math.inf for weight in weights.values()) or len(weights) < len(parts):
            raise ValueError("a weight is a number of at least 0, and each member has one")
        return ",".join(f"{name}={weight!r}" for name, weight in sorted(weights.items()))

    @property
    def names(self) -> list[str]:
        """The members.

        Raises:
            UserError: one is unknown or there twice, or there are none.
        """
        names = self.members.split(",") if self.members else []
        for name in names:
            if name not in (*BACKBONES, *OTHERS):
                raise UserError(f"teacher.ensemble.members: unknown {name!r}: {nearest(name, [*BACKBONES, *OTHERS])}")
        if len(set(names)) < len(names) or not names:
            raise UserError(f"teacher.ensemble.members={self.members!r}: name one or more members, each once")
        return names

    @property
    def penalty_by_member(self) -> dict[str, float]:
        """Weights of penalties by member.

        Raises:
            UserError: one is of no member.
        """
        pairs = (part.partition("=")[::2] for part in self.penalties.split(",") if part)
        penalties = {name: float(weight) for name, weight in pairs}
        for name in penalties.keys() - set(self.names):
            raise UserError(f"teacher.ensemble.penalties: {name!r} is no member; they are {self.members}")
        return penalties


def time_input_of(models: Sequence[Backbone]) -> Literal["classes", "tokens", "points"]:
    """How a teacher made of these models reads time: as they do, or where they differ as points, for each its view."""
    views = {model.time_input for model in models}
    return views.pop() if len(views) == 1 else "points"


class Ensemble(Backbone):
    """Members side by side: query and entity vectors [*, Σ d_k] whose product is Σ w_k z_k; where a member has no
    vectors, the sum itself.

    Raises:
        UserError: all members have vectors, and one compares by distances.
    """

    kernel = "dot"

    def __init__(self, members: Sequence[Backbone], timeline: Timeline) -> None:
        super().__init__()
        self.has_vectors = all(member.has_vectors for member in members)  # type: ignore[misc]  # set on the instance
        for member in members:
            if self.has_vectors and member.kernel != "dot":
                raise UserError(
                    f"teacher.ensemble.members: {type(member).__name__} scores by distances, and members of an "
                    "ensemble score by products; leave it out"
                )
        # other backbones have these as class variables; of an ensemble they follow from the members
        self.time_input = time_input_of(members)  # type: ignore[misc]  # as well
        self.timeline = timeline
        self.members = nn.ModuleList(members)
        self.register_buffer("weights", torch.ones(len(members)))

    weights: Tensor

    @property
    def n_entities(self) -> int:
        return self.each()[0].n_entities

    def entity_table(self) -> Tensor:
        return torch.cat([member.entity_table() for member in self.each()], 1)

    def encode(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        parts = [
            weight * member.scale() * member.encode(subject, relation, self._view(member, time))
            for weight, member in zip(self.weights, self.each(), strict=True)
        ]
        return torch.cat(parts, 1)

    def direct_scores(self, subject: Tensor, relation: Tensor, time: Tensor, own: Tensor | None = None) -> Tensor:
        every = zip(self.weights, self.members_scores(subject, relation, time, own), strict=True)
        return sum((weight * z for weight, z in every), torch.zeros_like(self.weights[0]))

    def members_scores(
        self, subject: Tensor, relation: Tensor, time: Tensor, own: Tensor | None = None
    ) -> Iterator[Tensor]:
        """The scores [B, E] of member after member."""
        for member in self.each():
            view = self._view(member, time)
            if member.has_vectors:
                query = member.encode(subject, relation, view)
                yield scores(query, member.entity_table(), member.kernel, member.scale())
            else:
                yield member.direct_scores(subject, relation, view, own)

    def _view(self, member: Backbone, time: Tensor) -> Tensor:
        """Times [B, L] as a member reads them."""
        if member.time_input == self.time_input:
            return time
        start, end = time.cpu().numpy().T
        return torch.from_numpy(time_of(start, end, self.timeline, member.time_input)).to(time.device)

    def scale(self) -> Tensor:
        return torch.ones((), device=self.weights.device)

    @property
    def reads_facts(self) -> bool:
        return any(member.reads_facts for member in self.each())

    @contextmanager
    def without(self, batch: QueryTensors) -> Iterator[None]:
        with ExitStack() as stack:
            for member in self.each():
                stack.enter_context(member.without(batch))
            yield

    def each(self) -> list[Backbone]:
        """The members."""
        return [member for member in self.members if isinstance(member, Backbone)]


@torch.no_grad()
def fit_weights(model: Ensemble, task: RankTask) -> None:
    """Give an ensemble the weights that rank validation answers best, each among the entities that are no other known
    answer.

    The search begins with the weights that make them likeliest, which minimise the mean of -log softmax(Σ w_k z_k), and
    changes one weight at a time while MRR rises. Likelihood alone gives too much to a member that is seldom far off
    and seldom right, as a language model is (docs/measurements.md). Ranks leave a common factor open; likelihood
    sets it.
    """
    device = task.row.device
    most = max(FITTED_ON // (len(model.members) * model.n_entities), 1)
    rows = torch.randperm(len(task.queries), generator=torch.Generator().manual_seed(0))[:most].to(device)
    if not len(rows):
        return
    batch = task.queries[rows]
    position = torch.full((len(task.queries),), -1, device=device)
    position[rows] = torch.arange(len(rows), device=device)
    at = position[task.row]
    every = torch.cat([_stacked(model, batch[part]) for part in torch.arange(len(rows), device=device).split(BLOCK)], 1)
    every[:, at[at >= 0], task.entity[at >= 0]] = -1e4  # not -inf, which a weight of 0 would make no number
    likely, answer = every[:, :LIKELY], batch.answer[:, None]
    gold = likely.gather(2, answer[None, :LIKELY].expand(len(every), -1, 1))[..., 0]

    def loss(weights: Any) -> tuple[float, Any]:
        w = torch.tensor(weights, dtype=every.dtype, device=device)
        z = torch.einsum("k,kbe->be", w, likely)
        # the slope of a log-partition is the mean score under the model
        expected = torch.einsum("be,kbe->k", z.softmax(1), likely) / likely.shape[1]
        slope = expected - gold.mean(1)
        return float((z.logsumexp(1) - w @ gold).double().mean()), slope.double().cpu().numpy()

    from scipy.optimize import minimize, minimize_scalar  # every worker would wait for it

    # convex in w, so there is one best
    start, bounds = np.full(len(every), 1 / len(every)), [(0.0, None)] * len(every)
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    weights = _by_rank(every, answer, best.x)
    common = minimize_scalar(lambda log: loss(math.exp(log) * weights)[0], bounds=(-3, 3), method="bounded")
    model.weights.copy_(torch.tensor(math.exp(common.x) * weights))


def _stacked(model: Ensemble, batch: QueryTensors) -> Tensor:
    """The scores [K, B, E] of all members; those of a query have the mean 0."""
    members = model.members_scores(batch.subject, batch.relation, batch.time)
    return torch.stack([z - z.mean(1, keepdim=True) for z in members])


def _by_rank(every: Tensor, answer: Tensor, weights: Any) -> Any:
    """Weights [K], near the given ones, whose weighted sum of scores [K, B, E] ranks the answers [B, 1] best."""

    def mrr(weights: Any) -> float:
        w = torch.tensor(weights, dtype=every.dtype, device=every.device)
        ranks = []
        for part, asked in zip(every.split(BLOCK, 1), answer.split(BLOCK), strict=True):
            z = torch.einsum("k,kbe->be", w, part)
            gold = z.gather(1, asked)
            ranks.append(1 + (z > gold).sum(1) + ((z == gold).sum(1) - 1) / 2)
        return float(torch.cat(ranks).double().reciprocal().mean())

    best, reached = np.array(weights), mrr(weights)
    for factors in FACTORS:
        for member in range(len(best)):
            one = np.arange(len(best)) == member
            tried = [changed for factor in factors if (changed := best * np.where(one, factor, 1.0)).any()]
            values = [mrr(changed) for changed in tried]
            if max(values, default=0.0) > reached:
                best, reached = tried[int(np.argmax(values))], max(values)
    return best


def _members(spec: Any, options: EnsembleOptions) -> tuple[Any, ...]:
    """The trials whose models are the members: structural teachers as large and long as ``teacher``, and the LLM."""
    specs = []
    for name in options.names:
        # each with its own recipe: what suits one backbone does not suit another
        own = {"optimizer": None, "learning_rate": None, "regularization": options.penalty_by_member.get(name)}
        teacher = spec.teacher.model_copy(update={"source": "structural", "backbone": None, **own})
        structural = {"arm": "teacher", "backbone": name, "teacher": teacher}
        axes = {"arm": OTHERS[name]} if name in OTHERS else structural
        if name == "gaps":  # of no backbone: one name for it, whichever students it teaches
            axes["backbone"] = next((other for other in options.names if other in BACKBONES), spec.backbone)
        # all of one ensemble, whichever students it teaches
        specs.append(spec.model_copy(update={**axes, "seed": spec.teacher.seed}))
    return tuple(specs)


def _compose(
    models: Sequence[Backbone], options: EnsembleOptions, validation: RankTask | None, timeline: Timeline
) -> Backbone:
    model = Ensemble(models, timeline)
    if validation is not None and options.weights == "fitted":
        fit_weights(model, validation)
    return model


register(Teacher("ensemble", ("teacher", "entities"), EnsembleOptions, version=2, members=_members, compose=_compose))
