"""What the checks count, against loops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import UNKNOWN, Facts, Vocabulary, load
from harness.data.checks import FINDINGS, RawGraph, build

TIME = st.sampled_from([UNKNOWN, 1990, 1991])
ROW = st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 3), TIME, TIME)
SPLIT = st.lists(ROW, min_size=1, max_size=8)


@settings(max_examples=100, deadline=None)
@given(train=SPLIT, valid=SPLIT, test=SPLIT)
def test_counts_are_those_of_loops(
    as_facts: Callable[..., Facts], train: list[tuple], valid: list[tuple], test: list[tuple]
) -> None:
    splits = {"train": train, "valid": valid, "test": test}
    names = Vocabulary(("a", "b", "c", "d"), (None,) * 4)
    raw = RawGraph(
        names, names, "year", {split: as_facts(rows) for split, rows in splits.items()}, dict.fromkeys(splits, 5)
    )
    counts = build("small", raw).counts
    assert list(counts) == list(FINDINGS)
    earlier: list[tuple] = []
    for split, rows in splits.items():
        assert counts["swapped"][split] == 5
        assert counts["missing_start"][split] == sum(s == UNKNOWN != e for *_, s, e in rows)
        assert counts["missing_end"][split] == sum(e == UNKNOWN != s for *_, s, e in rows)
        assert counts["timeless"][split] == sum(s == e == UNKNOWN for *_, s, e in rows)
        assert counts["duplicates"][split] == sum(row in rows[:k] for k, row in enumerate(rows))
        if split != "train":
            triples = [row[:3] for row in train]
            assert counts["leaked"][split] == sum(row in earlier for row in rows)
            assert counts["repeated"][split] == sum(row[:3] in triples and row not in train for row in rows)
            named = {entity for h, _, t, *_ in train for entity in (h, t)}
            assert counts["unseen_entities"][split] == len({e for h, _, t, *_ in rows for e in (h, t)} - named)
            assert counts["unseen_relations"][split] == len({row[1] for row in rows} - {row[1] for row in train})
        earlier += rows
    assert {split for finding in ("leaked", "repeated", "unseen_entities") for split in counts[finding]} == {
        "valid",
        "test",
    }


def test_leakage_is_found_after_swapping(write: Callable[..., Path]) -> None:
    graph = load(str(write(train=["a\tr\tb\t1990\t1995"], valid=["a\tr\tb\t1995\t1990"], test=["a\tr\tb\t1990\t1996"])))
    assert graph.counts["leaked"] == {"valid": 1, "test": 0}
    assert graph.counts["repeated"] == {"valid": 0, "test": 1}


@given(rows=st.lists(ROW, max_size=20))
def test_facts_are_in_order_and_whole(as_facts: Callable[..., Facts], rows: list[tuple]) -> None:
    ordered = as_facts(rows).in_order()
    table = np.stack(list(ordered.columns.values()), axis=1).tolist()
    assert table == sorted(map(list, rows), key=lambda row: (row[3], row[4], *row[:3]))


def test_the_digest_sees_the_granularity(as_facts: Callable[..., Facts]) -> None:
    names = Vocabulary(("a",), (None,))
    splits = {split: as_facts([(0, 0, 0, 1990, 1991)]) for split in ("train", "valid", "test")}
    graphs = [
        build("small", RawGraph(names, names, granularity, splits, dict.fromkeys(splits, 0)))
        for granularity in ("year", "day")
    ]
    assert graphs[0].digest != graphs[1].digest
