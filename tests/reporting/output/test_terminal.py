"""The table on the terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from harness.errors import UserError
from harness.reporting.output.tables import terminal_table
from tests.reporting.conftest import LAYOUT

Make = Callable[..., Any]


def printed(study: Any) -> list[str]:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(terminal_table(study.trials, LAYOUT))
    return capture.get().splitlines()


def test_rows_hold_mean_interval_and_failures(frames: Make) -> None:
    study = frames(facts=60, failed=(("L1+L3", 1),))
    lines = printed(study)
    mean = study.trials[study.trials["arm"] == "L1"]["test_mrr"].mean()
    assert any(f"{mean:.4f} ±" in line and line.startswith("L1 ") for line in lines)
    assert any("2 of 3" in line and "L1 + L3" in line for line in lines)
    assert any("structural teacher" in line for line in lines)
    assert not any("…" in line for line in lines)
    assert "Test results on Wikidata12k" in lines[0]


def test_one_seed_has_no_interval(frames: Make) -> None:
    lines = printed(frames(facts=60, seeds=1))
    assert not any("±" in line for line in lines if "±: half" not in line)


def test_an_arm_without_results_is_still_listed(frames: Make) -> None:
    lines = printed(frames(facts=60, seeds=1, failed=(("L1+L3", 0),)))
    assert any("0 of 1" in line for line in lines)


def test_names_are_not_markup(frames: Make) -> None:
    lines = printed(frames(facts=60, dataset="[red]x[/red]"))
    assert "[red]x[/red]" in lines[0]


def test_bad_frames_are_refused(frames: Make) -> None:
    with pytest.raises(UserError, match="there are none"):
        terminal_table(frames(facts=60).trials.iloc[:0], LAYOUT)


def test_numbers_are_whole_beside_long_names(frames: Make) -> None:
    study = frames(facts=60)
    study.trials["arm"] = study.trials["arm"].replace("L1+L3", "L1+L3 · batch_size=1024 · [dim]dim=100")
    lines = printed(study)
    assert not any("…" in line for line in lines)
    assert "[dim]dim" in "".join(lines)
