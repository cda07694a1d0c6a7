"""What a report says, before anything is written: one content, from which the PDF and the HTML page are made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting.output.tables import Table


@dataclass(frozen=True)
class Text:
    """A paragraph; ``lead``: its first words, in bold."""

    text: str
    lead: str = ""


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure.

    Attributes:
        name: of its files in ``figures/``, without suffix.
        draw: draws it into files of a path, with suffixes .pdf and .png (`harness.reporting.output.figures.figure`);
            False: there is nothing to draw, and the figure is left out.
        caption: below it.
    """

    name: str
    draw: Callable[[Path], bool]
    caption: str


@dataclass(frozen=True, eq=False)
class Detail:
    """A table that the HTML page shows folded, and the PDF leaves to the files beside it."""

    table: Table


@dataclass(frozen=True)
class Findings:
    """What was found, a sentence or two each."""

    sentences: Sequence[str]


@dataclass(frozen=True)
class Verdicts:
    """Claims, each {id, text, lines}, with a line {case, verdict, reason} a case."""

    claims: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Pairs:
    """Names and values; ``columns`` > 1: settings, in small print and in so many columns."""

    items: Sequence[Sequence[str]]
    columns: int = 1


@dataclass(frozen=True)
class Command:
    """A command line."""

    line: str


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        title: its heading.
        blocks: what it shows, in order; text alone is a paragraph.
        case: what its tables and figures are about, such as "TTransE, YAGO11k": their captions end with it.
        together: whether it stays on one page, if it fits.
        small: whether it is in small print.
    """

    title: str
    blocks: Sequence[Block] = ()
    case: str = ""
    together: bool = False
    small: bool = False


Block = str | Text | Table | Figure | Detail | Findings | Verdicts | Pairs | Command | Section


@dataclass(frozen=True, eq=False)
class Document:
    """A report.

    Attributes:
        name: the PDF and the tables are named after it.
        title: of the report.
        subtitle: below it.
        blocks: what it says, from the findings to how it was made.
        trials: whose latest start is the date of the PDF: that of the data, not of the typesetting.
        frames: by the end of their files' names: a tidy frame, and the kind of display table that shows it or None.
        tables: display tables by backbone and kind, for LaTeX.
        files: further tables by the name of their files, with what shows them by backbone, for LaTeX.
        template: the path of a Typst file of one's own, which reads the same content; None: the package's.
    """

    name: str
    title: str
    subtitle: str
    blocks: Sequence[Block]
    trials: pd.DataFrame
    frames: Mapping[str, tuple[pd.DataFrame, str | None]] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Table]] = field(default_factory=dict)
    files: Mapping[str, tuple[pd.DataFrame, Sequence[tuple[str, Table]]]] = field(default_factory=dict)
    template: Path | None = None


def filled(document: Document, folder: Path, paper: Mapping[str, str]) -> dict[str, Any]:
    """The content of a report as JSON values; its figures are drawn into ``folder``."""
    return {
        "title": document.title,
        "subtitle": document.subtitle,
        "paper": dict(paper),
        "blocks": [*_blocks(document.blocks, folder, "")],
    }


def _blocks(blocks: Iterable[Block], folder: Path, case: str) -> Iterator[dict[str, Any]]:
    for block in blocks:
        if (shown := _block(block, folder, case)) is not None:
            yield shown


def _block(block: Block, folder: Path, case: str) -> dict[str, Any] | None:
    """A block as JSON values; None: there is nothing to show."""
    match block:
        case str() if block:
            return {"kind": "text", "lead": "", "text": block}
        case Text(text, lead):
            return {"kind": "text", "lead": lead, "text": text}
        case Table():
            return {"kind": "table", "detail": False} | _table(block, case) if block.rows else None
        case Detail(table):
            return {"kind": "table", "detail": True} | _table(table, case) if table.rows else None
        case Figure():
            path = folder / "figures" / block.name
            if not block.draw(path):
                return None
            return {"kind": "figure", "path": f"figures/{path.name}", "caption": _about(block.caption, case)}
        case Findings(sentences):
            return {"kind": "findings", "sentences": [*sentences]} if sentences else None
        case Verdicts(claims):
            return {"kind": "verdicts", "claims": [dict(claim) for claim in claims]} if claims else None
        case Pairs(items, columns):
            return {"kind": "pairs", "items": [[*item] for item in items], "columns": columns} if items else None
        case Command(line):
            return {"kind": "command", "line": line} if line else None
        case Section():
            inner = [*_blocks(block.blocks, folder, block.case or case)]
            kept = {"title": block.title, "together": block.together, "small": block.small}
            return {"kind": "section", "blocks": inner} | kept if inner else None
    return None


def _table(table: Table, case: str) -> dict[str, Any]:
    return asdict(replace(table, caption=_about(table.caption, case)))


def _about(caption: str, case: str) -> str:
    """A caption that names its case after its first sentence: "Test results (TTransE, YAGO11k). Bold: ..."."""
    if not case:
        return caption
    first, _, others = caption.removesuffix(".").partition(". ")
    ends = "." if caption.endswith(".") or others else ""
    return f"{first} ({case}){ends}{f' {others}.' if others else ''}"


def file_name(backbone: str, position: int) -> str:
    """A backbone as part of a file's name: safe, whatever it is called."""
    return re.sub(r"[^a-z0-9-]+", "-", backbone.lower()).strip("-") or f"backbone-{position}"
