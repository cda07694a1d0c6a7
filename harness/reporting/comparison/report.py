"""The report of a study that compares arms: tables, tests, learning curves, gains by relation and costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd

from harness.reporting.claims import QUESTIONS, judge
from harness.reporting.comparison import figures
from harness.reporting.comparison.gains import gains, headline, splits
from harness.reporting.comparison.language import ways, ways_table
from harness.reporting.comparison.protocols import by_protocol, protocols_table
from harness.reporting.comparison.tuning import budget, configurations, tuning_table
from harness.reporting.comparison.verdicts import summary
from harness.reporting.content import (
    HOW_EFFECTS,
    HOW_MEANS,
    HOW_RANKS,
    ONE_SEED,
    Front,
    case_of,
    figure_name,
    how_differences,
    how_tests,
    report,
)
from harness.reporting.data.about import facts
from harness.reporting.data.frames import curves_of, records, where
from harness.reporting.data.layout import Layout
from harness.reporting.data.published import published_figures
from harness.reporting.data.results import Frames, Results, costs_by_stage, means, paired, wide
from harness.reporting.data.standing import Standing
from harness.reporting.data.teachers import weak_teacher
from harness.reporting.data.text import number
from harness.reporting.evidence import BACKBONE, Evidence, by_backbone
from harness.reporting.kinds import report_kind
from harness.reporting.output.document import Detail, Document, Figure, Section, Text
from harness.reporting.output.figures import stage_costs
from harness.reporting.output.tables import (
    P_HOLM,
    Cell,
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
from harness.vocabulary import METRIC, METRICS, REFERENCES, arm_colors, arm_name, backbone_name, dataset_name


def _published(dataset: str) -> Section:
    """The same as a table with the source of each row; empty where there is nothing."""
    models = published_figures(dataset)
    columns: list[Column] = [
        ("model", "l", lambda row: row["model"]),
        ("protocol", "l", lambda row: row["protocol"] if isinstance(row["protocol"], str) else "–"),
        *((key.label, "r", lambda row, key=key: number(row[key.key], 3)) for key in METRICS if key.key != "mr"),
        ("source", "p", lambda row: row["source"]),
    ]
    note = "For orientation only: these models are larger and were evaluated with other filters and other ties. "
    note += "Protocol: the nearest of the harness, where it is known."
    caption = f"Published results of full-size models on {dataset_name(dataset)}"
    return Section("Published results", [table_of(caption, models, columns, note)])


def _rows(claim: str, compared: pd.DataFrame) -> pd.DataFrame:
    """The comparisons that a claim is about, in its order, with their names as column ``step``."""
    question, parts = QUESTIONS[claim], [compared.assign(step="").iloc[:0]]
    for backbone in dict.fromkeys(compared["backbone"]):
        shown = compared["metric"].isin([*question.metrics, *question.beside])
        of_claim = compared[(compared["backbone"] == backbone) & shown]
        parts += [
            of_claim[(of_claim["arm"] == arm) & (of_claim["base"] == base)].assign(step=step)
            for step, (arm, base) in question.steps.items()
        ]
    return pd.concat(parts, ignore_index=True)


def _table(rows: pd.DataFrame) -> Table:
    """The comparisons of a claim: a row each, or a column a metric where it asks for several."""
    note = "Difference with 95 % interval over seeds and facts. "
    metrics = list(dict.fromkeys(rows["metric"]))
    step: Column = ("", "l", lambda row: row["step"])
    if len(metrics) > 1:
        by_key = {(row["backbone"], row["step"], row["metric"]): row for row in records(rows)}

        def cell(row: dict[str, Any], metric: str) -> Cell:
            return difference_cell(by_key[row["backbone"], row["step"], metric])

        lines = rows.drop_duplicates(["backbone", "step"])
        columns: list[Column] = [
            BACKBONE, step,
            *((f"Δ {METRIC[key].label}", "r", lambda row, key=key: cell(row, key)) for key in metrics),
        ]  # fmt: skip
        note += "Bold: decided after Holm's correction; lower is better for MR only."
        return by_backbone("The comparisons behind the verdict", lines, columns, note)
    columns = [
        BACKBONE,
        step,
        ("metric", "l", lambda row: METRIC[row["metric"]].label),
        ("difference", "r", difference_cell),
        ("seeds up", "c", lambda row: f"{row['seeds_up']} of {row['seeds']}"),
        P_HOLM,
        ("80 % power", "r", lambda row: number(row["detectable"], 1 if row["metric"] == "mr" else 4)),
        ("verdict", "l", verdict_cell),
    ]
    note += "80 % power: the smallest difference that this number of seeds and facts shows four times in five."
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

    Beside ``STUDY.pdf`` lie ``STUDY_table``, ``STUDY_paired``, ``STUDY_costs``, ``STUDY_relations``,
    ``STUDY_splits`` and ``STUDY_protocols``, of a study that tunes its arms ``STUDY_tuning``, and of one that
    reads a language model in several ways ``STUDY_ways`` (each .csv, .parquet and .tex), and ``figures/`` (.pdf, .png).

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
    tried = configurations(frames)
    tables = {
        backbone: {
            "main": main_table(averages, compared, results.trials, backbone),
            "tuning": tuning_table(tried, frames.layout, backbone),
            "paired": paired_table(compared, backbone),
            "metrics": metrics_table(compared, backbone),
            "protocols": protocols_table(under, published_figures(dataset), results.trials, backbone),
            "ways": ways_table(of_language, backbone),
            "costs": costs_table(costs, backbone),
        }
        for backbone in results.backbones
    }
    files: dict[str, tuple[pd.DataFrame, str | None]] = {
        "table": (wide(averages), "main"),
        "paired": (compared, "paired"),
        "costs": (costs, "costs"),
        "relations": (by_relation, None),
        "splits": (by_group, None),
        "protocols": (under, "protocols"),
    }
    if len(tried):
        files["tuning"] = (tried, "tuning")
    if len(of_language):
        files["ways"] = (of_language, "ways")
    colors = arm_colors(results.layout.order(results.trials["arm"]))
    losses = {row["arm"]: str(row.get("losses", row["arm"])) for row in records(results.trials)}

    def section(backbone: str) -> Section:
        def drawn(kind: str, caption: str, draw: Callable[..., bool], *given: Any) -> Figure:
            return Figure(figure_name(results, backbone, kind), partial(draw, *given), caption)

        of, gain = tables[backbone], _gain_name(by_relation, backbone)
        return Section(
            backbone_name(backbone),
            [
                *_warning(results, backbone),
                of["main"],
                of["tuning"],
                drawn("differences", FOREST, figures.forest, compared, backbone, colors),
                of["paired"],
                of["metrics"],
                of["protocols"],
                of["ways"],
                drawn("curves", CURVES, figures.learning_curves, curves, losses, backbone, colors),
                drawn("relations", f"Gain of {gain} {RELATIONS}", figures.relation_gains, by_relation, backbone),
                drawn(
                    "splits", f"Gain of {gain} {_groups(by_group, backbone)}", figures.split_gains, by_group, backbone
                ),
                drawn("costs", COSTS, stage_costs, costs, backbone),
                Detail(of["costs"]),
            ],
            case=case_of(results, backbone),
        )

    findings = [
        sentence
        for backbone in results.backbones
        for sentence in summary(compared, averages, backbone, headline(results, backbone))
    ]
    one_seed = bool((averages[~averages["arm"].isin(REFERENCES)]["n"] == 1).all())
    front = Front(findings, judge(frames.layout.claims, compared, results.backbones), [ONE_SEED] * one_seed)
    sections = [*map(section, results.backbones), _published(dataset)]
    run = facts(results, frames.meta.data, dataset_name(dataset))
    if frames.meta.tune:
        run.append(["Tuning", budget(frames.meta.tune)])
    if looks := frames.layout.looks:
        seeds = results.trials.loc[~results.trials["arm"].isin(REFERENCES), "seed"].nunique()
        spent = f"{seeds} of at most {looks[-1]} seeds, looked at after {', '.join(map(str, looks))}"
        run.append(["Decision", f"{spent}: {Standing.of(compared)}"])
    return report(
        frames, results, sections, files=files, tables=tables, front=front, reading=_reading(frames.layout), run=run
    )


def _warning(results: Results, backbone: str) -> list[Text]:
    warning = weak_teacher(results.trials, backbone)
    return [] if warning is None else [Text(warning, "Warning.")]


def _gain_name(gains: pd.DataFrame, backbone: str) -> str:
    """The comparison that gains by relation and group are of."""
    rows = records(where(gains, backbone=backbone).head(1))
    return f"{arm_name(rows[0]['arm'])} over {arm_name(rows[0]['base'])}" if rows else ""


def _groups(splits: pd.DataFrame, backbone: str) -> str:
    """What `splits` has groups of, in words."""
    by = set(where(splits, backbone=backbone)["by"])
    label = "whether an entity has a label and by " if "label" in by else ""
    return (
        f"in test MRR by {label}the number of training facts that name an entity; in parentheses the number of test "
        "queries. Intervals are not corrected for the number of groups."
    )


FOREST = "Differences of test MRR with 95 % intervals. Filled: decided after Holm's correction; hollow: undecided."
CURVES = (
    "Validation MRR while the students learn, and its difference to L1 with the same seed. Mean over seeds, shaded "
    "from the lowest to the highest; dots: where stage 2 of an arm begins, in which the language model joins. All "
    "arms see the same batches."
)
RELATIONS = (
    "in test MRR by relation and direction, most frequent relations first. In parentheses the number of test facts. "
    "Intervals are not corrected for the number of relations: read them as a description, not as tests."
)
COSTS = (
    "Time of one trial by stage, as if nothing had been cached. Teachers and their targets are computed once and "
    "shared by all trials that need them; hatched: from the cache in these runs."
)
FAMILIES = (
    "all arms that are compared with the same one, for one metric and backbone. A row that names no two arms is a "
    "difference of differences, as its name says."
)


def _reading(layout: Layout) -> tuple[Text, ...]:
    return HOW_MEANS, how_differences(), how_tests(FAMILIES, layout), HOW_EFFECTS, HOW_RANKS
