"""The temporal knowledge graph as plain arrays: what reading yields and everything else consumes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Granularity = Literal["year", "day", "step"]
SPLITS = ("train", "valid", "test")

#: A date, or an end of an interval, that the data does not know. Smaller than every real time.
UNKNOWN: int = int(np.iinfo(np.int64).min)


class Suspicion(NamedTuple):
    """What looks odd about data: one of `harness.data.suspicions.KINDS`, and what it is in plain words."""

    kind: str
    text: str


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Names of entities or relations; the position is the id.

    ``labels[i]`` is a human-readable label, or None where the data set has none (then ``names[i]`` may be an
    opaque identifier such as a Wikidata Q number).
    """

    names: tuple[str, ...]
    labels: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.names)


class Timed:
    """What has a start and an end, either of which may be ``UNKNOWN``."""

    start: Ints
    end: Ints

    def valid_time(self) -> tuple[Ints, Ints]:
        """The closed interval [lo, hi] in which each fact may hold, both int64 [N].

        An end that the data does not know leaves the interval open on that side: the fact may still have held, so
        filtering must not count it as a wrong answer. A fact without any time may hold always.
        """
        earliest, latest = np.int64(UNKNOWN + 1), np.iinfo(np.int64).max
        return np.where(self.start == UNKNOWN, earliest, self.start), np.where(self.end == UNKNOWN, latest, self.end)

    def time_points(self) -> tuple[Ints, Ints]:
        """Start and end as a model reads them: a missing end reuses the start and a missing start the end (as TeRo).

        A fact without any time has ``UNKNOWN`` in both.
        """
        start, end = self.start, self.end
        return np.where(start == UNKNOWN, end, start), np.where(end == UNKNOWN, start, end)


@dataclass(frozen=True, eq=False)
class Facts(Timed):
    """Facts as five int64 arrays of one length [N].

    ``start`` and ``end`` are inclusive and in units of the graph's granularity: the (possibly negative) year, the
    proleptic Gregorian ordinal of the day (``datetime.date.toordinal``), or a step. Either may be ``UNKNOWN``;
    where both are known, start <= end.
    """

    head: Ints
    relation: Ints
    tail: Ints
    start: Ints
    end: Ints

    def __len__(self) -> int:
        return len(self.head)

    @property
    def columns(self) -> dict[str, Ints]:
        """The five arrays by name."""
        return dict(vars(self))

    def in_order(self) -> Facts:
        """The same facts by start, end, head, relation and tail."""
        order = np.lexsort([self.tail, self.relation, self.head, self.end, self.start])
        return Facts(**{name: column[order] for name, column in self.columns.items()})


@dataclass(frozen=True, eq=False)
class TemporalGraph:
    """A data set: vocabularies, three splits and what the checks counted.

    ``name`` is as of `harness.data.registry.load`.
    The facts of a split are in the order of ``Facts.in_order``, whatever the order of its file's lines. ``digest`` is
    the SHA-256 (hex) of all that a model could see: granularity, names, labels and facts. ``counts`` is
    ``counts[finding][split]``; ``harness.data.checks.FINDINGS`` explains the findings.
    """

    name: str
    granularity: Granularity
    entities: Vocabulary
    relations: Vocabulary
    train: Facts
    valid: Facts
    test: Facts
    digest: str
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    #: what reading noticed, and the format that was read
    remarks: tuple[Suspicion, ...] = ()
    about: str = ""

    @property
    def splits(self) -> dict[str, Facts]:
        """The facts by the name of their split."""
        return {"train": self.train, "valid": self.valid, "test": self.test}


@dataclass(frozen=True, eq=False)
class Queries(Timed):
    """Link-prediction queries (subject, relation, ?, time) as int64 arrays [Q].

    Relations 0..R-1 ask for the tail; R..2R-1 are their reciprocals and ask for the head.
    """

    subject: Ints
    relation: Ints
    answer: Ints
    start: Ints
    end: Ints

    def __len__(self) -> int:
        return len(self.subject)


def both_directions(facts: Facts, n_relations: int) -> Queries:
    """Turn [N] facts into 2N queries: rows 0..N-1 ask for tails, rows N..2N-1 for heads of the same facts."""
    return Queries(
        subject=np.concatenate([facts.head, facts.tail]),
        relation=np.concatenate([facts.relation, facts.relation + n_relations]),
        answer=np.concatenate([facts.tail, facts.head]),
        start=np.tile(facts.start, 2),
        end=np.tile(facts.end, 2),
    )
