"""What is odd about a data set, counted: nothing here is an error, all of it changes how numbers are read."""

from __future__ import annotations

import hashlib

import numpy as np

from harness.data.graph import UNKNOWN, Facts, Ints, TemporalGraph
from harness.data.reading import RawGraph

#: what each count of ``TemporalGraph.counts`` means
MEANING = {
    "swapped_intervals": "facts whose start was later than their end (swapped)",
    "missing_starts": "facts without a start",
    "missing_ends": "facts without an end",
    "timeless_facts": "facts without any time",
    "duplicates": "facts that repeat one of the same split",
    "leaked_valid": "validation facts that are also training facts, time included",
    "leaked_test": "test facts that are also training or validation facts, time included",
    "repeated_test_triples": "test facts whose (h, r, t) occurs in training with another time",
    "unseen_entities": "entities of validation or test that no training fact names",
    "unseen_relations": "relations of validation or test that no training fact names",
    "unlabelled_entities": "entities without a label",
}


def build(name: str, raw: RawGraph) -> TemporalGraph:
    """Count what the checks find and take the digest: SHA-256 over all that a model could see."""
    return TemporalGraph(
        name=name,
        granularity=raw.granularity,
        entities=raw.entities,
        relations=raw.relations,
        **raw.splits,
        digest=_digest(raw),
        counts=_counts(raw),
    )


def _columns(facts: Facts) -> list[Ints]:
    return [facts.head, facts.relation, facts.tail, facts.start, facts.end]


def _digest(raw: RawGraph) -> str:
    digest = hashlib.sha256(raw.granularity.encode())
    for vocabulary in (raw.entities, raw.relations):
        for name, label in zip(vocabulary.names, vocabulary.labels, strict=True):
            digest.update(f"{name}\x1f{label if label is not None else chr(0)}\x1e".encode())
    for split, facts in raw.splits.items():
        digest.update(split.encode())
        for column in _columns(facts):
            digest.update(np.ascontiguousarray(column, "<i8").tobytes())
    return digest.hexdigest()


def _row_set(facts: Facts, width: int) -> set[bytes]:
    rows = np.ascontiguousarray(np.stack(_columns(facts)[:width], axis=1))
    return set(rows.view(f"V{8 * width}").ravel().tolist())


def _counts(raw: RawGraph) -> dict[str, int]:
    train, valid, test = (raw.splits[split] for split in ("train", "valid", "test"))
    splits = (train, valid, test)
    exact = [_row_set(facts, 5) for facts in splits]
    triples, test_triples = _row_set(train, 3), np.ascontiguousarray(np.stack(_columns(test)[:3], axis=1))
    of_test = test_triples.view("V24").ravel().tolist()
    exact_test = np.ascontiguousarray(np.stack(_columns(test), axis=1)).view("V40").ravel().tolist()

    def missing(start: bool, end: bool) -> int:
        return sum(int((((f.start == UNKNOWN) == start) & ((f.end == UNKNOWN) == end)).sum()) for f in splits)

    def unseen(columns: tuple[int, ...]) -> int:
        seen = {int(x) for c in columns for x in np.unique(_columns(train)[c])}
        asked = {int(x) for f in (valid, test) for c in columns for x in np.unique(_columns(f)[c])}
        return len(asked - seen)

    return {
        "swapped_intervals": raw.swapped,
        "missing_starts": missing(True, False),
        "missing_ends": missing(False, True),
        "timeless_facts": missing(True, True),
        "duplicates": sum(len(f) - len(rows) for f, rows in zip(splits, exact, strict=True)),
        "leaked_valid": len(exact[1] & exact[0]),
        "leaked_test": len(exact[2] & (exact[0] | exact[1])),
        "repeated_test_triples": sum(
            t in triples and e not in exact[0] for t, e in zip(of_test, exact_test, strict=True)
        ),
        "unseen_entities": unseen((0, 2)),
        "unseen_relations": unseen((1,)),
        "unlabelled_entities": sum(label is None for label in raw.entities.labels),
    }
