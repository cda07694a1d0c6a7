"""The loss of an arm: its parts, their weights, and the gradient of the whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy, kl_div

from harness.distill.losses.l3 import semantic_cross_entropy
from harness.distill.passes.sampled import Candidates
from harness.distill.passes.step import Step
from harness.distill.passes.terms import huber_alignment
from harness.distill.training.objective import Distillation
from tests.distill.conftest import every_student

PARTS = {"loss_l1": "soft", "loss_l2": "aligned", "loss_l3": "adapter"}


@every_student
def test_every_term_is_its_weight_times_its_definition(problem: Any) -> None:
    """On the dense matrix of scores."""
    student, batch, index, soft = problem.student, problem.batch, problem.index, problem.soft
    z = problem.dense()
    # entities that are not listed make one outcome
    q, listed = torch.softmax(z / 2, dim=1), soft.ids[index].long()
    q = torch.cat([q.gather(1, listed), q.scatter(1, listed, 0.0).sum(1, keepdim=True)], dim=1)
    log_p = torch.cat([soft.log_p[index], soft.log_rest[index, None]], dim=1)
    divergence = kl_div(q.log(), log_p, reduction="batchmean", log_target=True)
    chosen = z.gather(1, problem.aligned.ids[index].long())
    table = student.entity_table()
    query = student.encode(batch.subject, batch.relation, batch.time)
    expected = {
        "loss_ce": 0.7 * cross_entropy(z, batch.answer),
        "loss_l1": 1.3 * 2**2 * divergence,
        "loss_l2": 0.9 * huber_alignment(chosen, problem.aligned.scores[index], 0.6),
        "loss_l3": 0.4 * semantic_cross_entropy(Step.of(student, batch, index), problem.adapter),
        "penalty": 0.3 * student.penalty(query, table[batch.subject], table[batch.answer]),
    }
    terms = problem.loss()(student, batch, index)
    assert list(terms) == list(expected)
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name])


def test_a_teacher_that_tells_of_all_entities_makes_it_the_textbooks_divergence(build_problem: Any) -> None:
    """But for the exact epochs of a sampled training, in which what it does not list is one outcome."""
    problem = build_problem("ttranse", taught=True)
    soft = problem.soft
    q = torch.log_softmax(problem.dense() / 2, dim=1)
    p = torch.softmax(soft.teacher.query[problem.index] / 2, dim=1)
    expected = 1.3 * 2**2 * kl_div(q, p, reduction="batchmean")

    def actual(candidates: Candidates | None, **changes: Any) -> Tensor:
        terms: dict[str, Tensor] = problem.loss(**changes)(problem.student, problem.batch, problem.index, candidates)
        return terms["loss_l1"]

    torch.testing.assert_close(actual(None), expected)
    torch.testing.assert_close(problem.gradients(actual(None)), problem.gradients(expected))
    first = Candidates(torch.arange(3), exact=True)
    torch.testing.assert_close(actual(first), actual(None, soft=replace(soft, teacher=None)))
    assert actual(first) < expected


@every_student
def test_gradient_of_the_whole_equals_finite_differences(problem: Any) -> None:
    """With respect to every parameter of the student and of the adapter, along a direction drawn at random: a
    parameter whose gradient is wrong shows in it."""
    modules = torch.nn.ModuleDict({"student": problem.student, "adapter": problem.adapter})
    names, values = zip(*((n, p.detach().clone().requires_grad_()) for n, p in modules.named_parameters()), strict=True)

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = modules

        def forward(self) -> Tensor:
            terms = problem.loss()(problem.student, problem.batch, problem.index)
            return torch.stack(list(terms.values())).sum()

    def call(*parameters: Tensor) -> Any:
        return functional_call(Whole(), {f"parts.{n}": p for n, p in zip(names, parameters, strict=True)}, ())

    assert torch.autograd.gradcheck(call, values, fast_mode=True)


def test_the_undistilled_student_has_cross_entropy_alone(problem: Any) -> None:
    terms = Distillation()(problem.student, problem.batch, problem.index)
    assert list(terms) == ["loss_ce"]
    torch.testing.assert_close(terms["loss_ce"], cross_entropy(problem.dense(), problem.batch.answer))


@pytest.mark.parametrize("left_out", PARTS)
def test_a_part_left_out_has_no_term_and_changes_no_other(problem: Any, left_out: str) -> None:
    full = problem.loss()(problem.student, problem.batch, problem.index)
    less = problem.loss(**{PARTS[left_out]: None})(problem.student, problem.batch, problem.index)
    assert set(full) - set(less) == {left_out}
    for name, term in less.items():
        torch.testing.assert_close(term, full[name])


@pytest.mark.parametrize(
    ("weight", "part"),
    [("alpha", "loss_l2"), ("beta", "loss_l3"), ("soft_weight", "loss_l1"), ("hard_weight", "loss_ce")],
)
def test_a_weight_scales_the_gradient_of_its_part(problem: Any, weight: str, part: str) -> None:
    """Weight 0 leaves the gradient of all other parts, weight 2 adds twice that of its own."""

    def gradients(**changes: Any) -> dict[str, Tensor]:
        terms = problem.loss(**changes)(problem.student, problem.batch, problem.index)
        return dict(problem.gradients(torch.stack(list(terms.values())).sum()))

    without, once, twice = (gradients(**{weight: value}) for value in (0.0, 1.0, 2.0))
    mine = problem.gradients(problem.loss(**{weight: 1.0})(problem.student, problem.batch, problem.index)[part])
    assert max(gradient.abs().max() for gradient in mine.values()) > 1e-4
    for name in mine:
        torch.testing.assert_close(once[name], without[name] + mine[name])
        torch.testing.assert_close(twice[name], without[name] + 2 * mine[name])
    if part in PARTS and part != "loss_l1":
        absent = gradients(**{PARTS[part]: None})
        for name, gradient in absent.items():
            torch.testing.assert_close(without[name], gradient)


def test_each_query_meets_its_own_targets(problem: Any) -> None:
    """A batch is the mean of its queries, each with the targets at its position in the training set."""
    loss = problem.loss(regularization=0.0)
    complete = loss(problem.student, problem.batch, problem.index)
    one = [loss(problem.student, problem.data[k[None]], k[None]) for k in problem.index]
    for name, term in complete.items():
        torch.testing.assert_close(term, torch.stack([single[name] for single in one]).mean())


def test_single_precision_agrees_with_double(build_problem: Callable[..., Any]) -> None:
    for name in ("ttranse", "ttranse-l1", "ta-distmult"):
        exact, single = build_problem(name), build_problem(name, torch.float32)
        single.student.load_state_dict(exact.student.state_dict())
        single.adapter.load_state_dict(exact.adapter.state_dict())
        expected = exact.loss(adapter=None)(exact.student, exact.batch, exact.index)
        targets = {"soft": exact.soft, "aligned": exact.aligned}
        actual = single.loss(adapter=None, **targets)(single.student, exact.batch, exact.index)
        for part, term in expected.items():
            torch.testing.assert_close(actual[part].double(), term, rtol=1e-4, atol=1e-5)
