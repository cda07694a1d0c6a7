"""The searches of a run, a backbone each: from configurations to cells of the store, and back."""

from __future__ import annotations

from typing import Any

from harness.design.cells import Run
from harness.design.schema import FRESH, Point
from harness.search.adaptive import Configuration, Searcher, Step
from harness.store.store import StudyStore
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context


class Searching:
    """What a run with a search wants next, and who waits for which cell.

    Configurations that come to the same cell share it. ``attributes`` of a cell, by its key, say what it is for: role
    ("search": not scored on test; "confirm": one of the best with a fresh seed), configuration, point, label.
    ``wanted`` gets the key of each cell.
    """

    def __init__(self, run: Run, store: StudyStore, data_digest: str, context: Context, wanted: set[str]) -> None:
        assert run.search is not None
        self.run, self.store, self.search, self.wanted = run, store, run.search, wanted
        self.values = store.values()
        self.attributes: dict[str, dict[str, Any]] = {}
        self.waiting: dict[str, list[tuple[str, Step]]] = {}
        self.unscored: set[str] = set()
        self.confirmed: set[str] = set()
        known = self._known()
        self.searchers = {
            backbone: Searcher(self.search, run.seeds, f"{run.study_name}/{backbone}", known.get(backbone, {}).values())
            for backbone in run.backbones
        }

    @property
    def most(self) -> int:
        """How many cells there are at most."""
        each = self.search.configurations() + self.search.confirm
        return each * self.run.seeds * len(self.run.backbones)

    def _known(self) -> dict[str, dict[int, Configuration]]:
        """The configurations of earlier runs, by backbone and number."""
        found: dict[str, dict[int, Configuration]] = {}
        for told in self.store.searched():
            own = found.setdefault(told["backbone"], {})
            one = own.setdefault(told["configuration"], Configuration(told["configuration"], told["point"]))
            if (value := self.values.get(told["cell"])) is not None and told["seed"] < self.run.seeds:
                one.values[told["seed"]] = value
                if told["backbone"] in self.run.backbones:
                    self.wanted.add(told["cell"])
        for backbone, numbers in self.store.pruned().items():
            for number in set(numbers) & set(found.get(backbone, {})):
                found[backbone][number].state = "pruned"
        return found

    def more(self, room: int) -> list[TrialSpec]:
        """Up to ``room`` cells of the searches that can start now, and those that confirm a search that is over."""
        specs: list[TrialSpec] = []
        for backbone, searcher in self.searchers.items():
            # what the store has already is told at once, which may give room to others
            while len(specs) < room and (steps := searcher.steps(room - len(specs))):
                for step in steps:
                    specs += self._want(backbone, step)
            if searcher.is_over and backbone not in self.confirmed:
                self.confirmed.add(backbone)
                specs += self._confirm(backbone, searcher)
        return specs

    def _want(self, backbone: str, step: Step) -> list[TrialSpec]:
        """The cell of a step, unless it is there or on its way."""
        spec = self.run.configure(backbone, step.point, step.seed)
        key = spec.key()
        self.wanted.add(key)
        is_new = key not in self.waiting
        self.waiting.setdefault(key, []).append((backbone, step))
        if key in self.values:
            self.tell(key, self.values[key])
            return []
        if not is_new:
            return []
        self.attributes[key] = {"role": "search", **self._about(step.number, step.point)}
        self.unscored.add(key)
        return [spec]

    def _confirm(self, backbone: str, searcher: Searcher) -> list[TrialSpec]:
        """The best configurations with seeds that the search has not seen."""
        specs = []
        for one in searcher.winners():
            for seed in range(FRESH, FRESH + self.run.seeds):
                spec = self.run.configure(backbone, one.point, seed)
                key = spec.key()
                self.wanted.add(key)
                if key not in self.values:
                    self.attributes[key] = {"role": "confirm", **self._about(one.number, one.point)}
                    specs.append(spec)
        return specs

    def _about(self, number: int, point: Point) -> dict[str, Any]:
        return {"configuration": number, "point": point, "label": f"{self.search.arm} · #{number}"}

    def tell(self, key: str, value: float | None) -> None:
        """Take the validation MRR of a cell, None if it failed."""
        if value is not None:
            self.values[key] = value
        for backbone, step in self.waiting.pop(key, ()):
            one = self.searchers[backbone].tell(step.number, step.seed, value)
            if one.state == "pruned":
                self.store.prune(backbone, one.number)
