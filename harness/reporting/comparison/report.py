"""The report of a study that compares arms: tables, tests, learning curves, gains by relation and costs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting.claims import QUESTIONS, judge
from harness.reporting.comparison import figures
from harness.reporting.comparison.gains import gains, splits
from harness.reporting.comparison.verdicts import findings, kept
from harness.reporting.content import claims_box, figure_path, heading
from harness.reporting.data.frames import curves_of, records
from harness.reporting.data.layout import Meta
from harness.reporting.data.results import Frames, Results, costs_by_stage, means, paired, wide
from harness.reporting.data.text import interval, number, p_value
from harness.reporting.evidence import Evidence, by_backbone
from harness.reporting.kinds import report_kind
from harness.reporting.output.figures import stage_costs
from harness.reporting.output.tables import Cell, Row, Table, costs_table, main_table, measures_table, paired_table
from harness.reporting.output.typst import Document, templates
from harness.vocabulary import METRIC, METRICS, REFERENCES, backbone_name, dataset_name


@dataclass(frozen=True, eq=False)
class Numbers:
    """The tidy frames of a report; see `harness.reporting.data.results` and `harness.reporting.comparison.gains`."""

    means: pd.DataFrame
    paired: pd.DataFrame
    gains: pd.DataFrame
    splits: pd.DataFrame
    costs: pd.DataFrame


def display_tables(results: Results, numbers: Numbers) -> dict[str, dict[str, Table]]:
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
    return {backbone: {name: t for name, t in by_name.items() if t.rows} for backbone, by_name in made.items()}


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
            "costs": stage_costs(numbers.costs, backbone, paths["costs"]),
        }
        drawn[backbone] = {kind: f"figures/{paths[kind].name}.pdf" for kind, is_made in made.items() if is_made}
    return drawn


def _content(
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


def _published(dataset: str, name: str) -> dict[str, Any] | None:
    """Published figures of full-size models on the data set as a table; None where there are none."""
    frame = pd.read_csv(templates() / "published_figures.csv")
    models = records(frame[frame["dataset"] == dataset])
    if not models:
        return None
    measures = [measure for measure in METRICS if measure.key in frame]
    rows = [Row((Cell(row["model"]), *(Cell(number(row[m.key], 3)) for m in measures))) for row in models]
    header = ("model", *(measure.label for measure in measures))
    note = "For orientation only: these models are larger and were evaluated with other filters and treatments of ties."
    return asdict(
        Table(f"Published results of full-size models on {name}", header, "l" + "r" * len(measures), tuple(rows), note)
    )


def _rows(claim: str, compared: pd.DataFrame) -> pd.DataFrame:
    """The comparisons that a claim is about, in its order, with their names as column ``step``."""
    question, parts = QUESTIONS[claim], []
    for backbone in dict.fromkeys(compared["backbone"]):
        for step, (arm, base) in question.steps.items():
            step_rows = compared[
                (compared["backbone"] == backbone) & (compared["arm"] == arm) & (compared["base"] == base)
            ]
            step_rows = step_rows[step_rows["measure"].isin(question.measures)]
            parts.append(step_rows.assign(step=step))
    return pd.concat(parts, ignore_index=True) if parts else compared.assign(step="").iloc[:0]


def _table(rows: pd.DataFrame) -> Table:
    def cells(row: dict[str, Any]) -> tuple[Cell, ...]:
        decimals = 1 if row["measure"] == "mr" else 4
        return (
            Cell(row["step"]),
            Cell(METRIC[row["measure"]].label),
            Cell(
                number(row["difference"], decimals, signed=True),
                interval(row["difference_low"], row["difference_high"], decimals),
            ),
            Cell(f"{row['seeds_up']} of {row['seeds']}"),
            Cell(p_value(row["p_holm"]).removeprefix("= ")),
            Cell(number(row["detectable"], decimals)),
            Cell(row["verdict"], strong=row["verdict"] != "undecided"),
        )

    header = ("", "", "measure", "difference", "seeds up", "p (Holm)", "80 % power", "verdict")
    note = (
        "Difference with 95 % bootstrap interval over seeds and facts. 80 % power: the smallest difference that this "
    )
    note += "number of seeds and facts shows four times in five."
    return Table("The comparisons behind the verdict", header, "lllrcrrl", by_backbone(rows, cells), note)


def evidence_of(frames: Frames) -> dict[str, Evidence]:
    """The evidence of a study that compares arms, by claim.

    Raises:
        UserError: the frames do not pass their checks.
    """
    results = frames.results()
    compared = paired(results)
    evidence = {}
    for claim in frames.layout.claims:
        if claim not in QUESTIONS:
            continue
        rows = _rows(claim, compared)
        evidence[claim] = Evidence(
            verdicts=judge([claim], compared, results.backbones),
            table=_table(rows),
            numbers=rows,
            figures={"": partial(figures.claim_forest, rows)},
            trials=results.trials,
            marks="Filled: decided; hollow: undecided.",
        )
    return evidence


@report_kind("comparison", label="arms compared", evidence=evidence_of)
def content(frames: Frames) -> Document:
    """The report of a study that compares arms.

    Beside ``STUDY.pdf`` lie ``STUDY_table``, ``STUDY_paired``, ``STUDY_costs``, ``STUDY_relations`` and
    ``STUDY_splits`` (each .csv, .parquet and .tex) and ``figures/`` (.pdf and .png).

    Raises:
        UserError: the frames do not pass their checks.
    """
    results = frames.results()
    checked = curves_of(frames.curves)
    counted = checked[checked["trial"].isin(results.trials.query("state == 'complete'")["trial"])]
    numbers = Numbers(
        means=means(results),
        paired=paired(results),
        gains=gains(results),
        splits=splits(results),
        costs=costs_by_stage(results),
    )
    shown = display_tables(results, numbers)
    return Document(
        "comparison.typ",
        frames.layout.name,
        trials=results.trials,
        frames={
            "table": (wide(numbers.means), "main"),
            "paired": (numbers.paired, "paired"),
            "costs": (numbers.costs, "costs"),
            "relations": (numbers.gains, None),
            "splits": (numbers.splits, None),
        },
        tables=shown,
        content=lambda folder: _content(results, numbers, shown, draw(results, numbers, counted, folder), frames.meta),
    )
