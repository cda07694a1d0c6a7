"""Setting a report with Typst, whose compiler and fonts come with the ``typst`` package."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import typst

from harness.reporting.output.files import templates


def render(template: str, content: dict[str, Any], folder: Path, output: Path, created: datetime) -> Path:
    """Set ``content`` with a template and write the PDF.

    The template reads ``content`` as JSON data, so no text in it can act as markup, and Typst reads no file outside
    ``folder``. The same content gives the same bytes.

    Args:
        template: name of the template, such as "comparison.typ".
        content: JSON values; paths in it are relative to ``folder``.
        folder: holds the figures; gets a subfolder with the template, removed afterwards.
        output: path of the PDF.
        created: date that the PDF's metadata give.

    Returns:
        ``output``.
    """
    work = folder / "typst"
    work.mkdir()
    for source in templates().glob("*.typ"):
        shutil.copyfile(source, work / source.name)
    (work / "content.json").write_text(json.dumps(content, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    # Typst's own fonts set the text; those of the system only lend glyphs of scripts that its fonts lack.
    compiler = typst.Compiler(work / template, root=folder, font_paths=typst.Fonts(include_embedded_fonts=True))
    pdf = compiler.compile(format="pdf", timestamp=created)
    assert isinstance(pdf, bytes)  # one document, no list of pages
    output.write_bytes(pdf)
    shutil.rmtree(work)
    return output
