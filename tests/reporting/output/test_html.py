"""The HTML page: all that the PDF has and the folded tables, nothing from outside, and no text that acts."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from harness.reporting.claims import PAPER
from harness.reporting.output.document import (
    Block,
    Command,
    Detail,
    Document,
    Figure,
    Findings,
    Pairs,
    Section,
    Text,
    Verdicts,
    filled,
)
from harness.reporting.output.figures import figure
from harness.reporting.output.html import page
from harness.reporting.output.tables import Cell, Row, Table

ATTACK = "<script>alert(1)</script> <img src=x onerror=alert(1)> \"' & </style>"


class Seen(HTMLParser):
    """Tags with their attributes, and the text outside style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def values(self, name: str) -> list[str | None]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def drawn(path: Path) -> bool:
    with figure(path, 1) as (axes,):
        axes.plot([0, 1])
    return True


def content(folder: Path, *blocks: Block) -> dict[str, object]:
    return filled(Document("a", ATTACK, ATTACK, blocks, pd.DataFrame()), folder, PAPER)


@pytest.fixture
def blocks() -> list[Block]:
    cells = (
        Cell(ATTACK, ATTACK, strong=True),
        Cell("better"),
        Cell("4\N{NO-BREAK SPACE}min\N{NO-BREAK SPACE}05\N{NO-BREAK SPACE}s"),
    )
    blank = (Cell(""), Cell("worse"), Cell("−1.4"))
    table = Table(
        "What was measured. And how", (ATTACK, "verdict", "time"), "lpr", (Row(cells), Row(blank, rule=True)), ATTACK
    )
    figures = [Figure("f", drawn, ATTACK), Figure("none", lambda _: False, "x")]
    claim = {"id": "C1", "text": ATTACK, "lines": [{"case": "TTransE", "verdict": "supported", "reason": ATTACK}]}
    return [
        Findings([ATTACK]),
        Verdicts([claim]),
        Section(ATTACK, [table, Detail(table), *figures], case="TTransE, YAGO11k"),
        Section("empty", ["", Pairs([]), Table("", (), "", ())]),
        Section("end", [Text(ATTACK, ATTACK), Pairs([[ATTACK, ATTACK]], 3), Command(ATTACK)]),
    ]  # fmt: skip


def test_nothing_comes_from_outside_and_no_text_acts(blocks: list[Block], tmp_path: Path) -> None:
    seen = Seen(page(content(tmp_path, *blocks), tmp_path))
    tags = [tag for tag, _ in seen.tags]
    assert [tags.count(name) for name in ("script", "style", "img", "link", "iframe")] == [1, 1, 1, 0, 0]
    assert all(str(source).startswith("data:image/png;base64,iVBOR") for source in seen.values("src"))
    assert seen.values("href") == [PAPER["url"]]
    assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")]
    assert "default-src 'none'" in str(seen.values("content"))


def test_it_has_all_blocks_and_leaves_out_empty_ones(blocks: list[Block], tmp_path: Path) -> None:
    seen = Seen(page(content(tmp_path, *blocks), tmp_path))
    text = "".join(seen.words)
    assert text.count("onerror=alert(1)") >= 12
    assert "What was measured (TTransE, YAGO11k). And how" in text
    assert "empty" not in text
    tags = [tag for tag, _ in seen.tags]
    assert [tags.count(name) for name in ("table", "details", "figure", "pre", "dl", "th")] == [2, 1, 1, 1, 1, 6]
    assert PAPER["id"] in text
    assert PAPER["title"] in text


def test_columns_sort_by_seconds_and_a_blank_first_cell_by_the_one_above(blocks: list[Block], tmp_path: Path) -> None:
    sorts = Seen(page(content(tmp_path, *blocks), tmp_path)).values("data-sort")
    assert sorts[:6] == [ATTACK, "better", "245.0", ATTACK, "worse", "−1.4"]
