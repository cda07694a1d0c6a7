"""The public data sets, as their description counts them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.data import UNKNOWN, TemporalGraph, load
from harness.data.registry import find

RealData = Callable[[str], TemporalGraph]

DIGESTS = {
    "yago": "89df6d97c1dff00da62a0f65f19b01607dd2244d002e9a8b1090cab5ef5de00e",
    "wiki": "71a4e3882107def90cef5bd25b8ccf2e7374b5e53ce80c678156ec251df45eef",
    "icews14": "008514a88c9dcb414e71362497140181b8653fef8525f260e9fcb22c9c91383d",
    "icews05-15": "d3450982e83e1f55382b410dbb7dd33c3f60087e27287f786bc8643b1c8f68a6",
}


@pytest.mark.parametrize(
    ("name", "facts", "entities", "relations", "granularity"),
    [
        ("yago", [16_408, 2_050, 2_051], 10_623, 10, "year"),
        ("wiki", [32_497, 4_062, 4_062], 12_554, 24, "year"),
        ("icews14", [72_826, 8_941, 8_963], 7_128, 230, "day"),
        ("icews05-15", [368_962, 46_275, 46_092], 10_488, 251, "day"),
    ],
)
def test_sizes(
    real_data: RealData, name: str, facts: list[int], entities: int, relations: int, granularity: str
) -> None:
    graph = real_data(name)
    assert [len(part) for part in graph.splits.values()] == facts
    assert (len(graph.entities), len(graph.relations)) == (entities, relations)
    assert graph.granularity == granularity
    assert graph.digest == DIGESTS[name]
    assert graph.counts["leaked"] == {"valid": 0, "test": 0}
    assert graph.counts["unseen_relations"] == {"valid": 0, "test": 0}


def test_missing_ends_of_yago(real_data: RealData) -> None:
    counts = real_data("yago").counts
    assert counts["missing_end"]["test"] == 793
    assert counts["missing_start"] == {"train": 0, "valid": 0, "test": 0}
    assert sum(counts["swapped"].values()) == 70


def test_missing_ends_repetitions_and_labels_of_wiki(real_data: RealData) -> None:
    graph = real_data("wiki")
    assert graph.counts["missing_end"]["test"] == 324
    assert graph.counts["missing_start"]["test"] == 56
    assert round(100 * graph.counts["repeated"]["test"] / len(graph.test), 1) == 29.6
    assert sum(label is not None for label in graph.entities.labels) == 8_634


def test_spans(real_data: RealData) -> None:
    for name, n_days in (("icews14", 365), ("icews05-15", 4_017)):
        graph = real_data(name)
        days = np.unique(np.concatenate([part.start for part in graph.splits.values()]))
        assert len(days) == n_days
        assert days[-1] - days[0] == n_days - 1
    yago = real_data("yago").train
    assert yago.start[yago.start != UNKNOWN].min() == -431


@pytest.mark.parametrize("name", ["icews14", pytest.param("icews05-15", marks=pytest.mark.slow)])
def test_icews_in_another_order_of_lines_is_the_same(real_data: RealData, name: str, tmp_path: Path) -> None:
    digest = real_data(name).digest
    folder = find(name)
    assert folder is not None
    copy = tmp_path / name
    copy.mkdir()
    for path in folder.glob("*.txt"):
        content = path.read_bytes().splitlines(keepends=True)
        random.Random(0).shuffle(content)
        (copy / path.name).write_bytes(b"".join(content))
    assert load(name, tmp_path).digest == digest


@pytest.mark.parametrize("name", ["yago", "wiki"])
def test_a_download_without_names_is_the_same_graph(real_data: RealData, name: str, tmp_path: Path) -> None:
    """The public repositories have train, valid and test only: the ids must mean the same entities."""
    graph = real_data(name)
    folder = find(name)
    assert folder is not None
    for split in graph.splits:
        (tmp_path / f"{split}.txt").write_bytes((folder / f"{split}.txt").read_bytes())
    bare = load(str(tmp_path))
    assert (len(bare.entities), len(bare.relations)) == (len(graph.entities), len(graph.relations))
    assert bare.counts == graph.counts
    for split, part in graph.splits.items():
        for column, array in part.columns.items():
            assert np.array_equal(bare.splits[split].columns[column], array)
