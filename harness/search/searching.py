"""The searches of a run, one a backbone: from configurations to trials of the store, and back."""

from __future__ import annotations

from typing import Any

from harness.design.cells import Run
from harness.design.schema import FRESH, Point
from harness.search.adaptive import Configuration, Searcher, Step
from harness.search.confirmation import BASE
from harness.store.known import Known
from harness.store.study import StudyStore
from harness.trial.spec import TrialSpec
from harness.vocabulary import LEVELS


class Searching:
    """What a run with a search wants next, and which configurations wait for which trial.

    Configurations that come to the same trial share it. ``attributes`` of a trial, by its key, are role ("search": not
    scored on test; "confirm": one of the best with a fresh seed), configuration, point, label, and of one of the best
    the label of L1 with the same values of what acts in it (``base``), which is trained with the same seeds. The keys
    of all trials are added to ``wanted``.
    """

    def __init__(self, run: Run, store: StudyStore | Known, wanted: set[str]) -> None:
        assert run.search is not None
        assert store.configurations is not None
        self.run, self.store, self.search, self.wanted = run, store, run.search, wanted
        self.shown, self.values = store.configurations, store.values()
        self.attributes: dict[str, dict[str, Any]] = {}
        self.waiting: dict[str, list[tuple[str, Step]]] = {}
        self.unscored: set[str] = set()
        self.confirmed: set[str] = set()
        known = self._known()
        self.searchers = {
            backbone: Searcher(self.search, run.seeds, f"{run.study_name}/{backbone}", known.get(backbone, {}).values())
            for backbone in run.backbones
        }
        for backbone, searcher in self.searchers.items():
            for configuration in searcher.configurations.values():
                self._show(backbone, configuration)

    @property
    def most(self) -> int:
        """How many trials there are at most."""
        return (self.search.configurations() + 2 * self.search.confirm) * self.run.seeds * len(self.run.backbones)

    def _known(self) -> dict[str, dict[int, Configuration]]:
        """The configurations of earlier runs, by backbone and number."""
        known: dict[str, dict[int, Configuration]] = {}
        for trial in self.store.searched():
            attributes, backbone = trial.user_attrs, trial.params["backbone"]
            number, key, seed = attributes["configuration"], attributes["cell"], trial.params["seed"]
            point = {name: trial.params[name] for name in self.search.factors}
            configuration = known.setdefault(backbone, {}).setdefault(number, Configuration(number, point))
            if (value := self.values.get(key)) is not None and seed < self.run.seeds:
                configuration.values[seed] = value
                if backbone in self.run.backbones:
                    self.wanted.add(key)
        for backbone, number in self.shown.pruned():
            if (pruned := known.get(backbone, {}).get(number)) is not None:
                pruned.state = "pruned"
        return known

    def more(self, room: int) -> list[TrialSpec]:
        """Up to ``room`` trials of the searches that can start now, and those that confirm a search that is over."""
        specs: list[TrialSpec] = []
        for backbone, searcher in self.searchers.items():
            # what the store has already counts at once, which may give room to others
            while len(specs) < room and (steps := searcher.steps(room - len(specs))):
                for step in steps:
                    specs += self._want(backbone, step)
            if searcher.is_over and backbone not in self.confirmed:
                self.confirmed.add(backbone)
                specs += self._confirm(backbone, searcher)
        return specs

    def _want(self, backbone: str, step: Step) -> list[TrialSpec]:
        """The trial of a step, unless it is there or on its way."""
        spec = self.run.configure(backbone, step.point, step.seed)
        key = spec.key()
        self.wanted.add(key)
        is_waited_for = key in self.waiting
        self.waiting.setdefault(key, []).append((backbone, step))
        if key in self.values:
            self.record(key, self.values[key])
        if key in self.values or is_waited_for:
            return []
        self.attributes[key] = {"role": "search", **self._about(step.number, step.point)}
        self.unscored.add(key)
        return [spec]

    def _confirm(self, backbone: str, searcher: Searcher) -> list[TrialSpec]:
        """The best configurations with seeds that the search has not seen, and L1 beside each."""
        specs = []
        for one in searcher.winners():
            for seed in range(FRESH, FRESH + self.run.seeds):
                spec = self.run.configure(backbone, one.point, seed)
                base, levels = self._base(backbone, one.point, seed)
                named = ", ".join(f"{name.split('.')[-1]}={value}" for name, value in levels.items())
                label = self.run.labels.get(base.key(), f"{BASE}{LEVELS}{named}")
                about = {"role": "confirm", **self._about(one.number, one.point)}
                wanted = {spec.key(): (spec, about | ({"base": label} if base.arm != spec.arm else {}))}
                if base.key() not in self.run.labels:  # else it is one of the trials beside the search
                    wanted.setdefault(base.key(), (base, {"role": "confirm", "point": levels, "label": label}))
                for key, (trial, attributes) in wanted.items():
                    self.wanted.add(key)
                    if key not in self.values and key not in self.attributes:
                        self.attributes[key] = attributes
                        specs.append(trial)
        return specs

    def _base(self, backbone: str, point: Point, seed: int) -> tuple[TrialSpec, Point]:
        """L1 at a configuration, and the values of the factors that act in it."""

        def at(values: Point) -> TrialSpec:
            return self.run.configure(backbone, values, seed).model_copy(update={"arm": BASE}).acting()

        def acts(name: str) -> bool:
            """Whether another value changes L1."""
            factor = self.search.factors[name]
            other = factor.high if point[name] == factor.low else factor.low
            return at({**point, name: other}).key() != base.key()

        base = at(point)
        return base, {name: value for name, value in point.items() if acts(name)}

    def _about(self, number: int, point: Point) -> dict[str, Any]:
        return {"configuration": number, "point": point, "label": f"{self.search.arm} · #{number}"}

    def record(self, key: str, value: float | None) -> None:
        """Take the validation MRR of a trial, None if it failed."""
        if value is not None:
            self.values[key] = value
        for backbone, step in self.waiting.pop(key, ()):
            self._show(backbone, self.searchers[backbone].record(step.number, step.seed, value))

    def _show(self, backbone: str, configuration: Configuration) -> None:
        """Bring the trial of a configuration up to date, once it has a result."""
        if configuration.values or configuration.state != "open":
            self.shown.put(
                backbone, configuration.number, configuration.point, configuration.values, configuration.state
            )
