"""Confirmation runs of the best points of a grid, with seeds that took no part in choosing them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import pandas as pd

from harness.design.cells import Run
from harness.design.schema import FRESH
from harness.selection import rank_settings
from harness.trial.arms import Arm
from harness.trial.spec import TrialSpec
from harness.vocabulary import FRESH_SEEDS

#: what the gain of a point is over
BASE: Arm = "L1"


class Confirming:
    """What a run with a grid wants when all its trials have ended: its winners with fresh seeds, and L1 with the same.

    Nothing if the design asks for no confirmation runs.

    Winners of a backbone are the `Design.confirm` points with the highest mean validation MRR, and the point that the
    report recommends as default. Points that lost a seed do not take part. Points are those of the arm with most.

    ``values`` has the validation MRR of complete trials, by their keys. ``attributes`` and ``wanted`` are as of
    `harness.search.searching.Searching`.
    """

    def __init__(self, run: Run, values: Mapping[str, float], wanted: set[str]) -> None:
        self.run, self.wanted = run, wanted
        self.values: dict[str, float | None] = {**values}
        self.open = {spec.key() for spec in run.specs} - self.values.keys()
        self.attributes: dict[str, dict[str, Any]] = {}
        self.unscored: set[str] = set()
        self.is_asked = False
        #: the trials of a point, by backbone and label
        self.points: dict[str, dict[str, list[TrialSpec]]] = {}
        specs = run.specs if run.design.confirm else ()
        trials = [(spec, label) for spec in specs if (label := run.labels[spec.key()]) not in run.design.conditions]
        labels: dict[Arm, set[str]] = {}
        for spec, label in trials:
            labels.setdefault(spec.arm, set()).add(label)
        varied = max(labels, key=lambda arm: (len(labels[arm]), arm.count("+")), default=None)
        for spec, label in trials:
            if spec.arm == varied:
                self.points.setdefault(spec.backbone, {}).setdefault(label, []).append(spec)

    @property
    def most(self) -> int:
        """How many trials there are at most."""
        winners = [min(self.run.design.confirm + 1, len(points)) for points in self.points.values()]
        return 2 * sum(winners) * self.run.seeds

    def record(self, key: str, value: float | None) -> None:
        """Take the validation MRR of a trial, None if it failed."""
        self.values[key] = value
        self.open.discard(key)

    def more(self, room: int) -> list[TrialSpec]:
        """The trials with fresh seeds, once all others have ended, whatever the ``room``."""
        if self.open or self.is_asked:
            return []
        self.is_asked = True
        return list(self._fresh())

    def _fresh(self) -> Iterator[TrialSpec]:
        for backbone, winners in self._winners().items():
            specs = {label: self.points[backbone][label][0] for label in winners}
            bases = {self.run.labels[base.key()]: base for spec in specs.values() if (base := self._base(spec))}
            for label, spec in (specs | bases).items():
                for seed in range(FRESH, FRESH + self.run.seeds):
                    fresh = spec.model_copy(update={"seed": seed})
                    key = fresh.key()
                    self.wanted.add(key)
                    if key not in self.values:
                        self.attributes[key] = {"role": "confirm", "label": f"{label}{FRESH_SEEDS}"}
                        yield fresh

    def _base(self, spec: TrialSpec) -> TrialSpec | None:
        """L1 with the same seed and the same levels of what acts in it, if it is a trial of the run."""
        base = spec.model_copy(update={"arm": BASE}).acting()
        return base if spec.arm != BASE and base.key() in self.run.labels else None

    def _winners(self) -> dict[str, list[str]]:
        """The labels of the points that get confirmation runs, by backbone."""
        chosen = {}
        for backbone, points in self.points.items():
            means = {label: mean for label, specs in points.items() if (mean := self._mean(specs)) is not None}
            chosen[backbone] = sorted(means, key=lambda label: -means[label])[: self.run.design.confirm]
        if (default := self._default()) is not None:
            for backbone, winners in chosen.items():
                winners += [default] if default not in winners and default in self.points[backbone] else []
        return chosen

    def _default(self) -> str | None:
        """The point that the report recommends."""
        rows = [
            {"backbone": backbone, "point": label, "arm": label, "mrr": mean, "difference": self._gain(specs)}
            for backbone, points in self.points.items()
            for label, specs in points.items()
            if (mean := self._mean(specs)) is not None
        ]
        ranked = rank_settings(pd.DataFrame(rows), ["point"]) if rows else pd.DataFrame()
        return str(ranked["arm"].iloc[0]) if len(ranked) else None

    def _gain(self, specs: Sequence[TrialSpec]) -> float:
        """Mean difference to L1 over the seeds that it has, NaN without any."""
        gains = [
            value - other
            for spec in specs
            if (value := self.values.get(spec.key())) is not None
            if (base := self._base(spec)) is not None and (other := self.values.get(base.key())) is not None
        ]
        return fmean(gains) if gains else math.nan

    def _mean(self, specs: Sequence[TrialSpec]) -> float | None:
        """Mean validation MRR over the seeds, None if one is missing."""
        values = [value for spec in specs if (value := self.values.get(spec.key())) is not None]
        return fmean(values) if values and len(values) == len(specs) else None
