"""Searches on functions instead of trainings: what is asked for, given up, resumed and confirmed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from harness.design.schema import Range, Search
from harness.search.adaptive import Configuration, Searcher


def search(**changes: Any) -> Search:
    factors = {
        "loss.alpha": Range(low=0.01, high=10.0, log=True),
        "student.stage1_epochs": Range(low=0, high=8, step=2),
    }
    return Search(**{"arm": "L1+L2+L3", "factors": factors, "trials": 12, **changes})


def objective(point: dict[str, float], seed: int) -> float:
    """Best at α = 1 and four epochs; seeds add what all configurations share."""
    return (
        0.3 - 0.01 * math.log10(point["loss.alpha"]) ** 2 - 1e-4 * (point["student.stage1_epochs"] - 4) ** 2 + seed / 50
    )


def go_on(searcher: Searcher, most: int = 10_000, room: int = 2) -> int:
    """Carry out up to ``most`` trainings; return how many it were."""
    done = 0
    while not searcher.is_over and done < most:
        for step in searcher.steps(min(room, most - done)):
            searcher.record(step.number, step.seed, objective(step.point, step.seed))
            done += 1
    return done


def test_every_configuration_is_trained_with_every_seed_or_given_up() -> None:
    searcher = Searcher(search(), 5, "test")
    done = go_on(searcher)
    states = [one.state for one in searcher.configurations.values()]
    assert len(states) == 12
    assert set(states) == {"complete", "pruned"}
    assert done == sum(len(one.values) for one in searcher.configurations.values()) < 60
    for one in searcher.configurations.values():
        assert len(one.values) == 5 if one.state == "complete" else 3 <= len(one.values) < 5
        assert set(one.values) == set(range(len(one.values)))
    best = max(searcher.configurations.values(), key=lambda one: objective(one.point, 0))
    # what is given up is not the best
    assert best.state == "complete"
    winners = searcher.winners()
    assert winners[0] is best
    assert [one.mean for one in winners] == sorted((one.mean for one in winners), reverse=True)
    assert len(winners) == 3


def test_tpe_learns_from_what_it_was_told() -> None:
    searcher = Searcher(search(trials=40, prune=0), 1, "test")
    go_on(searcher, room=1)
    values = [objective(one.point, 0) for one in searcher.configurations.values()]
    assert sum(values[-15:]) > sum(values[:15])
    assert max(values) > 0.2995


def test_a_search_that_was_cut_off_goes_on_as_if_it_was_not() -> None:
    unbroken, first = Searcher(search(prune=0), 2, "test"), Searcher(search(prune=0), 2, "test")
    go_on(unbroken, room=1)
    go_on(first, most=9, room=1)
    known = [Configuration(one.number, one.point, dict(one.values)) for one in first.configurations.values()]
    second = Searcher(search(prune=0), 2, "test", known)
    assert go_on(second, room=1) == 24 - 9
    points = [[one.point for one in one_search.configurations.values()] for one_search in (unbroken, second)]
    assert points[0] == points[1]


def test_what_was_given_up_stays_so_and_what_failed_is_tried_again() -> None:
    first = Searcher(search(), 5, "test")
    step = first.steps(1)[0]
    assert first.record(step.number, step.seed, None).state == "failed"
    go_on(first)
    assert len(first.configurations) == 12
    known = [Configuration(o.number, o.point, dict(o.values), o.state) for o in first.configurations.values()]
    second = Searcher(search(), 5, "test", known)
    pruned = {n for n, one in first.configurations.items() if one.state == "pruned"}
    assert pruned
    assert {n for n, one in second.configurations.items() if one.state == "pruned"} == pruned
    assert [(s.number, s.seed) for s in second.steps(9)] == [(0, 0)]


def test_more_trials_and_more_seeds_extend_a_search() -> None:
    first = Searcher(search(prune=0, trials=3), 1, "test")
    go_on(first)
    known = [Configuration(o.number, o.point, dict(o.values)) for o in first.configurations.values()]
    second = Searcher(search(prune=0, trials=4), 2, "test", known)
    assert go_on(second) == 3 + 2


def test_a_designed_sample_has_its_points_in_order_and_no_pruning() -> None:
    searcher = Searcher(search(sampler="qmc", trials=4), 3, "test")
    assert go_on(searcher) == 4 * (2 + 2) * 3
    sample = search(sampler="qmc", trials=4).sample()
    assert [one.point for one in searcher.configurations.values()] == sample
    a, first, second, b = sample[:4]
    assert (first["loss.alpha"], second["student.stage1_epochs"]) == (b["loss.alpha"], b["student.stage1_epochs"])
    assert (second["loss.alpha"], first["student.stage1_epochs"]) == (a["loss.alpha"], a["student.stage1_epochs"])
    assert len({tuple(one.point.values()) for one in searcher.winners()}) == 3


@pytest.mark.parametrize(
    ("factor", "shares", "values"),
    [
        (Range(low=0, high=8, step=4), (0.1, 0.5, 0.9), (0, 4, 8)),
        (Range(low=0.5, high=1.5), (0.0, 0.25, 0.75), (0.5, 0.75, 1.25)),
        (Range(low=0.01, high=1.0, log=True), (0.0, 0.5), (0.01, 0.1)),
        (Range(low=1, high=20, log=True), (0.0, 0.999999), (1, 20)),
    ],
)
def test_shares_of_a_range(factor: Range, shares: tuple[float, ...], values: tuple[float, ...]) -> None:
    levels = [factor.at(share) for share in shares]
    assert levels == pytest.approx(values)
    assert all(type(value) is type(factor.low) for value in levels)


@pytest.mark.parametrize(
    "bad", [{"low": 1, "high": 1}, {"low": 0, "high": 1, "log": True}, {"low": 1, "high": 2, "stp": 1}]
)
def test_ranges_that_cannot_be_meant(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Range.model_validate(bad)
