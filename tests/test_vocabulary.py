"""Names, order and colours of what reports show."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from harness import vocabulary
from harness.errors import UserError
from harness.vocabulary import (
    LOSSES,
    STAGES,
    arm_colors,
    arm_name,
    backbone_name,
    by_level,
    declare,
    stage_colors,
    stage_name,
)


@pytest.fixture
def dkd(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A loss of a plugin, forgotten afterwards."""
    for table in (vocabulary.LOSSES, vocabulary.BACKBONES, vocabulary.STAGES):
        for name in table:
            monkeypatch.setitem(table, name, table[name])  # puts back what a test changes
    declare("loss", "MyDKD", "my DKD", "#123456")
    yield
    del LOSSES["MyDKD"]


@pytest.mark.usefixtures("dkd")
def test_arms_of_any_declared_losses_have_a_name_and_a_place() -> None:
    assert arm_name("L1+MyDKD") == "L1 + my DKD"
    assert arm_name("L1+MyDKD · dim=5") == "L1 + my DKD · dim=5"
    assert arm_name("none") == "no distillation"
    assert arm_name("CE+MyDKD") == "CE+MyDKD"  # CE is none that this process knows
    arms = ["llm-teacher", "one stage", "L1+L2+L3", "L1+MyDKD", "teacher", "MyDKD", "L1+L2", "L1", "none"]
    assert by_level(arms) == [
        "none", "L1", "MyDKD", "L1+L2", "L1+MyDKD", "L1+L2+L3", "one stage", "teacher", "llm-teacher"
    ]  # fmt: skip


@pytest.mark.usefixtures("dkd")
def test_an_arm_has_its_own_colour_else_that_of_its_last_loss_else_one_of_its_own() -> None:
    colors = arm_colors(["L1", "L1+L2+L3", "L1+MyDKD", "L1+L2+MyDKD", "one stage"])
    assert colors["L1+MyDKD"] == "#123456"
    assert len(set(colors.values())) == len(colors)
    assert colors["L1+L2+MyDKD"] in vocabulary.MORE_COLORS
    assert colors["L1+L2+L3"] == vocabulary.VERMILION


def test_the_papers_arms_and_the_stages_differ_in_colour() -> None:
    arms = ["none", "L1", "L1+L2", "L1+L3", "L1+L2+L3", "L2+L3", "L1+FitNet", "L1+RKD-D", "L1+RKD-A"]
    arms += ["DKD", "DIST", "LSKD", "CTKD", "RCE-KD"]
    colors = arm_colors([*arms, "teacher", "llm-teacher"])
    assert len(set(colors.values())) == len(colors)
    assert not set(colors.values()) & set(vocabulary.MORE_COLORS)
    assert len(set(stage_colors(STAGES).values())) == len(STAGES)
    assert stage_colors(["mine"]) == {"mine": vocabulary.MORE_COLORS[0]}


@pytest.mark.usefixtures("dkd")
def test_a_second_declaration_keeps_the_place_and_the_colour() -> None:
    place, color = LOSSES["L2"].order, LOSSES["L2"].color
    declare("loss", "L2", "alignment")
    assert (LOSSES["L2"].order, LOSSES["L2"].color, arm_name("L1+L2")) == (place, color, "L1 + alignment")


@pytest.mark.parametrize(("label", "color"), [("", ""), ("two\nlines", ""), ("x" * 61, ""), ("D", "red"), ("D", "#12")])
def test_labels_and_colours_that_cannot_be_shown_are_refused(label: str, color: str) -> None:
    with pytest.raises(UserError, match="loss 'X': "):
        declare("loss", "X", label, color)
    assert "X" not in LOSSES


def test_what_is_not_declared_is_called_as_it_is() -> None:
    assert (stage_name("mine"), backbone_name("mine"), arm_name("mine")) == ("mine", "mine", "mine")


def test_loads_neither_torch_nor_matplotlib() -> None:
    code = "import sys, harness.vocabulary; sys.exit(any(m in sys.modules for m in ('torch', 'matplotlib', 'pandas')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
