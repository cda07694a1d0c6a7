"""CTKD: a temperature that is learned against the student."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.distill.losses.taught import WAYS, T, both_scores, kl, softmax, step_of, term_of


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("t", [T, 5.0])
def test_it_is_the_divergence_at_its_temperature(build_problem: Callable[..., Any], way: str, t: float) -> None:
    problem = build_problem("ta-distmult", taught=True)
    term = term_of("CTKD", problem, weight=0.7).double()
    with torch.no_grad():
        term.theta.copy_(torch.tensor((t - 1) / 20).logit())
    p, q = (softmax(x / t) for x in both_scores(problem))
    assert term(step_of(problem, WAYS[way])).item() == pytest.approx(0.7 * t**2 * kl(p, q).mean(), rel=1e-6)


@pytest.mark.parametrize(("low", "start"), [(0.5, T), (1.0, T), (4.0, 4.2)])
def test_it_starts_at_the_temperature_of_the_targets_or_next_to_it(
    build_problem: Callable[..., Any], low: float, start: float
) -> None:
    assert term_of("CTKD", build_problem("ttranse", taught=True), low=low).temperature.item() == pytest.approx(start)


def test_lambda_rises_to_one_by_a_cosine(build_problem: Callable[..., Any]) -> None:
    problem = build_problem("ttranse", taught=True)
    term, every = term_of("CTKD", problem, epochs=2), torch.arange(12)
    strengths = []
    for _ in range(5):
        strengths.append(term.strength)
        for part in every.split(5):
            term(step_of(problem, index=part))
    assert strengths == pytest.approx([0, 0.5, 1, 1, 1])


def test_the_temperature_climbs_where_the_student_descends(build_problem: Callable[..., Any]) -> None:
    """Its gradient is that of the loss, by finite differences, times -λ."""
    problem = build_problem("ttranse", taught=True)
    term = term_of("CTKD", problem, epochs=4).double()

    def value(seen: int, move: float = 0.0) -> torch.Tensor:
        term.seen = seen
        with torch.no_grad():
            term.theta += move
        actual: torch.Tensor = term(step_of(problem))
        with torch.no_grad():
            term.theta -= move
        return actual

    slope = (value(0, 1e-5) - value(0, -1e-5)).item() / 2e-5
    for seen, strength in ((0, 0.0), (24, 0.5), (48, 1.0)):
        (gradient,) = torch.autograd.grad(value(seen), term.theta)
        assert gradient.item() == pytest.approx(-strength * slope, rel=1e-6)


def test_its_one_parameter_is_the_temperature(build_problem: Callable[..., Any]) -> None:
    assert [*term_of("CTKD", build_problem("ttranse", taught=True)).state_dict()] == ["theta"]
