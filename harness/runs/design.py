"""Study files: a fixed design as YAML, checked, and the list of cells it asks for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from harness.errors import UserError, nearest
from harness.models import BACKBONES
from harness.runs import catalogue
from harness.runs.cache import digest
from harness.runs.plan import engine_version
from harness.runs.spec import Arm, Frozen, TrialSpec, option_names

#: keys of a trial that a study's settings cannot change: they are the axes of its design
AXES = ("dataset", "backbone", "arm", "seed")
Settings = dict[str, Any]


class Preset(Frozen):
    """A size of a study."""

    about: str
    seeds: int = Field(ge=1, description="number of seeds: 0, 1, 2 ...")
    settings: Settings = Field(default={})


class Design(Frozen):
    """A study file: which arms are compared, at which settings, with how many seeds, and which claims that tests."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    title: str
    about: str
    claims: tuple[str, ...] = ()
    arms: tuple[Arm, ...] = Field(min_length=1)
    references: tuple[Arm, ...] = ()
    backbone: str
    settings: Settings = Field(default={})
    presets: dict[str, Preset] = Field(min_length=1)


@dataclass(frozen=True)
class Run:
    """A design with its open choices made: the cells that are wanted, and the Optuna study that holds them.

    ``study_name`` carries a digest of all that the cells have in common, the engine's code and the data included. So
    more seeds, arms or backbones extend a study, and anything that changes a number starts another.
    """

    design: Design
    preset: str
    dataset: str
    cells: tuple[TrialSpec, ...]
    study_name: str


@lru_cache
def names() -> tuple[str, ...]:
    """The names of all studies."""
    return tuple(catalogue.files())


def load(name: str) -> Design:
    """Read and check a study file.

    Raises:
        UserError: no such study, or the file is malformed; names the file and the key.
    """
    if name not in names():
        raise UserError(f"unknown study {name!r}: {nearest(name, names())}")
    return read(catalogue.files()[name])


def read(path: Path) -> Design:
    """Read and check the study file at ``path``; see ``load``."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"study file {path}: cannot be read ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(content, dict):
        raise UserError(f"study file {path}: a mapping with name, title, about, arms, backbone and presets is expected")
    try:
        design = Design.model_validate(content)
    except ValidationError as error:
        raise UserError(f"study file {path}: {explain(error, Design)}") from None
    if design.backbone not in BACKBONES:
        wrong = design.backbone
        raise UserError(f"study file {path}: unknown backbone {wrong!r}: {nearest(wrong, BACKBONES)}")
    for preset in design.presets.values():
        settle(design, preset)
    return design


@lru_cache(maxsize=1)
def _tuned() -> dict[str, dict[str, Settings]]:
    content = Path(__file__).with_name("tuned.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(content))


def tuned(dataset: str, backbone: str) -> Settings:
    """The settings of ``tuned.yaml`` for a data set and backbone; empty if there are none."""
    return _tuned().get(dataset, {}).get(backbone, {})


def settle(
    design: Design, preset: Preset, changes: Settings | None = None, *, dataset: str = "", backbone: str = ""
) -> TrialSpec:
    """The trial spec that all cells of a backbone share.

    Defaults, then what is tuned for data set and backbone, then the settings of the study and of the preset, then the
    ``changes``.

    Raises:
        UserError: an unknown key (with the nearest valid one) or a value of the wrong type or out of range.
    """
    merged: Settings = {}
    for settings in (tuned(dataset, backbone), design.settings, preset.settings, changes or {}):
        merged = _merge(merged, settings)
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


def preset_of(design: Design, preset: str) -> Preset:
    """A preset by its name.

    Raises:
        UserError: there is none of that name.
    """
    if preset not in design.presets:
        raise UserError(f"study {design.name!r} has no preset {preset!r}: {nearest(preset, design.presets)}")
    return design.presets[preset]


def settings(spec: TrialSpec) -> list[tuple[str, str, str]]:
    """Every setting of a spec: its dotted name, its value and what it is."""
    rows = []
    for name in option_names(TrialSpec):
        if name in AXES:
            continue
        part: Any = spec
        for step in name.split(".")[:-1]:
            part = getattr(part, step)
        leaf = name.split(".")[-1]
        value = getattr(part, leaf)
        rows.append(
            (name, "by backbone" if value is None else str(value), type(part).model_fields[leaf].description or "")
        )
    return rows


def _merge(base: Settings, changes: Settings) -> Settings:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def plan(
    design: Design,
    *,
    dataset: str,
    data_digest: str,
    backbones: Sequence[str],
    preset: str,
    seeds: int | None = None,
    arms: Sequence[str] = (),
    changes: Settings | None = None,
) -> Run:
    """Spell out the cells of a design.

    Args:
        design: the study.
        dataset: name or folder of the data.
        data_digest: of its content.
        backbones: the students'.
        preset: one of the design's.
        seeds: how many, 0 to ``seeds`` - 1; None: as many as the preset says.
        arms: which of the design's, reference rows included; empty: all.
        changes: settings that go before those of study and preset.

    Raises:
        UserError: an unknown preset, arm or setting.
    """
    every = (*design.arms, *design.references)
    for arm in arms:
        if arm not in every:
            raise UserError(f"study {design.name!r} has no arm {arm!r}: {nearest(arm, every)}")
    chosen = preset_of(design, preset)
    # of all backbones, asked for or not: adding one later must find the same study
    common = {
        name: settle(design, chosen, changes, dataset=dataset, backbone=name).model_copy(update={"dataset": dataset})
        for name in sorted(BACKBONES)
    }
    cells = tuple(
        common[backbone].model_copy(update={"backbone": backbone, "arm": arm, "seed": seed}).acting()
        for backbone in backbones
        for arm in every
        # a teacher is trained once: its seed is one of its settings
        for seed in range(1 if arm in design.references else seeds or chosen.seeds)
        if not arms or arm in arms
    )
    shared = {name: spec.model_dump(exclude=set(AXES)) for name, spec in common.items()}
    name = f"{design.name}-{Path(dataset).name}-{preset}-{digest(shared, data_digest, engine_version())[:8]}"
    return Run(design, preset, dataset, cells, name)


def parse_changes(items: Sequence[str]) -> Settings:
    """``key=value`` items as nested settings: ``loss.alpha=0.5``, or ``alpha=0.5`` where one key only has that name.

    Raises:
        UserError: an item without ``=``, an unknown key (with the nearest valid one), or one that is ambiguous.
    """
    keys = option_names(TrialSpec)
    changes: Settings = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals:
            raise UserError(f"--set {item!r}: write key=value, such as --set loss.alpha=0.5")
        found = [name for name in keys if name == key or name.endswith(f".{key}")]
        if key in keys:
            found = [key]
        if len(found) > 1:
            raise UserError(f"--set {item!r}: {key!r} may mean {' or '.join(found)}; write it out")
        if found and found[0] in AXES:
            raise UserError(
                f"--set {item!r}: {key!r} is an axis of the design; see --dataset, --backbone, --arms, --seeds"
            )
        if not found:
            similar = _similar(key, [name for name in keys if name not in AXES])
            raise UserError(f"--set {item!r}: unknown key{similar}; 'describe' lists all keys")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UserError(f"--set {item!r}: the value cannot be read") from None
        nested: Settings = {found[0].split(".")[-1]: value}
        for part in reversed(found[0].split(".")[:-1]):
            nested = {part: nested}
        changes = _merge(changes, nested)
    return changes


def _similar(key: str, names: Sequence[str]) -> str:
    leaf = {name.split(".")[-1]: name for name in reversed(names)} | {name: name for name in names}
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
