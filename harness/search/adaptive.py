"""A search in progress: which configuration and seed comes next, given the results so far.

Its state is restored from the results in the store, so a search that was killed goes on. Samplers and pruners work on a
study of Optuna's in memory, one a backbone; the store shows its configurations (`harness.store.configurations`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean
from typing import NamedTuple

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner, WilcoxonPruner
from optuna.samplers import TPESampler
from optuna.trial import Trial, TrialState

from harness.design.schema import Point, Search
from harness.distill.seeds import derive_seed

#: seeds that Wilcoxon's test needs at least: with two, no p value is below 0.25
FEWEST_SEEDS = 3


@dataclass
class Configuration:
    """Settings that are tried, and validation MRR by seed so far.

    ``state`` is "open" while seeds are missing, then "complete", "pruned" or "failed"; ``busy``: the seed in training.
    """

    number: int
    point: Point
    values: dict[int, float] = field(default_factory=dict)
    state: str = "open"
    trial: Trial | None = field(default=None, compare=False)
    busy: int | None = None

    @property
    def mean(self) -> float:
        """Mean validation MRR over the seeds so far."""
        return fmean(self.values.values())


class Step(NamedTuple):
    """What is to be trained next: a configuration with a seed."""

    number: int
    point: Point
    seed: int


class Searcher:
    """The search of one backbone, in which a configuration is trained with the seeds 0 to ``seeds`` - 1.

    ``name`` and a configuration's number are the seed of the sampler. ``known`` has the configurations of earlier runs;
    those that failed are open again.
    """

    def __init__(self, search: Search, seeds: int, name: str, known: Iterable[Configuration] = ()) -> None:
        self.search, self.seeds, self.name = search, seeds, name
        self.distributions = search.distributions()
        self.sample = search.sample() if search.sampler == "qmc" else None
        self.configurations: dict[int, Configuration] = {}
        with quiet():
            pruner: BasePruner = NopPruner()
            if search.sampler == "tpe" and search.prune > 0:
                pruner = WilcoxonPruner(p_threshold=search.prune, n_startup_steps=FEWEST_SEEDS - 1)
            self.study = optuna.create_study(direction="maximize", pruner=pruner, sampler=TPESampler(seed=0))
        for one in sorted(known, key=lambda one: one.number):
            self._resume(one)

    def _resume(self, one: Configuration) -> None:
        self.configurations[one.number] = one
        one.values = {seed: value for seed, value in one.values.items() if seed < self.seeds}
        is_complete = len(one.values) == self.seeds
        one.state = "complete" if is_complete else "pruned" if one.state == "pruned" else "open"
        trial = self._add(one)
        with quiet():
            if one.state == "complete":
                self.study.tell(trial, one.mean)
            elif one.state == "pruned":
                self.study.tell(trial, state=TrialState.PRUNED)

    def _add(self, one: Configuration) -> Trial:
        """A running trial with the settings and results of a configuration."""
        with quiet():
            self.study.enqueue_trial(one.point)
            one.trial = trial = self.study.ask(self.distributions)
            for seed, value in one.values.items():
                trial.report(value, seed)
        return trial

    def steps(self, room: int) -> list[Step]:
        """Up to ``room`` trainings that can start now: open configurations first, then new ones."""
        steps: list[Step] = []
        for one in self.configurations.values():
            if len(steps) < room and one.state == "open" and one.busy is None:
                steps.append(self._start(one))
        while len(steps) < room and len(self.configurations) < self.search.configurations():
            steps.append(self._start(self._ask()))
        return steps

    def _start(self, one: Configuration) -> Step:
        one.busy = next(seed for seed in range(self.seeds) if seed not in one.values)
        return Step(one.number, one.point, one.busy)

    def _ask(self) -> Configuration:
        # the first free number: a configuration of which the store has nothing left a gap
        number = next(n for n in range(len(self.configurations) + 1) if n not in self.configurations)
        if self.sample is not None:
            one = Configuration(number, self.sample[number])
            self._add(one)
        else:
            startup = min(10, max(3, self.search.trials // 3))
            with quiet():
                # a new one each time: a search that goes on must not draw again what it has drawn
                seed = derive_seed("search", self.name, number) % 2**32
                self.study.sampler = TPESampler(seed=seed, n_startup_trials=startup)
                trial = self.study.ask(self.distributions)
            one = Configuration(number, trial.params, trial=trial)
        self.configurations[number] = one
        return one

    def record(self, number: int, seed: int, value: float | None) -> Configuration:
        """Take the validation MRR of a configuration with a seed, None if its training failed; return its new state.

        A configuration is given up when it is worse than the best one by Wilcoxon's test, and when a seed failed.
        """
        one = self.configurations[number]
        assert one.trial is not None
        one.busy = None
        with quiet():
            if value is None:
                one.state = "failed"
                self.study.tell(one.trial, state=TrialState.FAIL)
                return one
            one.values[seed] = value
            one.trial.report(value, seed)
            if len(one.values) == self.seeds:
                one.state = "complete"
                self.study.tell(one.trial, one.mean)
            elif one.trial.should_prune():
                one.state = "pruned"
                self.study.tell(one.trial, state=TrialState.PRUNED)
        return one

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be tried."""
        is_full = len(self.configurations) >= self.search.configurations()
        return is_full and all(one.state != "open" for one in self.configurations.values())

    def winners(self) -> list[Configuration]:
        """The best complete configurations by mean validation MRR, best first, no two of them equal."""
        done = [one for one in self.configurations.values() if one.state == "complete"]
        winners: list[Configuration] = []
        for one in sorted(done, key=lambda one: (-one.mean, one.number)):
            if len(winners) < self.search.confirm and all(one.point != other.point for other in winners):
                winners.append(one)
        return winners


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's messages about trials, and its warning that Wilcoxon's pruner may change some day."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
