"""Synthetic graphs: counts, degrees, repeats and splits are as asked for, and the same seed gives the same bytes."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import load
from harness.data.making.synthetic import DEGREE_EXPONENT, Shape, synthesise
from harness.errors import UserError

SHAPES = st.builds(
    Shape,
    entities=st.integers(120, 240),
    facts=st.integers(1200, 2000),
    relations=st.integers(1, 30),
    seed=st.integers(0, 2**32),
    first=st.sampled_from(["-300", "1", "1500"]),
    last=st.just("2025"),
    recurrence=st.floats(0.2, 0.7),
)
COLUMNS = ["head", "relation", "tail", "start", "end"]


def read(folder: Path) -> dict[str, pd.DataFrame]:
    splits = ("train", "valid", "test")
    return {split: pd.read_csv(folder / f"{split}.txt", sep="\t", header=None, names=COLUMNS) for split in splits}


@settings(max_examples=12, deadline=None)
@given(SHAPES)
def test_counts_are_exact_and_no_fact_stands_twice(shape: Shape) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "graph"
        synthesise(folder, shape)
        splits = read(folder)
    each = round(shape.facts / 10)
    assert [len(part) for part in splits.values()] == [shape.facts - 2 * each, each, each]
    facts, train = pd.concat(splits), splits["train"]
    assert not facts.duplicated(COLUMNS[:4]).any()
    assert {*train["head"], *train["tail"]} == {f"e{k}" for k in range(shape.entities)} >= {*facts["head"]}
    assert {*train["relation"]} == {f"r{k}" for k in range(shape.relations)} == {*facts["relation"]}
    assert int(shape.first) <= facts["start"].min() <= facts["end"].max() <= 2025
    assert (facts["start"] <= facts["end"]).all()
    repeated = facts.duplicated(COLUMNS[:3]).mean()
    assert repeated == pytest.approx(shape.recurrence, abs=1 / shape.facts)


def test_a_seed_gives_the_same_bytes_and_check_finds_nothing(tmp_path: Path) -> None:
    shapes = [Shape(60, 900, 5, seed) for seed in (1, 1, 2)]
    digests = [synthesise(tmp_path / f"{k}", shape) for k, shape in enumerate(shapes)]
    assert digests[0] == digests[1] != digests[2]
    names = ("train.txt", "valid.txt", "test.txt", "dataset.toml")
    assert all((tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes() for name in names)
    graph = load(str(tmp_path / "0"))
    assert (graph.granularity, len(graph.entities), len(graph.relations)) == ("year", 60, 5)
    findings = {finding: sum(counts.values()) for finding, counts in graph.counts.items() if finding != "repeated"}
    assert not any(findings.values())


def test_degrees_fall_by_a_power_law_and_relations_by_that_of_zipf(tmp_path: Path) -> None:
    synthesise(tmp_path / "graph", Shape(6000, 60_000, 4, recurrence=0))
    facts = pd.concat(read(tmp_path / "graph"))
    counts = facts["relation"].value_counts()
    assert (counts["r0"] / counts[["r1", "r2", "r3"]]).to_numpy() == pytest.approx([2, 3, 4], rel=0.1)
    degrees = np.sort(facts["tail"].value_counts().to_numpy())[::-1]
    top = np.log(degrees[:301] / degrees[300])  # Hill's estimate, of the highest twentieth
    assert 1 + 1 / top[:300].mean() == pytest.approx(DEGREE_EXPONENT, abs=0.5)
    domains = facts.groupby("relation")["head"].nunique()
    assert domains["r3"] < 6000 / 4  # a relation has heads of its own
    points = facts["start"] == facts["end"]
    assert points[facts["relation"] == "r0"].all()
    assert not points[facts["relation"] == "r1"].all()


def test_days_are_written_as_days(tmp_path: Path) -> None:
    synthesise(tmp_path / "graph", Shape(60, 900, 5, first="2014-01-01", last="2014-12-31"))
    assert load(str(tmp_path / "graph")).granularity == "day"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"entities": 900}, "360 distinct triples cannot"),
        ({"entities": 5}, "too many for 5 entities"),
        ({"first": "2020", "last": "2010"}, "the earlier one first"),
        ({"first": "2020-01-01", "last": "2030"}, "two years or two days"),
        ({"first": "19##"}, "two years or two days"),
        ({"last": "soon"}, "is not a date"),
        ({"first": "2025"}, "too large for 1 times"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    tmp_path: Path, changed: dict[str, int | str], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        synthesise(tmp_path / "graph", replace(Shape(60, 900, 5), **changed))
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_and_one_without_a_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists; remove it"):
        synthesise(tmp_path, Shape(60, 900, 5))
    with pytest.raises(UserError, match="cannot be written: No such file"):
        synthesise(tmp_path / "no" / "graph", Shape(60, 900, 5))
