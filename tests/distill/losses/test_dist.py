"""DIST: correlations within and between queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from harness.distill.losses.dist import DISTOptions, correlation, dist
from tests.distill.losses.taught import WAYS, T, both_scores, own_targets, softmax, step_of


@pytest.mark.parametrize("way", WAYS)
def test_it_is_the_formula_over_all_entities(build_problem: Callable[..., Any], way: str) -> None:
    problem = build_problem("ta-distmult", taught=True)
    p, q = (softmax(x / T) for x in both_scores(problem))
    within = np.mean([1 - np.corrcoef(p[i], q[i])[0, 1] for i in range(5)])
    between = np.mean([1 - np.corrcoef(p[:, e], q[:, e])[0, 1] for e in range(10)])
    loss = dist(step_of(problem, WAYS[way]), DISTOptions(within=0.7, between=3.0))
    assert loss.item() == pytest.approx(T**2 * (0.7 * within + 3 * between), rel=1e-6)


def test_weights_count_columns_as_often() -> None:
    log_p, log_q = torch.randn(2, 4, 6, dtype=torch.double, generator=torch.Generator().manual_seed(3))
    weight = torch.tensor([1.0, 3.0, 0.0, 2.0, 1.0, 0.0]).double().expand(4, 6)
    repeated = [x[:, [0, 1, 1, 1, 3, 3, 4]].exp().numpy() for x in (log_p, log_q)]
    expected = [np.corrcoef(p, q)[0, 1] for p, q in zip(*repeated, strict=True)]
    np.testing.assert_allclose(correlation(log_p, log_q, weight), expected, rtol=1e-6)


def test_small_probabilities_correlate_as_large_ones() -> None:
    log_p, log_q = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(3))
    every = torch.ones(4, 6)
    torch.testing.assert_close(correlation(log_p - 70, log_q, every), correlation(log_p, log_q, every))


def test_a_student_may_be_less_sure(build_problem: Callable[..., Any]) -> None:
    """Of a teacher with the same scores, but larger, less is left than of any other."""
    problem = build_problem("ttranse", taught=True)
    surer = replace(problem, soft=own_targets(problem, factor=1.5))
    values = [dist(step_of(one), DISTOptions()) for one in (surer, problem)]
    assert values[0] < 0.3 * values[1]
