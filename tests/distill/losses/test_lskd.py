"""LSKD: the divergence of standardised scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from harness.distill.losses.lskd import LSKDOptions, lskd, standardised
from tests.distill.losses.taught import WAYS, both_scores, kl, own_targets, softmax, step_of


@pytest.mark.parametrize("way", WAYS)
def test_it_is_the_formula_over_all_entities(build_problem: Callable[..., Any], way: str) -> None:
    problem = build_problem("ta-distmult", taught=True)
    p, q = (softmax(scipy.stats.zscore(x, axis=1) / 1.5) for x in both_scores(problem))
    loss = lskd(step_of(problem, WAYS[way]), LSKDOptions(weight=0.7, tau=1.5))
    assert loss.item() == pytest.approx(0.7 * 1.5**2 * kl(p, q).mean(), rel=1e-6)


def test_weights_count_columns_as_often() -> None:
    x = torch.randn(4, 5, dtype=torch.double, generator=torch.Generator().manual_seed(3))
    x[:, 2] = -1e30
    weight = torch.tensor([1.0, 3.0, 0.0, 2.0, 1.0]).double().expand(4, 5)
    expected = scipy.stats.zscore(x[:, [0, 1, 1, 1, 3, 3, 4]].numpy(), axis=1)[:, [0, 1, 4, 6]]
    np.testing.assert_allclose(standardised(x, weight)[:, [0, 1, 3, 4]], expected)


@pytest.mark.parametrize(("factor", "shift"), [(7.0, 0.0), (0.2, 30.0)])
def test_neither_scale_nor_shift_of_the_teacher_matters(
    build_problem: Callable[..., Any], factor: float, shift: float
) -> None:
    problem = build_problem("ttranse", taught=True)
    same = replace(problem, soft=own_targets(problem, factor, shift))
    assert lskd(step_of(same), LSKDOptions()).item() == pytest.approx(0, abs=1e-8)
