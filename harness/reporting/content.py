"""Parts of a report's content that several kinds share, as plain data that Typst templates set."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting.claims import Claim
from harness.reporting.data.about import facts, settings, subtitle
from harness.reporting.data.frames import records
from harness.reporting.data.layout import Meta
from harness.reporting.data.results import Results
from harness.reporting.output.tables import Column, Table, table_of
from harness.reporting.output.typst import Document
from harness.vocabulary import arm_name, backbone_name, dataset_name


def heading(
    results: Results,
    meta: Meta,
    factors: Mapping[str, Sequence[object]] | None = None,
    points: Mapping[str, str] | None = None,
    varied: Collection[str] = (),
) -> dict[str, Any]:
    """What reports of every kind show: title, what was run, trials without a result, and common settings.

    Args:
        results: of the trials.
        meta: how the study was run.
        factors: see `harness.reporting.data.about.facts`.
        points: of a study that varies settings, what to show in place of arms and weights.
        varied: keys of settings that are not common to all students.
    """
    name = dataset_name(str(results.trials["dataset"].iloc[0]))
    shown = facts(results, meta.data, name, factors)
    if points is not None:
        arms = [label for label, _ in shown].index("Arms")
        shown = [*shown[:arms], *map(list, points.items()), *shown[arms + 1 :]]
        shown = [[label, value] for label, value in shown if value and label != "Weights"]
    return {
        "title": f"{results.layout.title}: {results.layout.name} on {name}",
        "about": results.layout.about,
        "subtitle": subtitle(results),
        "facts": shown,
        "command": meta.command,
        "notes": meta.notes,
        "failed": failed(results.trials),
        "settings": [pair for pair in settings(results.trials) if pair[0].split(".")[-1] not in varied],
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


#: tables, and what draws a figure for a path without suffix (False: nothing to draw), by backbone and kind
Tables = Mapping[str, Mapping[str, Table]]
Figures = Mapping[str, Mapping[str, Callable[[Path], bool]]]


def document(
    template: str,
    name: str,
    trials: pd.DataFrame,
    content: Mapping[str, Any],
    files: Mapping[str, tuple[pd.DataFrame, str | None]],
    tables: Tables,
    figures: Figures,
    section: Callable[[str], Mapping[str, Any]] = lambda _: {},
) -> Document:
    """A report with a section a backbone; what has the backbone "" is about all of them.

    Args:
        template: see `Document`, as for ``name``, ``trials`` and ``files``.
        name: of the PDF.
        trials: of the report.
        content: what the template needs beside sections, as JSON values.
        files: tidy frames.
        tables: by backbone and name; empty ones are left out.
        figures: by backbone and name, which also names their files.
        section: what the section of a backbone has beside tables and figures.
    """
    filled = {
        backbone: {key: table for key, table in by_name.items() if table.rows} for backbone, by_name in tables.items()
    }

    def fill(folder: Path) -> dict[str, Any]:
        drawn = draw(figures, folder)
        sections = [
            {"backbone": backbone_name(backbone), **section(backbone)} | _section(filled[backbone], drawn[backbone])
            for backbone in filled
            if backbone
        ]
        return {**content, "sections": sections, "all": _section(filled.get("", {}), drawn.get("", {}))}

    return Document(template, name, trials, files, filled, fill)


def _section(tables: Mapping[str, Table], drawn: Mapping[str, str]) -> dict[str, Any]:
    return {"tables": {name: asdict(table) for name, table in tables.items()}, "figures": drawn}


def draw(figures: Figures, folder: Path) -> dict[str, dict[str, str]]:
    """Draw figures into ``folder/figures``; return their paths by backbone and kind, relative to ``folder``."""
    drawn: dict[str, dict[str, str]] = {}
    for position, (backbone, by_kind) in enumerate(figures.items()):
        # safe as a file's name, whatever the backbone's is
        stem = re.sub(r"[^a-z0-9-]+", "-", backbone.lower()).strip("-") or f"backbone-{position}"
        paths = {kind: folder / "figures" / (f"{stem}_{kind}" if backbone else kind) for kind in by_kind}
        drawn[backbone] = {
            kind: f"figures/{paths[kind].name}.pdf" for kind, drawing in by_kind.items() if drawing(paths[kind])
        }
    return drawn


def claims_box(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """Claims with a line a backbone, for ``claims-box`` of the templates."""
    judged: dict[str, dict[str, Any]] = {}
    for claim in claims:
        entry = judged.setdefault(claim.id, {"id": claim.id, "text": claim.text, "lines": []})
        entry["lines"].append({"backbone": claim.backbone, "verdict": claim.verdict, "reason": claim.reason})
    return list(judged.values())


def failed(trials: pd.DataFrame) -> dict[str, Any] | None:
    """Checked trials that failed, with the reason, as a table; None where all are complete."""
    lost = trials[trials["state"] != "complete"]
    if lost.empty:
        return None

    def reason(row: Mapping[str, Any]) -> str:
        if row["state"] != "failed":
            return "not finished when this report was made"
        return row["reason"] if isinstance(row.get("reason"), str) and row["reason"] else "no reason was recorded"

    columns: list[Column] = [
        ("trial", "r", lambda row: str(row["trial"])),
        ("backbone", "l", lambda row: backbone_name(row["backbone"])),
        ("arm", "l", lambda row: arm_name(row["arm"])),
        ("seed", "c", lambda row: str(row["seed"])),
        ("reason", "l", reason),
    ]
    note = "Their seeds are missing from the means of their arm and from every comparison with it."
    return asdict(table_of("Trials that failed or are unfinished", records(lost), columns, note))
