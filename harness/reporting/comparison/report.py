"""The report of a study that compares arms: tables, tests, learning curves, gains by relation and costs."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import pandas as pd

from harness.reporting.claims import QUESTIONS, judge
from harness.reporting.comparison import figures
from harness.reporting.comparison.gains import gains, splits
from harness.reporting.comparison.language import ways, ways_table
from harness.reporting.comparison.protocols import by_protocol, protocols_table
from harness.reporting.comparison.verdicts import findings, kept
from harness.reporting.content import claims_box, document, heading
from harness.reporting.data.frames import curves_of, records
from harness.reporting.data.results import Frames, costs_by_stage, means, paired, wide
from harness.reporting.data.teachers import weak_teacher
from harness.reporting.data.text import number
from harness.reporting.evidence import BACKBONE, Evidence, by_backbone
from harness.reporting.kinds import report_kind
from harness.reporting.output.figures import stage_costs
from harness.reporting.output.tables import (
    P_HOLM,
    Column,
    Table,
    costs_table,
    difference_cell,
    main_table,
    metrics_table,
    paired_table,
    table_of,
    verdict_cell,
)
from harness.reporting.output.typst import Document, templates
from harness.vocabulary import METRIC, REFERENCES, dataset_name


def published_figures(dataset: str) -> list[dict[str, Any]]:
    """What was published of full-size models on the data set; ``protocol`` is NaN where it is not known for sure."""
    frame = pd.read_csv(templates() / "published_figures.csv")
    return records(frame[frame["dataset"] == dataset])


def _published(dataset: str) -> dict[str, Any] | None:
    """The same as a table; None where there is nothing."""
    models = published_figures(dataset)
    if not models:
        return None
    columns: list[Column] = [
        ("model", "l", lambda row: row["model"]),
        ("protocol", "l", lambda row: row["protocol"] if isinstance(row["protocol"], str) else "–"),
        *((METRIC[key].label, "r", lambda row, key=key: number(row[key], 3)) for key in METRIC if key in models[0]),
    ]
    note = "For orientation only: these models are larger and were evaluated with other filters and other ties. "
    note += "Protocol: the nearest of the harness, where it is known."
    return asdict(table_of(f"Published results of full-size models on {dataset_name(dataset)}", models, columns, note))


def _rows(claim: str, compared: pd.DataFrame) -> pd.DataFrame:
    """The comparisons that a claim is about, in its order, with their names as column ``step``."""
    question, parts = QUESTIONS[claim], [compared.assign(step="").iloc[:0]]
    for backbone in dict.fromkeys(compared["backbone"]):
        of_claim = compared[(compared["backbone"] == backbone) & compared["metric"].isin(question.metrics)]
        parts += [
            of_claim[(of_claim["arm"] == arm) & (of_claim["base"] == base)].assign(step=step)
            for step, (arm, base) in question.steps.items()
        ]
    return pd.concat(parts, ignore_index=True)


def _table(rows: pd.DataFrame) -> Table:
    columns: list[Column] = [
        BACKBONE,
        ("", "l", lambda row: row["step"]),
        ("metric", "l", lambda row: METRIC[row["metric"]].label),
        ("difference", "r", difference_cell),
        ("seeds up", "c", lambda row: f"{row['seeds_up']} of {row['seeds']}"),
        P_HOLM,
        ("80 % power", "r", lambda row: number(row["detectable"], 1 if row["metric"] == "mr" else 4)),
        ("verdict", "l", verdict_cell),
    ]
    note = "Difference with 95 % bootstrap interval over seeds and facts. 80 % power: the smallest difference "
    note += "that this number of seeds and facts shows four times in five."
    return by_backbone("The comparisons behind the verdict", rows, columns, note)


def evidence_of(frames: Frames) -> dict[str, Evidence]:
    """The evidence of a study that compares arms, by claim.

    Raises:
        UserError: the frames do not pass their checks.
    """
    results = frames.results()
    compared = paired(results)
    rows = {claim: _rows(claim, compared) for claim in frames.layout.claims if claim in QUESTIONS}
    return {
        claim: Evidence(
            verdicts=judge([claim], compared, results.backbones),
            table=_table(of_claim),
            numbers=of_claim,
            figures={"": partial(figures.claim_forest, of_claim)},
            trials=results.trials,
            marks="Filled: decided; hollow: undecided.",
        )
        for claim, of_claim in rows.items()
    }


@report_kind("comparison", label="arms compared", evidence=evidence_of)
def content(frames: Frames) -> Document:
    """The report of a study that compares arms.

    Beside ``STUDY.pdf`` lie ``STUDY_table``, ``STUDY_paired``, ``STUDY_ways``, ``STUDY_costs``,
    ``STUDY_relations``, ``STUDY_splits`` and ``STUDY_protocols`` (each .csv, .parquet and .tex) and ``figures/`` (.pdf
    and .png).

    Raises:
        UserError: the frames do not pass their checks.
    """
    results, curves = frames.results(), curves_of(frames.curves)
    done = results.trials[results.trials["state"] == "complete"]
    curves = curves[curves["trial"].isin(done["trial"])]
    averages, compared, costs = means(results), paired(results), costs_by_stage(results)
    by_relation, by_group, under = gains(results), splits(results), by_protocol(results)
    of_language = ways(results, averages, compared, costs)
    dataset = str(results.trials["dataset"].iloc[0])
    tables = {
        backbone: {
            "main": main_table(averages, compared, results.trials, backbone),
            "paired": paired_table(compared, backbone),
            "metrics": metrics_table(compared, backbone),
            "protocols": protocols_table(under, published_figures(dataset), results.trials, backbone),
            "ways": ways_table(of_language, backbone),
            "costs": costs_table(costs, backbone),
        }
        for backbone in results.backbones
    }
    drawings = {
        backbone: {
            "differences": partial(figures.forest, compared, backbone),
            "curves": partial(figures.learning_curves, curves, backbone),
            "relations": partial(figures.relation_gains, by_relation, backbone),
            "splits": partial(figures.split_gains, by_group, backbone),
            "costs": partial(stage_costs, costs, backbone),
        }
        for backbone in results.backbones
    }
    content = heading(results, frames.meta) | {
        "claims": claims_box(judge(frames.layout.claims, compared, results.backbones)),
        "published": _published(dataset),
        "one_seed": bool((averages[~averages["arm"].isin(REFERENCES)]["n"] == 1).all()),
    }
    files: dict[str, tuple[pd.DataFrame, str | None]] = {
        "table": (wide(averages), "main"),
        "paired": (compared, "paired"),
        "ways": (of_language, "ways"),
        "costs": (costs, "costs"),
        "relations": (by_relation, None),
        "splits": (by_group, None),
        "protocols": (under, "protocols"),
    }

    def section(backbone: str) -> dict[str, Any]:
        read = [asdict(finding) for finding in findings(compared, backbone)]
        return {"findings": read, "kept": kept(averages, backbone), "warning": weak_teacher(results.trials, backbone)}

    return document("comparison.typ", frames.layout.name, results.trials, content, files, tables, drawings, section)
