"""A report as one HTML page that needs nothing beside it: no network, no other file.

It is made from the content that the PDF is made from (`harness.reporting.output.document.filled`). Tables can be sorted
by a click on their header, and some that the PDF leaves out are folded.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

#: what verdicts are coloured with, by word
_CLASSES = {
    "supported": "good",
    "better": "good",
    "contradicted": "bad",
    "worse": "bad",
    "mixed": "mixed",
    "partly supported": "mixed",
}
_ALIGNED = {"r": "right", "c": "center"}

_STYLE = """
body{font:16px/1.5 Georgia,'Libertinus Serif',serif;color:#1b1b1b;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem;line-height:1.2;margin-bottom:.2rem}h2{font-size:1.35rem;margin-top:2.2rem}
h3{font-size:1.1rem}.quiet,.note,.extra,caption,figcaption{color:#5f5f5f}.note,.paper,figcaption{font-size:.85rem}
.findings{background:#f4f4f1;padding:.7rem 1rem .7rem 2rem;border-radius:3px}.findings li{margin:.4rem 0}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;border-top:2px solid;border-bottom:2px solid}
caption{text-align:left;font-size:.9rem;padding:.4rem 0}td,th{padding:.15rem .5rem;text-align:left;vertical-align:top}
thead{border-bottom:1px solid}th{cursor:pointer;white-space:pre-line}tr.rule td{border-top:1px solid #c9c9c9}
.extra{font-size:.8em;white-space:nowrap}.right{text-align:right}.center{text-align:center}
.good{color:#00704f}.bad{color:#b34700}.mixed{color:#7a4a9e}.verdict{border:1px solid;border-radius:3px;padding:0 .3rem;
font-size:.85rem;font-weight:600}img{max-width:100%;height:auto}figure{margin:1.2rem 0}code{font-size:.85rem}
pre{background:#f4f4f1;padding:.5rem;overflow-x:auto}dl{display:grid;grid-template-columns:max-content 1fr;
gap:.1rem 1rem;font-size:.85rem}dt{color:#5f5f5f}dd{margin:0;overflow-wrap:anywhere}
dl.settings{font-family:monospace;font-size:.75rem}
"""

# numbers sort as numbers, with the minus, the separators and the units of the report; others by the alphabet
_SCRIPT = """
const value=c=>{const t=(c.dataset.sort||'').replace(/\\u2212/g,'-').replace(/,/g,'').replace(/^[<\\u00b1#]\\s*/,'');
const n=parseFloat(t);return Number.isNaN(n)?t:n};
document.querySelectorAll('th').forEach(th=>th.addEventListener('click',()=>{
const body=th.closest('table').tBodies[0],k=th.cellIndex,down=th.dataset.down==='1';th.dataset.down=down?'0':'1';
[...body.rows].sort((a,b)=>{const x=value(a.cells[k]),y=value(b.cells[k]);
const s=typeof x===typeof y?(x<y?-1:x>y?1:0):typeof x==='number'?-1:1;return down?-s:s}).forEach(r=>{
r.classList.remove('rule');body.append(r)})}));
"""


def page(content: Mapping[str, Any], folder: Path) -> str:
    """The page of a report; ``folder`` holds its figures, which become part of it."""
    paper, title = content["paper"], escape(content["title"])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        # nothing is loaded, and no text of the content can run
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{_STYLE}</style></head><body>\n<h1>{title}</h1>\n"
        f'<p class="quiet">{escape(content["subtitle"])}</p>\n<p class="quiet paper">Paper under test: '
        f"{escape(paper['authors'])}. <em>{escape(paper['title'])}</em>. "
        f'<a href="{escape(paper["url"])}">{escape(paper["id"])}</a>, {escape(paper["year"])}.</p>\n'
        f"{_blocks(content['blocks'], folder, 2, {'table': 0, 'figure': 0})}<script>{_SCRIPT}</script></body></html>\n"
    )


def _blocks(blocks: Iterable[Mapping[str, Any]], folder: Path, level: int, counts: dict[str, int]) -> str:
    return "".join(f"{_block(block, folder, level, counts)}\n" for block in blocks)


def _block(block: Mapping[str, Any], folder: Path, level: int, counts: dict[str, int]) -> str:
    match block["kind"]:
        case "text":
            lead = f"<strong>{escape(block['lead'])}</strong> " if block["lead"] else ""
            return f"<p>{lead}{escape(block['text'])}</p>"
        case "findings":
            return f'<ul class="findings">{"".join(f"<li>{escape(s)}</li>" for s in block["sentences"])}</ul>'
        case "verdicts":
            return "".join(map(_claim, block["claims"]))
        case "table" if block["detail"]:
            return f"<details><summary>{escape(block['caption'])}</summary>{_table(block)}</details>"
        case "table":
            counts["table"] += 1
            return _table(block, f"Table {counts['table']}. ")
        case "figure":
            counts["figure"] += 1
            data = base64.b64encode((folder / f"{block['path']}.png").read_bytes()).decode("ascii")
            caption = escape(block["caption"])
            shown = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
            return f"<figure>{shown}<figcaption><b>Figure {counts['figure']}.</b> {caption}</figcaption></figure>"
        case "pairs":
            kind = ' class="settings"' if block["columns"] > 1 else ""
            items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in block["items"])
            return f"<dl{kind}>{items}</dl>"
        case "command":
            return f"<pre>{escape(block['line'])}</pre>"
        case _:
            inner = _blocks(block["blocks"], folder, min(level + 1, 6), counts)
            return f"<h{level}>{escape(block['title'])}</h{level}>\n{inner}"


def _claim(claim: Mapping[str, Any]) -> str:
    lines = "".join(
        f"<li>{verdict(line['verdict'])} <em>{escape(line['case'])}</em>: {escape(line['reason'])}.</li>"
        for line in claim["lines"]
    )
    head = f"<p><strong>{escape(claim['id'])}</strong> {escape(claim['text'])}</p>" if claim["text"] else ""
    return f"{head}<ul>{lines}</ul>"


def verdict(word: str) -> str:
    """A verdict in a box."""
    return f'<span class="verdict {_CLASSES.get(word, "quiet")}">{escape(word)}</span>'


def _table(table: Mapping[str, Any], number: str = "") -> str:
    places = [_ALIGNED.get(letter, "") for letter in table["align"]]
    head = "".join(f'<th class="{place}">{escape(t)}</th>' for place, t in zip(places, table["header"], strict=True))
    rows, first = [], ""
    for row in table["rows"]:
        # a first cell that is left blank is that of the row above it, which sorting must not lose
        first = row["cells"][0]["text"] or first
        cells = [
            _cell(cell, place, first if position == 0 else cell["text"])
            for position, (cell, place) in enumerate(zip(row["cells"], places, strict=True))
        ]
        rows.append(f'<tr class="{"rule" if row["rule"] else ""}">{"".join(cells)}</tr>')
    caption = f"<caption><b>{number}</b>{escape(table['caption'])}</caption>"
    note = f'<p class="note">{escape(table["note"])}</p>' if table["note"] else ""
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="scroll"><table>{caption}{body}</table></div>{note}'


def _cell(cell: Mapping[str, Any], place: str, sorts: str) -> str:
    text = escape(cell["text"])
    if cell["strong"] and text:
        text = f"<b>{text}</b>"
    extra = f' <span class="extra">{escape(cell["extra"])}</span>' if cell["extra"] else ""
    classes = " ".join(word for word in (place, _CLASSES.get(cell["text"], "")) if word)
    return f'<td class="{classes}" data-sort="{escape(_seconds(sorts))}">{text}{extra}</td>'


_UNITS = {"s": 1, "min": 60, "h": 3600}


def _seconds(text: str) -> str:
    """A duration such as "4 min 05 s" as its seconds, other text as it is: what a column sorts by."""
    if not re.fullmatch(r"(\d[\d.]*\s(h|min|s)\s?)+", text):
        return text
    return str(sum(float(value) * _UNITS[unit] for value, unit in re.findall(r"([\d.]+)\s(h|min|s)", text)))
