"""Lifted students: a short code an entity, and one linear map to the wide space of a TComplEx.

Entities behind one shared map are those of LiftNet (Cai et al., arXiv 2303.12816) with a single linear layer. The score
is TComplEx's of h = z_s W and o = z_o W, and W moves to the query's side: ⟨q, z_o W⟩ = ⟨q Wᵀ, z_o⟩. So entities are
scored by their codes, and all that is wide is done once a query.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from harness.errors import UserError
from harness.models.base import Backbone, Recipe, backbone
from harness.models.complex_numbers import cubed, product
from harness.models.tcomplex import TComplEx
from harness.registry import MethodOptions, option


class LiftedOptions(MethodOptions):
    """Options of lifted students."""

    wide: int = option(400, "numbers an entity has behind the map, real and imaginary", ge=2, le=10_000, multiple_of=2)


@backbone("lifted", version=1)
class Lifted(Backbone):
    """TComplEx with entity vectors z W: codes z [E, dim] and a map W [dim, wide]; relations and times are wide.

    Started from a teacher that is a TComplEx of ``wide`` numbers, W has the first ``dim`` right singular vectors of its
    entity table as rows, turned at random; z are the table's coordinates in them, relations and times the teacher's.
    """

    kernel = "dot"
    time_input = "classes"
    options = LiftedOptions
    taught_by = "tcomplex"
    # higher rates undo the start: the map moves all entities at once
    student_recipe: ClassVar[Recipe] = Recipe(optimizer="adagrad", learning_rate=0.05, regularization=0.01)
    teacher_recipe: ClassVar[Recipe] = Recipe(optimizer="adagrad", learning_rate=0.1, regularization=0.005)

    def __init__(self, n_entities: int, n_relations: int, n_times: int, dim: int, wide: int = 400) -> None:
        super().__init__()
        if dim > wide:
            raise UserError(f"backbone lifted: dim={dim} is above wide={wide}, and codes are to be the shorter ones")
        self.entity = nn.Embedding(n_entities, dim)
        self.lift = nn.Parameter(torch.empty(dim, wide))
        self.relation = nn.Embedding(2 * n_relations, wide)
        self.time = nn.Embedding(n_times, wide)
        nn.init.orthogonal_(self.lift)
        # entities of TComplEx's width behind the map
        nn.init.normal_(self.entity.weight, std=0.1 * (wide / dim) ** 0.5)
        for table in (self.relation, self.time):
            nn.init.normal_(table.weight, std=0.1)

    @torch.no_grad()
    def start_from(self, teacher: Backbone) -> None:
        if not isinstance(teacher, TComplEx) or teacher.entity.embedding_dim != self.lift.shape[1]:
            return
        table = teacher.entity.weight.double()
        _, vectors = torch.linalg.eigh(table.T @ table)  # ascending, so the last ones are those of the largest values
        # turned at random: else the first numbers of a code are far larger than the last, which few bits would lose
        size = len(self.lift)
        noise = torch.randn(size, size, dtype=torch.double, generator=torch.Generator().manual_seed(0))
        basis = torch.linalg.qr(noise).Q.to(table.device) @ vectors[:, -size:].T
        self.lift.copy_(basis)
        self.entity.weight.copy_(table @ basis.T)
        self.relation.weight.copy_(teacher.relation.weight)
        self.time.weight.copy_(teacher.time.weight)

    def encode_vectors(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        return product(subject @ self.lift, product(relation, self.time(time).mean(1))) @ self.lift.T

    def penalty(self, query: Tensor, subject: Tensor, answer: Tensor) -> Tensor:
        """N3 of subject, query and answer behind the map, batch mean, as for TComplEx."""
        return sum(
            (cubed(vectors @ self.lift) for vectors in (subject, query, answer)), start=query.new_zeros(())
        ) / len(query)
