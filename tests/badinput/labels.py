"""Names and labels of data that a terminal, a spreadsheet, LaTeX or Typst would read as commands: shown as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.badinput.datasets import folder
from tests.badinput.place import Case, Place

#: harmless text, all of it
LABELS = {
    "markup of the terminal": "[bold red]x[/bold red]",
    "an end of markup": "[/]",
    "an end that was never begun": "[/bold]",
    "a link": "[link=https://example.org]x[/link]",
    "an emoji's name": ":smile:",
    "a formula": "=1+1",
    "a formula that calls": '=HYPERLINK("https://example.org","x")',
    "a sum": "+1+1",
    "a difference": "-1+1",
    "an at sign": "@SUM(1)",
    "DDE": "=cmd|' /C calc'!A0",
    "a quote": "'",
    "quotes of CSV": '"a","b"',
    "LaTeX": r"\input{/etc/passwd}",
    "LaTeX that writes": r"\immediate\write18{touch executed}",
    "a dollar": "$x$ 100% _a_ #1 {b} ~ ^",
    "Typst": '#read("/etc/passwd")',
    "Typst that panics": '#panic("x")',
    "a reference of Typst": "@ref <label>",
    "HTML": "<script>alert(1)</script>",
    "an entity of HTML": "&lt;b&gt;",
    "a template": "{{ 7 * 7 }} ${7*7} %s {0}",
    "SQL": "'; DROP TABLE studies; --",
    "a path": "../../outside/mine.txt",
    "a shell": "$(touch executed) `touch executed` ; touch executed",
    "Python": "__import__('os').mkdir('executed')",
    "another script": "東京 Ωμέγα ا",
    "a word like none": "None",
    "a word like NaN": "nan",
    "a number": "1e999",
}
#: a terminal that breaks no line
WIDE = {"COLUMNS": "500"}
#: what is there, and is shown as a replacement
HIDDEN = {
    "a change of direction": "a\u202eb",
    "an isolated direction": "a\u2066b",
    "no width": "a\u200bb",
    "a soft hyphen": "a\u00adb",
    "a byte order mark": "a\ufeffb",
    "a private letter": "a\ue000b",
    "a line separator": "a\u2028b",
}


def cases() -> Iterator[Case]:
    """All of them, as names of entities and relations and as labels."""
    describe = ("data", "describe", "./set")
    for name, text in LABELS.items():
        facts = f"{text}\t{text}\tRome\t1990\t1995\n"
        message = rf"{re.escape(text)} · {re.escape(text)} · Rome"
        yield Case(name, describe, message, folder(train=facts), code=0, env=WIDE)
    for name, text in HIDDEN.items():
        facts = f"{text}\tr\tRome\t1990\t1995\n"
        shown = "a b" if text == "a\u2028b" else "a\N{REPLACEMENT CHARACTER}b"
        yield Case(name, describe, f"{shown} · r · Rome", folder(train=facts), code=0)
    for name in ("an end of markup", "a formula", "LaTeX", "Typst"):
        text = LABELS[name]
        ids = dict.fromkeys(("train", "valid", "test"), "0\t0\t1\t1990\t1995\n")
        vocabularies = {
            "entities_tsv": f"id\tname\tlabel\n0\tQ1\t{text}\n1\tQ2\tRome\n",
            "relations_tsv": f"id\tname\tlabel\n0\tP1\t{text}\n",
        }
        build = folder(**ids, **vocabularies)
        yield Case(f"label: {name}", describe, rf"{re.escape(text)} · {re.escape(text)} · Rome", build, code=0)
    for name in ("[bold]x[", "[", "=1+1", "#panic", "$(touch executed)", "a b"):
        yield Case(f"folder {name!r}", ("data", "check", f"./{name}"), re.escape(name), renamed(name), code=0)


def renamed(name: str) -> object:
    """A good data set in a folder of that name."""

    def build(place: Place) -> None:
        folder()(place)
        (place.work / "set").rename(place.work / name)

    return build
