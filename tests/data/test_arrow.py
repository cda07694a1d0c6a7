"""Tables that Arrow reads are what reading line by line gives; what it does not take is read line by line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.data.formats import arrow, text
from harness.errors import UserError

WIDTHS = (4, 5)


@pytest.fixture(autouse=True)
def _every_file_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_LARGE", 0)


TOKENS = st.sampled_from(["", "a", "NA", '"', '"b"', "\\", "ü", "東京", " c ", "1", "-1", "b,c", "#", "\u00a0", "null"])
ROWS = st.integers(4, 5).flatmap(
    lambda width: st.lists(st.lists(TOKENS, min_size=width, max_size=width), min_size=1, max_size=8)
)
ODD = [b"", b"\n", b"\0", b"\r", b"\x0b", b"\x1f", b"\x7f", "\u0085".encode(), b"\xff", b"\t", b"\n\n", b"x" * 30_000]


def line_by_line(path: Path) -> text.Columns:
    rows = ((number, line.split("\t")) for number, line in text.lines_of(path))
    return text.columns(path, rows, WIDTHS)


def shown(columns: text.Columns) -> list[tuple[Sequence[str], list[int]]]:
    return [(list(one.distinct), one.codes.tolist()) for one in columns.fields]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, st.booleans(), st.booleans())
def test_a_plain_table_is_read_as_line_by_line(tmp_path: Path, rows: list[list[str]], mark: bool, ended: bool) -> None:
    path = tmp_path / "facts.txt"
    body = "\n".join("\t".join(row) for row in rows) + "\n" * ended
    path.write_bytes(b"\xef\xbb\xbf" * mark + body.encode())
    read = arrow.dictionaries(path.read_bytes(), WIDTHS, 20_000)
    assert read is not None
    slowly, quickly = line_by_line(path), text.read_columns(path, WIDTHS)
    assert shown(quickly) == shown(slowly)
    assert list(quickly.lines) == list(slowly.lines)
    assert [one.texts() for one in quickly.fields] == list(zip(*rows, strict=True))


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("place", [0, 1, 12, 13, 26])
def test_what_is_odd_is_read_or_refused_as_line_by_line(tmp_path: Path, odd: bytes, place: int) -> None:
    content = b"a\tr\tb\t1990\n" + b"a\tr\tc\t1991\n"
    path = tmp_path / "facts.txt"
    path.write_bytes(content[:place] + odd + content[place:])
    results = []
    for read in (line_by_line, lambda path: text.read_columns(path, WIDTHS)):
        try:
            columns = read(path)
            results.append((shown(columns), list(columns.lines)))
        except UserError as error:
            results.append((str(error), []))
    assert results[0] == results[1]


def test_an_error_names_the_first_line_that_has_it(tmp_path: Path) -> None:
    path = tmp_path / "facts.txt"
    path.write_text("a\tr\tb\t1\na\tr\tb\tx\na\tr\tb\ty\na\tr\tb\tx\n", "utf-8")
    with pytest.raises(UserError, match="line 2, column 4: invalid literal"):
        text.read_columns(path, WIDTHS).convert(3, int)
