"""Checks of a study file whose types are right: unknown names, and levels and settings out of range."""

from __future__ import annotations

import itertools
import math

from harness.design.conditions import configurations, points
from harness.design.dotted import merge, nested, value_in
from harness.design.schema import Design, Preset, Search, Tune, Variant
from harness.design.settings import AXES, search_of, settle, similar, tune_of
from harness.errors import UserError, nearest
from harness.models import BACKBONES
from harness.trial.arms import check_arm, parts_of
from harness.trial.options import option_names
from harness.trial.spec import TrialSpec

#: combinations of levels that a grid may have
MOST_POINTS = 10_000


def check(design: Design) -> None:
    """Refuse a design that no trials can be made from.

    Raises:
        UserError: names the key, with the nearest name where one is unknown.
    """
    if wrong := next((name for name in (design.backbone, *design.backbones) if name not in BACKBONES), None):
        raise UserError(f"unknown backbone {wrong!r}: {nearest(wrong, BACKBONES)}")
    _check_arms(design)
    for preset in design.presets.values():
        settle(design, preset)
        _check_preset(design, preset)


def _check_arms(design: Design) -> None:
    """Refuse arms that are no combination of losses, or not written as reports write them."""
    arms = {f"arms.{k}": arm for k, arm in enumerate(design.arms)}
    arms |= {f"references.{k}": arm for k, arm in enumerate(design.references)}
    arms |= {f"variants.{name}.arm": variant.arm for name, variant in design.variants.items()}
    for where, arm in arms.items():
        try:
            name = check_arm(arm)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if name != arm:
            raise UserError(f"{where}: write {arm!r} as {name!r}")
    if not design.arms and not design.variants:
        raise UserError("arms: a study needs at least one arm or variant")
    for name in design.variants:
        if _is_arm(name):
            raise UserError(f"variants: {name!r} is the name of an arm; name the variant otherwise")


def _is_arm(name: str) -> bool:
    try:
        check_arm(name)
    except UserError:
        return False
    return True


def _check_preset(design: Design, preset: Preset) -> None:
    names = design.conditions
    if (search := search_of(design, preset)) is not None:
        _check_search(design, preset, search)
    if (tune := tune_of(design, preset)) is not None:
        _check_tune(design, preset, tune)
    if design.confirm and not (design.grid and design.report == "sensitivity"):
        raise UserError("confirm: takes a grid, and 'report: sensitivity', which shows its winners")
    compared = itertools.chain(design.compare, *design.compare.values(), *design.contrasts.values())
    for name in (*(preset.arms or ()), *compared):
        if name not in names:
            raise UserError(f"there is no arm {name!r}: {nearest(name, names)}")
    for grid in (design.grid, preset.grid or {}):
        if math.prod(map(len, grid.values())) > MOST_POINTS:
            raise UserError(f"grid: has more than {MOST_POINTS:,} combinations of levels")
        for key, levels in grid.items():
            if key not in option_names(TrialSpec) or key in AXES:
                raise UserError(f"grid: unknown key {key!r}{similar(key, option_names(TrialSpec))}")
            if not levels:
                raise UserError(f"grid: {key} has no levels")
    for name, condition in names.items():
        if name in (preset.arms or names):
            for point in points(preset.grid or design.grid):
                settle(design, preset, merge(condition.settings, nested(point)))


def _check_search(design: Design, preset: Preset, search: Search) -> None:
    """Refuse factors that are none, and ends of ranges that no trial can have."""
    if design.grid:
        raise UserError("search: a study has a grid or a search, not both")
    try:
        check_arm(search.arm)
    except UserError as error:
        raise UserError(f"search: arm: {error}") from None
    for name in search.factors:
        if name not in option_names(TrialSpec) or name in AXES:
            raise UserError(f"search: unknown factor {name!r}{similar(name, option_names(TrialSpec))}")
    for end in ("low", "high"):
        settle(design, preset, nested({name: getattr(factor, end) for name, factor in search.factors.items()}))


def _check_tune(design: Design, preset: Preset, tune: Tune) -> None:
    """Refuse spaces of nothing in the study, settings that do not act or are there twice, and values out of bounds."""
    if design.grid or preset.grid or design.search is not None:
        raise UserError("tune: a study has a grid, a search or tuning; leave the others out")
    if design.report != "comparison":
        raise UserError("tune: takes 'report: comparison', which shows the winner of each arm")
    students = {name: one for name, one in design.conditions.items() if name not in design.references}
    losses = {part for one in students.values() for part in parts_of(one.arm)}
    for part, factors in tune.space.items():
        if part not in {"all", *losses, *BACKBONES}:
            raise UserError(
                f"tune: space: no arm of the study has the loss {part!r}: {nearest(part, ['all', *losses, *BACKBONES])}"
            )
        for key, values in factors.items():
            if key not in option_names(TrialSpec) or key in AXES:
                raise UserError(f"tune: space: {part}: unknown key {key!r}{similar(key, option_names(TrialSpec))}")
            for other in (one[key] for one in tune.space.values() if key in one):
                if (type(other.low), other.log) != (type(values.low), values.log):
                    raise UserError(f"tune: space: {part}: {key} has whole numbers or a logarithm here, elsewhere not")
    pairs = [(arm, design.backbone) for arm in students]
    pairs += [(next(iter(students)), part) for part in tune.space if part in BACKBONES and part != design.backbone]
    for arm, backbone in pairs:
        _check_tuned_arm(design, preset, tune, arm, students[arm], backbone)
    for arm, backbone in pairs:
        list(configurations(design, preset, tune, arm, students[arm], backbone=backbone))  # which refuses too few


def _check_tuned_arm(design: Design, preset: Preset, tune: Tune, name: str, condition: Variant, backbone: str) -> None:
    parts = parts_of(condition.arm)
    for key, values in tune.factors(parts, backbone).items():
        names = [part for part in ("all", backbone, *parts) if key in tune.space.get(part, {})]
        if len(names) > 1:
            raise UserError(f"tune: space: arm {name} has {key} under {' and '.join(names)}; leave one out")
        if value_in(condition.settings, key) is not None:
            raise UserError(f"variants: {name}: {key} is tuned; leave it out, or leave it out of the space")
        ends = [
            settle(design, preset, merge(condition.settings, nested({key: end})), backbone=backbone)
            .model_copy(update={"arm": condition.arm, "backbone": backbone})
            .acting()
            for end in (values.low, values.high)
        ]
        if ends[0].key() == ends[1].key():
            raise UserError(f"tune: space: {names[0]}: {key} does not act in arm {name}; leave it out")
