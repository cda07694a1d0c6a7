"""A distilled student as a thing of its own: load it, ask it, without PyTorch."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from harness.data import dates
from harness.data.graph import UNKNOWN, Ints, Vocabulary
from harness.data.timeline import Timeline
from harness.distill import gaps
from harness.errors import UserError
from harness.scratch import write_atomically
from harness.student.fileformat import StudentFile, parsed, read
from harness.student.queries import FORMULAS

if TYPE_CHECKING:
    import pandas as pd

#: a time as a user writes it: "1995", 1995, "2014-03-05", two of them for an interval, or None where it is not known
Time = str | int | None | tuple[str | int, str | int]
Known = Literal["mark", "leave out"]


@dataclass(frozen=True)
class Answer:
    """An entity as the answer to a question; ``known``: the student's known facts have it at that time."""

    rank: int
    entity: str
    label: str | None
    probability: float
    score: float
    known: bool


class Names:
    """Entities or relations by what people call them."""

    def __init__(self, vocabulary: Vocabulary, kind: str) -> None:
        self.vocabulary, self.kind = vocabulary, kind
        #: whether an unknown name gets the nearest ones, which takes a quarter of a second for 10,000
        self.hints = True

    def show(self, number: int) -> str:
        """The label, else the name."""
        return self.vocabulary.labels[number] or self.vocabulary.names[number]

    @cached_property
    def _by_name(self) -> dict[str, list[int]]:
        return _numbers(self.vocabulary.names)

    @cached_property
    def _by_label(self) -> dict[str, list[int]]:
        return _numbers(self.vocabulary.labels)

    @cached_property
    def _by_lower_case(self) -> dict[str, list[int]]:
        pairs = zip(self.vocabulary.names, self.vocabulary.labels, strict=True)
        return _numbers({_plain(text) for text in pair if text is not None} for pair in pairs)

    def number(self, text: str) -> int:
        """The id of a name or label; names come first, and small and capital letters count only where both occur.

        Raises:
            UserError: it is unknown (with the nearest ones), or several have that label.
        """
        plain = _plain(text)
        chosen = self._by_name.get(text) or self._by_label.get(text) or self._by_lower_case.get(plain)
        if not chosen:
            near = difflib.get_close_matches(plain, self._by_lower_case, n=3, cutoff=0.6) if self.hints else []
            names = [self.show(self._by_lower_case[one][0]) for one in near]
            hint = f"; did you mean {' or '.join(map(repr, names))}?" if names else ""
            raise UserError(f"{self.kind} {text[:80]!r}: the student knows none of that name{hint}")
        if len(chosen) > 1:
            names = [self.vocabulary.names[number] for number in chosen[:5]]
            raise UserError(f"{self.kind} {text[:80]!r}: {len(chosen)} have this name; say which: {', '.join(names)}")
        return chosen[0]


def _numbers(texts: Iterable[str | set[str] | None]) -> dict[str, list[int]]:
    """The positions of each text; several texts may share a position."""
    numbers: dict[str, list[int]] = {}
    for number, given in enumerate(texts):
        for text in {given} if isinstance(given, str) else given or ():
            numbers.setdefault(text, []).append(number)
    return numbers


def _plain(text: str) -> str:
    """A text without what people do not see or mind: letters of two codes as one, no capitals, no space around."""
    return unicodedata.normalize("NFC", text).casefold().strip()


class Student:
    """A student that answers: which entity completes (subject, relation, ?, time)?

    >>> Student.load("wiki.student").predict("Gothenburg", "twinned administrative body", at="1990")  # doctest: +SKIP
    """

    def __init__(self, content: StudentFile, where: str = "student") -> None:
        about = self.about = content.about
        if about.backbone not in FORMULAS:
            raise UserError(
                f"{where}: is of backbone {about.backbone!r}, for which there is no formula here; "
                "load the plugin that brings it with --plugin"
            )
        self.content, self.where = content, where
        self.entities, self.relations = Names(content.entities, "entity"), Names(content.relations, "relation")
        self.timeline = Timeline(about.granularity, content.times)
        self._table, self.known = content.tensors["entity.weight"], content.known
        self._try()

    def _try(self) -> None:
        """Ask one question at the ends of all tables, since the tensors may be those of another formula.

        Raises:
            UserError: they are.
        """
        last = len(self.timeline.last) if self.about.time_input == "classes" else self.timeline.n_tokens - 1
        relation, n = np.array([2 * len(self.content.relations) - 1]), len(self.content.entities)
        try:
            length = self._time(UNKNOWN, UNKNOWN).shape[1]
            asked = np.array([n - 1]), relation, np.full((1, length), last), np.array([UNKNOWN])
            fits = self.scores(*asked).shape == (1, n)
        except (KeyError, IndexError, ValueError, TypeError):
            fits = False
        if not fits:
            raise UserError(f"{self.where}: is damaged (not the tables of {self.about.backbone!r}); export it again")

    @classmethod
    def load(cls, path: str | Path) -> Student:
        """Read a student's file.

        Raises:
            UserError: the file is not there, damaged, of something else or of a newer version.
        """
        return cls(read(Path(path)), f"student {path}")

    @classmethod
    def from_bytes(cls, content: bytes) -> Student:
        """The student of a file's bytes.

        Raises:
            UserError: as `load`.
        """
        return cls(parsed(content))

    def save(self, path: str | Path) -> None:
        """Write the student's file; its name holds the old content or all of the new.

        Raises:
            OSError: it cannot be written.
        """
        write_atomically(Path(path), self.content.raw)

    def scores(self, subject: Ints, relation: Ints, time: Ints, start: Ints | None = None) -> NDArray[np.float32]:
        """Scores [B, E] of all entities for subjects [B], relations [B] (+ R for heads), times [B, L] as the backbone
        reads them (classes or tokens), and starts [B] of these times, which a student that looks facts up needs.

        Raises:
            ValueError: it has none of these.
            UserError: numbers of the file are so large that scores are none.
        """
        if self._lookup is not None and start is None:
            raise ValueError("start: a student that looks facts up needs the starts of times")
        with np.errstate(over="ignore", invalid="ignore"):
            z = self._scores(subject, relation, time)
            if self._lookup is not None and start is not None:
                of_student, of_gaps = self.content.tensors[gaps.MIX]
                weights = self.content.tensors[gaps.WEIGHTS]
                z = of_student * z + of_gaps * self._lookup.scores(weights, subject, relation, start)
        if not np.isfinite(z).all():
            raise UserError(f"{self.where}: is damaged (its scores are not finite); export it again")
        return z

    @cached_property
    def _lookup(self) -> gaps.Lookup | None:
        facts = self.content.looked_up
        return None if facts is None else gaps.Lookup(facts, len(self.content.entities), len(self.content.relations))

    def _scores(self, subject: Ints, relation: Ints, time: Ints) -> NDArray[np.float32]:
        formula = FORMULAS[self.about.backbone]
        query = formula(self.content.tensors, self._table[subject], relation, time)
        kernel, log_scale = self.about.kernel, self.content.tensors.get("log_scale")
        scale = np.float32(1) if log_scale is None else np.exp(log_scale)
        if kernel == "dot":
            return np.asarray(scale * (query @ self._table.T), np.float32)
        if kernel == "l1":
            return np.stack([-scale * np.abs(self._table - row).sum(1) for row in query]).astype(np.float32)
        squared = np.square(self._table).sum(1) - 2 * query @ self._table.T + np.square(query).sum(1)[:, None]
        return np.asarray(-scale * np.sqrt(np.maximum(squared, 1e-12)), np.float32)

    def answers(
        self, subject: str, relation: str, at: Time = None, *, k: int = 10, head: bool = False, known: Known = "mark"
    ) -> list[Answer]:
        """The best answers to (subject, relation, ?, at), or with ``head`` to (?, relation, subject, at).

        Args:
            subject: name or label of the entity that is given.
            relation: name or label.
            at: a year or a day as the data has them, a pair of them for an interval, None where it is not known.
            k: how many.
            head: ask for heads instead of tails.
            known: ``mark`` answers that the student's facts have at that time, or ``leave out`` these; probabilities
                are then those of the others alone.

        Raises:
            UserError: an unknown or ambiguous name, or a time that the student cannot know.
        """
        if k < 1:
            raise UserError(f"k {k}: is how many answers are wanted, 1 or more")
        if known not in get_args(Known):
            raise UserError(f"known {known!r}: choose one of {', '.join(get_args(Known))}")
        s, r = self.entities.number(subject), self.relations.number(relation)
        start, end = self.times(at)
        asked = r + head * len(self.content.relations)
        question = np.array([s]), np.array([asked]), self._time(start, end), np.array([start])
        scores = self.scores(*question)[0].astype(np.float64)
        is_known = np.zeros(len(scores), bool)
        is_known[self._known(s, r, head, start, end)] = True
        if known == "leave out":
            scores[is_known] = -np.inf
        z = scores / self.about.temperature
        weights = np.exp(z - z.max(where=np.isfinite(z), initial=-np.finfo(np.float64).max))
        probabilities = weights / max(weights.sum(), 1.0)  # the largest is 1, unless nothing is left
        best = np.argsort(-scores, kind="stable")[: min(k, int(np.isfinite(scores).sum()))]
        names, labels = self.content.entities.names, self.content.entities.labels
        return [
            Answer(rank, names[e], labels[e], float(probabilities[e]), float(scores[e]), bool(is_known[e]))
            for rank, e in enumerate(best.tolist(), start=1)
        ]

    def predict(
        self, subject: str, relation: str, at: Time = None, *, k: int = 10, head: bool = False, known: Known = "mark"
    ) -> pd.DataFrame:
        """`answers` as a data frame: rank, entity, label, probability, score, known."""
        import pandas as pd  # here, since the command line asks without it

        return pd.DataFrame([vars(one) for one in self.answers(subject, relation, at, k=k, head=head, known=known)])

    def times(self, at: Time) -> tuple[int, int]:
        """Start and end of a time as the student counts them; ``UNKNOWN`` where it is not known.

        Raises:
            UserError: it is no time, of another granularity, outside of what the student was trained on, or not given
                where every fact has one.
        """
        if at is None:
            facts = self.known
            if len(facts) and not ((facts.start == UNKNOWN) & (facts.end == UNKNOWN)).any():
                raise UserError("time: every fact that the student was trained on has one; give it, such as --at 1995")
            return UNKNOWN, UNKNOWN
        ends = at if isinstance(at, tuple | list) else (at, at)
        if len(ends) != 2:
            raise UserError(f"time {at}: an interval has a start and an end")
        start, end = (self._point(str(point).strip()) for point in ends)
        if start > end:
            raise UserError(f"time {at}: ends before it begins")
        return start, end

    def _point(self, text: str) -> int:
        unit, example = ("year", "1995") if self.about.granularity == "year" else ("day", "2014-03-05")
        try:
            time = dates.parse(text, self.about.granularity)
        except ValueError:
            time = UNKNOWN
        if time == UNKNOWN or (self.about.granularity == "year" and text.lstrip("-").count("-")):
            raise UserError(f"time {text[:40]!r}: this student knows {unit}s; write one as {example}")
        first, last = self.about.first_time, self.about.last_time
        if first is not None and last is not None and not first <= time <= last:
            span = " to ".join(dates.show(one, self.about.granularity) for one in (first, last))
            raise UserError(f"time {text[:40]!r}: is outside of what the student was trained on, {span}")
        return time

    def _time(self, start: int, end: int) -> NDArray[np.int64]:
        view = self.timeline.classes if self.about.time_input == "classes" else self.timeline.tokens
        points = view(np.array([start, end]))
        return points.reshape(1, -1)

    def _known(self, subject: int, relation: int, head: bool, start: int, end: int) -> NDArray[np.int64]:
        """Entities that complete the question by a known fact whose interval may overlap its own."""
        facts = self.known
        given, answer = (facts.tail, facts.head) if head else (facts.head, facts.tail)
        lo, hi = facts.valid_time()
        overlaps = (start == UNKNOWN) | ((lo <= end) & (hi >= start))
        return np.asarray(answer[(given == subject) & (facts.relation == relation) & overlaps])


def table(answers: Sequence[Answer]) -> list[tuple[Any, ...]]:
    """Rows for a terminal: rank, name, label, probability, and whether the answer is known."""
    labels = ["" if a.label in (None, a.entity) else str(a.label) for a in answers]
    return [
        (a.rank, a.entity, label, f"{a.probability:.3f}", "known" if a.known else "")
        for a, label in zip(answers, labels, strict=True)
    ]
