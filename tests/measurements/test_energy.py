"""Energy is told where counters can be read, and nowhere else."""

from __future__ import annotations

import math
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harness.measurements.energy import metered, unreadable


def installed(monkeypatch: pytest.MonkeyPatch, *, rapl: bool) -> list[dict[str, Any]]:
    """A codecarbon that reads 3 Wh; what its tracker was made with."""
    made: list[dict[str, Any]] = []

    class Tracker:
        final_emissions_data = SimpleNamespace(energy_consumed=0.0)

        def __init__(self, **options: Any) -> None:
            made.append(options)

        def start(self) -> None:
            self.final_emissions_data = SimpleNamespace(energy_consumed=0.0)

        def stop(self) -> None:
            self.final_emissions_data = SimpleNamespace(energy_consumed=0.003)

    package, core, cpu = ModuleType("codecarbon"), ModuleType("codecarbon.core"), ModuleType("codecarbon.core.cpu")
    vars(package)["OfflineEmissionsTracker"] = Tracker
    vars(cpu)["is_rapl_available"] = lambda: rapl
    for module in (package, core, cpu):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return made


def test_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    made = installed(monkeypatch, rapl=True)
    with metered() as energy:
        assert math.isnan(energy.wh)
    assert energy.row == {"energy_wh": pytest.approx(3.0), "energy_reason": ""}
    assert made[0]["save_to_file"] is False


def test_an_assumed_power_is_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    made = installed(monkeypatch, rapl=False)
    with metered() as energy:
        pass
    assert energy.row["energy_wh"] is None
    assert "counters" in energy.row["energy_reason"]
    assert not made


def test_without_the_package_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    assert unreadable() == "the optional package codecarbon is not installed"


def test_what_fails_inside_is_raised_and_the_tracker_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, rapl=True)
    with pytest.raises(ValueError, match="mine"), metered() as energy:
        raise ValueError("mine")
    assert energy.wh == pytest.approx(3.0)
