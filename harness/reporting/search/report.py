"""The report of a search: its history, what the factors do, importances, Sobol indices and confirmed winners."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting.claims import CLAIMS, Claim, Verdict
from harness.reporting.content import failed, figure_path, heading
from harness.reporting.data.about import facts, settings
from harness.reporting.data.frames import records
from harness.reporting.data.layout import Meta
from harness.reporting.data.results import INSIDE, Frames, Importance, Results, is_search, with_role
from harness.reporting.data.text import interval, number
from harness.reporting.evidence import Evidence, side_by_side
from harness.reporting.kinds import report_kind
from harness.reporting.output.tables import Table
from harness.reporting.output.typst import Document
from harness.reporting.search import figures, tables
from harness.reporting.search.trace import MIDDLE, Trace, curves, sobol, temperature, trace_of
from harness.reporting.sensitivity.selection import on_test
from harness.selection import best_first
from harness.vocabulary import backbone_name, dataset_name, level_name

IMPORTANCE_COLUMNS = ["backbone", "method", "factor", "importance", "low", "high", "seed_sd", "repeats"]


@dataclass(frozen=True, eq=False)
class Numbers:
    """The tidy frames of a report; see `search_effects` and `on_test`."""

    trace: Trace
    curves: pd.DataFrame
    lines: pd.DataFrame
    importances: pd.DataFrame
    sobol: pd.DataFrame
    temperature: pd.DataFrame
    chosen: pd.DataFrame
    confirmed: pd.DataFrame


def measure(trace: Trace, results: Results, importance: Importance | None) -> Numbers:
    """All numbers of the report."""
    tests, lines = curves(trace)
    chosen = _chosen(trace, results)
    return Numbers(
        trace=trace,
        curves=tests,
        lines=lines,
        importances=_importances(trace, importance),
        sobol=sobol(trace),
        temperature=temperature(trace),
        chosen=chosen,
        confirmed=on_test(results, chosen),
    )


def _importances(trace: Trace, importance: Importance | None) -> pd.DataFrame:
    parts = []
    for backbone in trace.backbones if importance is not None else ():
        rows = trace.frame[(trace.frame["backbone"] == backbone) & (trace.frame["state"] == "complete")]
        scaled = pd.DataFrame({axis.key: axis.scaled(rows[axis.key]) for axis in trace.axes})
        assert importance is not None
        parts.append(importance(scaled, rows["mrr"].reset_index(drop=True)).assign(backbone=backbone))
    empty = pd.DataFrame(columns=IMPORTANCE_COLUMNS)
    return pd.concat(parts, ignore_index=True)[IMPORTANCE_COLUMNS] if parts else empty


def _chosen(trace: Trace, results: Results) -> pd.DataFrame:
    """The configurations with confirmation runs, best by validation first, with L1 beside."""
    done = results.trials[(results.trials["role"] == "confirm") & (results.trials["state"] == "complete")]
    again = done[["backbone", "arm", "configuration"]].drop_duplicates().rename(columns={"configuration": "number"})
    again["number"] = again["number"].astype(int)
    chosen = again.merge(trace.frame, on=["backbone", "number"])
    has_base = {backbone for backbone in trace.backbones if "L1" in results.arms(backbone)}
    chosen["base_arm"] = ["L1" if backbone in has_base else None for backbone in chosen["backbone"]]
    return best_first(chosen, results.backbones)


def display(numbers: Numbers) -> dict[str, dict[str, Table]]:
    """Display tables by backbone and name; empty ones are left out."""
    made = {}
    for backbone in numbers.trace.backbones:
        by_name = {
            "configurations": tables.configurations_table(numbers.trace, backbone),
            "factors": tables.factors_table(numbers.curves, numbers.trace, backbone),
            "importance": tables.importance_table(numbers.importances, numbers.trace, backbone),
            "sobol": tables.sobol_table(numbers.sobol, numbers.trace, backbone),
            "temperature": tables.temperature_table(numbers.temperature, backbone),
            "confirmed": tables.confirmed_table(numbers.chosen, numbers.confirmed, numbers.trace, backbone),
        }
        made[backbone] = {name: table for name, table in by_name.items() if table.rows}
    return made


def draw(numbers: Numbers, folder: Path) -> dict[str, dict[str, str]]:
    """Draw all figures into ``folder/figures``; return their paths by backbone and kind, relative to ``folder``."""
    trace = numbers.trace
    drawn = {}
    for position, backbone in enumerate(trace.backbones):
        kinds = ("history", "factors", "indices", "temperature")
        paths = {kind: figure_path(folder, backbone, position, kind) for kind in kinds}
        made = {
            "history": figures.history(trace, backbone, paths["history"]),
            "factors": figures.factors(trace, numbers.lines, backbone, paths["factors"]),
            "indices": figures.indices(numbers.sobol, numbers.importances, trace, backbone, paths["indices"]),
            "temperature": figures.temperature(numbers.temperature, backbone, paths["temperature"]),
        }
        drawn[backbone] = {kind: f"figures/{paths[kind].name}.pdf" for kind, is_made in made.items() if is_made}
    return drawn


def judge_temperature(bands: pd.DataFrame, *, one_seed: bool) -> Verdict:
    """C8 on one backbone: T = 7 is good, and higher temperatures are worse.

    Supported if temperatures above 10.5 are worse than those around 7, and those below 4.5 not better. Contradicted if
    one of both is better. With one seed there is no verdict.
    """
    by_band = {row["band"]: row for row in records(bands) if row["verdict"]}
    if not by_band:
        return "not tested", "too few configurations at temperatures around 7 and beside"
    parts = [
        f"T {band}: {number(row['difference'], 4, signed=True)} "
        f"{interval(row['low'], row['high'], 4)} against T {MIDDLE} ({row['verdict']})"
        for band, row in by_band.items()
    ]
    reason, words = "; ".join(parts), {band: row["verdict"] for band, row in by_band.items()}
    verdict = "undecided"
    if "better" in words.values():
        verdict = "contradicted"
    elif words.get("above 10.5") == "worse":
        verdict = "supported"
    if one_seed and verdict != "undecided":
        reason += f"; with one seed this is no verdict on the method (it would read: {verdict})"
        verdict = "undecided"
    return verdict, reason


def _content(
    results: Results,
    inside: pd.DataFrame,
    numbers: Numbers,
    displayed: dict[str, dict[str, Table]],
    drawn: dict[str, dict[str, str]],
    meta: Meta,
) -> dict[str, Any]:
    """Everything the template needs, as JSON values; texts are plain, none is read as markup."""
    dataset = str(results.trials["dataset"].iloc[0])
    name, trace = dataset_name(dataset), numbers.trace
    return heading(results, meta) | {
        "facts": _facts(results, inside, trace, meta, name),
        "claims": judged(results, numbers),
        "sections": [
            {
                "backbone": backbone_name(backbone),
                # all configurations are in their file: a search has many
                "tables": {k: asdict(t) for k, t in displayed[backbone].items() if k != "configurations"},
                "figures": drawn[backbone],
                "sobol": "sobol" in displayed[backbone],
            }
            for backbone in trace.backbones
        ],
        "failed": failed(pd.concat([inside, results.trials])),
        "settings": [pair for pair in settings(results.trials) if pair[0].split(".")[-1] not in trace.names],
        "one_seed": _one_seed(trace),
    }


def _one_seed(trace: Trace) -> bool:
    return bool(trace.frame["seeds"].max() == 1)


def _facts(results: Results, inside: pd.DataFrame, trace: Trace, meta: Meta, name: str) -> list[list[str]]:
    ranges = "; ".join(
        f"{a.symbol} from {level_name(a.low)} to {level_name(a.high)}{' (log)' * a.log}" for a in trace.axes
    )
    states = trace.frame["state"].value_counts()
    counts = ", ".join(f"{states[state]} {state}" for state in ("complete", "given up", "failed") if state in states)
    sampler = {"tpe": "tree-structured Parzen estimator", "qmc": "Saltelli's sample of a Sobol sequence"}
    searched = {
        "Searched": ranges,
        "Sampler": sampler.get(trace.sampler, trace.sampler),
        "Configurations": f"{counts}; up to {trace.frame['seeds'].max()} seeds each",
        "Cells inside": f"{len(inside)}, not scored on test",
    }
    pairs: list[list[str]] = []
    for label, value in facts(results, meta.data, name):
        if label == "Arms":
            pairs += [[key, text] for key, text in searched.items()]
        elif label != "Weights":
            pairs.append([label.replace("Trials", "Trials on test"), value])
    return pairs


def judged(results: Results, numbers: Numbers) -> list[dict[str, Any]]:
    """The claims that this report judges."""
    if "C8" not in results.layout.claims:
        return []
    lines = []
    for backbone in numbers.trace.backbones:
        bands = numbers.temperature[numbers.temperature["backbone"] == backbone]
        verdict, reason = judge_temperature(bands, one_seed=_one_seed(numbers.trace))
        lines.append({"backbone": backbone_name(backbone), "verdict": verdict, "reason": reason})
    return [{"id": "C8", "text": CLAIMS["C8"], "lines": lines}] if lines else []


def loaded(frames: Frames) -> tuple[pd.DataFrame, Results, Numbers]:
    """The trials inside a search, the results on test facts beside it, and all numbers.

    Raises:
        UserError: the frames do not pass their checks, or nothing is confirmed yet.
    """
    are_inside = with_role(frames.trials, *INSIDE)
    trace = trace_of(frames.trials[are_inside], frames.meta.search)
    results = Results.load(frames.trials[~are_inside], frames.load_ranks, frames.layout)
    return frames.trials[are_inside], results, measure(trace, results, frames.importance)


def evidence_of(frames: Frames) -> dict[str, Evidence]:
    """The evidence of a search, by claim.

    Raises:
        UserError: the frames do not pass their checks, or nothing is confirmed yet.
    """
    _, results, numbers = loaded(replace(frames, importance=None))
    bands, backbones = numbers.temperature, numbers.trace.backbones
    table = side_by_side([(name, tables.temperature_table(bands, name)) for name in backbones])
    return {
        claim["id"]: Evidence(
            verdicts=[Claim(claim["id"], claim["text"], **line) for line in claim["lines"]],
            table=table,
            numbers=bands,
            figures={f"_{k}": partial(figures.temperature, bands, name) for k, name in enumerate(backbones)},
            trials=results.trials,
        )
        for claim in judged(results, numbers)
    }


@report_kind(
    "search",
    label="a search: configurations, factors, winners",
    evidence=evidence_of,
    every_design=True,
    instead_of="sensitivity",
    when=is_search,
)
def content(frames: Frames) -> Document:
    """The report of a search.

    Beside ``STUDY.pdf`` lie ``STUDY_configurations``, ``_factors``, ``_importance``, ``_sobol``, ``_temperature`` and
    ``_confirmed`` (each .csv, .parquet and .tex) and ``figures/``. ``meta`` has ``search`` (see
    `harness.reporting.search.trace.trace_of`).

    Raises:
        UserError: the frames do not pass their checks, or nothing is confirmed yet.
    """
    inside, results, numbers = loaded(frames)
    displayed = display(numbers)
    return Document(
        "search.typ",
        frames.layout.name,
        trials=frames.trials,
        frames={
            "configurations": (numbers.trace.frame, "configurations"),
            "factors": (numbers.curves, "factors"),
            "importance": (numbers.importances, "importance"),
            "sobol": (numbers.sobol, "sobol"),
            "temperature": (numbers.temperature, "temperature"),
            "confirmed": (numbers.confirmed, "confirmed"),
        },
        tables=displayed,
        content=lambda folder: _content(results, inside, numbers, displayed, draw(numbers, folder), frames.meta),
    )
