"""The tuning of every arm with an equal budget: of each arm the best configuration, with seeds that took no part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.design.cells import Run
from harness.design.schema import FRESH
from harness.selection import tuned
from harness.trial.spec import TrialSpec


class Tuning:
    """What a run that tunes its arms wants next: of an arm whose configurations have ended, the best with fresh seeds.

    ``values`` has the validation MRR of complete trials, by their keys. ``attributes`` and ``wanted`` are as of
    `harness.search.searching.Searching`.
    """

    def __init__(self, run: Run, values: Mapping[str, float], wanted: set[str]) -> None:
        assert run.tune is not None
        self.run, self.seeds, self.wanted = run, run.tune.seeds, wanted
        self.values: dict[str, float | None] = {**values}
        self.attributes: dict[str, dict[str, Any]] = {}
        self.unscored: set[str] = set()
        #: the trials of each arm and backbone whose best configuration has no fresh seeds yet
        self.open: dict[tuple[str, str], list[TrialSpec]] = {}
        for spec in run.specs:
            if (key := spec.key()) in run.purposes:
                self.open.setdefault((spec.backbone, run.factors[key]["arm"]), []).append(spec)
        #: how many trials there are at most
        self.most = len(self.open) * run.seeds

    def record(self, key: str, value: float | None) -> None:
        """Take the validation MRR of a trial, None if it failed."""
        self.values[key] = value

    def more(self, room: int) -> list[TrialSpec]:
        """The trials with fresh seeds of the arms of which all configurations have ended, whatever the ``room``."""
        over = [pair for pair, specs in self.open.items() if all(spec.key() in self.values for spec in specs)]
        return [spec for pair in over for spec in self._fresh(pair[1], self.open.pop(pair))]

    def _fresh(self, arm: str, specs: list[TrialSpec]) -> list[TrialSpec]:
        """The best configuration of an arm with fresh seeds; nothing where none is complete."""
        numbers = {spec.key(): self.run.purposes[spec.key()]["configuration"] for spec in specs}
        rows = [
            {"backbone": spec.backbone, "arm": arm, "configuration": numbers[key], "mrr": self.values[key]}
            for spec in specs
            if (key := spec.key())
        ]
        ranked = tuned(pd.DataFrame(rows).astype({"mrr": float}), self.seeds)
        fresh = []
        for number in ranked.loc[ranked["winner"], "configuration"]:
            best = next(spec for spec in specs if numbers[spec.key()] == number)
            for seed in range(FRESH, FRESH + self.run.seeds):
                spec = best.model_copy(update={"seed": seed})
                self.wanted.add(spec.key())
                if spec.key() not in self.values:
                    self.attributes[spec.key()] = {"role": "confirm", "configuration": int(number), "label": arm}
                    fresh.append(spec)
        return fresh
