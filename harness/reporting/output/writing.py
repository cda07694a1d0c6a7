"""The files of a report: tables, figures and the PDF, all of them or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting.data.about import started
from harness.reporting.output import tables
from harness.reporting.output.files import staging
from harness.reporting.output.tables import Table
from harness.reporting.output.typst import render


def write_report(
    template: str,
    name: str,
    output: Path,
    *,
    trials: pd.DataFrame,
    frames: Mapping[str, tuple[pd.DataFrame, str | None]],
    shown: Mapping[str, Mapping[str, Table]],
    content: Callable[[Path], dict[str, Any]],
) -> Path:
    """Write a report into a folder and return the path of its PDF.

    The files appear when all are done; after an error the folder is as before. The same input gives the same bytes.

    Args:
        template: name of the template, such as "comparison.typ".
        name: of the study; the PDF and the tables are named after it.
        output: folder, made if it is not there.
        trials: whose latest start is the date of the PDF: that of the data, not of the typesetting.
        frames: by the end of their files' names: a tidy frame, and the kind of display table that shows it or None.
        shown: display tables by backbone and kind.
        content: draws the figures into the folder that it gets, and returns what the template needs.

    Raises:
        UserError: the folder cannot be written.
    """
    created = (started(trials) or [datetime.fromtimestamp(0, UTC)])[-1]
    with staging(output) as folder:
        told = content(folder)
        for stem, (frame, kind) in frames.items():
            each = [(backbone, own[kind]) for backbone, own in shown.items() if kind is not None and kind in own]
            tables.write(folder, f"{name}_{stem}", frame, each)
        render(template, told, folder, folder / f"{name}.pdf", created)
    return output / f"{name}.pdf"
