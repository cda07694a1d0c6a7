"""What a search varies: factors with ranges, the sampler, and how many configurations are tried."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from harness.options import Frozen
from harness.trial.arms import Arm

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

#: a configuration: settings by their dotted names
Point = dict[str, int | float]
#: the first of the seeds that confirm what a search has found; the search's own lie below, however many they become
FRESH = 1000


class Range(Frozen):
    """The values of a factor: integers if both ends are; ``log`` and ``step`` as in Optuna's distributions."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low}) must lie below high ({self.high})")
        self.distribution()
        return self

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
        from optuna.distributions import FloatDistribution, IntDistribution

        distribution = self.distribution()
        assert isinstance(distribution, IntDistribution | FloatDistribution)
        step = distribution.step
        # each of the values with steps has an equal part of the range
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
    configurations. Test facts are not scored; the best ``confirm`` configurations are trained anew, with seeds that the
    search has not seen, and these are scored once.
    """

    arm: Arm
    factors: dict[str, Range] = Field(min_length=1)
    sampler: Literal["tpe", "qmc"] = "tpe"
    trials: int = Field(ge=1, le=100_000, description="tpe: configurations; qmc: base points, best a power of two")
    prune: float = Field(default=0.2, ge=0, lt=1, description="p value below which tpe gives up a configuration")
    confirm: int = Field(default=3, ge=0, le=100, description="configurations that are trained anew and scored on test")

    def distributions(self) -> dict[str, BaseDistribution]:
        """The factors for Optuna."""
        return {name: factor.distribution() for name, factor in self.factors.items()}

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
