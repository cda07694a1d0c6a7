"""What the trials of a study vary: the parameters of its Optuna study, and what of them is part of its identity."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from harness.design.schema import Range, Search

#: what the trials of a study vary, by name: the choices, or a range of numbers
Space = dict[str, tuple[Any, ...] | Range]


def space_of(
    arms: Iterable[str],
    references: Collection[str],
    backbones: Iterable[str],
    grid: Mapping[str, Sequence[Any]],
    search: Search | None,
) -> Space:
    """What the trials of a study vary beside their seed: arm, backbone, and the factors of its grid or of its search.

    Args:
        arms: all arms and variants of the study file, run or not.
        references: those of them that are reference rows.
        backbones: all that there are.
        grid: levels by the names of settings; a factor with one level does not vary.
        search: None if the study searches nothing.
    """
    levels = {name: _range_of(values) for name, values in grid.items() if len(set(map(str, values))) > 1}
    factors = {} if search is None else search.factors
    students = [arm for arm in arms if arm not in references] + ([] if search is None else [search.arm])
    conditions = {"arm": tuple(dict.fromkeys(students)), "reference": tuple(references)}
    return {**conditions, "backbone": tuple(sorted(backbones)), **levels, **factors}


def _range_of(levels: Sequence[Any]) -> tuple[Any, ...] | Range:
    """Numbers as the range that they span, logarithmic from a factor of ten on; the levels themselves otherwise."""
    if any(isinstance(level, bool) or not isinstance(level, int | float) for level in levels):
        return tuple(levels)
    low, high = min(levels), max(levels)
    if any(isinstance(level, float) for level in levels):
        low, high = float(low), float(high)
    return Range(low=low, high=high, log=low > 0 and high >= 10 * low)


def fixed_of(space: Space) -> dict[str, Any]:
    """What must be the same in all trials of a study of Optuna's: choices, and how numbers are scaled, not how far."""
    return {
        name: [type(values.distribution()).__name__, values.log] if isinstance(values, Range) else list(values)
        for name, values in space.items()
    }
