"""What a spec leaves to the recipes of its backbones, for reports."""

from __future__ import annotations

from typing import Any

import pytest

from harness.models import BACKBONES
from harness.reporting.data.about import _resolved
from harness.trial.recipes import of_recipes
from harness.trial.spec import TrialSpec


@pytest.mark.parametrize(("backbone", "teacher"), [("ttranse", "ttranse"), ("lifted", "tcomplex")])
def test_open_settings_are_those_of_the_recipes(backbone: str, teacher: str) -> None:
    changed: dict[str, Any] = {"student": {"learning_rate": 0.123}}
    spec = TrialSpec(dataset="wiki", backbone=backbone, arm="L1", seed=0, **changed).model_dump(mode="json")
    decided = of_recipes(spec)
    mine, its = BACKBONES[backbone].student_recipe, BACKBONES[teacher].teacher_recipe
    assert decided == {
        "student.optimizer": mine.optimizer,
        "student.regularization": mine.regularization,
        "teacher.optimizer": its.optimizer,
        "teacher.learning_rate": its.learning_rate,
        "teacher.regularization": its.regularization,
        "teacher.backbone": teacher,
    }
    shown = _resolved(spec, of_recipes)
    assert (shown["student.learning_rate"], shown["student.optimizer"]) == ("0.123", mine.optimizer)
    assert _resolved(spec, None)["student.optimizer"] == "automatic"


def test_a_backbone_that_is_not_there_decides_nothing() -> None:
    assert of_recipes({"backbone": "of a plugin", "student": {"optimizer": None}}) == {}
