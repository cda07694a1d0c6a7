"""RCE-KD: the divergence over the teacher's best and the student's own best entities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.distill.losses.taught import WAYS, T, both_scores, kl, softmax, step_of, term_of


@pytest.fixture
def problem(build_problem: Callable[..., Any]) -> Any:
    return build_problem("ta-distmult", taught=True)


def expected(problem: Any, best: list[set[int]]) -> float:
    """The formula, for these best entities of the student a query."""
    y, z = both_scores(problem)
    values = []
    for i, listed in enumerate(problem.soft.ids[problem.index].tolist()):
        union = sorted(best[i] | set(listed))
        values.append(kl(*(softmax(x[i : i + 1, union] / T) for x in (y, z)))[0])
    return float(T**2 * np.mean(values))


def best_of(problem: Any, size: int) -> list[set[int]]:
    return [set(row) for row in np.argsort(-both_scores(problem)[1], 1)[:, :size].tolist()]


@pytest.mark.parametrize("way", WAYS)
def test_it_is_the_formula_over_both_lists_from_the_second_epoch_on(problem: Any, way: str) -> None:
    term = term_of("RCE-KD", problem, student=4, weight=0.7)
    step = step_of(problem, WAYS[way])
    assert term(step).item() == pytest.approx(0.7 * expected(problem, [set()] * 5))
    best = best_of(problem, 4)
    assert any(mine - set(listed) for mine, listed in zip(best, problem.soft.ids[problem.index].tolist(), strict=True))
    assert term(step).item() == pytest.approx(0.7 * expected(problem, best))


def test_the_students_best_are_found_anew_every_few_epochs(problem: Any) -> None:
    term = term_of("RCE-KD", problem, student=4, every=2)
    used: list[set[int]] = [set()] * 5
    for epoch in range(6):
        with torch.no_grad():  # the student moves on
            problem.student.entity.weight.copy_(problem.student.entity.weight.roll(1, 0))
        if epoch in (1, 3, 5):
            used = best_of(problem, 4)
        assert term(step_of(problem)).item() == pytest.approx(expected(problem, used))


def test_lists_are_those_of_each_query(problem: Any) -> None:
    term = term_of("RCE-KD", problem, student=4)
    every = torch.arange(12)
    for _ in range(2):
        for part in every.split(5):
            term(step_of(problem, index=part))
    full = replace(problem, index=every)
    assert [set(row) for row in term.ids.tolist()] == best_of(full, 4)


def test_without_scores_of_all_the_others_share_their_mass_evenly(problem: Any) -> None:
    soft = replace(problem.soft, teacher=None)
    term = term_of("RCE-KD", problem, student=10)
    step = step_of(replace(problem, soft=soft))
    term(step)
    p = softmax(both_scores(problem)[0] / T)
    for i, listed in enumerate(soft.ids[problem.index].tolist()):
        others = [e for e in range(10) if e not in listed]
        p[i, others] = p[i, others].mean()
    q = softmax(both_scores(problem)[1] / T)
    assert term(step).item() == pytest.approx(T**2 * kl(p, q).mean())


def test_more_than_there_are_is_all(problem: Any) -> None:
    assert term_of("RCE-KD", problem, student=64).ids.shape == (12, 10)
