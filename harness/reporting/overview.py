"""The claims report: a table of all verdicts, and a page a claim with its design, figure, numbers and command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting.data.about import facts_of, started
from harness.reporting.data.layout import Layout, Meta
from harness.reporting.evidence import Evidence
from harness.reporting.output import tables
from harness.reporting.output.tables import Cell, Row, Table
from harness.reporting.output.typst import render, staging
from harness.vocabulary import BACKBONES, CLAIMS, DATASETS, dataset_name, ordered


@dataclass(frozen=True, eq=False)
class StudyEvidence:
    """A study's evidence on its claims on one data set; ``missing``: why there is none."""

    layout: Layout
    dataset: str
    meta: Meta
    evidence: Mapping[str, Evidence]
    missing: str = ""


def claims_report(studies: Sequence[StudyEvidence], layouts: Mapping[str, Layout], output: Path) -> Path:
    """Write ``claims.pdf``, ``claims.csv``, ``.parquet`` and ``.tex`` (all verdicts) and what each page shows.

    ``layouts`` names the study of a claim that has no evidence yet. Returns the path of the PDF.

    Raises:
        UserError: the folder cannot be written.
    """
    verdicts = _verdicts(studies)
    with staging(output) as folder:
        pages = [_page(claim, studies, layouts, folder) for claim in CLAIMS]
        table = _overview(verdicts)
        tables.write(folder, "claims", verdicts, [("", table)])
        dates = [date for study in studies for part in study.evidence.values() for date in started(part.trials)]
        created = max(dates, default=datetime.fromtimestamp(0, UTC))
        datasets = ordered({study.dataset for study in studies}, DATASETS)
        content = {
            "title": "The claims, and the evidence on each",
            "subtitle": " · ".join([*(dataset_name(name) for name in datasets), f"{created:%-d %B %Y}"]),
            "overview": asdict(table),
            "pages": pages,
        }
        render("claims.typ", content, folder, folder / "claims.pdf", created)
    return output / "claims.pdf"


def _verdicts(studies: Sequence[StudyEvidence]) -> pd.DataFrame:
    """Columns claim, text, study, dataset, backbone, verdict, reason; claims without evidence have one row."""
    rows = []
    for claim, text in CLAIMS.items():
        judged = [
            {"study": study.layout.name, "dataset": study.dataset, "backbone": verdict.backbone}
            | {"verdict": verdict.verdict, "reason": verdict.reason}
            for study in studies
            if claim in study.evidence
            for verdict in study.evidence[claim].verdicts
        ]
        none = {"study": "", "dataset": "", "backbone": "", "verdict": "not tested", "reason": "no results yet"}
        rows += [{"claim": claim, "text": text} | row for row in judged or [none]]
    return pd.DataFrame(rows)


def overall(verdicts: Sequence[str]) -> str:
    """One word for the verdicts of several data sets and backbones; a claim is about all of them."""
    words = set(verdicts) - {"not tested"}
    if not words:
        return "not tested"
    if words == {"measured"}:  # costs that no test decides
        return "measured"
    if {"supported", "contradicted"} <= words:
        return "mixed"
    return "contradicted" if "contradicted" in words else "supported" if words == {"supported"} else "undecided"


def _overview(verdicts: pd.DataFrame) -> Table:
    judged = verdicts[verdicts["dataset"] != ""]
    # a verdict on two backbones together stands with both
    judged = judged.assign(backbone=judged["backbone"].str.split(" and ")).explode("backbone")
    datasets, backbones = (
        ordered(judged["dataset"], DATASETS),
        ordered(judged["backbone"], [term.label for term in BACKBONES.values()]),
    )
    columns = [
        (d, b) for d in datasets for b in backbones if ((judged["dataset"] == d) & (judged["backbone"] == b)).any()
    ]
    rows = []
    for claim, text in CLAIMS.items():
        of_claim = judged[judged["claim"] == claim]
        words = {(row["dataset"], row["backbone"]): row["verdict"] for _, row in of_claim.iterrows()}
        shown = [Cell(words.get(column, "–")) for column in columns]
        rows.append(Row((Cell(claim), Cell(text), *shown, Cell(overall(of_claim["verdict"].tolist()), strong=True))))
    header = ("", "claim", *(f"{dataset_name(d)}\n{b}" for d, b in columns), "overall")
    note = "A claim is supported overall if it is wherever it was tested; mixed: supported here, contradicted there."
    return Table("All claims", header, "ll" + "l" * (len(columns) + 1), tuple(rows), note)


def _page(claim: str, studies: Sequence[StudyEvidence], layouts: Mapping[str, Layout], folder: Path) -> dict[str, Any]:
    """The page of a claim as JSON values; its figures and tables are written into ``folder``."""
    bearing = [study for study in studies if claim in study.evidence]
    names = [name for name, layout in layouts.items() if claim in layout.claims]
    layout = layouts[names[0]] if names else None
    sections = []
    for study in bearing:
        evidence, stem = study.evidence[claim], f"{claim}_{study.layout.name}-{Path(study.dataset).name}"
        places = {folder / "figures" / f"{stem}{end}": draw for end, draw in evidence.figures.items()}
        drawn = [f"figures/{path.name}.pdf" for path, draw in places.items() if draw(path)]
        tables.write(folder, stem, evidence.numbers, [("", evidence.table)])
        meta = study.meta
        name = dataset_name(study.dataset)
        sections.append(
            {
                "dataset": name,
                "lines": [
                    {"backbone": v.backbone, "verdict": v.verdict, "reason": v.reason} for v in evidence.verdicts
                ],
                "table": asdict(evidence.table) if evidence.table.rows else None,
                "figures": drawn,
                "marks": evidence.marks,
                "facts": facts_of(evidence.trials, meta.data, name),
                "command": meta.command,
            }
        )
    missing = [f"{study.layout.name} on {dataset_name(study.dataset)}: {study.missing}" for study in studies
               if study.missing and claim in study.layout.claims]  # fmt: skip
    words = [verdict.verdict for study in bearing for verdict in study.evidence[claim].verdicts]
    return {
        "id": claim,
        "text": CLAIMS[claim],
        "verdict": overall(words),
        "study": layout.name if layout else "",
        "about": layout.about if layout else "No study tests this claim.",
        "sections": sections,
        "missing": missing,
        "command": f"python -m harness.study {layout.name} --dataset wiki --backbone all" if layout else "",
    }
