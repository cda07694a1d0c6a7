"""What is odd about a data set, counted: nothing here is an error, all of it changes how numbers are read."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import pandas as pd

from harness.data.graph import SPLITS, UNKNOWN, Facts, Granularity, Ints, Suspicion, TemporalGraph, Vocabulary

#: what each finding of ``TemporalGraph.counts`` means; the last two count names, the others facts
FINDINGS = {
    "swapped": "start later than end (swapped)",
    "missing_start": "start unknown, end known",
    "missing_end": "end unknown, start known",
    "timeless": "neither start nor end known",
    "duplicates": "repeats a fact of the same split",
    "leaked": "also a fact of an earlier split (leaked)",
    "repeated": "a triple of train, at another time",
    "unseen_entities": "entities that no train fact names",
    "unseen_relations": "relations that no train fact names",
}


@dataclass(frozen=True, eq=False)
class RawGraph:
    """What reading yields: valid facts, not yet looked at as a whole. ``swapped`` counts them by split."""

    entities: Vocabulary
    relations: Vocabulary
    granularity: Granularity
    splits: dict[str, Facts]
    swapped: dict[str, int]
    remarks: tuple[Suspicion, ...] = ()
    about: str = ""


def build(name: str, raw: RawGraph) -> TemporalGraph:
    """Put the facts in order, count what the checks find, and take the digest."""
    splits = {split: raw.splits[split].in_order() for split in SPLITS}
    known = raw.granularity, raw.entities, raw.relations
    train, valid, test = splits.values()
    counts = _counts(splits, raw.swapped)
    return TemporalGraph(name, *known, train, valid, test, _digest(*known, splits), counts, raw.remarks, raw.about)


def differences(graph: TemporalGraph, other: TemporalGraph) -> str:
    """How many facts, names and labels of two copies of a data set differ, in words."""
    counts: dict[str, int] = {}
    for split, facts in graph.splits.items():
        both = [Counter(zip(*(column.tolist() for column in of.columns.values()), strict=True))
                for of in (facts, other.splits[split])]  # fmt: skip
        counts[f"{split} facts"] = max((both[0] - both[1]).total(), (both[1] - both[0]).total())
    for kind in ("entities", "relations"):
        here, there = getattr(graph, kind), getattr(other, kind)
        counts[f"names of {kind}"] = sum(a != b for a, b in zip_longest(here.names, there.names))
        pairs = list(zip_longest(here.labels, there.labels))
        counts[f"labels of {kind}"] = sum(a != b and None not in (a, b) for a, b in pairs)
        counts[f"labels of {kind} here alone"] = sum(a is not None and b is None for a, b in pairs)
        counts[f"labels of {kind} there alone"] = sum(a is None and b is not None for a, b in pairs)
    differing = [f"{count:,} {what}" for what, count in counts.items() if count]
    return f"differing: {', '.join(differing)}" if differing else "all facts, names and labels are equal"


def _digest(granularity: Granularity, entities: Vocabulary, relations: Vocabulary, splits: dict[str, Facts]) -> str:
    digest = hashlib.sha256(granularity.encode())
    for vocabulary in (entities, relations):
        digest.update(f"\x1d{len(vocabulary)}".encode())
        for name, label in zip(vocabulary.names, vocabulary.labels, strict=True):
            # names and labels hold no control characters, so these separators cannot be forged
            digest.update(f"\x1e{name}\x1f{'' if label is None else label}".encode())
    for split, facts in splits.items():
        digest.update(f"\x1d{split}{len(facts)}\x1e".encode())
        for column in facts.columns.values():
            digest.update(np.ascontiguousarray(column, "<i8").tobytes())
    return digest.hexdigest()


def _counts(splits: dict[str, Facts], swapped: dict[str, int]) -> dict[str, dict[str, int]]:
    frame = pd.concat([pd.DataFrame(facts.columns) for facts in splits.values()], ignore_index=True)
    triples = frame.groupby(["head", "relation", "tail"], sort=False).ngroup().to_numpy()
    facts = frame.groupby(list(frame.columns), sort=False).ngroup().to_numpy()
    ends = np.cumsum([len(part) for part in splits.values()])
    counts: dict[str, dict[str, int]] = {finding: {} for finding in FINDINGS}
    train = splits["train"]
    for (split, part), end in zip(splits.items(), ends, strict=True):
        span, earlier, in_train = slice(end - len(part), end), slice(end - len(part)), slice(len(train))
        no_start, no_end = part.start == UNKNOWN, part.end == UNKNOWN
        counts["swapped"][split] = swapped[split]
        counts["missing_start"][split] = int((no_start & ~no_end).sum())
        counts["missing_end"][split] = int((no_end & ~no_start).sum())
        counts["timeless"][split] = int((no_start & no_end).sum())
        counts["duplicates"][split] = len(part) - int(np.count_nonzero(np.bincount(facts[span])))
        if split == "train":
            continue
        repeated = np.isin(triples[span], triples[in_train]) & ~np.isin(facts[span], facts[in_train])
        counts["leaked"][split] = int(np.isin(facts[span], facts[earlier]).sum())
        counts["repeated"][split] = int(repeated.sum())
        entities, trained = (np.concatenate([f.head, f.tail]) for f in (part, train))
        counts["unseen_entities"][split] = _new(entities, trained)
        counts["unseen_relations"][split] = _new(part.relation, train.relation)
    return counts


def _new(ids: Ints, known: Ints) -> int:
    """How many ids there are that are not known."""
    is_new = np.zeros(1 + max(ids.max(initial=-1), known.max(initial=-1)), bool)
    is_new[ids], is_new[known] = True, False
    return int(np.count_nonzero(is_new))
