"""How numbers are written, and that no text can act as a formula or a command."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.console import spreadsheet_cell
from harness.reporting.data import about
from harness.reporting.data.text import duration, interval, latex, number, p_equals, p_value, percent


@pytest.mark.parametrize(
    ("value", "decimals", "signed", "text"),
    [
        (0.29862, 4, False, "0.2986"),
        (0.0031, 4, True, "+0.0031"),
        (-0.0031, 4, True, "−0.0031"),
        (-0.00001, 4, True, "0.0000"),
        (1183.4, 0, False, "1,183"),
        (math.nan, 4, True, "–"),
    ],
)
def test_number(value: float, decimals: int, signed: bool, text: str) -> None:
    assert number(value, decimals, signed) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "< 0.001"), (0.0123, "0.012"), (0.21, "0.21"), (0.996, "1"), (math.nan, "–")]
)
def test_p_value(p: float, text: str) -> None:
    assert p_value(p) == text
    assert p_equals(p) == (f"p {text}" if p < 0.001 else f"p = {text}")


def test_interval_and_percent() -> None:
    assert interval(-0.001, 0.0072, 4) == "[−0.0010, 0.0072]"
    # an end that excludes zero must not look as if it touched it
    assert interval(0.00002, -0.0000003, 4) == "[0.00002, −0.0000003]"
    assert interval(0.0, 0.0051, 4) == "[0.0000, 0.0051]"
    assert percent(0.0124) == "+1.2\N{NO-BREAK SPACE}%"


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.14, "3.1 s"), (61, "61 s"), (245.4, "4 min 05 s"), (7261, "2 h 01 min"), (math.nan, "–")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_formulas_are_defused(text: str) -> None:
    assert spreadsheet_cell(text) == f"'{text}"


def test_harmless_cells_stay_as_they_are() -> None:
    assert [spreadsheet_cell(value) for value in ("L1+L2", -0.5, None)] == ["L1+L2", -0.5, None]


def test_latex_escapes_every_special_character() -> None:
    assert latex(r"\input{x} 5% $a_b$ #~^&<") == (
        r"\textbackslash{}input\{x\} 5\% \$a\_b\$ \#\textasciitilde{}\textasciicircum{}\&\textless{}"
    )


@given(st.text(alphabet=st.sampled_from("\\{}$&%#_^~ab ±−\n")))
def test_latex_braces_balance_and_no_line_ends_early(text: str) -> None:
    escaped = latex(text)
    bare = escaped.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")
    assert "\n" not in escaped
    assert escaped.replace(r"\%", "").count("%") == 0
    assert escaped.replace(r"\$", "").count("$") % 2 == 0


def test_many_arms_and_values_are_told_in_short() -> None:
    points = [f"L1+L2+L3 · alpha={k}" for k in range(20)]
    assert about._arms(["L1", "none"]) == "L1, no distillation"
    assert about._arms(["L1", *points]) == "L1, L1 + L2 + L3 at 20 points"
    assert about._values(["0.5", "1.0"]) == "= 0.5 or 1"
    assert about._values([str(k / 7) for k in range(1, 20)]) == "from 0.14 to 2.7"


@pytest.mark.parametrize(
    ("seeds", "text"),
    [
        ("student", "a structural teacher for each seed, so that intervals over seeds cover new ones"),
        ("one", "one structural teacher for all seeds; intervals cover no other"),
    ],
)
def test_reports_state_whether_intervals_cover_new_teachers(frames: Callable[..., Any], seeds: str, text: str) -> None:
    trials = frames(facts=20).trials
    trials["spec"] = [json.dumps(json.loads(spec) | {"teacher": {"seeds": seeds}}) for spec in trials["spec"]]
    assert dict(about.facts_of(trials, {}, "Wikidata12k"))["Teachers"] == text
    assert "Teachers" not in dict(about.facts_of(trials[trials["arm"] == "none"], {}, "Wikidata12k"))
