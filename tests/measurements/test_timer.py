"""Ways of doing one thing in turns, and the speed of a training loop."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from harness.measurements import timer


def test_ways_take_turns_and_the_first_call_does_not_count() -> None:
    calls: list[str] = []

    def way(name: str, *values: float) -> Any:
        left = iter(values)

        def once() -> float:
            calls.append(name)
            return next(left)

        return once

    measured = timer.alternate({"a": way("a", 100, 1, 5, 3), "b": way("b", 0, 8, 7, 9)}, rounds=3)
    assert "".join(calls) == "abababab"
    assert {name: figure.value for name, figure in measured.items()} == {"a": 3, "b": 8}


def test_the_fastest_setting_counts() -> None:
    speed = {8: iter([9.0, 1.0, 1.0]), 32: iter([0.0, 3.0, 3.0]), 256: iter([9.0, 2.0, 2.0])}
    assert timer.fastest({size: partial(next, rates) for size, rates in speed.items()}) == 32


def test_the_clock_counts_from_the_second_step_on(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 10.0, 11.0, 12.5])
    monkeypatch.setattr(timer.time, "perf_counter", lambda: next(times))
    clock = timer.Clock(seconds=2)
    for queries in (512, 512, 512):
        clock.tick(queries)
    with pytest.raises(timer.TimeIsUpError):
        clock.tick(88)
    assert clock.rate == 600 / 2.5
