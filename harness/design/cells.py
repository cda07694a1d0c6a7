"""From a design to its trials: their configurations, and the parameters of the Optuna study that holds them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.design.conditions import configurations, crossed
from harness.design.dotted import Settings, merge, nested, value_in
from harness.design.schema import FRESH, Design, Point, Range, Search, Tune, Variant
from harness.design.settings import AXES, flat, search_of, settle, tune_of
from harness.errors import UserError, nearest
from harness.trial.arms import check_arm
from harness.trial.cache import digest
from harness.trial.keys import engine_version
from harness.trial.spec import TrialSpec
from harness.vocabulary import REFERENCES

#: what the trials of a study vary, by name: the choices, or a range of numbers
Space = dict[str, tuple[Any, ...] | Range]


@dataclass(frozen=True)
class Run:
    """A design with its open choices made: the trials that are wanted, and the Optuna study that holds them.

    ``study_name`` has a digest of what the trials have in common, versions and data included. So more seeds, levels,
    backbones, or arms of the file extend a study, and anything that changes a number starts another; so do arms that
    the file does not have, since Optuna fixes what there is to choose from. ``labels`` has the name of a trial in
    reports, by its key: an arm or a variant, and the levels of the factors that act in it, as in ``L1 · dim=5``;
    ``factors`` has the same as values: ``arm`` (the arm or variant), and the levels by the names of their settings.
    ``space`` is as of `space_of`.

    With a ``search`` the trials are those that it is compared with: with the seeds of the search (0 to ``seeds`` - 1),
    which leave test facts alone, and with as many of confirmation runs (from ``FRESH`` on). With ``tune`` they are the
    configurations of each arm, which leave test facts alone, too. ``looks`` are the numbers of seeds at which it is
    looked at, if it stops when it is decided. ``purposes`` has their role in the study, and the
    number of a configuration, by key.
    """

    design: Design
    preset: str
    dataset: str
    specs: tuple[TrialSpec, ...]
    labels: dict[str, str]
    study_name: str
    data_digest: str = ""
    engine: str = ""
    search: Search | None = None
    seeds: int = 1
    backbones: tuple[str, ...] = ()
    changes: Settings = field(default_factory=dict)
    purposes: dict[str, dict[str, Any]] = field(default_factory=dict)
    factors: dict[str, dict[str, Any]] = field(default_factory=dict)
    space: Space = field(default_factory=dict)
    tune: Tune | None = None
    looks: tuple[int, ...] = ()

    @property
    def unscored(self) -> frozenset[str]:
        """The keys of the trials that leave test facts alone."""
        return frozenset(self.purposes)

    @property
    def reads_names(self) -> bool:
        """Whether a trial has a language model read the names of entities."""
        searched = [] if self.search is None else [TrialSpec(arm=check_arm(self.search.arm))]
        return any(spec.reads_names for spec in (*self.specs, *searched))

    def configure(self, backbone: str, point: Point, seed: int) -> TrialSpec:
        """The trial of a configuration of the search."""
        assert self.search is not None
        preset = self.design.presets[self.preset]
        changes = merge(self.changes, nested(dict(point)))
        settled = settle(self.design, preset, changes, dataset=self.dataset, backbone=backbone)
        axes = {"dataset": self.dataset, "backbone": backbone, "arm": self.search.arm, "seed": seed}
        return settled.model_copy(update=axes).acting()


def facts(design: Design, preset: str) -> Iterator[tuple[str, str]]:
    """What a study compares at a preset, for people: pairs of name and text."""
    chosen = design.preset(preset)
    yield "claims", ", ".join(design.claims) or "none"
    yield "arms", ", ".join(design.arms)
    for name, variant in design.variants.items():
        yield f"variant {name}", ", ".join(filter(None, (variant.arm, flat(variant.settings))))
    for key, levels in (chosen.grid or design.grid).items():
        yield "varied", f"{key}: {', '.join(map(str, levels))}"
    if design.confirm:
        yield "confirmation runs", f"of the best {design.confirm} points of a backbone, and of the default"
    if (search := search_of(design, chosen)) is not None:
        yield "search", f"{search.arm}, {search.sampler}, {search.configurations()} configurations"
        for key, factor in search.factors.items():
            yield "searched", f"{key}: {factor}"
    if (tune := tune_of(design, chosen)) is not None:
        yield "tuning", f"{tune.trials} configurations of each arm, {tune.seeds} seed{'s' * (tune.seeds > 1)} of each"
        for part, factors in tune.space.items():
            for key, factor in factors.items():
                yield f"searched by {part}", f"{key}: {factor}"
    if design.references:
        yield "reference rows", ", ".join(design.references)
    if settle(design, chosen).has_teacher_a_seed:
        yield "teachers", f"one a seed: {chosen.seeds} are trained, with their targets, where one would be"
    if design.compare or design.contrasts:
        yield "equivalent", f"differences of less than {100 * design.margin:g} % of what the base has"
    if design.decide:
        yield "decided", f"after {', '.join(map(str, design.decide))} seeds, as soon as all comparisons are"
    if measured := design.measured(preset):
        yield "measured beside the trials", ", ".join(measured)


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
    trials: int | None = None,
) -> Run:
    """Spell out the trials of a design.

    Args:
        design: the study.
        dataset: name of the data, see `harness.data.load`.
        data_digest: of its content.
        backbones: the students'.
        preset: one of the design's.
        seeds: their number; None: the preset's.
        arms: names of arms, variants and reference rows, and any combination of losses; empty: those of the preset.
        changes: settings that replace those of study and preset.
        trials: configurations of each arm in its tuning; None: the preset's.

    Raises:
        UserError: an unknown preset, arm or setting; or trials of a preset without tuning.
    """
    chosen = design.preset(preset)
    if trials is not None:
        if tune_of(design, chosen) is None:
            raise UserError(f"--tune: study {design.name!r} tunes nothing at preset {preset!r}; see 'describe'")
        chosen = chosen.model_copy(update={"tune": merge(chosen.tune, {"trials": trials})})
    added = _more_arms(design, arms)
    names = design.conditions | added
    # in an order that is the same in every process: it is part of the study's name
    teachers = [name for name, condition in names.items() if condition.arm in REFERENCES]
    references = tuple(dict.fromkeys([*design.references, *teachers]))
    wanted = {check_arm(arm) if arm not in names else arm for arm in arms} or {*(chosen.arms or names)}
    search, tune, n_seeds = search_of(design, chosen), tune_of(design, chosen), seeds or chosen.seeds
    _refuse_factors(design, tune, changes or {})
    # of all backbones of the study, asked for or not: adding one later must find the same study
    common = {
        name: settle(design, chosen, changes, dataset=dataset, backbone=name).model_copy(update={"dataset": dataset})
        for name in sorted({*design.backbones, *backbones})
    }
    specs: dict[str, TrialSpec] = {}
    labels: dict[str, str] = {}
    factors: dict[str, dict[str, Any]] = {}
    purposes: dict[str, dict[str, Any]] = {}
    for backbone in backbones:
        for name, condition in names.items():
            if name not in wanted:
                continue
            is_reference, axes = name in references, {"dataset": dataset, "backbone": backbone}
            tuning = None if is_reference else tune
            for label, settings, point, number in (
                crossed(design, chosen, name, condition, is_reference=is_reference)
                if tuning is None
                else configurations(design, chosen, tuning, name, condition, changes, **axes)
            ):
                settled = settle(design, chosen, merge(changes or {}, settings), **axes)
                settled = settled.model_copy(update={**axes, "arm": check_arm(condition.arm)})
                # a teacher is trained once, with a seed that is one of its settings, unless each seed has one
                is_once = is_reference and not settled.has_seed
                first = FRESH if tune is not None and is_reference else 0
                seeds_of = [*range(first, first + n_seeds)] if tuning is None else [*range(tuning.seeds)]
                seeds_of += range(FRESH, FRESH + n_seeds) if search is not None else ()
                for seed in [0] if is_once else seeds_of:
                    spec = settled.model_copy(update={"seed": seed}).acting()
                    if is_reference and not arms and not spec.has_reference:
                        continue  # a teacher from outside has no model to rank facts with
                    key = spec.key()
                    specs.setdefault(key, spec)
                    labels.setdefault(key, label)
                    factors.setdefault(key, {"arm": name, **point})
                    if number is not None:
                        purposes.setdefault(key, {"role": "tune", "configuration": number})
                    elif search is not None and not is_reference and seed < FRESH:
                        purposes[key] = {"role": "beside"}
    shared = {name: spec.model_dump(exclude=set(AXES)) for name, spec in common.items()}
    engine = engine_version()
    # what comes from plugins, of this run's methods alone: others that are loaded change nothing
    outside = sorted({item for spec in specs.values() for item in spec.outside.items()})
    space = space_of(names, references, common, chosen.grid or design.grid, search)
    label, at, _ = dataset.rpartition("@")  # of a folder: trials know their data by the digest alone
    # numbers of another range compare, but a search of it asks something else
    searched: list[Any] = (
        [] if search is None else [search.sampler, {k: v.model_dump() for k, v in search.factors.items()}]
    )
    if tune is not None:  # what the numbers of configurations mean
        searched = [tune.model_dump(include={"space"}), {name: one.settings for name, one in names.items()}]
    more = [part for part in (outside, at, searched) if part]
    identity = digest(shared, data_digest, engine, fixed_of(space), *more)
    name = f"{design.name}-{label or dataset}-{preset}-{identity[:8]}"
    return Run(
        design,
        preset,
        dataset,
        tuple(specs.values()),
        labels,
        name,
        data_digest,
        engine,
        search,
        n_seeds,
        tuple(backbones),
        changes or {},
        purposes,
        factors,
        space,
        tune,
    )


def space_of(
    arms: Iterable[str],
    references: Collection[str],
    backbones: Iterable[str],
    grid: Mapping[str, Sequence[Any]],
    search: Search | None,
) -> Space:
    """What the trials of a study vary beside their seed: arm, backbone, and the factors of its grid or of its search.

    ``arms`` are all arms and variants of the study file, run or not, ``backbones`` all that there are. A factor of the
    ``grid`` with one level does not vary.
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


def _more_arms(design: Design, arms: Sequence[str]) -> dict[str, Variant]:
    """The arms among ``arms`` that the study does not have.

    Raises:
        UserError: one is no arm.
    """
    more = {}
    for arm in arms:
        if arm in design.conditions:
            continue
        try:
            name = check_arm(arm)
        except UserError as error:
            if "+" in arm:
                raise UserError(f"study {design.name!r}: {error}") from None
            raise UserError(f"study {design.name!r} has no arm {arm!r}: {nearest(arm, design.conditions)}") from None
        if name not in design.conditions:
            more[name] = Variant(arm=name)
    return more


def _refuse_factors(design: Design, tune: Tune | None, changes: Settings) -> None:
    """A setting that the study varies cannot be given a value beside."""
    searched = [] if tune is None else tune.settings
    for key in (*design.grid, *(design.search or {}).get("factors", {}), *searched):
        if value_in(changes, key) is not None:
            raise UserError(f"--set {key}: study {design.name!r} varies it; see its levels with 'describe'")
