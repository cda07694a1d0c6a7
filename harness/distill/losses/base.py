"""What a loss is: its name and options, what it needs of teachers, when it acts, and its term of the total.

A loss is one file, here or in a plugin. It registers a function of a training step and of its options::

    @loss("DKD", options=DKD, needs=("teacher",), label="decoupled KD", version=1)
    def dkd(step: Step, options: DKD) -> Tensor: ...

or, if it has parameters of its own or prepares something once, a class: ``DKD(given, options)`` is made before training
and called with each step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from torch import Tensor, nn

from harness import vocabulary
from harness.distill.passes.step import Step, Term
from harness.distill.targets import ScoreTargets, SoftTargets
from harness.errors import UserError
from harness.registry import MethodOptions, Registry, check_defaults

M = TypeVar("M", bound=nn.Module)
F = TypeVar("F", bound=Callable[..., Any])

#: when a loss acts: from the first epoch on, or from stage 2 on
Acts = Literal["from the start", "stage 2"]

#: losses that take the teacher's distribution, each in its own way
_IN_PLACE_OF_EACH_OTHER = ("L1", "DKD", "DIST", "RCE-KD", "LSKD", "CTKD")


def rivals(name: str) -> tuple[str, ...]:
    """What a loss that takes the distribution excludes, so that an arm has one of them at most."""
    return tuple(other for other in _IN_PLACE_OF_EACH_OTHER if other != name)


class Given(Protocol):
    """What a loss may ask for before training; it has to declare it in ``needs``."""

    @property
    def n_entities(self) -> int:
        """Number of entities E."""

    @property
    def dim(self) -> int:
        """Dimension d of the student's entity vectors."""

    @property
    def relation_dim(self) -> int:
        """Width k of its relation vectors."""

    def soft_targets(self) -> SoftTargets:
        """Need ``teacher``: the teacher's distribution over entities for each training query."""

    def teacher_entities(self) -> Tensor:
        """Need ``entities``: the structural teacher's entity vectors [E, D]."""

    def score_targets(self) -> ScoreTargets:
        """Need ``llm``: the LLM teacher's scores for each training query."""

    def encodings(self) -> tuple[Tensor, Tensor]:
        """Need ``llm``: the encodings E(p) of entities [E, m] and of relations with their reciprocals [2R, m]."""

    def seeded(self, name: str, make: Callable[[], M]) -> M:
        """A module whose initial values depend on data, dimension, seed and ``name`` alone, so that arms share them."""


#: what a loss yields before training: a term of the total, or the fields of ``Distillation`` that compute it
Prepared = Term | Mapping[str, Any]


@dataclass(frozen=True)
class Loss:
    """A registered loss; its fields are the arguments of `loss`."""

    name: str
    prepare: Callable[[Given, Any], Prepared]
    options: type[MethodOptions] = MethodOptions
    needs: tuple[str, ...] = ()
    acts: Acts = "stage 2"
    excludes: tuple[str, ...] = ()
    version: int = 1
    #: whether its options stand directly among those of ``loss``: of the paper's losses and baselines
    flat: bool = False


#: the losses of arms, in the order in which an arm names them
LOSSES: Registry[Loss] = Registry("loss")


def register(loss: Loss, *, label: str = "", colour: str = "") -> None:
    """Register a loss; the paper's have label and colour in `harness.vocabulary`, which reports read without PyTorch.

    Raises:
        UserError: its name is taken or cannot be part of an arm, or an option has a default that is none.
    """
    if "+" in loss.name or loss.name in ("none", *vocabulary.REFERENCES, "CE"):
        raise UserError(f"loss {loss.name!r}: this name has a meaning in arms; choose another")
    check_defaults("loss", loss.name, loss.options)
    if loss.version < 1:
        raise UserError(f"loss {loss.name!r}: version must be 1 or more, not {loss.version}")
    LOSSES.add(loss.name, loss)
    vocabulary.declare("loss", loss.name, label or vocabulary.loss_name(loss.name), colour)


def loss(
    name: str,
    *,
    label: str,
    version: int,
    options: type[MethodOptions] = MethodOptions,
    needs: tuple[str, ...] = (),
    acts: Acts = "stage 2",
    excludes: tuple[str, ...] = (),
    colour: str = "",
    flat: bool = False,
) -> Callable[[F], F]:
    """Register what is decorated as a loss: a function of a step and its options, or a class.

    Args:
        name: as arms write it: ``L1+NAME``.
        label: what reports call it.
        version: goes up when a change moves its numbers.
        options: its options.
        needs: what it asks teachers for: ``teacher`` (a distribution over entities), ``entities`` (the structural
            teacher's vectors), ``llm`` (the language model's scores and encodings), or what a plugin's teacher yields.
        acts: "from the start" or "stage 2", where stage 1 has only losses that act from the start.
        excludes: losses that cannot be in one arm with it.
        colour: of its arm in figures, as #RRGGBB; "": one that is free.
        flat: its options are settings ``loss.OPTION`` instead of ``loss.NAME.OPTION``.

    Raises:
        UserError: the name is taken or means something else in arms, or an option's default is not valid.
    """

    def decorate(method: F) -> F:
        def prepare(given: Given, chosen: MethodOptions) -> Prepared:
            term: Term = method(given, chosen) if isinstance(method, type) else lambda step: method(step, chosen)
            return term

        declared = Loss(name, prepare, options, tuple(needs), acts, tuple(excludes), version, flat)
        register(declared, label=label, colour=colour)
        return method

    return decorate


class FromSecondEpoch:
    """A term that begins with the second epoch (our reading): before, all scores are nearly equal.

    The gradient of what standardises scores is the larger the smaller they are, at the start a thousand times that of
    the cross-entropy; Adagrad, which divides by the gradients so far, would never forget it. A subclass sets ``term``.
    """

    term: Callable[[Step, Any], Tensor]

    def __init__(self, given: Given, options: Any) -> None:
        self.options, self.first_epoch = options, len(given.soft_targets().ids)

    def __call__(self, step: Step) -> Tensor:
        """The term of a batch, a scalar."""
        if self.first_epoch > 0:
            self.first_epoch -= len(step.index)
            return step.table.new_zeros(())
        return self.term(step, self.options)
