"""Steps of a student whose teacher has scores of all entities, what both say of each entity, and training by a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.distill.losses import LOSSES, Term
from harness.distill.passes.sampled import Candidates
from harness.distill.passes.step import Step
from harness.distill.targets import SoftTargets, TeacherVectors
from harness.models import scores

#: of the soft targets
T = 2.0
N_ENTITIES = 10
#: what a step scores: all entities; random ones, which here are all, in another order; all, in a sampled training
WAYS: dict[str, Candidates | None] = {
    "all": None,
    "sampled": Candidates(torch.tensor([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])),
}
Numbers = NDArray[np.float64]


def step_of(problem: Any, candidates: Candidates | None = None, index: Tensor | None = None) -> Step:
    index = problem.index if index is None else index
    return Step.of(problem.student, problem.data[index], index, problem.soft, candidates)


def both_scores(problem: Any) -> tuple[Numbers, Numbers]:
    """Of teacher and student [B, E]."""
    return problem.soft.teacher.query[problem.index].numpy(), problem.dense().detach().numpy()


def softmax(x: Numbers) -> Numbers:
    p = np.exp(x - x.max(1, keepdims=True))
    return np.asarray(p / p.sum(1, keepdims=True))


def kl(p: Numbers, q: Numbers) -> Numbers:
    return np.asarray((p * np.log(p / q)).sum(1))


class Given:
    """What a loss asks for before training."""

    n_entities = N_ENTITIES

    def __init__(self, soft: SoftTargets) -> None:
        self.soft = soft

    def soft_targets(self) -> SoftTargets:
        return self.soft

    def seeded(self, name: str, make: Callable[[], Any]) -> Any:
        return make()


def term_of(name: str, problem: Any, **options: float) -> Any:
    loss = LOSSES[name]
    term = loss.prepare(Given(problem.soft), loss.options.model_validate(options))  # type: ignore[arg-type]  # the targets alone, which is all that it reads
    assert callable(term)
    return term


def own_targets(problem: Any, factor: float = 1.0, shift: float = 0.0) -> SoftTargets:
    """Targets of a teacher whose scores are the student's, times a factor and with a shift."""
    student, data = problem.student, problem.data
    query = student.encode(data.subject, data.relation, data.time)
    z = factor * scores(query, student.entity_table(), student.kernel, student.scale()).detach() + shift
    log_p, ids = (z / T).log_softmax(1), problem.soft.ids.long()
    gold = z.gather(1, data.answer[:, None])[:, 0]
    teacher = TeacherVectors(z, torch.eye(N_ENTITIES).double(), torch.ones(()).double(), "dot", gold)
    others = log_p.scatter(1, ids, -torch.inf).logsumexp(1)
    return SoftTargets(ids.int(), log_p.gather(1, ids), others, T, teacher)


def check_gradient(term: Term, step: Step) -> bool:
    """Whether gradients by query and entity vectors are those of finite differences."""

    def value(query: Tensor, table: Tensor) -> Tensor:
        return term(replace(step, query=query, table=table))

    given = step.query.detach().clone().requires_grad_(), step.table.detach().clone().requires_grad_()
    return torch.autograd.gradcheck(value, given, fast_mode=True)


def minimised(term: Term, problem: Any, candidates: Candidates | None, steps: int = 50) -> tuple[float, float]:
    """The loss before and after the student alone minimises it, over all queries."""
    optimizer = torch.optim.Adam(problem.student.parameters(), lr=0.05)
    every, values = torch.arange(len(problem.data)), []
    for _ in range(steps):
        loss = term(step_of(problem, candidates, every))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    return values[0], values[-1]
