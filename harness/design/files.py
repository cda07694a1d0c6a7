"""Study files: a fixed design as YAML, checked, and the list of cells it asks for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from harness.design import catalogue
from harness.design import strict_yaml as plain
from harness.design.settings import AXES, Settings, explain, merge, nested, similar, tuned
from harness.design.space import FRESH, Point, Search
from harness.errors import UserError, nearest
from harness.models import BACKBONES
from harness.options import Frozen
from harness.trial.arms import Arm, check_arm
from harness.trial.cache import digest
from harness.trial.keys import engine_version
from harness.trial.spec import Text, TrialSpec, option_names

#: combinations of levels that a grid may have, each of them some cells
_MOST_POINTS = 10_000
#: levels of factors, by the dotted name of a setting
Grid = dict[str, tuple[Any, ...]]
#: what a study may measure when its cells are complete; see ``harness.costs``
Measure = Literal["stages", "loop", "trained loop", "inference", "export"]
#: part of the names of Optuna studies and of folders
PresetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]


class Preset(Frozen):
    """A size of a study; ``arms``, ``grid`` and ``measure`` replace the design's, ``search`` changes it."""

    about: Text
    seeds: int = Field(ge=1, le=FRESH, description="number of seeds: 0, 1, 2 ...")
    settings: Settings = Field(default={})
    arms: tuple[str, ...] | None = Field(default=None, description="names of arms and variants")
    grid: Grid | None = Field(default=None)
    measure: tuple[Measure, ...] | None = Field(default=None)
    search: dict[str, Any] = Field(default={})


class Variant(Frozen):
    """An arm under a name of its own, with settings of its own."""

    arm: Arm
    settings: Settings = Field(default={})


class Design(Frozen):
    """A study file: which arms are compared, at which settings, with how many seeds, and which claims that tests.

    ``variants`` are arms with settings of their own, by name. ``grid`` crosses every arm but the reference rows with
    all combinations of its levels; where a factor does not act in an arm, the arm has fewer cells; ``confirm`` says how
    many of its best points are trained anew with fresh seeds. ``compare`` says which arms reports compare with which:
    lists of arms by what they are compared with; ``contrasts`` are differences of differences (a - b) - (c - d) of arms
    a, b, c, d, by name. ``search`` (see `Search`) looks for settings of an arm, beside which the study's arms are
    trained with the same seeds. Presets have the settings of those of study ``like``, and on top their own: so both
    studies share their teachers. ``measure`` names what is measured beside the cells.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    title: Text
    about: Text
    report: Text = "comparison"
    claims: tuple[Text, ...] = ()
    arms: tuple[Arm, ...] = ()
    variants: dict[Text, Variant] = Field(default={})
    grid: Grid = Field(default={})
    confirm: int = Field(default=0, ge=0, le=20)
    search: dict[str, Any] | None = None
    references: tuple[Arm, ...] = ()
    measure: tuple[Measure, ...] = ()
    compare: dict[str, tuple[str, ...]] = Field(default={})
    contrasts: dict[Text, tuple[str, str, str, str]] = Field(default={})
    backbone: str
    like: str | None = None
    settings: Settings = Field(default={})
    presets: dict[PresetName, Preset] = Field(min_length=1)

    def searched(self, preset: Preset) -> Search | None:
        """What a preset searches; None if the study searches nothing.

        Raises:
            UserError: a key is unknown or missing, or a value out of range.
        """
        if self.search is None:
            return None
        try:
            return Search.model_validate(merge(self.search, preset.search))
        except ValidationError as error:
            raise UserError(f"search: {explain(error, Search)}") from None

    @property
    def conditions(self) -> dict[str, Variant]:
        """Arms, variants and reference rows by name, in the order of the file."""
        plain = {arm: Variant(arm=arm) for arm in self.arms}
        return plain | self.variants | {arm: Variant(arm=arm) for arm in self.references}

    def measured(self, preset: str) -> tuple[Measure, ...]:
        """What a preset measures beside its cells."""
        chosen = self.presets[preset].measure
        return self.measure if chosen is None else chosen


@dataclass(frozen=True)
class Run:
    """A design with its open choices made: the cells that are wanted, and the Optuna study that holds them.

    ``study_name`` carries a digest of all that the cells have in common, the engine's code and the data included. So
    more seeds, arms, levels or backbones extend a study, and anything that changes a number starts another.
    ``labels`` has the name of a cell in reports, by its key: an arm or a variant, and the levels of the factors that
    act in it, as in ``L1 · dim=5``.

    With a ``search`` the cells are those that it is set beside: with its own seeds (0 to ``seeds`` - 1), ``unscored``,
    which leave test facts alone, and with as many fresh ones (from ``FRESH`` on) that confirm what it finds.
    """

    design: Design
    preset: str
    dataset: str
    cells: tuple[TrialSpec, ...]
    labels: dict[str, str]
    study_name: str
    data_digest: str = ""
    engine: str = ""
    search: Search | None = None
    seeds: int = 1
    backbones: tuple[str, ...] = ()
    changes: Settings = field(default_factory=dict)
    unscored: frozenset[str] = frozenset()

    def configure(self, backbone: str, point: Point, seed: int) -> TrialSpec:
        """The cell of a configuration of the search."""
        assert self.search is not None
        preset = self.design.presets[self.preset]
        changes = merge(self.changes, nested(dict(point)))
        settled = settle(self.design, preset, changes, dataset=self.dataset, backbone=backbone)
        axes = {"dataset": self.dataset, "backbone": backbone, "arm": self.search.arm, "seed": seed}
        return settled.model_copy(update=axes).acting()


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
    design = _parsed(path)
    try:
        if design.name != path.stem:
            raise UserError(f"name: must be that of the file, {path.stem!r}, not {design.name!r}")
        if design.like is not None:
            design = _with_presets_of(design.like, design)
        if (wrong := design.backbone) not in BACKBONES:
            raise UserError(f"unknown backbone {wrong!r}: {nearest(wrong, BACKBONES)}")
        for preset in design.presets.values():
            settle(design, preset)
            _check(design, preset)
    except UserError as error:
        raise UserError(f"study file {path}: {error}") from None
    return design


def _parsed(path: Path) -> Design:
    try:
        content = plain.load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"study file {path}: cannot be read ({plain.reason(error)})") from None
    if not isinstance(content, dict):
        raise UserError(f"study file {path}: a mapping with name, title, about, arms, backbone and presets is expected")
    try:
        return Design.model_validate(content)
    except ValidationError as error:
        raise UserError(f"study file {path}: {explain(error, Design)}") from None


def _with_presets_of(like: str, design: Design) -> Design:
    """The design with another's presets below its own; those of "default" where there is none alike."""
    if like not in names():
        raise UserError(f"like: unknown study {like!r}: {nearest(like, names())}")
    other = _parsed(catalogue.files()[like])
    if other.like is not None or "default" not in other.presets:
        raise UserError(f"like: {like!r} is like another itself, or has no preset 'default'")
    presets = {}
    for name, own in design.presets.items():
        below = other.presets.get(name, other.presets["default"]).settings
        presets[name] = own.model_copy(update={"settings": merge(below, own.settings)})
    return design.model_copy(update={"presets": presets})


def _check(design: Design, preset: Preset) -> None:
    """Refuse what names nothing: arms of a preset or a comparison, factors, and levels or settings out of range."""
    names = design.conditions
    if (search := design.searched(preset)) is not None:
        _check_search(design, preset, search)
    if not design.arms and not design.variants:
        raise UserError("arms: a study needs at least one arm or variant")
    if design.confirm and not (design.grid and design.report == "sensitivity"):
        raise UserError("confirm: takes a grid, and 'report: sensitivity', which shows its winners")
    if double := [name for name in design.variants if _is_arm(name)]:
        raise UserError(f"variants: {double[0]!r} is the name of an arm; name the variant otherwise")
    compared = itertools.chain(design.compare, *design.compare.values(), *design.contrasts.values())
    for name in (*(preset.arms or ()), *compared):
        if name not in names:
            raise UserError(f"there is no arm {name!r}: {nearest(name, names)}")
    for grid in (design.grid, preset.grid or {}):
        if math.prod(map(len, grid.values())) > _MOST_POINTS:
            raise UserError(f"grid: has more than {_MOST_POINTS:,} combinations of levels")
        for key, levels in grid.items():
            if key not in option_names(TrialSpec) or key in AXES:
                raise UserError(f"grid: unknown key {key!r}{similar(key, option_names(TrialSpec))}")
            if not levels:
                raise UserError(f"grid: {key} has no levels")
    for condition in (each for name, each in names.items() if name in (preset.arms or names)):
        for point in _points(preset.grid or design.grid):
            settle(design, preset, merge(condition.settings, nested(point)))


def _is_arm(name: str) -> bool:
    try:
        return bool(check_arm(name))
    except UserError:
        return False


def _check_search(design: Design, preset: Preset, search: Search) -> None:
    """Refuse factors that are none, and ends of ranges that no trial can have."""
    if design.grid:
        raise UserError("search: a study has a grid or a search, not both")
    for name in search.factors:
        if name not in option_names(TrialSpec) or name in AXES:
            raise UserError(f"search: unknown factor {name!r}{similar(name, option_names(TrialSpec))}")
    for end in ("low", "high"):
        settle(design, preset, nested({name: getattr(factor, end) for name, factor in search.factors.items()}))


def _points(grid: Grid) -> Iterator[dict[str, Any]]:
    """All combinations of levels."""
    return (dict(zip(grid, levels, strict=True)) for levels in itertools.product(*grid.values()))


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


def preset_of(design: Design, preset: str) -> Preset:
    """A preset by its name.

    Raises:
        UserError: there is none of that name.
    """
    if preset not in design.presets:
        raise UserError(f"study {design.name!r} has no preset {preset!r}: {nearest(preset, design.presets)}")
    return design.presets[preset]


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
        arms: names of arms, variants and reference rows; empty: those of the preset.
        changes: settings that go before those of study and preset.

    Raises:
        UserError: an unknown preset, arm or setting.
    """
    chosen = preset_of(design, preset)
    names = design.conditions
    for arm in arms:
        if arm not in names:
            raise UserError(f"study {design.name!r} has no arm {arm!r}: {nearest(arm, names)}")
    wanted = arms or chosen.arms or tuple(names)
    search, own_seeds = design.searched(chosen), seeds or chosen.seeds
    _refuse_factors(design, changes or {})
    # of all backbones, asked for or not: adding one later must find the same study
    common = {
        name: settle(design, chosen, changes, dataset=dataset, backbone=name).model_copy(update={"dataset": dataset})
        for name in sorted(BACKBONES)
        if BACKBONES.origin(name) is None or name in backbones
    }
    cells: dict[str, TrialSpec] = {}
    labels: dict[str, str] = {}
    unscored: set[str] = set()
    for backbone in backbones:
        for name, condition in names.items():
            if name not in wanted:
                continue
            is_reference = name in design.references
            # a teacher is trained once: its seed is one of its settings
            seeds_of = [*range(1 if is_reference else own_seeds)]
            seeds_of += range(FRESH, FRESH + own_seeds) if search is not None and not is_reference else ()
            for label, own in _conditions(design, chosen, name, condition, is_reference=is_reference):
                settled = settle(design, chosen, merge(changes or {}, own), dataset=dataset, backbone=backbone)
                axes = {"dataset": dataset, "backbone": backbone, "arm": condition.arm}
                for seed in seeds_of:
                    spec = settled.model_copy(update={**axes, "seed": seed}).acting()
                    cells.setdefault(spec.key(), spec)
                    labels.setdefault(spec.key(), label)
                    if search is not None and not is_reference and seed < FRESH:
                        unscored.add(spec.key())
    shared = {name: spec.model_dump(exclude=set(AXES)) for name, spec in common.items()}
    engine = engine_version()
    name = f"{design.name}-{Path(dataset).name}-{preset}-{digest(shared, data_digest, engine)[:8]}"
    return Run(
        design,
        preset,
        dataset,
        tuple(cells.values()),
        labels,
        name,
        data_digest,
        engine,
        search,
        own_seeds,
        tuple(backbones),
        changes or {},
        frozenset(unscored),
    )


def _refuse_factors(design: Design, changes: Settings) -> None:
    """A setting that the study varies cannot be given a value beside."""
    for key in (*design.grid, *(design.search or {}).get("factors", {})):
        value: Any = changes
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            raise UserError(f"--set {key}: study {design.name!r} varies it; see its levels with 'describe'")


def _conditions(
    design: Design, preset: Preset, name: str, condition: Variant, *, is_reference: bool
) -> Iterator[tuple[str, Settings]]:
    """The cells of an arm or variant that differ in more than backbone and seed: label and settings of each.

    Points of the grid that only differ in factors that do not act in the arm are one cell.
    """
    if is_reference or not design.grid:
        yield name, condition.settings
        return
    base = settle(design, preset, condition.settings).model_copy(update={"arm": condition.arm})
    acting = []
    for key, levels in design.grid.items():  # of the design, not of the preset, which may have one level of it
        specs = [settle(design, preset, merge(condition.settings, nested({key: level}))) for level in levels]
        found = {spec.model_copy(update={"arm": base.arm}).acting().key() for spec in specs}
        acting += [key] if len(found) > 1 else []
    for point in _points({key: (preset.grid or design.grid).get(key, design.grid[key]) for key in acting}):
        told = ", ".join(f"{key.split('.')[-1]}={value}" for key, value in point.items())
        yield f"{name} · {told}" if told else name, merge(condition.settings, nested(point))
