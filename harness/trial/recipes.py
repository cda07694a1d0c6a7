"""What a trial's settings leave to its backbones: the recipe of the student's and of its teacher's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.models import BACKBONES


def of_recipes(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The values of settings that a spec (as JSON) leaves open and a recipe decides, by dotted name.

    A backbone that is not registered here, such as that of a plugin that is not loaded, decides nothing.
    """
    student = BACKBONES.get(spec.get("backbone", ""))
    if student is None:
        return {}
    teacher = spec.get("teacher", {}).get("backbone") or student.taught_by or spec["backbone"]
    recipes = {"student": student.student_recipe}
    if teacher in BACKBONES:
        recipes["teacher"] = BACKBONES[teacher].teacher_recipe
    open_settings = {
        f"{part}.{name}": value
        for part, recipe in recipes.items()
        for name, value in recipe.model_dump().items()
        if part in spec and spec[part].get(name) is None
    }
    if "teacher" in spec and spec["teacher"].get("backbone") is None:
        open_settings["teacher.backbone"] = teacher
    return open_settings
