"""Parts of a report's content that several kinds share, as plain data that Typst templates set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting.claims import Claim
from harness.reporting.data.about import facts, settings, subtitle
from harness.reporting.data.frames import records
from harness.reporting.data.layout import Meta
from harness.reporting.data.results import Results
from harness.reporting.output.tables import (
    Cell,
    Row,
    Table,
)
from harness.vocabulary import arm_name, backbone_name, dataset_name


def figure_path(folder: Path, backbone: str, position: int, kind: str) -> Path:
    """Where a figure goes, without suffix: its name is safe whatever the backbone's is."""
    stem = re.sub(r"[^a-z0-9-]+", "-", backbone.lower()).strip("-") or f"backbone-{position}"
    return folder / "figures" / f"{stem}_{kind}"


def heading(results: Results, meta: Meta) -> dict[str, Any]:
    """What reports of every kind say: title, what was run, trials without a result, and common settings."""
    dataset = str(results.trials["dataset"].iloc[0])
    name = dataset_name(dataset)
    return {
        "title": f"{results.layout.title}: {results.layout.name} on {name}",
        "about": results.layout.about,
        "subtitle": subtitle(results),
        "facts": facts(results, meta.data, name),
        "command": meta.command,
        "notes": meta.notes,
        "failed": failed(results.trials),
        "settings": settings(results.trials),
    }


@dataclass(frozen=True)
class Section:
    """A section of a report that template "plain.typ" sets.

    Attributes:
        title: its heading.
        text: paragraphs.
        tables: below them.
        figures: below these: path relative to the report's folder, and caption.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[tuple[str, str]] = ()


def plain(results: Results, meta: Meta, sections: Sequence[Section]) -> dict[str, Any]:
    """The content of a report for template "plain.typ": heading, sections, and what was run."""
    shown = [
        {
            "title": section.title,
            "text": list(section.text),
            "tables": [asdict(table) for table in section.tables],
            "figures": [{"path": path, "caption": caption} for path, caption in section.figures],
        }
        for section in sections
    ]
    return heading(results, meta) | {"sections": shown}


def claims_box(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """Claims with a line a backbone, for ``claims-box`` of the templates."""
    judged: dict[str, dict[str, Any]] = {}
    for claim in claims:
        entry = judged.setdefault(claim.id, {"id": claim.id, "text": claim.text, "lines": []})
        entry["lines"].append({"backbone": claim.backbone, "verdict": claim.verdict, "reason": claim.reason})
    return list(judged.values())


def failed(trials: pd.DataFrame) -> dict[str, Any] | None:
    """The cells of checked trials that failed, with the reason, as a table; None where all are complete."""
    lost = trials[trials["state"] != "complete"]
    if lost.empty:
        return None
    rows = []
    for row in records(lost):
        reason = row.get("reason")
        why = str(reason) if isinstance(reason, str) and reason else "no reason was recorded"
        why = why if row["state"] == "failed" else "not finished when this report was made"
        texts = (
            str(row["trial"]),
            backbone_name(row["backbone"]),
            arm_name(row["arm"]),
            str(row["seed"]),
            why,
        )
        rows.append(Row(tuple(Cell(text) for text in texts)))
    header = ("trial", "backbone", "arm", "seed", "reason")
    note = "Their seeds are missing from the means of their arm and from every comparison with it."
    return asdict(Table("Cells that failed or are unfinished", header, "rllcl", tuple(rows), note))
