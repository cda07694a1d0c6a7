"""What makes data look other than they were meant: said in plain words, and refused where numbers would be wrong."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from harness.data.dates import show
from harness.data.graph import UNKNOWN, Facts, Ints, Suspicion, TemporalGraph, Vocabulary
from harness.errors import UserError, nearest

#: suspicions by name, for --accept; those that a study refuses unless they are accepted come first
KINDS = {
    "one-entity": "there is nothing to rank",
    "look-alikes": "names that differ in spaces, invisible characters, Unicode form, quotation marks or case alone",
    "constant-end": "the same end in all facts, which may be padding",
    "swapped-ends": "start later than end in more than 90 % of the facts",
    "two-digit-years": "days of years before 100, which may be years of two digits or dates that begin with the day",
    "no-names": "numbers for names and no labels, where a language model is to read them",
    "unknown-ends": "no known end in more than 90 % of the facts",
    "steps": "years that begin at 0, which may be steps",
    "mixed-dates": "dates that name a day beside dates that do not",
    "odd-dates": "dates far from all others",
    "outside": "times of validation or test facts outside the span of the training facts",
    "leaked": "facts of validation or test that are in an earlier split, too",
    "inverse": "facts of validation or test that training has with head and tail exchanged",
}
REFUSED = tuple(KINDS)[:6]
#: shares of facts from which on a suspicion is worth a line
_MOST, _SOME = 0.9, 0.01
_PREPARE = "python -m harness.data prepare"
_QUOTES = str.maketrans("‘’ʼ`´′“”„«»″", "''''''" + '""""""')


def spaced(name: str) -> str:
    """A name with single spaces, and none around it."""
    return " ".join(name.split())


def visible(name: str) -> str:
    """A name without characters that nobody sees: of no width, or for the direction of writing."""
    return "".join(c for c in name if unicodedata.category(c) != "Cf")


def composed(name: str) -> str:
    """A name in Unicode's form NFKC, in which letters that look alike are one."""
    return unicodedata.normalize("NFKC", name)


def quoted(name: str) -> str:
    """A name with the quotation marks of a typewriter."""
    return name.translate(_QUOTES)


#: how names may differ that look alike; the last is not one that `clean` removes
_DIFFERENCES: dict[str, Callable[[str], str]] = {
    "spaces": spaced,
    "invisible characters": visible,
    "Unicode form": composed,
    "quotation marks": quoted,
    "case": str.casefold,
}


def clean(name: str) -> str:
    """A name as all are that look like it; names that differ in case stay apart.

    >>> clean(" Zu\\u0308rich\\u200b "), clean("Rock ’n’  Roll")
    ('Zürich', "Rock 'n' Roll")
    """
    for change in (quoted, spaced) if name.isascii() and name.isprintable() else (visible, composed, quoted, spaced):
        name = change(name)
    return name


def suspicions(graph: TemporalGraph) -> list[Suspicion]:
    """All that looks odd about a data set, what a study refuses first."""
    if len(graph.entities) < 2:
        return [Suspicion("one-entity", "has one entity only, so there is nothing to rank; give data with more")]
    named = {"entities": graph.entities, "relations": graph.relations}
    looks = [line for kind, vocabulary in named.items() for line in _look_alikes(kind, vocabulary)]
    suspected = [*looks, *graph.remarks, *_times(graph), *_across_splits(graph)]
    return sorted(suspected, key=lambda one: list(KINDS).index(one.kind))


def refuse(graph: TemporalGraph, accepted: Collection[str] = (), *, language: bool = False) -> list[Suspicion]:
    """Refuse data that would give wrong numbers, unless that was accepted; return what else is suspicious.

    ``language``: whether a language model reads the names.

    Raises:
        UserError: names the suspicion and what to do about it.
    """
    if unknown := next((kind for kind in accepted if kind not in KINDS), None):
        raise UserError(f"--accept {unknown}: there is no such suspicion, {nearest(unknown, KINDS)}")
    suspected = suspicions(graph)
    if language and not any(graph.entities.labels):
        text = "its entities are mere numbers, and a language model has nothing to read; add names in entities.tsv"
        source = "" if "@" in graph.name else f" ('python -m harness.data fetch {graph.name} --labels' gets them)"
        suspected.append(Suspicion("no-names", f"{text}{source}, or take arms without L2 and L3"))
    open_ = [one for one in suspected if one.kind not in accepted or one.kind == "one-entity"]
    for one in open_:
        if one.kind in REFUSED:
            meant = "" if one.kind == "one-entity" else f"; if that is meant: --accept {one.kind}"
            raise UserError(f"data set {graph.name!r}: {one.text}{meant}")
    return open_


def _look_alikes(kind: str, vocabulary: Vocabulary) -> Iterator[Suspicion]:
    groups: dict[str, list[str]] = {}
    for name in vocabulary.names:
        groups.setdefault(clean(name).casefold(), []).append(name)
    alike = [names for names in groups.values() if len(names) > 1]
    if alike:
        one, other = alike[0][:2]
        count = sum(map(len, alike))
        remedy = f"'{_PREPARE} --clean' makes one of them" if clean(one) == clean(other) else "correct the file"
        yield Suspicion(
            "look-alikes",
            f"{count:,} {kind} look like others, such as {_shown(one)} and {_shown(other)}, which differ in "
            f"{_difference(one, other)} alone; {remedy}",
        )


def _difference(one: str, other: str) -> str:
    for difference, change in _DIFFERENCES.items():
        one, other = change(one), change(other)
        if one == other or spaced(one) == spaced(other):
            return difference
    return "several of these"


def _label(vocabulary: Vocabulary, k: int) -> str:
    return _shown(vocabulary.labels[k] or vocabulary.names[k])


def _shown(name: str) -> str:
    """A name between quotation marks, with what nobody sees as its number in Unicode."""
    seen = "".join(c if c.isprintable() and not unicodedata.combining(c) else f"<U+{ord(c):04X}>" for c in name)
    return f"'{seen if len(seen) <= 60 else seen[:60] + '...'}'"


def of_columns(start: Ints, end: Ints) -> Iterator[Suspicion]:
    """What looks odd about two columns of times [N] of all splits, as they stand in the files."""
    known = end[end != UNKNOWN]
    both = (start != UNKNOWN) & (end != UNKNOWN)
    if len(known) and (known == known[0]).all() and len(known) == len(end) and len(np.unique(start)) > 1:
        yield Suspicion(
            "constant-end",
            f"the fifth column is {known[0]} in all facts and would be their end; if it is padding, "
            "'python -m harness.data prepare --columns 4' leaves it out",
        )
    elif both.any() and (swapped := float((start > end)[both].mean())) > _MOST:
        yield Suspicion(
            "swapped-ends",
            f"in {_percent(swapped)} of the facts the start is later than the end; is the fifth column an end? "
            "'python -m harness.data prepare --columns 4' leaves it out",
        )
    unknown = float((end == UNKNOWN).mean())
    if unknown > _MOST:
        yield Suspicion("unknown-ends", f"{_percent(unknown)} of the facts have no known end, and may hold ever since")


def _times(graph: TemporalGraph) -> Iterator[Suspicion]:
    parts = [np.concatenate([facts.start, facts.end]) for facts in graph.splits.values()]
    times = np.concatenate(parts)
    times = np.sort(times[times != UNKNOWN])
    if not len(times):
        return
    if graph.granularity == "year" and times[0] == 0 and len(np.unique(times)) > 1:
        yield Suspicion(
            "steps",
            f"times are whole numbers from 0 to {times[-1]} and read as years; if they are steps, "
            "'python -m harness.data prepare --time-unit 1day' (or 15min ...) says so",
        )
    if lone := _lone(times):
        shown = show(lone[-1], graph.granularity)
        yield Suspicion("odd-dates", f"{len(lone):,} date(s) are very far from all others, such as {shown}")
    known = parts[0][parts[0] != UNKNOWN]
    outside = [_outside(part[part != UNKNOWN], known) for part in parts[1:]]
    if any(outside):
        yield Suspicion(
            "outside",
            f"{_both(outside)} times lie outside the span of the training facts, and read as its first or last class",
        )


def _outside(times: Ints, span: Ints) -> float:
    return float(((times < span.min()) | (times > span.max())).mean()) if len(times) and len(span) else 0.0


def _lone(times: Ints) -> list[int]:
    """The distinct times at either end of sorted ones, some thousandths of them at most, that a gap larger than the
    span of the others parts from these."""
    most = len(times) // 500 + 2  # a fact that has one date has it twice
    if len(times) < 50:
        return []
    lone: list[int] = []
    for sign in (1, -1):
        outward = np.sort(sign * times)
        gaps, spans = np.diff(outward[: most + 1]), outward[-1 - most] - outward[1 : most + 1]
        if len(wide := np.flatnonzero(gaps > np.maximum(spans, 10))):
            lone += (sign * outward[: wide[-1] + 1]).tolist()
    return sorted(set(lone))


def _across_splits(graph: TemporalGraph) -> Iterator[Suspicion]:
    parts = {"valid": graph.valid, "test": graph.test}
    leaked = [graph.counts["leaked"][split] / max(len(part), 1) for split, part in parts.items()]
    if max(leaked) >= _SOME:
        yield Suspicion("leaked", f"{_both(leaked)} facts are in an earlier split, too")
    exchanged, relations = zip(*(_exchanged(part, graph.train) for part in parts.values()), strict=True)
    if max(exchanged) >= _SOME:
        yield Suspicion(
            "inverse",
            f"training has {_both(exchanged)} facts with head and tail exchanged, at the same time (most often "
            f"{_label(graph.relations, relations[1])}): who knows the one knows the other",
        )


def _both(shares: Sequence[float]) -> str:
    of_valid, of_test = map(_percent, shares)
    return f"{of_valid} of the validation and {of_test} of the test"


def _exchanged(split: Facts, train: Facts) -> tuple[float, int]:
    """The share of facts that training has with head and tail exchanged, by any relation, and their chief relation."""
    keys = ["head", "tail", "start", "end"]
    seen = pd.DataFrame(train.columns).rename(columns={"head": "tail", "tail": "head"})
    seen = seen.loc[seen["head"] != seen["tail"], keys].drop_duplicates()
    both = pd.DataFrame(split.columns).merge(seen, on=keys)
    relation = both["relation"].mode()
    return len(both) / max(len(split), 1), int(relation.iloc[0]) if len(relation) else 0


def of_dates(looks: Mapping[tuple[bool, bool], int], *, by_day: bool) -> Iterator[Suspicion]:
    """What looks odd about dates, counted as of `harness.data.dates.looks`; ``by_day``: they are read as days."""
    known = sum(looks.values())
    named = sum(count for (has_day, _), count in looks.items() if has_day)
    short = looks.get((True, True), 0)
    if named and 2 * short > known:
        yield Suspicion(
            "two-digit-years", f"{short:,} of {known:,} dates are days of years before 100; write years as YYYY"
        )
    if by_day and named < known:
        yield Suspicion(
            "mixed-dates",
            f"{known - named:,} of {known:,} dates do not name their day, as most do: they read as unknown",
        )
    elif not by_day and 10 * named >= known > named:
        yield Suspicion(
            "mixed-dates", f"{_percent(named / known)} of the dates name their day; most do not, so all read as years"
        )


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.4g} %"
