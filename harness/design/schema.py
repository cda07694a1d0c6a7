"""Study files as typed models. Light to import: lists, help texts and reports need no engine."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from harness.design.dotted import Settings
from harness.errors import UserError, nearest
from harness.registry import Frozen, Text
from harness.vocabulary import PAPERS_BACKBONES

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

#: a configuration: settings by their dotted names
Point = dict[str, int | float]
#: the first seed of confirmation runs; those of searches and grids lie below
FRESH = 1000
#: levels of factors, by the dotted name of a setting
Grid = dict[str, tuple[Any, ...]]
#: what a study may measure when its trials are complete; see ``harness.measurements``
Measure = Literal["stages", "loop", "trained loop", "inference", "export", "files"]
#: part of the names of Optuna studies and of folders
PresetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]


class Range(Frozen):
    """The values of a factor; ``log`` and ``step`` as in Optuna's distributions.

    They are whole numbers where the setting is one, and where ``integer`` asks for them.
    """

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None
    integer: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low}) must lie below high ({self.high})")
        self.distribution()
        return self

    def __str__(self) -> str:
        """For people: ``0.01 to 10, logarithmic``."""
        step = f", in steps of {self.step:g}" if self.step else ""
        return f"{self.low:g} to {self.high:g}{step}{', logarithmic' if self.log else ''}"

    def of(self, kind: type[int] | type[float] | None) -> Range:
        """The same for a setting of this kind, however its numbers were written.

        Raises:
            ValueError: the setting is no number, or takes whole ones alone.
        """
        if kind is None:
            raise ValueError("is no number; a search varies numbers")
        ends = {"low": self.low, "high": self.high} | ({} if self.step is None else {"step": self.step})
        if kind is float and not self.integer:
            return self.model_copy(update={name: float(value) for name, value in ends.items()})
        if broken := next((value for value in ends.values() if value != int(value)), None):
            raise ValueError(f"takes whole numbers, not {broken}")
        return self.model_copy(update={name: int(value) for name, value in ends.items()})

    def has(self, value: object) -> bool:
        """Whether a value is one of the range."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        step = self.step or (1 if isinstance(self.low, int) else None)
        return step is None or abs((value - self.low) / step - round((value - self.low) / step)) < 1e-9

    def distribution(self) -> BaseDistribution:
        """The same for Optuna.

        Raises:
            ValueError: a range that Optuna does not have, such as a logarithmic one from zero.
        """
        from optuna.distributions import FloatDistribution, IntDistribution  # here: lists and help do without

        if isinstance(self.low, int) and isinstance(self.high, int) and isinstance(self.step, int | None):
            return IntDistribution(self.low, self.high, log=self.log, step=self.step or 1)
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def at(self, share: float) -> int | float:
        """The value below which ``share``, in [0, 1), of the range lies."""
        import numpy as np  # here, as Optuna: lists and help do without
        from optuna.distributions import FloatDistribution, IntDistribution

        distribution = self.distribution()
        assert isinstance(distribution, IntDistribution | FloatDistribution)
        step = distribution.step
        # values with steps have equal parts of the range
        low, high = self.low - (step or 0) / 2, distribution.high + (step or 0) / 2
        value = low + share * (high - low)
        if self.log:
            value = float(np.exp(np.log(low) + share * (np.log(high) - np.log(low))))
        if step:
            value = self.low + step * round((value - self.low) / step)
        value = min(max(value, self.low), distribution.high)
        return int(value) if isinstance(distribution, IntDistribution) else float(value)


class Search(Frozen):
    """A search by validation MRR.

    One configuration is trained with every seed; its value is the mean validation MRR. ``tpe`` chooses configurations
    by what earlier ones yielded and gives up those that Wilcoxon's test finds worse than the best over the seeds so
    far. ``qmc`` takes the designed sample that Sobol indices are estimated from, ``trials`` · (factors + 2)
    configurations. Test facts are not scored; the best ``confirm`` configurations get confirmation runs, with seeds
    that the search has not used, and these are scored once.
    """

    arm: str
    factors: dict[str, Range] = Field(min_length=1)
    sampler: Literal["tpe", "qmc"] = "tpe"
    trials: int = Field(ge=1, le=100_000, description="tpe: configurations; qmc: base points, best a power of two")
    prune: float = Field(default=0.2, ge=0, lt=1, description="p value below which tpe gives up a configuration")
    confirm: int = Field(
        default=3, ge=0, le=100, description="configurations that get confirmation runs, scored on test"
    )

    def distributions(self) -> dict[str, BaseDistribution]:
        """The factors for Optuna."""
        return {name: factor.distribution() for name, factor in self.factors.items()}

    def point_of(self, values: dict[str, Any]) -> Point | None:
        """The values of the factors as a configuration; None if one is not in its range."""
        if not all(factor.has(values[name]) for name, factor in self.factors.items()):
            return None
        return {name: int(values[name]) if isinstance(f.low, int) else values[name] for name, f in self.factors.items()}

    def configurations(self) -> int:
        """How many configurations are tried."""
        return self.trials * (len(self.factors) + 2) if self.sampler == "qmc" else self.trials

    def sample(self) -> list[Point]:
        """The designed sample of ``qmc``, in the order in which SALib's analysis wants it; the same every time."""
        from SALib.sample import sobol

        names = list(self.factors)
        problem: dict[str, Any] = {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)}
        with warnings.catch_warnings():
            # a number of base points that is no power of two is a user's choice
            warnings.filterwarnings("ignore", message=".*(power of 2|powers of 2).*")
            shares = sobol.sample(problem, self.trials, calc_second_order=False, seed=0)
        return [{n: self.factors[n].at(float(u)) for n, u in zip(names, row, strict=True)} for row in shares]


class Tune(Frozen):
    """The tuning of every arm with an equal budget, by validation MRR.

    ``space`` has what is searched by the name of a loss or of a backbone, and under ``all`` what every arm searches; an
    arm searches what stands under the names of its losses and of its backbone, and under ``all``. Its first
    configuration is that of the study's settings; the others come from a Sobol sequence with a dimension for each
    setting of ``space``, so that a setting has the same places in its range in every arm. The best configuration
    gets seeds that tuning has not used, and these alone are scored on test.
    """

    trials: int = Field(ge=1, le=1000, description="configurations of each arm")
    seeds: int = Field(default=1, ge=1, le=FRESH, description="seeds of each configuration: 0, 1 ...")
    space: dict[str, dict[str, Range]] = Field(min_length=1)

    @property
    def settings(self) -> list[str]:
        """The dotted names of all settings that some arm searches."""
        return sorted({name for part in self.space.values() for name in part})

    def factors(self, parts: Iterable[str], backbone: str) -> dict[str, Range]:
        """What an arm with these losses searches, by the dotted names of settings."""
        names = ("all", backbone, *parts)
        return {key: values for name in names for key, values in self.space.get(name, {}).items()}

    def points(self, factors: dict[str, Range], usual: Point) -> list[Point]:
        """The configurations of an arm, no two of them equal: ``usual``, then those of the sequence.

        More ``trials`` add to them. They are fewer than ``trials`` where the ranges have no more values.
        """
        points, names = [usual], self.settings
        for row in _sobol(len(names), (16 * self.trials).bit_length()):  # more than enough: integers repeat
            if len(points) == self.trials:
                break
            shares = dict(zip(names, row, strict=True))
            point = {name: values.at(shares[name]) for name, values in factors.items()}
            points += [point] if point not in points else []
        return points


@lru_cache(maxsize=8)
def _sobol(dimensions: int, power: int) -> list[list[float]]:
    """The first 2 ** ``power`` points of a scrambled Sobol sequence, the same every time."""
    from scipy.stats.qmc import Sobol  # here, as Optuna: lists and help do without

    points: list[list[float]] = Sobol(dimensions, rng=0).random_base2(power).tolist()
    return points


class Preset(Frozen):
    """A size of a study; ``arms``, ``grid`` and ``measure`` replace the design's, ``search`` and ``tune`` change it."""

    about: Text
    seeds: int = Field(ge=1, le=FRESH, description="number of seeds: 0, 1, 2 ...")
    settings: Settings = Field(default={})
    arms: tuple[str, ...] | None = Field(default=None, description="names of arms and variants")
    grid: Grid | None = Field(default=None)
    measure: tuple[Measure, ...] | None = Field(default=None)
    search: dict[str, Any] = Field(default={})
    tune: dict[str, Any] = Field(default={})


class Variant(Frozen):
    """An arm with settings that differ from the study's."""

    arm: str
    settings: Settings = Field(default={})


class Design(Frozen):
    """A study file: which arms are compared, at which settings, with how many seeds, and which claims that tests.

    ``grid`` crosses every arm but the reference rows with all combinations of its levels; where a factor does not act
    in an arm, the arm has fewer trials; ``confirm`` is how many of its best points get confirmation runs. ``compare``
    has lists of arms, by the arm that reports compare them with; ``contrasts`` are differences of differences
    (a - b) - (c - d) of arms a, b, c, d. ``search`` looks for settings of an arm, beside which the study's arms are
    trained with the same seeds. ``tune`` has every arm tuned with an equal budget first. Presets add to the settings of
    the presets of study ``like``, so that both studies share their teachers. ``decide`` has the numbers of seeds at
    which the study is looked at, to stop when its comparisons are decided (`harness.stats.sequential`); ``margin`` is
    the largest difference that counts as none, as a share of what the base has. ``measure`` names what is measured
    beside the trials. ``backbones`` are those that
    ``--backbone all`` means, the paper's by default.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    title: Text
    about: Text
    report: str = "comparison"
    claims: tuple[Text, ...] = ()
    arms: tuple[str, ...] = ()
    variants: dict[Text, Variant] = Field(default={})
    grid: Grid = Field(default={})
    confirm: int = Field(default=0, ge=0, le=20)
    search: dict[str, Any] | None = None
    tune: dict[str, Any] | None = None
    references: tuple[str, ...] = ()
    measure: tuple[Measure, ...] = ()
    decide: tuple[int, ...] = ()
    margin: float = Field(default=0.01, gt=0, lt=1)
    compare: dict[str, tuple[str, ...]] = Field(default={})
    contrasts: dict[Text, tuple[str, str, str, str]] = Field(default={})
    backbone: str
    backbones: tuple[str, ...] = PAPERS_BACKBONES
    like: str | None = None
    settings: Settings = Field(default={})
    presets: dict[PresetName, Preset] = Field(min_length=1)

    @field_validator("decide")
    @classmethod
    def _rise(cls, decide: tuple[int, ...]) -> tuple[int, ...]:
        if decide and not (decide[0] >= 2 and sorted(set(decide)) == [*decide] and decide[-1] <= FRESH):
            raise ValueError(f"takes rising numbers of seeds from 2 to {FRESH}, as [3, 5, 8]")
        return decide

    @property
    def conditions(self) -> dict[str, Variant]:
        """Arms, variants and reference rows by name, in the order of the file."""
        plain = {arm: Variant(arm=arm) for arm in self.arms}
        return plain | self.variants | {arm: Variant(arm=arm) for arm in self.references}

    def measured(self, preset: str) -> tuple[Measure, ...]:
        """What a preset measures beside its trials."""
        chosen = self.presets[preset].measure
        return self.measure if chosen is None else chosen

    def preset(self, name: str) -> Preset:
        """A preset by its name.

        Raises:
            UserError: there is none of that name.
        """
        if name not in self.presets:
            raise UserError(f"study {self.name!r} has no preset {name!r}: {nearest(name, self.presets)}")
        return self.presets[name]
