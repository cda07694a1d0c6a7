"""FitNet and RKD: losses that compare the student's entity vectors with the teacher's."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.spatial
import torch
from torch import Tensor

from harness.distill.losses.fitnet import Hint
from harness.distill.losses.rkd import Relations, angles, distances
from harness.distill.passes.step import Step
from tests.distill.conftest import DIM


def step_of(problem: Any) -> Step:
    student, batch, index = problem.student, problem.batch, problem.index
    table = student.entity_table()
    query = student.encode(batch.subject, batch.relation, batch.time)
    return Step(student, batch, index, table, query, table[batch.subject], table[batch.answer])


@pytest.fixture
def teacher() -> Tensor:
    return torch.randn(10, 7, dtype=torch.double, generator=torch.Generator().manual_seed(5))


def smooth_l1(x: np.ndarray, y: np.ndarray) -> float:
    away = np.abs(x - y)
    return float(np.where(away < 1, away**2 / 2, away - 0.5).mean())


def test_the_hint_is_the_error_of_the_mapped_vectors(problem: Any, teacher: Tensor) -> None:
    hint = Hint(40 * teacher, dim=DIM).double()
    step = step_of(problem)
    wanted = (teacher / teacher.square().mean().sqrt()).numpy()
    weight, bias = (p.detach().numpy() for p in hint.map.parameters())
    rows = [*zip(step.batch.subject.tolist(), step.subject, strict=True)]
    rows += zip(step.batch.answer.tolist(), step.answer, strict=True)
    errors = [(weight @ vector.detach().numpy() + bias - wanted[k]) ** 2 for k, vector in rows]
    assert hint(step).item() == pytest.approx(np.mean(errors))
    assert set(hint.state_dict()) == {"map.weight", "map.bias"}


def test_a_student_that_is_a_map_of_the_teacher_has_no_hint_left(problem: Any) -> None:
    hint = Hint(problem.student.entity_table().detach(), dim=DIM).double()
    scale = problem.student.entity_table().square().mean().sqrt().item()
    with torch.no_grad():
        hint.map.weight.copy_(torch.eye(DIM) / scale)
        hint.map.bias.zero_()
    assert hint(step_of(problem)).item() == pytest.approx(0, abs=1e-12)


def test_distances_are_those_of_all_pairs_by_their_mean(teacher: Tensor) -> None:
    expected = scipy.spatial.distance.pdist(teacher.numpy())
    np.testing.assert_allclose(distances(teacher), expected / expected.mean())


def test_angles_are_cosines_at_the_first_point(teacher: Tensor) -> None:
    points, actual = teacher[:4].numpy(), angles(teacher[:4])
    for i, j, k in itertools.permutations(range(4), 3):
        a, b = points[j] - points[i], points[k] - points[i]
        assert actual[i, j, k].item() == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("relation", [distances, angles])
def test_relations_are_compared_over_the_entities_of_the_batch(problem: Any, teacher: Tensor, relation: Any) -> None:
    step = step_of(problem)
    entities = sorted({*step.batch.subject.tolist(), *step.batch.answer.tolist()})
    mine = relation(problem.student.entity_table()[entities]).detach().numpy()
    expected = smooth_l1(mine, relation(teacher[entities]).numpy())
    assert Relations(relation, teacher, 100)(step).item() == pytest.approx(expected)


@pytest.mark.parametrize("relation", [distances, angles])
def test_turned_moved_and_scaled_points_have_the_same_relations(problem: Any, relation: Any) -> None:
    turn = torch.linalg.qr(torch.randn(DIM, DIM, dtype=torch.double, generator=torch.Generator().manual_seed(1))).Q
    teacher = 17 * problem.student.entity_table().detach() @ turn + 3
    assert Relations(relation, teacher, 100)(step_of(problem)).item() == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("relation", [distances, angles])
def test_gradient_equals_finite_differences(problem: Any, teacher: Tensor, relation: Any) -> None:
    step, table = step_of(problem), problem.student.entity_table().detach().clone().requires_grad_()

    def call(table: Tensor) -> Tensor:
        changed = Step(step.model, step.batch, step.index, table, step.query, step.subject, step.answer)
        actual: Tensor = Relations(relation, teacher, 100)(changed)
        return actual

    assert torch.autograd.gradcheck(call, table)


@pytest.mark.parametrize("relation", [distances, angles])
def test_too_few_entities_have_no_relations(problem: Any, teacher: Tensor, relation: Any) -> None:
    step = step_of(problem)
    one = problem.data[torch.tensor([0])]
    few = Step(step.model, type(one)(one.subject, one.relation, one.time, one.subject), *list(vars(step).values())[2:])
    assert Relations(relation, teacher, 100)(few) == 0


def test_entities_are_distinct_and_bounded(problem: Any) -> None:
    step = step_of(problem)
    for most in range(2, 12):
        actual = step.entities(most).tolist()
        assert actual == sorted(set(actual))
        assert 1 <= len(actual) <= most
