"""What every backbone offers: encode a query to a point, score entities against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from harness import vocabulary
from harness.errors import UserError
from harness.models.batch import QueryTensors
from harness.registry import MethodOptions, Registry, check_defaults

Kernel = Literal["dot", "l2", "l1"]


class Recipe(BaseModel):
    """The training settings that suit a backbone; a spec may override each of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimizer: Literal["adam", "adagrad"]
    learning_rate: float = Field(gt=0)
    regularization: float = Field(ge=0)


class Backbone(nn.Module):
    """A scorer f(s, r, ?, τ) that factors into a query vector and one vector an entity.

    The score of entity e is ``scale · ⟨q, e⟩`` for kernel ``dot`` and ``-scale · ‖q - e‖`` for ``l2`` and ``l1``, so
    ranking, full-vocabulary losses and distillation need to know nothing else of a model. A subclass sets the class
    attributes, creates ``self.entity`` and implements ``encode``.

    Relations are 2R in number: r + R is the reciprocal of r and asks for the head.
    """

    #: goes up when a change of the code moves the numbers that the backbone gives
    version: int = 1
    #: how an entity is compared with a query
    kernel: Kernel
    #: which view of time it reads: classes int64 [B, 2], calendar tokens int64 [B, L], or start and end int64 [B, 2]
    time_input: ClassVar[Literal["classes", "tokens", "points"]]
    #: whether vectors give its scores; those of a teacher or a reference row may come from ``direct_scores`` instead
    has_vectors: ClassVar[bool] = True
    #: its own options, which the constructor takes as keyword arguments
    options: ClassVar[type[MethodOptions]] = MethodOptions
    #: whether they are settings ``student.OPTION`` instead of ``student.NAME.OPTION``
    flat: ClassVar[bool] = False
    #: factors of the learning rate for modules whose weights an adaptive optimiser would move too fast, by name
    rates: ClassVar[Mapping[str, float]] = {}
    #: the backbone of its structural teacher, unless a spec names one; None: itself
    taught_by: ClassVar[str | None] = None
    #: training settings by use: a small student and a large teacher want different ones
    student_recipe: ClassVar[Recipe]
    teacher_recipe: ClassVar[Recipe]

    entity: nn.Embedding
    relation: nn.Embedding
    #: what the entity table goes through before it is used: rounding, in the last epochs of a student of few bits
    rounding: Callable[[Tensor], Tensor] | None = None

    def start_from(self, teacher: Backbone) -> None:
        """Take the initial values from the trained structural teacher, for backbones that can, and where it fits."""

    @property
    def reads_facts(self) -> bool:
        """Whether it reads training facts beside its weights; most models do not."""
        return False

    def without(self, batch: QueryTensors) -> AbstractContextManager[None]:
        """While it lasts, the model does not read the facts that these training queries ask for."""
        return nullcontext()

    def encode(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        """Query vectors [B, d] for int64 subject [B], relation [B] and time [B, L]."""
        return self.query(self.entity_table()[subject], relation, time)

    def query(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        """Query vectors [B, d] for subjects as vectors [B, d], int64 relation [B] and time [B, L]."""
        return self.encode_vectors(subject, self.relation_table()[relation], time)

    def encode_vectors(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        """Query vectors [B, d] for subject [B, d] and relation [B, k] given as *vectors*, and int64 time [B, L].

        Split from ``encode`` so that L3 can put language-model encodings in the place of both.
        """
        raise NotImplementedError(type(self).__name__)  # a subclass has this or `direct_scores`

    def direct_scores(self, subject: Tensor, relation: Tensor, time: Tensor, own: Tensor | None = None) -> Tensor:
        """Scores [B, E] of a model without vectors.

        ``own`` [B] are the answers of training queries: a model that looks facts up leaves out the one asked for.
        """
        raise NotImplementedError(type(self).__name__)  # models with vectors are never asked

    @property
    def n_entities(self) -> int:
        """How many entities it scores."""
        return len(self.entity_table())

    def entity_table(self) -> Tensor:
        """Vectors of all entities [E, d]."""
        return self.entity.weight if self.rounding is None else self.rounding(self.entity.weight)

    def relation_table(self) -> Tensor:
        """Vectors of all relations and their reciprocals [2R, k]; k is what ``encode_vectors`` wants, d or more."""
        return self.relation.weight

    def scale(self) -> Tensor:
        """The positive factor of the scores, a scalar tensor; 1 unless the backbone learns one."""
        return torch.ones((), dtype=self.entity.weight.dtype, device=self.entity.weight.device)

    def penalty(self, query: Tensor, subject: Tensor, answer: Tensor) -> Tensor:
        """The regulariser of a batch, a scalar before its weight; 0 unless the backbone has one.

        ``query`` [B, d] is what ``encode`` returned, ``subject`` and ``answer`` [B, d] are entity vectors.
        """
        return query.new_zeros(())

    def penalty_beside_entities(self, relation: Tensor, time: Tensor) -> Tensor | float:
        """What it adds for int64 relations [B] and times [B, L], a scalar before its weight; 0 unless it has any."""
        return 0.0


B = TypeVar("B", bound=type[Backbone])
#: the backbones by the name that the command line uses
BACKBONES: Registry[type[Backbone]] = Registry("backbone")


def backbone(name: str, *, label: str = "", version: int) -> Callable[[B], B]:
    """Register a class as a backbone.

    Args:
        name: as ``--backbone`` takes it.
        label: what reports call it; those of the package are in `harness.vocabulary`, which needs no PyTorch.
        version: goes up when a change moves its numbers.

    Raises:
        UserError: the name is taken, the class lacks something, or an option's default is not valid.
    """

    def decorate(kind: B) -> B:
        for attribute in ("time_input", "student_recipe", "teacher_recipe"):
            if not hasattr(kind, attribute):
                raise UserError(f"backbone {name!r}: class {kind.__name__} does not set {attribute}")
        if kind.encode_vectors is Backbone.encode_vectors:
            raise UserError(f"backbone {name!r}: class {kind.__name__} does not implement encode_vectors")
        check_defaults("backbone", name, kind.options)
        kind.version = version
        BACKBONES.add(name, kind)
        vocabulary.declare("backbone", name, label or vocabulary.backbone_name(name))
        return kind

    return decorate


def compared(query: Tensor, table: Tensor, kernel: Kernel) -> Tensor:
    """What scores [B, E] are made of: products (dot), squared distances (l2) or distances (l1)."""
    if kernel == "dot":
        return query @ table.T
    if kernel == "l1":
        return torch.cdist(query, table, p=1.0)
    # ‖q-e‖² = ‖q‖² + ‖e‖² - 2⟨q,e⟩ turns the distance into a matrix product
    squared = torch.addmm(table.square().sum(1)[None, :], query, table.T, alpha=-2.0)
    return squared.add_(query.square().sum(1)[:, None])


def scores(query: Tensor, table: Tensor, kernel: Kernel, scale: Tensor) -> Tensor:
    """Scores [B, E] of all rows of ``table`` [E, d] for queries [B, d]."""
    comparison = compared(query, table, kernel)
    if kernel == "dot":
        return scale * comparison
    return -scale * (comparison if kernel == "l1" else comparison.clamp_min_(1e-12).sqrt_())


def gathered_scores(query: Tensor, vectors: Tensor, kernel: Kernel, scale: Tensor) -> Tensor:
    """Scores [B, K] of each query's own entity vectors [B, K, d] for queries [B, d]."""
    if kernel == "dot":
        return scale * torch.einsum("bd,bkd->bk", query, vectors)
    difference = query[:, None, :] - vectors
    if kernel == "l1":
        return -scale * difference.abs().sum(-1)
    return -scale * difference.square().sum(-1).clamp_min(1e-12).sqrt()
