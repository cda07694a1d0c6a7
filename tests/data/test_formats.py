"""Formats of the field, read as they come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.data import UNKNOWN, TemporalGraph, load
from harness.data.suspicions import suspicions
from harness.errors import UserError
from tests.data.named import facts

Write = Callable[..., Path]
STEPS = {"train": ["0\t1\t2\t0\t0", "3\t0\t1\t24\t0"], "valid": ["1\t0\t2\t48\t0"], "test": ["2\t1\t0\t72\t0"]}


def read(folder: Path, **files: str) -> TemporalGraph:
    """A folder's graph, with these files beside; ``_`` stands for the dot of their names."""
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content, "utf-8")
    return load(str(folder))


def test_steps_with_stat_and_names_as_of_renet(write: Write) -> None:
    graph = read(
        write(**STEPS),
        stat_txt="5\t2\t0",
        entity2id_txt="Oslo\t1\nRome \t0\nann\t2\nbob\t3\nnobody\t4\n",
        relation2id_txt="lives in\t0\nleft\t1\n",
    )
    assert graph.granularity == "step"
    assert graph.entities.names == ("Rome ", "Oslo", "ann", "bob", "nobody")
    assert graph.entities.labels[0] == "Rome"
    assert facts(graph) == [("Rome ", "left", "ann", 0, 0), ("bob", "lives in", "Oslo", 24, 24)]
    assert [one.kind for one in suspicions(graph)] == ["outside"]
    assert graph.about == "whole numbers with stat.txt, as of RE-Net"

    four = {split: [line.rpartition("\t")[0] for line in lines] for split, lines in STEPS.items()}
    plain = read(write("plain", **four), stat_txt="5 2")
    assert facts(plain) == [("0", "1", "2", 0, 0), ("3", "0", "1", 24, 24)]
    assert len(plain.entities) == 5
    assert not any(plain.entities.labels)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"stat_txt": "3\t2\t0"}, r"train.txt, line 2, column 1: '3' is not an id of stat.txt \(0 to 2\)"),
        ({"stat_txt": "many"}, r"stat.txt, line 1: begins with two numbers"),
        ({"stat_txt": "4\t2", "entity2id_txt": "3\na\t0\nb\t1\nc\t2\n"}, "says 4 entities, and entity2id.txt lists 3"),
        ({"entity2id_txt": "a\t0\nb\t0\n"}, "entity2id.txt, line 2: id 0 is also that of line 1"),
        ({"entity2id_txt": "a\t0\nb\t7\n"}, "entity2id.txt, line 2: id 7 where 0 to 1 are expected"),
        ({"entity2id_txt": "a\t0\na\t1\n"}, "entity2id.txt, line 2: the name 'a' is also that of id 0"),
        ({"entity2id_txt": "a\tzero\n"}, "entity2id.txt, line 1, column 2: 'zero' is no id"),
    ],
)
def test_lists_that_do_not_fit_are_refused(write: Write, files: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(write(**STEPS), **files)


def test_names_beside_a_list_of_ids_are_names(write: Write) -> None:
    assert read(write(), entity2id_txt="ann\t0\n").digest == load(str(write("plain"))).digest


def test_facts_since_and_until_as_of_mmkb(write: Write) -> None:
    graph = read(
        write(
            train=[
                "<Ann_Lee>\t<livesIn>\t<Rome>",
                '<Ann_Lee>\t<livesIn>\t<Oslo>\t<occursSince>\t"1996-##-##"^^xsd:date',
                "<Bob>\t<livesIn>\t<Rome>\toccursUntil\t2001-03-04",
            ]
        )
    )
    assert facts(graph) == [
        ("<Ann_Lee>", "<livesIn>", "<Rome>", UNKNOWN, UNKNOWN),
        ("<Bob>", "<livesIn>", "<Rome>", UNKNOWN, 2001),
        ("<Ann_Lee>", "<livesIn>", "<Oslo>", 1996, UNKNOWN),
    ]
    assert graph.entities.labels[graph.entities.names.index("<Ann_Lee>")] == "Ann Lee"
    with pytest.raises(UserError, match=r"train.txt, line 2: head, relation, tail, or the three with occursSince"):
        load(str(write("broken", train=["a\tr\tb\toccursSince\t1990", "a\tr\tb\t1990"])))


def test_a_header_names_the_columns(write: Write) -> None:
    folder = write(train=None)
    header = "Object, Since, note 2, Subject, Predicate, Until\n"
    rows = 'Rome,1990,"a, ""b""", "Lee, Ann",lives in,\nOslo, ,x , Bob ,lives in , 2001\n'
    (folder / "train.csv").write_text(header + rows, "utf-8")
    graph = load(str(folder))
    assert facts(graph) == [("Bob", "lives in", "Oslo", UNKNOWN, 2001), ("Lee, Ann", "lives in", "Rome", 1990, UNKNOWN)]
    assert "columns Subject, Predicate, Object, Since, Until; left out: note 2" in graph.about

    for number, (text, message) in enumerate(
        (
            ("subject,predicate,object\n", "line 1: has no column 'date'|line 1: has no column 'start'"),
            ("person,predicate,object,from,to\na,r,b,1990,1991\n", "line 1: has no column 'head' .or subject, "),
            ("subject,predicate,thing,when\na,r,b,1990\n", "line 1: has no column 'tail'"),
            ("person\tpredicate\tobject\tfrom\tto\na\tr\tb\t1990\t1991\n", "line 1: has no column 'head'"),
            ("subject,predicate,object,date\na,r,b\n", r"line 2: 3 column\(s\) where the header has 4"),
            ('subject,predicate,object,date\na,r,"b,1990\n', "line 2: has a quotation mark that is not closed"),
        )
    ):
        wrong = write(f"wrong{number}", train=None)
        (wrong / "train.csv").write_text(text, "utf-8")
        with pytest.raises(UserError, match=rf"train.csv, {message}"):
            load(str(wrong))


@pytest.mark.parametrize("separator", [",", ";"])
def test_commas_without_a_header_and_files_without_a_suffix(write: Write, separator: str) -> None:
    folder = write(train=None, valid=None)
    (folder / "train.csv").write_text(f"ann{separator}lives in{separator}Rome{separator}1990\n", "utf-8")
    (folder / "dev").write_text("ann\tlives in\tOslo\t1991\n", "utf-8")
    (folder / "test.txt").rename(folder / "icews_2014_test.txt")
    graph = load(str(folder))
    assert facts(graph) == [("ann", "lives in", "Rome", 1990, 1990)]
    assert facts(graph, "valid") == [("ann", "lives in", "Oslo", 1991, 1991)]
    (folder / "icews_2015_test.txt").write_text("", "utf-8")
    with pytest.raises(UserError, match=r"has both icews_2014_test.txt and icews_2015_test.txt; keep one of them"):
        load(str(folder))


@pytest.mark.parametrize("token", ["31-12-1999", "##-##-1999", "12-1999"])
def test_a_date_whose_year_comes_last_is_refused(write: Write, token: str) -> None:
    with pytest.raises(
        UserError, match=f"line 2, column 4: '{token}' is not a date .its year comes last; write YYYY-MM-DD"
    ):
        load(str(write(train=["a\tr\tb\t1998", f"a\tr\tb\t{token}"])))


def test_one_odd_date_does_not_turn_days_into_years(write: Write) -> None:
    days = [f"a\tr\tb\t2014-05-0{k}" for k in (1, 2, 3)]
    with pytest.raises(UserError, match=r"test.txt, line 1, column 4: '-2014-05-04' is before the year 1, where the"):
        load(str(write(train=days, valid=days, test=["a\tr\tb\t-2014-05-04"])))
