"""Reading a folder: what is accepted, and the one line that says what is wrong."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.data import UNKNOWN, load
from harness.errors import UserError
from tests.data.named import facts

Write = Callable[..., Path]
ENTITIES = "id\tname\tlabel\n0\tQ1\tRome\n1\tQ2\t\n2\tQ3\tann\n"
RELATIONS = "id\tname\tlabel\n0\tP1\tlives in\n"


def test_five_columns_are_names_and_an_interval(write: Write) -> None:
    graph = load(str(write()))
    assert graph.name.startswith("mine@")
    assert graph.granularity == "year"
    assert graph.entities.names == graph.entities.labels == ("Oslo", "Rome", "ann", "bob")
    assert facts(graph) == [("ann", "lives in", "Rome", 1990, 1995), ("bob", "lives in", "Oslo", 2001, UNKNOWN)]
    assert facts(graph, "valid") == [("ann", "lives in", "Oslo", 1996, 1999)]
    assert facts(graph, "test") == [("bob", "lives in", "Rome", UNKNOWN, 2000)]


def test_four_columns_have_one_date(write: Write) -> None:
    graph = load(str(write(train=["a\tr\tb\t2014-05-13"], valid=["a\tr\tb\t2014-05-14"], test=["b\tr\ta\t0001-01-02"])))
    assert graph.granularity == "day"
    assert facts(graph) == [("a", "r", "b", 735366, 735366)]
    assert facts(graph, "test") == [("b", "r", "a", 2, 2)]
    assert graph.counts["swapped"] == {"train": 0, "valid": 0, "test": 0}


def test_ids_are_those_of_the_vocabulary_files(write: Write) -> None:
    folder = write(
        train=["2\t0\t0\t1990\t1995"],
        valid=["2\t0\t1\t1996\t"],
        test=["2\t0\t1\t\t"],
        entities_tsv=ENTITIES,
        relations_tsv=RELATIONS,
    )
    graph = load(str(folder))
    assert graph.entities.names == ("Q1", "Q2", "Q3")
    assert graph.entities.labels == ("Rome", None, "ann")
    assert facts(graph) == [("Q3", "P1", "Q1", 1990, 1995)]
    assert facts(graph, "test") == [("Q3", "P1", "Q2", UNKNOWN, UNKNOWN)]


def test_ids_whose_vocabulary_did_not_come_along_are_numbers_in_order_without_labels(write: Write) -> None:
    numbers = [f"{k}\t{k % 2}\t{k + 1}\t1990\t1991" for k in range(10)]
    graph = load(str(write(train=numbers, valid=["0\t0\t2\t1990\t1991"], test=["3\t1\t2\t1990\t1991"])))
    assert graph.entities.names == tuple(map(str, range(11)))  # not "0", "1", "10", "2" ...
    assert graph.entities.labels == (None,) * 11
    assert graph.train.head.tolist() == list(range(10))


def test_a_number_among_names_is_a_name(write: Write) -> None:
    graph = load(str(write(train=["1984\twritten by\tOrwell\t1949\t1949", "ann\tlives in\tRome\t1990\t1991"])))
    assert "1984" in graph.entities.labels


def test_a_start_after_its_end_is_swapped_and_counted(write: Write) -> None:
    graph = load(str(write(train=["a\tr\tb\t1995\t1990", "a\tr\tc\t-40\t-50", "a\tr\td\t####\t1900"])))
    assert facts(graph) == [
        ("a", "r", "d", UNKNOWN, 1900),
        ("a", "r", "c", -50, -40),
        ("a", "r", "b", 1990, 1995),
    ]
    assert graph.counts["swapped"] == {"train": 2, "valid": 0, "test": 0}


MARKUP = ["[bold]x[/bold]", "<b>&amp;</b>", "{0} %s $HOME", "naïve \u200eΩ 東京", "'\"`;--", "a,b;c"]


def test_names_are_taken_as_they_are(write: Write) -> None:
    graph = load(str(write(train=[f"{name}\t[red]\tRome\t1990\t1991" for name in MARKUP])))
    assert {head for head, *_ in facts(graph)} == set(MARKUP)


def test_any_suffix_and_mixed_widths(write: Write, tmp_path: Path) -> None:
    folder = write(train=["a\tr\tb\t1990"], valid=None)
    (folder / "valid.tsv").write_text("a\tr\tc\t1990\t1991\n")
    (folder / "test.txt").rename(folder / "test.csv")
    assert facts(load(str(folder)), "valid") == [("a", "r", "c", 1990, 1991)]


# --- what does not matter -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(lambda text: b"\xef\xbb\xbf" + text, id="byte order mark"),
        pytest.param(lambda text: text.rstrip(b"\n"), id="no newline at the end"),
        pytest.param(lambda text: text.replace(b"\n", b"\n\n\n"), id="empty lines"),
        pytest.param(lambda text: b"\n".join(reversed(text.split(b"\n"))), id="another order"),
        pytest.param(lambda text: text.replace(b"-##-##", b""), id="bare years"),
        pytest.param(lambda text: text.replace(b"1990-##-##", b"01990"[1:] + b"-07-##"), id="months among years"),
    ],
)
def test_the_digest_does_not_see_the_format(
    write: Write, lines: Mapping[str, list[str]], change: Callable[[bytes], bytes]
) -> None:
    plain = load(str(write("plain")))
    changed = {split: change("".join(f"{line}\n" for line in part).encode()) for split, part in lines.items()}
    other = load(str(write("changed", **changed)))
    assert other.digest == plain.digest
    assert facts(other) == facts(plain)


def test_the_digest_does_not_see_whether_one_date_is_written_twice(write: Write) -> None:
    four = load(str(write("four", train=["a\tr\tb\t1990"])))
    five = load(str(write("five", train=["a\tr\tb\t1990\t1990"])))
    assert four.digest == five.digest


NAMES = st.sampled_from("abcde")
ROWS = st.lists(
    st.tuples(NAMES, NAMES, NAMES, st.integers(1990, 1999), st.integers(1990, 1999)), min_size=2, max_size=8
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, seed=st.integers(0, 999), data=st.data())
def test_the_digest_sees_every_fact_and_no_order(
    write: Write, rows: list[tuple], seed: int, data: st.DataObject
) -> None:
    def digest(part: list[tuple]) -> str:
        return load(str(write(train=["\t".join(map(str, row)) for row in part]))).digest

    expected = digest(rows)
    assert digest(random.Random(seed).sample(rows, len(rows))) == expected
    k, column = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, 4))
    row = list(rows[k])
    row[column] = "z" if column < 3 else 2005
    assert digest([*rows[:k], tuple(row), *rows[k + 1 :]]) != expected
    assert digest(rows + rows[:1]) != expected
    assert digest(rows[1:]) != expected


def test_the_digest_sees_splits_labels_and_granularity(write: Write, lines: Mapping[str, list[str]]) -> None:
    ids = {"train": ["0\t0\t1\t1990\t1991"], "valid": ["0\t0\t1\t1992\t1993"], "test": ["0\t0\t1\t1994\t1995"]}
    listed = write("listed", **ids, entities_tsv=ENTITIES, relations_tsv=RELATIONS)
    relabelled = write("b", **ids, entities_tsv=ENTITIES.replace("Rome", "Roma"), relations_tsv=RELATIONS)
    renamed = write("c", **ids, entities_tsv=ENTITIES.replace("Q3", "Q4"), relations_tsv=RELATIONS)
    digests = [load(str(folder)).digest for folder in (listed, relabelled, renamed)]
    digests.append(load(str(write("d", **ids))).digest)
    digests.append(load(str(write("e", valid=lines["test"], test=lines["valid"]))).digest)
    digests.append(load(str(write("f"))).digest)
    assert len(set(digests)) == len(digests)


# --- what is refused ------------------------------------------------------------------------------------------------

GOOD = "ann\tlives in\tRome\t1990\t1995\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            GOOD + "ann\tlives in\tRome\n", r"line 2: 3 column\(s\) where 5, as above, are needed", id="short"
        ),
        pytest.param(GOOD + "a\tb\tc\t1990\n", r"line 2: 4 column\(s\) where 5, as above, are needed", id="mixed"),
        pytest.param(
            "a\tb\tc\td\te\tf\n", r"line 1: 6 column\(s\) where 4 or 5 are needed, separated by tabs", id="long"
        ),
        pytest.param("a,b,c,1990\n", r"line 1: 1 column\(s\) where 4 or 5", id="commas"),
        pytest.param(GOOD + "   \n", r"line 2: 1 column", id="spaces"),
        pytest.param(GOOD + "\n" + GOOD + "x\n", "line 4: 1 column", id="line numbers count empty lines"),
        pytest.param(GOOD + "ann\tlives in\tRome\t1990\tsoon\n", "line 2, column 5: 'soon' is not a date", id="date"),
        pytest.param(GOOD + "ann\tlives in\tRome\t19900\t\n", "line 2, column 4: '19900' is not a date", id="year"),
        pytest.param(GOOD + "\tlives in\tRome\t1990\t\n", "line 2, column 1: '' is no name", id="no head"),
        pytest.param(GOOD + "ann\t\tRome\t1990\t\n", "line 2, column 2: '' is no name", id="no relation"),
        pytest.param(GOOD + "ann\tlives in\t\t1990\t\n", "line 2, column 3: '' is no name", id="no tail"),
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"\n\r\n\n", "is empty", id="empty lines only"),
        pytest.param(b"\xef\xbb\xbf", "is empty", id="byte order mark only"),
        pytest.param(b"\x89PNG\r\n\x1a\n\x00\x00", "is a binary file", id="binary"),
        pytest.param(GOOD.encode("utf-16"), "is a binary file", id="UTF-16"),
        pytest.param((GOOD * 2 + "é\n").encode("latin-1"), "line 3: is not UTF-8 text", id="latin-1"),
        pytest.param(b"\x1f\x8b\x08\x08\xff\xfe", "line 1: is not UTF-8 text", id="compressed"),
        pytest.param(GOOD + "a\x1b[2Jb\tr\tc\t1990\t\n", "line 2: contains a control character", id="escape sequence"),
        pytest.param(GOOD + "a\x9bb\tr\tc\t1990\t\n", "line 2: contains a control character", id="C1 control"),
        pytest.param(GOOD.replace("\n", "\r") * 2, "line 1: contains a control character", id="CR alone"),
        pytest.param(
            GOOD + "a" * 20_001 + "\tr\tb\t1990\t\n", "line 2: is longer than 20,000 characters", id="oversized"
        ),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_malformed_file_is_refused_with_its_place(
    write: Write, split: str, content: str | bytes, message: str
) -> None:
    folder = write(**{split: content})
    with pytest.raises(UserError, match=f"^{re.escape(str(folder / split))}.txt(, |: ){message}"):
        load(str(folder))


def test_a_day_that_is_not_in_the_calendar_is_refused_with_its_place(write: Write) -> None:
    days = ["a\tr\tb\t2014-05-13"]
    folder = write(train=days * 3 + ["a\tr\tb\t2014-02-29"], valid=days, test=days)
    with pytest.raises(UserError, match=r"train.txt, line 4, column 4: '2014-02-29' is not a day of the calendar: day"):
        load(str(folder))


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_missing_split_is_named(write: Write, split: str) -> None:
    folder = write(**{split: None})
    with pytest.raises(UserError, match=f"^{re.escape(str(folder))}: no {split}.txt .* needs train, valid and test"):
        load(str(folder))


@pytest.mark.parametrize("token", ["3", "-1", "01", "1.0", "Q1", "", "99999999999999999999"])
def test_an_id_out_of_range_is_refused_with_its_place(write: Write, token: str) -> None:
    rows = ["0\t0\t1\t1990\t", f"0\t0\t{token}\t1990\t"]
    folder = write(train=rows, valid=rows[:1], test=rows[:1], entities_tsv=ENTITIES, relations_tsv=RELATIONS)
    with pytest.raises(
        UserError, match=rf"train.txt, line 2, column 3: '{token}' is not an id of entities.tsv \(0 to 2\)"
    ):
        load(str(folder))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0\tQ1\tRome\n", "line 1: the first line must be: id, name, label"),
        ("id\tname\tlabel\n0\tQ1\tRome\n2\tQ2\tOslo\n", "line 3: id '2' where 1 is expected"),
        ("id\tname\tlabel\n0\tQ1\tRome\n1\tQ1\tOslo\n", "line 3: the name 'Q1' is also that of id 0"),
        ("id\tname\tlabel\n0\t\tRome\n", "line 2: has no name"),
        ("id\tname\tlabel\n", "lists nothing"),
        ("id\tname\n0\tQ1\n", r"line 1: 2 column\(s\) where 3 are needed"),
        ("", "is empty"),
    ],
)
def test_a_malformed_vocabulary_is_refused_with_its_place(write: Write, content: str, message: str) -> None:
    folder = write(train=["0\t0\t0\t1990\t"], entities_tsv=content)
    with pytest.raises(UserError, match=f"entities.tsv(, |: ){message}"):
        load(str(folder))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.text("a0179#-\t\n\r\ufeff", max_size=60).map(str.encode))
def test_any_content_is_read_or_refused(write: Write, content: bytes) -> None:
    reason = ""
    try:
        graph = load(str(write(train=content)))
    except UserError as error:
        reason = str(error)
    if reason:
        assert "train.txt" in reason
        return
    known = (graph.train.start != UNKNOWN) & (graph.train.end != UNKNOWN)
    assert np.all(graph.train.start[known] <= graph.train.end[known])
    assert np.all((graph.train.head >= 0) & (graph.train.head < len(graph.entities)))


# --- a folder as data set -------------------------------------------------------------------------------------------


def test_a_folder_is_named_by_its_path(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write("wiki")
    monkeypatch.chdir(folder.parent)
    for name in ("./wiki", "wiki/", str(folder), f"../{folder.parent.name}/wiki"):
        graph = load(name)
        assert (graph.name.partition("@")[0], len(graph.train)) == ("wiki", 2)
    monkeypatch.chdir(folder)
    assert load(".").name.startswith("wiki@")


def test_a_path_that_is_no_folder(write: Write) -> None:
    with pytest.raises(UserError, match="no such folder; give a folder with train, valid and test files"):
        load("./nowhere")
    with pytest.raises(UserError, match=r"unknown data set 'aaa"):
        load("a" * 5000)
    with pytest.raises(UserError, match=r"train.txt': is not a folder; give a folder"):
        load(str(write() / "train.txt"))


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        UserError, match=r"unknown data set 'Wikki': did you mean 'wiki'\? \(one of: .*; or give a folder"
    ):
        load("Wikki")
