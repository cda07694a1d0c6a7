"""Teachers by name: which there are, what each yields for students, and how one is read that was made elsewhere.

``structural`` (the student's backbone, or another, at 400 dimensions) and ``llm`` (a language model) are trained here,
see `harness.trial.stages`; ``ensemble`` and ``distilled`` are made of trained models, a file each beside this one. A
plugin registers a function that lists, for each training query, the entities that its teacher finds likely::

    @teacher("scores", options=ScoresOptions, version=1, content=...)
    def scores(asked: Asked, options: ScoresOptions) -> Listed: ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data import Queries, TemporalGraph
from harness.distill.targets import SoftTargets
from harness.errors import UserError
from harness.models import Backbone
from harness.registry import MethodOptions, Registry, check_defaults

#: rounding of log-probabilities that were stored in half precision
_TOLERANCE = 1e-2


@dataclass(frozen=True, eq=False)
class Asked:
    """What a teacher is asked: the training ``queries`` [Q] of a ``graph``, tails first, then heads of the same facts,
    in the order of ``graph.train``; and the most entities a query that students read (``loss.targets``)."""

    graph: TemporalGraph
    queries: Queries
    most: int


@dataclass(frozen=True, eq=False)
class Listed:
    """A teacher's answer: for each query its likeliest entities, and how likely they are among all entities.

    ``ids`` int [Q, K], no entity twice in a row; ``log_probabilities`` float [Q, K], natural logarithms at temperature
    1. What they lack to 1 belongs to all entities that are not listed.
    """

    ids: NDArray[np.integer[Any]]
    log_probabilities: NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Teacher:
    """A registered teacher; the arguments of `teacher` say what its first fields are.

    A teacher that is made of trained models names, given a trial's spec and its options, the trials whose models they
    are (``members``), and composes them, given the models, its options, validation queries, or None where weights
    are read afterwards, and how times become classes. One that a language model reads for names the shared stage that
    keeps what it said (``reads``), whose tensors compose gets as well.
    """

    name: str
    yields: tuple[str, ...]
    options: type[MethodOptions] = MethodOptions
    version: int = 1
    ask: Callable[[Asked, Any], Listed] | None = None
    content: Callable[[Any], str] = lambda _: ""
    flat: bool = False
    members: Callable[[Any, Any], tuple[Any, ...]] | None = None
    compose: Callable[..., Backbone] | None = None
    reads: str = ""

    @property
    def has_model(self) -> bool:
        """Whether it is a model that can be scored, and whose vectors students may read."""
        return "entities" in self.yields


TEACHERS: Registry[Teacher] = Registry("teacher")


def register(teacher: Teacher) -> None:
    """Register a teacher.

    Raises:
        UserError: its name is taken, or an option's default is not valid.
    """
    check_defaults("teacher", teacher.name, teacher.options)
    TEACHERS.add(teacher.name, teacher)


def teacher(
    name: str,
    *,
    version: int,
    options: type[MethodOptions] = MethodOptions,
    content: Callable[[Any], str] = lambda _: "",
) -> Callable[[Callable[[Asked, Any], Listed]], Callable[[Asked, Any], Listed]]:
    """Register a function that lists entities as a teacher; ``--set teacher.source=NAME`` chooses it.

    Args:
        name: of the teacher.
        version: goes up when a change moves its numbers.
        options: its options, settings ``teacher.NAME.OPTION``.
        content: given the options, a digest of what it reads besides them, such as of a file: results differ by it.

    Raises:
        UserError: its name is taken, or an option's default is not valid.
    """

    def decorate(ask: Callable[[Asked, Any], Listed]) -> Callable[[Asked, Any], Listed]:
        register(Teacher(name, ("teacher",), options, version, ask, content))
        return ask

    return decorate


register(Teacher("structural", ("teacher", "entities")))
register(Teacher("llm", ("llm",)))


def listed_targets(teacher: Teacher, asked: Asked, options: Any, temperature: float) -> SoftTargets:
    """What a teacher lists, checked, at a temperature.

    Raising probabilities to 1/T needs those of all entities: the ones not listed are taken as equally likely.

    Raises:
        UserError: the teacher's answer is not as in `Listed`; names the first query that is wrong.
    """
    assert teacher.ask is not None
    answer = teacher.ask(asked, options)
    ids, log_p = _checked(teacher.name, answer, len(asked.queries), len(asked.graph.entities))
    order = log_p.argsort(dim=1, descending=True, stable=True)[:, : asked.most]
    ids, log_p = ids.gather(1, order), log_p.gather(1, order)
    n_others = len(asked.graph.entities) - ids.shape[1]
    log_rest = torch.full((len(ids),), -torch.inf, dtype=torch.float64)
    if n_others:
        others = -torch.expm1(log_p.logsumexp(1).clamp(max=0.0))
        log_rest = np.log(n_others) + (others.log() - np.log(n_others)) / temperature
    log_p = log_p / temperature
    log_total = torch.logaddexp(log_p.logsumexp(1), log_rest)
    return SoftTargets(ids.int(), (log_p - log_total[:, None]).float(), (log_rest - log_total).float(), temperature)


def _checked(name: str, answer: Listed, n_queries: int, n_entities: int) -> tuple[Tensor, Tensor]:
    ids, log_p = np.asarray(answer.ids), np.asarray(answer.log_probabilities)
    if ids.shape != log_p.shape or ids.ndim != 2 or not ids.shape[1]:
        raise UserError(
            f"teacher {name!r}: lists entities {ids.shape} and probabilities {log_p.shape}; both are [Q, K]"
        )
    if len(ids) != n_queries:
        raise UserError(f"teacher {name!r}: lists {len(ids):,} queries, and there are {n_queries:,} training queries")
    if not np.issubdtype(ids.dtype, np.integer) or not np.issubdtype(log_p.dtype, np.floating):
        raise UserError(f"teacher {name!r}: entities must be integers and log-probabilities floating-point numbers")
    faults = {
        "an entity that the data does not have": ((ids < 0) | (ids >= n_entities)).any(1),
        "a log-probability that is no number": np.isnan(log_p).any(1),
        "a probability above 1": (log_p > _TOLERANCE).any(1),
        "an entity twice": (np.diff(np.sort(ids, 1), axis=1) == 0).any(1),
        "probabilities that add up to more than 1": np.exp(log_p.astype(np.float64)).sum(1) > 1 + _TOLERANCE,
        "no entity that is possible": np.isneginf(log_p).all(1),
    }
    for fault, where in faults.items():
        if where.any():
            raise UserError(f"teacher {name!r}: has {fault}, first for query {int(where.argmax())}")
    # exp(-1e4) is 0: what is impossible stays so, and finite
    return torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(log_p.astype(np.float64).clip(-1e4, 0.0))
