"""The files of a report, all of them or none: tables, figures, the HTML page, and the PDF that Typst sets.

Typst's compiler and fonts come with the ``typst`` package.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typst

import harness
from harness.errors import UserError, is_readable
from harness.reporting.claims import PAPER
from harness.reporting.data.about import started
from harness.reporting.output import html, tables
from harness.reporting.output.document import Document, filled
from harness.scratch import scratch


def write(document: Document, output: Path) -> Path:
    """Write a report into a folder, made if it is not there, and return the path of its PDF.

    Beside it lies ``report.html``, one file with all that the PDF has. The files appear when all are done; after an
    error the folder is as before. The same input gives the same bytes.

    Raises:
        UserError: the folder cannot be written.
    """
    created = (started(document.trials) or [datetime.fromtimestamp(0, UTC)])[-1]
    with staging(output) as folder:
        content = filled(document, folder, PAPER)
        for stem, (frame, kind) in document.frames.items():
            shown = [
                (backbone, by_kind[kind])
                for backbone, by_kind in document.tables.items()
                if kind is not None and kind in by_kind
            ]
            tables.write(folder, f"{document.name}_{stem}", frame, shown)
        for stem, (frame, displayed) in document.files.items():
            tables.write(folder, stem, frame, displayed)
        (folder / "report.html").write_text(html.page(content, folder), encoding="utf-8")
        render(document.template or "report.typ", content, folder, folder / f"{document.name}.pdf", created)
    return output / f"{document.name}.pdf"


def render(template: str | Path, content: dict[str, Any], folder: Path, output: Path, created: datetime) -> Path:
    """Set ``content`` (JSON values) with a template, of the package or a path, and write the PDF with that date.

    The template reads ``content`` as data, so no text in it can act as markup, and Typst reads no file outside
    ``folder``, which holds the figures. The same content gives the same bytes.
    """
    work = folder / "typst"
    work.mkdir()
    for source in [*templates().glob("*.typ"), *([template] if isinstance(template, Path) else [])]:
        shutil.copyfile(source, work / source.name)
    (work / "content.json").write_text(json.dumps(content, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    # fonts that come with Typst set the text; those of the system only lend glyphs of scripts that its fonts lack.
    main = work / Path(template).name
    compiler = typst.Compiler(main, root=folder, font_paths=typst.Fonts(include_embedded_fonts=True))
    pdf = compiler.compile(format="pdf", timestamp=created)
    assert isinstance(pdf, bytes)  # one document, no list of pages
    output.write_bytes(pdf)
    shutil.rmtree(work)
    return output


@contextmanager
def staging(output: Path) -> Iterator[Path]:
    """Yield a temporary folder whose files are renamed into ``output`` when the block ends without an error.

    Raises:
        UserError: the folder cannot be made or written (read-only, full, or a file is in its place), or its name must
            not be shown.
    """
    if not is_readable(str(output)):
        raise UserError(f"cannot write the report to {output}: the name holds control characters; name another folder")
    try:
        output.mkdir(parents=True, exist_ok=True)
        with scratch(".unfinished-", output) as folder:
            yield folder
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                target = output / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
    except OSError as error:
        raise UserError(
            f"cannot write the report to {output}: {error.strerror or error}; name another folder"
        ) from error


def templates() -> Path:
    """The folder of the Typst templates: inside an installed package, or ``reports/`` of a checkout.

    Raises:
        UserError: neither is there.
    """
    package = Path(harness.__file__).parent
    for folder in (package / "_templates", package.parent / "reports"):
        if (folder / "style.typ").is_file():
            return folder
    raise UserError(f"the report templates are missing from {package}; reinstall the package")
