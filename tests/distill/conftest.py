"""Small problems in double precision, with blocks of entities so small that there are several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.distill.losses.l3 import SemanticAdapter
from harness.distill.passes import softmax
from harness.distill.targets import ScoreTargets, SoftTargets, TeacherVectors
from harness.distill.training.objective import Distillation
from harness.models import BACKBONES, Backbone, scores
from harness.models.batch import QueryTensors

ENTITIES, RELATIONS, TIMES, DIM = 10, 2, 4, 4

#: by id: the name of a backbone and its options
STUDENTS: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in BACKBONES}
STUDENTS["lifted"] = ("lifted", {"wide": 6})
STUDENTS["ttranse-l1"] = ("ttranse", {"norm": "l1"})
#: distances, inner products, and a learned map of the entities, for what the backbone does not decide;
#: ``@every_student`` has a test of ``problem`` run on all
FEW = ("ttranse", "ta-distmult", "lifted")
every_student = pytest.mark.parametrize("problem", STUDENTS, indirect=True)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten entities make blocks of 4, 4 and 2."""
    monkeypatch.setattr(softmax, "CPU_BLOCK", 4)


@dataclass(frozen=True)
class Problem:
    """A student, training queries, and every kind of target for them."""

    student: Backbone
    data: QueryTensors
    index: Tensor
    soft: SoftTargets
    aligned: ScoreTargets
    adapter: SemanticAdapter

    @property
    def batch(self) -> QueryTensors:
        return self.data[self.index]

    def loss(self, **changes: Any) -> Distillation:
        """All parts, with weights that no two share."""
        everything = Distillation(
            hard_weight=0.7,
            regularization=0.3,
            soft=self.soft,
            soft_weight=1.3,
            aligned=self.aligned,
            alpha=0.9,
            delta=0.6,
            adapter=self.adapter,
            beta=0.4,
        )
        return replace(everything, **changes)

    def dense(self) -> Tensor:
        """The student's scores [B, E] of the batch."""
        query = self.student.encode(self.batch.subject, self.batch.relation, self.batch.time)
        return scores(query, self.student.entity_table(), self.student.kernel, self.student.scale())

    def gradients(self, value: Tensor) -> dict[str, Tensor]:
        """Those of ``value`` by parameter, of the student and of the adapter."""
        modules = {"student": self.student, "adapter": self.adapter}
        named = {f"{part}.{n}": p for part, module in modules.items() for n, p in module.named_parameters()}
        actual = torch.autograd.grad(value, list(named.values()), allow_unused=True)
        return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(named.items(), actual, strict=True)}


def build(name: str, dtype: torch.dtype = torch.double, *, taught: bool = False) -> Problem:
    torch.manual_seed(0)
    backbone, options = STUDENTS[name]
    student = BACKBONES[backbone](ENTITIES, RELATIONS, TIMES, DIM, **options).to(dtype)
    for parameter in student.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    n = 12
    data = QueryTensors(
        torch.randint(ENTITIES, (n,)),
        torch.randint(2 * RELATIONS, (n,)),
        torch.randint(TIMES, (n, 2)),
        torch.randint(ENTITIES, (n,)),
    )
    logits = 3 * torch.randn(n, ENTITIES, dtype=dtype)
    log_p = torch.log_softmax(logits / 2, dim=1)
    # six of ten entities in any order: the rest has no less mass than some of the list
    listed = torch.stack([torch.randperm(ENTITIES)[:6] for _ in range(n)])
    others = log_p.scatter(1, listed, -torch.inf).logsumexp(1)
    gold = logits.gather(1, data.answer[:, None])[:, 0]
    teacher = TeacherVectors(logits, torch.eye(ENTITIES, dtype=dtype), torch.ones((), dtype=dtype), "dot", gold)
    soft = SoftTargets(
        listed.int(), log_p.gather(1, listed), others, temperature=2.0, teacher=teacher if taught else None
    )
    aligned = ScoreTargets(
        torch.stack([torch.randperm(ENTITIES)[:6] for _ in range(n)]).int(), logits[:, :6].contiguous()
    )
    vectors = torch.rand(ENTITIES, 5), torch.rand(2 * RELATIONS, 5)
    adapter = SemanticAdapter(*vectors, DIM, student.relation_table().shape[1]).to(dtype)
    return Problem(student, data, torch.tensor([7, 2, 11, 0, 5]), soft, aligned, adapter)


@pytest.fixture(params=FEW)
def problem(request: pytest.FixtureRequest, small_blocks: None) -> Problem:
    return build(request.param)


@pytest.fixture
def build_problem(small_blocks: None) -> Callable[..., Problem]:
    return build


def dense(query: Tensor, table: Tensor, scale: Tensor, kernel: str, temperatures: tuple[float, ...]) -> Tensor:
    """The textbook: all scores, then torch.logsumexp."""
    difference = query[:, None, :] - table[None, :, :]
    z = {
        "dot": scale * (query[:, None, :] * table).sum(2),
        "l2": -scale * difference.square().sum(2).sqrt(),
        "l1": -scale * difference.abs().sum(2),
    }[kernel]
    return torch.stack([torch.logsumexp(z / t, dim=1) for t in temperatures], dim=1)


def inputs(n_queries: int, n_entities: int, dim: int, dtype: torch.dtype = torch.double) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(n_entities)
    query = torch.randn(n_queries, dim, dtype=dtype, generator=generator).requires_grad_()
    table = torch.randn(n_entities, dim, dtype=dtype, generator=generator).requires_grad_()
    return query, table, torch.tensor(1.7, dtype=dtype).requires_grad_()
