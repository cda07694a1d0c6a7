"""The content of a report that compares arms as plain data, which the Typst template sets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict

from harness.reporting.claims import Claim, judge
from harness.reporting.comparison import figures
from harness.reporting.comparison.verdicts import findings, kept
from harness.reporting.data.about import facts, settings, subtitle
from harness.reporting.data.frames import records
from harness.reporting.data.results import Results
from harness.reporting.data.text import number
from harness.reporting.output.files import templates
from harness.reporting.output.tables import (
    Cell,
    Row,
    Table,
    costs_table,
    main_table,
    measures_table,
    paired_table,
)
from harness.vocabulary import METRICS, REFERENCES, arm_name, backbone_name, dataset_name


class Meta(BaseModel):
    """What a report says of a run beyond its frames.

    Attributes:
        command: the command line that ran the study.
        data: counts of the data set by what is counted, such as ``{"training facts": 32497, "entities": 12554}``.
        measured: what was measured beside the trials; see `harness.reporting.cost.measured`.
        notes: further remarks, a paragraph each.
        search: of a search, its sampler, factors and designed sample (`harness.reporting.search.trace.trace_of`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str = ""
    data: dict[str, int] = {}
    measured: list[dict[str, Any]] = []
    notes: list[str] = []
    search: dict[str, Any] = {}


class Numbers(BaseModel):
    """The tidy frames of a report; see `harness.reporting.data.results`."""

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True)

    means: pd.DataFrame
    paired: pd.DataFrame
    gains: pd.DataFrame
    splits: pd.DataFrame
    costs: pd.DataFrame


def tables(results: Results, numbers: Numbers) -> dict[str, dict[str, Table]]:
    """Display tables by backbone and name ("main", "paired", "measures", "costs"); empty ones are left out."""
    made = {
        backbone: {
            "main": main_table(numbers.means, numbers.paired, results.trials, backbone),
            "paired": paired_table(numbers.paired, backbone),
            "measures": measures_table(numbers.paired, backbone),
            "costs": costs_table(numbers.costs, backbone),
        }
        for backbone in results.backbones
    }
    return {backbone: {name: t for name, t in each.items() if t.rows} for backbone, each in made.items()}


def draw(results: Results, numbers: Numbers, curves: pd.DataFrame, folder: Path) -> dict[str, dict[str, str]]:
    """Draw all figures into ``folder/figures``; return their paths by backbone and kind, relative to ``folder``."""
    drawn: dict[str, dict[str, str]] = {}
    for position, backbone in enumerate(results.backbones):
        kinds = ("differences", "curves", "relations", "splits", "costs")
        paths = {kind: figure_path(folder, backbone, position, kind) for kind in kinds}
        made = {
            "differences": figures.forest(numbers.paired, backbone, paths["differences"]),
            "curves": figures.learning_curves(curves, backbone, paths["curves"]),
            "relations": figures.relation_gains(numbers.gains, backbone, paths["relations"]),
            "splits": figures.split_gains(numbers.splits, backbone, paths["splits"]),
            "costs": figures.stage_costs(numbers.costs, backbone, paths["costs"]),
        }
        drawn[backbone] = {kind: f"figures/{paths[kind].name}.pdf" for kind, is_made in made.items() if is_made}
    return drawn


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


def document(
    results: Results,
    numbers: Numbers,
    shown: dict[str, dict[str, Table]],
    drawn: dict[str, dict[str, str]],
    meta: Meta,
) -> dict[str, Any]:
    """Everything the template needs, as JSON values; texts are plain, none is read as markup."""
    dataset = str(results.trials["dataset"].iloc[0])
    return heading(results, meta) | {
        "claims": claims_box(judge(results.layout.claims, numbers.paired, results.backbones)),
        "sections": [
            {
                "backbone": backbone_name(backbone),
                "findings": [asdict(finding) for finding in findings(numbers.paired, backbone)],
                "kept": kept(numbers.means, backbone),
                "tables": {key: asdict(table) for key, table in shown[backbone].items()},
                "figures": drawn[backbone],
            }
            for backbone in results.backbones
        ],
        "published": _published(dataset, dataset_name(dataset)),
        "one_seed": bool((numbers.means[~numbers.means["arm"].isin(REFERENCES)]["n"] == 1).all()),
    }


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
        told = str(reason) if isinstance(reason, str) and reason else "no reason was recorded"
        told = told if row["state"] == "failed" else "not finished when this report was made"
        texts = (
            str(row["trial"]),
            backbone_name(row["backbone"]),
            arm_name(row["arm"]),
            str(row["seed"]),
            told,
        )
        rows.append(Row(tuple(Cell(text) for text in texts)))
    header = ("trial", "backbone", "arm", "seed", "reason")
    note = "Their seeds are missing from the means of their arm and from every comparison with it."
    return asdict(Table("Cells that failed or are unfinished", header, "rllcl", tuple(rows), note))


def _published(dataset: str, name: str) -> dict[str, Any] | None:
    """Published figures of full-size models on the data set as a table; None where there are none."""
    frame = pd.read_csv(templates() / "published_figures.csv")
    own = records(frame[frame["dataset"] == dataset])
    if not own:
        return None
    measures = [measure for measure in METRICS if measure.key in frame]
    rows = [Row((Cell(row["model"]), *(Cell(number(row[m.key], 3)) for m in measures))) for row in own]
    header = ("model", *(measure.label for measure in measures))
    note = "For orientation only: these models are larger and were evaluated with other filters and treatments of ties."
    return asdict(
        Table(f"Published results of full-size models on {name}", header, "l" + "r" * len(measures), tuple(rows), note)
    )
