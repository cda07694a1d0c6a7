"""Settings of trials by dotted names: read, merged, tuned for a data set, listed, and refused with a reason."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from harness.design import strict_yaml
from harness.design.dotted import Settings, leaves, merge, nested
from harness.design.schema import Design, Preset, Range, Search, Tune
from harness.errors import UserError, nearest
from harness.models import BACKBONES
from harness.registry import Frozen
from harness.trial.options import number_of, option_names, option_of
from harness.trial.spec import TrialSpec
from harness.vocabulary import SYMBOLS

M = TypeVar("M", Search, Tune)
#: what all studies set, which no study file needs to
DEFAULTS: Settings = {
    "validation_filter": "train-valid",
    "semantic": {"candidates": 1024, "frequent": 1024, "learning_rate": 0.006},
}
#: keys of a trial that a study's settings cannot change: they are the axes of its design
AXES = ("dataset", "backbone", "arm", "seed")
#: what people call settings
_ALSO_CALLED = {"lr": "student.learning_rate", "wd": "student.regularization"}
_ALSO_CALLED |= {symbol: setting for setting, symbol in SYMBOLS.items() if len(symbol) == 1}
#: what settings without a part are about, and the parts of the others by the first part of their names
WHOLE = "ranking and time"
PARTS = {
    "time": WHOLE,
    "student": "student",
    "loss": "losses",
    "teacher": "structural teacher",
    "llm": "language model",
    "semantic": "LLM teacher: E(p) and f_LLM",
}


@lru_cache(maxsize=1)
def _tuned() -> dict[str, dict[str, Settings]]:
    content = Path(__file__).with_name("tuned.yaml").read_text(encoding="utf-8")
    return dict(strict_yaml.load(content))


def tuned(dataset: str, backbone: str) -> Settings:
    """The settings of ``tuned.yaml`` for a data set and backbone; empty if there are none."""
    return _tuned().get(dataset, {}).get(backbone, {})


def settle(
    design: Design, preset: Preset, changes: Settings | None = None, *, dataset: str = "", backbone: str = ""
) -> TrialSpec:
    """The spec that all trials of a backbone share.

    Defaults, what all studies set, what is tuned for data set and backbone, the settings of study and preset, then the
    ``changes``.

    Raises:
        UserError: an unknown key (with the nearest valid one) or a value of the wrong type or out of range.
    """
    merged: Settings = DEFAULTS
    for settings in (tuned(dataset, backbone), design.settings, preset.settings, changes or {}):
        merged = merge(merged, settings)
    for axis in AXES:
        if axis in merged:
            raise UserError(f"settings of study {design.name!r}: {axis!r} is an axis of the design, not a setting")
    try:
        spec = TrialSpec.model_validate(merged)
    except ValidationError as error:
        raise UserError(f"settings of study {design.name!r}: {explain(error, TrialSpec)}") from None
    if spec.teacher.backbone not in (None, *BACKBONES):
        wrong = str(spec.teacher.backbone)
        raise UserError(
            f"settings of study {design.name!r}: teacher.backbone: unknown {wrong!r}: {nearest(wrong, BACKBONES)}"
        )
    return spec


def search_of(design: Design, preset: Preset) -> Search | None:
    """The search of a preset, None without any.

    Raises:
        UserError: a key is unknown or missing, or a value out of range.
    """
    search = _part(Search, "search", None if design.search is None else merge(design.search, preset.search))
    return search and search.model_copy(update={"factors": _typed(search.factors, "search: factors")})


def tune_of(design: Design, preset: Preset) -> Tune | None:
    """The tuning of a preset, None without any; errors as of `search_of`."""
    tune = _part(Tune, "tune", merge(design.tune or {}, preset.tune) or None)
    space = {part: _typed(factors, f"tune: space: {part}") for part, factors in tune.space.items()} if tune else {}
    return tune and tune.model_copy(update={"space": space})


def _typed(factors: Mapping[str, Range], where: str) -> dict[str, Range]:
    """The ranges with numbers of the kind that their settings take; unknown settings as they are."""
    typed, known = dict(factors), option_names(TrialSpec)
    for name in factors.keys() & {*known}:
        try:
            typed[name] = factors[name].of(number_of(TrialSpec, name))
        except ValueError as error:
            raise UserError(f"{where}.{name}: {error}") from None
    return typed


def _part(model: type[M], name: str, content: Settings | None) -> M | None:
    try:
        return None if content is None else model.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{name}: {explain(error, model)}") from None


def flat(settings: Settings) -> str:
    """Settings in parts as text: ``loss.alpha=1, loss.beta=2``."""
    return ", ".join(f"{name}={value}" for name, value in leaves(settings))


def settings(spec: TrialSpec) -> dict[str, list[tuple[str, str, str]]]:
    """Every setting of a spec by the part that it belongs to: its dotted name, its value and what it is."""
    parts: dict[str, list[tuple[str, str, str]]] = {title: [] for title in PARTS.values()}
    for name in option_names(TrialSpec):
        if name not in AXES:
            value, about = option_of(spec, name)
            shown = "–" if value is None else "none" if value == "" else str(value)
            shown = shown.lower() if isinstance(value, bool) else shown  # as --set takes it
            parts[PARTS.get(name.partition(".")[0], WHOLE)].append((name, shown, about))
    return parts


def method_of(name: str) -> str | None:
    """The method that alone reads a setting: ``DKD`` of ``loss.DKD.target``; None: it is no method's."""
    parts = name.split(".")
    return parts[1] if len(parts) == 3 else None


def parse_changes(items: Sequence[str]) -> Settings:
    """``key=value`` items as nested settings: ``loss.alpha=0.5``, or ``alpha=0.5`` where one key only has that name.

    Raises:
        UserError: an item without ``=``, an unknown key (with the nearest valid one), or one that is ambiguous.
    """
    keys = option_names(TrialSpec)
    changes: Settings = {}
    for item in items:
        key, equals, text = item.partition("=")
        names = [key] if key in keys else [name for name in keys if name.endswith(f".{key}")]
        problem = ""
        if not equals:
            problem = "write key=value, such as --set loss.alpha=0.5"
        elif len(names) > 1:
            problem = f"{key!r} may mean {' or '.join(names)}; write it out"
        elif not names:
            hint = similar(key, [name for name in keys if name not in AXES])
            problem = f"unknown key{hint}; 'describe' lists all keys"
        elif names[0] in AXES:
            problem = f"{key!r} is an axis of the design; see --dataset, --backbone, --arms, --seeds"
        else:
            try:
                changes = merge(changes, nested({names[0]: strict_yaml.load(text)}))
            except yaml.YAMLError as error:
                problem = f"the value cannot be read ({strict_yaml.reason(error)})"
        if problem:
            shown = repr(item if len(item) <= 100 else f"{item[:100]}...")
            raise UserError(f"--set {shown}: {problem}")
    return changes


def similar(key: str, names: Sequence[str]) -> str:
    """A hint at the name that was meant, "" if there is none like it."""
    leaf = {name.split(".")[-1]: name for name in reversed(names)} | {name: name for name in names}
    leaf |= {other: leaf[setting] for other, setting in _ALSO_CALLED.items() if setting in leaf}
    close = difflib.get_close_matches(key, leaf, n=1, cutoff=0.5)
    return f", did you mean {leaf[close[0]]!r}?" if close else ""


def explain(error: ValidationError, model: type[Frozen]) -> str:
    """The first thing that is wrong, as ``key: reason``, with the nearest valid key for an unknown one."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        level = ".".join(map(str, first["loc"][:-1]))
        valid = {n.removeprefix(f"{level}.").split(".")[0] for n in option_names(model) if n.startswith(level)}
        return f"unknown key {where!r}; {nearest(str(first['loc'][-1]), valid)}"
    reason = first["msg"].removeprefix("Value error, ")
    given = "" if isinstance(first["input"], dict) else f", not {str(first['input'])[:40]!r}"
    return f"{where}: {reason}{given}" if where else f"{reason}{given}"
