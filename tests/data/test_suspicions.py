"""What looks odd about data: said in plain words, refused where numbers would be wrong, accepted where it is meant."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.data import load
from harness.data.suspicions import KINDS, REFUSED, refuse, suspicions
from harness.errors import UserError

Write = Callable[..., Path]
PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text("utf-8")


def kinds(folder: Path) -> list[str]:
    return [one.kind for one in suspicions(load(str(folder)))]


def test_ordinary_data_are_not_suspicious(write: Write) -> None:
    assert suspicions(load(str(write()))) == []


@pytest.mark.parametrize(
    ("name", "difference"),
    [
        (" Rome", "spaces"),
        ("Rome\N{NO-BREAK SPACE}", "spaces"),
        ("Ro\N{ZERO WIDTH SPACE}me", "invisible characters"),
        ("\N{RIGHT-TO-LEFT MARK}Rome", "invisible characters"),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER R}ome", "Unicode form"),
        ("ROME", "case"),
    ],
)
def test_names_that_look_alike_are_refused(write: Write, name: str, difference: str) -> None:
    for column in (0, 2):
        row = ["cat", "sat on", "mat", "1996"]
        row[column] = name
        graph = load(str(write(valid=["\t".join(row)])))
        with pytest.raises(
            UserError, match=f"2 entities look like .* differ in {difference} alone.*--accept look-alikes"
        ):
            refuse(graph)
        assert "look-alikes" not in {one.kind for one in refuse(graph, ["look-alikes"])}


def test_names_in_lists_and_of_relations_that_look_alike_are_refused(write: Write) -> None:
    quoted = write("quoted", train=["a\tso-called 'x'\tb\t1990\t1991", "a\tso-called ‘x’\tb\t1990\t1992"])
    with pytest.raises(UserError, match=r"2 relations look like others, .* differ in quotation marks alone"):
        refuse(load(str(quoted)))
    row = ["0\t0\t1\t1990\t1991"]
    entities = "id\tname\tlabel\n0\tcaf\u00e9\t\n1\tcafe\u0301\t\n"
    with pytest.raises(UserError, match=r"'café' and 'cafe<U\+0301>', which differ in Unicode form"):
        refuse(load(str(write("listed", train=row, valid=row, test=row, entities_tsv=entities))))


@pytest.mark.parametrize("padding", ["0", "-1", "9999"])
def test_a_constant_fifth_column_is_refused(write: Write, padding: str) -> None:
    rows = {
        split: [f"a\tr\tb\t{year}\t{padding}"] for split, year in (("train", 1990), ("valid", 1991), ("test", 1992))
    }
    folder = write(**rows)
    with pytest.raises(UserError, match=rf"the fifth column is {padding} in all facts .*'python .* --columns 4'"):
        refuse(load(str(folder)))
    refuse(load(str(folder)), ["constant-end"])


def test_ends_that_are_none(write: Write) -> None:
    durations = [f"a\tr{k}\tb\t{1990 + k}\t{k % 7}" for k in range(20)]
    with pytest.raises(UserError, match=r"in 98 % of the facts the start is later than the end"):
        refuse(load(str(write("durations", train=durations, valid=["a\tr\tb\t1990\t1991"], test=durations))))
    open_ = [f"a\tr{k}\tb\t{1990 + k}\t" for k in range(20)]
    assert kinds(write("open", train=open_, valid=["a\tr\tb\t1990\t1991"], test=["a\tr\tb\t1990\t1992"])) == [
        "unknown-ends"
    ]


def test_odd_dates(write: Write) -> None:
    days = [f"a\tr{k}\tb\t2014-05-{1 + k % 28:02d}" for k in range(60)]
    assert kinds(write("lone", train=[*days, "a\tr\tb\t0214-05-01"], valid=days[:1], test=days[1:2])) == [
        "odd-dates",
        "leaked",
    ]
    mixed = write("mixed", train=[*days, "a\tr\tb\t2014"], valid=["a\tr\tc\t2014-05-03"], test=["a\tr\td\t2014-05-02"])
    assert kinds(mixed) == ["mixed-dates"]
    short = [f"a\tr{k}\tb\t{1 + k:02d}-05-14" for k in range(20)]
    with pytest.raises(UserError, match="22 of 22 dates are days of years before 100"):
        refuse(load(str(write("short", train=short, valid=["a\tr\tc\t04-05-14"], test=["a\tr\td\t05-05-14"]))))


def test_times_outside_training_and_facts_across_splits(write: Write) -> None:
    later = write(test=["bob\tlives in\tRome\t2030"])
    (line,) = suspicions(load(str(later)))
    assert line.text.startswith(
        "0 % of the validation and 100 % of the test times lie outside the span of the training"
    )
    steps = {"train": ["a\tr\tb\t0", "b\tr\tc\t30"], "valid": ["b\tr\ta\t0"], "test": ["a\tr\tb\t0"]}
    graph = load(str(write("steps", **steps)))
    assert [one.kind for one in suspicions(graph)] == ["steps", "leaked", "inverse"]
    assert (
        "100 % of the validation and 0 % of the test facts with head and tail exchanged" in suspicions(graph)[-1].text
    )


def test_one_entity_cannot_be_accepted(write: Write) -> None:
    row = ["a\tr\ta\t1990"]
    graph = load(str(write(train=row, valid=row, test=row)))
    with pytest.raises(UserError, match="has one entity only, so there is nothing to rank; give data with more"):
        refuse(graph, ["one-entity"])


def test_what_is_accepted_is_a_suspicion(write: Write) -> None:
    with pytest.raises(UserError, match=r"--accept lookalikes: there is no such suspicion, did you mean 'look-alikes'"):
        refuse(load(str(write())), ["lookalikes"])


def test_the_page_lists_them_all() -> None:
    section = PAGE[PAGE.index("\n## Suspicions\n") : PAGE.index("\n## Time\n")]
    listed = re.findall(r"^\| `([a-z0-9-]+)` \| (yes|)", section, re.M)
    assert listed == [(kind, "yes" if kind in REFUSED else "") for kind in KINDS]
