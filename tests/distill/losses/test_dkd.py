"""DKD: the divergence in two parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.distill.losses.taught import WAYS, T, both_scores, kl, softmax, step_of, term_of


@pytest.mark.parametrize("way", WAYS)
def test_it_is_the_formula_over_all_entities(build_problem: Callable[..., Any], way: str) -> None:
    problem = build_problem("ta-distmult", taught=True)
    p, q = (softmax(x / T) for x in both_scores(problem))
    target, others = np.zeros(5), np.zeros(5)
    for i, answer in enumerate(problem.batch.answer.tolist()):
        binary = [np.array([[x[i, answer], 1 - x[i, answer]]]) for x in (p, q)]
        target[i] = kl(*binary)[0]
        remaining = [np.delete(x[i], answer)[None] / (1 - x[i, answer]) for x in (p, q)]
        others[i] = kl(*remaining)[0]
    term = term_of("DKD", problem, target=0.7, others=3.0)
    assert term(step_of(problem, WAYS[way])).item() == pytest.approx(T**2 * (0.7 * target + 3 * others).mean())


def test_with_the_teachers_weight_for_each_query_it_is_the_divergence(build_problem: Callable[..., Any]) -> None:
    """KL = KL of (answer, all else) + (1 - p(answer)) · KL over all else."""
    problem = build_problem("ttranse", taught=True)
    p, q = (softmax(x / T) for x in both_scores(problem))
    one = step_of(problem, index=problem.index[:1])
    weight = 1 - p[0, problem.batch.answer[0]]
    full = term_of("DKD", problem, target=1.0, others=float(weight))(one)
    assert full.item() == pytest.approx(T**2 * kl(p[:1], q[:1])[0])
