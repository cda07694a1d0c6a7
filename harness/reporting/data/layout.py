"""What a report knows of a study beside its frames: its words, what it compares, and how it was run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from harness.vocabulary import REFERENCES, Kind, by_level


@dataclass(frozen=True)
class Layout:
    """The heading of a study and its comparisons.

    Attributes:
        name: of the study; the report's files are named after it.
        title: a phrase.
        about: a paragraph.
        report: the kind of report.
        claims: ids of the claims that the study tests.
        arms: names of arms and variants in the order of tables; those that are not in it come after them.
        compare: the arms that are compared with an arm, by that arm's name.
        contrasts: differences of differences, by name: (a - b) - (c - d) for the arms a, b, c, d.
        margin: the largest difference that counts as none, as a share of what the base has.
        looks: of a study that is decided by looks, their numbers of seeds; empty: one look at all seeds.
    """

    name: str = "ablation"
    title: str = ""
    about: str = ""
    report: str = "comparison"
    claims: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    compare: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    contrasts: Mapping[str, tuple[str, str, str, str]] = field(default_factory=dict)
    margin: float = 0.01
    looks: tuple[int, ...] = ()

    def order(self, present: Iterable[str]) -> list[str]:
        """The arms present in the order of the study, levels of a factor ascending, reference rows last."""
        ordered = by_level(present, self.arms)
        return [arm for arm in ordered if arm not in REFERENCES] + [arm for arm in ordered if arm in REFERENCES]

    def pairs(self, present: Iterable[str]) -> Iterator[tuple[str, str]]:
        """The pairs (arm, base) among the arms present that are compared."""
        names = set(present)
        for base, arms in self.compare.items():
            yield from ((arm, base) for arm in arms if {arm, base} <= names)


class Meta(BaseModel):
    """What a report needs of a run beyond its frames.

    Attributes:
        command: the command line that ran the study.
        data: counts of the data set by what is counted, such as ``{"training facts": 32497, "entities": 12554}``.
        measured: what was measured beside the trials; see `harness.reporting.cost.numbers`.
        notes: further remarks, a paragraph each.
        search: of a search, its sampler, factors and designed sample (`harness.reporting.search.trace.trace_of`).
        looks: of a study that is decided by looks, their numbers of seeds.
        tune: of a study that tunes its arms, what `harness.design.schema.Tune` has.
        design: content of the study's file, if it is none of the package's.
        labels: kind, name, label and colour of what plugins declared (`harness.vocabulary.declare`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str = ""
    data: dict[str, int] = {}
    measured: list[dict[str, Any]] = []
    notes: list[str] = []
    search: dict[str, Any] = {}
    tune: dict[str, Any] = {}
    looks: tuple[int, ...] = ()
    design: dict[str, Any] = {}
    labels: list[tuple[Kind, str, str, str]] = []
