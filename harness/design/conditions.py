"""What the trials of an arm or variant differ in: the points of a study's grid, or the configurations of its tuning."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from harness.design.dotted import Settings, merge, nested
from harness.design.schema import Design, Grid, Preset, Tune, Variant
from harness.design.settings import settle
from harness.errors import UserError
from harness.trial.arms import check_arm
from harness.trial.options import option_of
from harness.trial.recipes import of_recipes
from harness.vocabulary import LEVELS


def points(grid: Grid) -> Iterator[dict[str, Any]]:
    """All combinations of levels."""
    return (dict(zip(grid, levels, strict=True)) for levels in itertools.product(*grid.values()))


class Condition(NamedTuple):
    """Trials of an arm or variant that differ in backbone and seed alone.

    ``point`` has the levels of what is varied, by the dotted names of settings, ``number`` is that of a configuration
    in the arm's tuning.
    """

    label: str
    settings: Settings
    point: Mapping[str, Any] = {}
    number: int | None = None


def crossed(
    design: Design, preset: Preset, name: str, condition: Variant, *, is_reference: bool
) -> Iterator[Condition]:
    """The conditions of an arm or variant.

    Points of the grid that only differ in factors that do not act in the arm are one.
    """
    if is_reference or not design.grid:
        yield Condition(name, condition.settings)
        return
    base = settle(design, preset, condition.settings).model_copy(update={"arm": condition.arm})
    acting = []
    for key, levels in design.grid.items():  # of the design, not of the preset, which may have one level of it
        specs = [settle(design, preset, merge(condition.settings, nested({key: level}))) for level in levels]
        different = {spec.model_copy(update={"arm": base.arm}).acting().key() for spec in specs}
        acting += [key] if len(different) > 1 else []
    for point in points({key: (preset.grid or design.grid).get(key, design.grid[key]) for key in acting}):
        levels_text = ", ".join(f"{key.split('.')[-1]}={value}" for key, value in point.items())
        yield Condition(f"{name} · {levels_text}" if point else name, merge(condition.settings, nested(point)), point)


def configurations(
    design: Design,
    preset: Preset,
    tune: Tune,
    name: str,
    condition: Variant,
    changes: Settings | None = None,
    *,
    dataset: str = "",
    backbone: str,
) -> Iterator[Condition]:
    """The conditions of an arm or variant that is tuned, `Tune.trials` of them.

    Raises:
        UserError: there are not so many, or what the arm has without tuning is none of them.
    """
    settled = settle(design, preset, merge(changes or {}, condition.settings), dataset=dataset, backbone=backbone)
    spec = settled.model_copy(update={"backbone": backbone, "arm": check_arm(condition.arm)})
    factors, usual, recipe = tune.factors(spec.parts, backbone), {}, of_recipes(spec.model_dump(mode="json"))
    for key, values in factors.items():
        value = recipe.get(key, option_of(spec, key)[0])
        if not values.has(value):
            raise UserError(
                f"tune: {key} is {value} without tuning (arm {name}, {backbone}), which is none of the values from "
                f"{values.low} to {values.high}; the first configuration of an arm has it, so let the range hold it"
            )
        usual[key] = type(values.low)(value)
    points = tune.points(factors, usual)
    if len(points) < tune.trials:
        raise UserError(
            f"tune: arm {name} has {len(points)} of {tune.trials} different configurations with {backbone}, and all "
            "arms must have as many; give it more to search, under 'all', say, or try fewer"
        )
    for number, point in enumerate(points):
        # the first with its settings as they are: it may be there already, from another study
        yield Condition(
            f"{name}{LEVELS}#{number}", merge(condition.settings, nested(point if number else {})), point, number
        )
