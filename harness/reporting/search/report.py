"""The report of a search: its history, what the factors do, importances, Sobol indices and confirmed winners."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting.claims import CLAIMS, Verdict
from harness.reporting.comparison.document import Meta, failed, figure_path, heading
from harness.reporting.data.about import facts, settings
from harness.reporting.data.frames import records
from harness.reporting.data.layout import Layout
from harness.reporting.data.results import LoadRanks, Results
from harness.reporting.data.text import interval, number
from harness.reporting.output.tables import Table
from harness.reporting.output.writing import write_report
from harness.reporting.search import figures
from harness.reporting.search import tables as shown
from harness.reporting.search import trace as search_effects
from harness.reporting.search.trace import MIDDLE, Trace, trace_of
from harness.reporting.sensitivity import selection as robust
from harness.reporting.sensitivity.points import level_name
from harness.selection import best_first
from harness.vocabulary import backbone_name, dataset_name

#: takes factors (a row a configuration) and values; returns importances by method and factor
Importance = Callable[[pd.DataFrame, "pd.Series[float]"], pd.DataFrame]
IMPORTANCE_COLUMNS = ["backbone", "method", "factor", "importance", "low", "high", "seed_sd", "repeats"]
#: roles of trials that leave test facts alone
INSIDE = ("search", "beside")


@dataclass(frozen=True, eq=False)
class Numbers:
    """The tidy frames of a report; see `search_effects` and `robust.on_test`."""

    trace: Trace
    curves: pd.DataFrame
    lines: pd.DataFrame
    importances: pd.DataFrame
    sobol: pd.DataFrame
    temperature: pd.DataFrame
    chosen: pd.DataFrame
    confirmed: pd.DataFrame


def search_report(
    layout: Layout,
    trials: pd.DataFrame,
    load_ranks: LoadRanks,
    output: Path,
    meta: Mapping[str, Any],
    *,
    importance: Importance | None = None,
) -> Path:
    """Write the report of a search into a folder and return the path of its PDF.

    Beside ``STUDY.pdf`` lie ``STUDY_configurations``, ``_factors``, ``_importance``, ``_sobol``, ``_temperature`` and
    ``_confirmed`` (each .csv, .parquet and .tex) and ``figures/``. Promises and arguments are those of
    `harness.reporting.sensitivity.report.sensitivity_report`; ``meta`` has ``search`` (see `search_effects.trace_of`).

    Raises:
        UserError: the frames do not pass their checks, nothing is confirmed yet, or the folder cannot be written.
    """
    about = Meta.model_validate(dict(meta))
    inside, results, numbers = found_by(layout, trials, load_ranks, about, importance)
    trace = numbers.trace
    displayed = display(numbers)
    return write_report(
        "search.typ",
        layout.name,
        output,
        trials=trials,
        frames={
            "configurations": (trace.frame, "configurations"),
            "factors": (numbers.curves, "factors"),
            "importance": (numbers.importances, "importance"),
            "sobol": (numbers.sobol, "sobol"),
            "temperature": (numbers.temperature, "temperature"),
            "confirmed": (numbers.confirmed, "confirmed"),
        },
        shown=displayed,
        content=lambda folder: document(results, inside, numbers, displayed, draw(numbers, folder), about),
    )


def found_by(
    layout: Layout, trials: pd.DataFrame, load_ranks: LoadRanks, meta: Meta, importance: Importance | None
) -> tuple[pd.DataFrame, Results, Numbers]:
    """The trials inside a search, the results on test facts beside it, and all numbers.

    Raises:
        UserError: the frames do not pass their checks, or nothing is confirmed yet.
    """
    inside = trials[trials["role"].isin(INSIDE)]
    trace = trace_of(inside, meta.search)
    results = Results.load(trials[~trials["role"].isin(INSIDE)], load_ranks, layout)
    return inside, results, measure(trace, results, importance)


def measure(trace: Trace, results: Results, importance: Importance | None) -> Numbers:
    """All numbers of the report."""
    tests, lines = search_effects.curves(trace)
    chosen = _chosen(trace, results)
    return Numbers(
        trace=trace,
        curves=tests,
        lines=lines,
        importances=_importances(trace, importance),
        sobol=search_effects.sobol(trace),
        temperature=search_effects.temperature(trace),
        chosen=chosen,
        confirmed=robust.on_test(results, chosen),
    )


def _importances(trace: Trace, importance: Importance | None) -> pd.DataFrame:
    found = []
    for backbone in trace.backbones if importance is not None else ():
        own = trace.frame[(trace.frame["backbone"] == backbone) & (trace.frame["state"] == "complete")]
        scaled = pd.DataFrame({axis.key: axis.scaled(own[axis.key]) for axis in trace.axes})
        assert importance is not None
        found.append(importance(scaled, own["mrr"].reset_index(drop=True)).assign(backbone=backbone))
    empty = pd.DataFrame(columns=IMPORTANCE_COLUMNS)
    return pd.concat(found, ignore_index=True)[IMPORTANCE_COLUMNS] if found else empty


def _chosen(trace: Trace, results: Results) -> pd.DataFrame:
    """The configurations that were trained anew, best by validation first, with L1 beside."""
    done = results.trials[(results.trials["role"] == "confirm") & (results.trials["state"] == "complete")]
    again = done[["backbone", "arm", "configuration"]].drop_duplicates().rename(columns={"configuration": "number"})
    again["number"] = again["number"].astype(int)
    found = again.merge(trace.frame, on=["backbone", "number"])
    has_base = {backbone for backbone in trace.backbones if "L1" in results.arms(backbone)}
    found["base_arm"] = ["L1" if backbone in has_base else None for backbone in found["backbone"]]
    return best_first(found, results.backbones)


def display(numbers: Numbers) -> dict[str, dict[str, Table]]:
    """Display tables by backbone and name; empty ones are left out."""
    made = {}
    for backbone in numbers.trace.backbones:
        own = {
            "configurations": shown.configurations_table(numbers.trace, backbone),
            "factors": shown.factors_table(numbers.curves, numbers.trace, backbone),
            "importance": shown.importance_table(numbers.importances, numbers.trace, backbone),
            "sobol": shown.sobol_table(numbers.sobol, numbers.trace, backbone),
            "temperature": shown.temperature_table(numbers.temperature, backbone),
            "confirmed": shown.confirmed_table(numbers.chosen, numbers.confirmed, numbers.trace, backbone),
        }
        made[backbone] = {name: table for name, table in own.items() if table.rows}
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
    told = {row["band"]: row for row in records(bands) if row["verdict"]}
    if not told:
        return "not tested", "too few configurations at temperatures around 7 and beside"
    parts = [
        f"T {band}: {number(row['difference'], 4, signed=True)} "
        f"{interval(row['low'], row['high'], 4)} against T {MIDDLE} ({row['verdict']})"
        for band, row in told.items()
    ]
    reason, words = "; ".join(parts), {band: row["verdict"] for band, row in told.items()}
    verdict = "undecided"
    if "better" in words.values():
        verdict = "contradicted"
    elif words.get("above 10.5") == "worse":
        verdict = "supported"
    if one_seed and verdict != "undecided":
        reason += f"; with one seed this is no verdict on the method (it would read: {verdict})"
        verdict = "undecided"
    return verdict, reason


def document(
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
    told = {
        "Searched": ranges,
        "Sampler": sampler.get(trace.sampler, trace.sampler),
        "Configurations": f"{counts}; up to {trace.frame['seeds'].max()} seeds each",
        "Cells inside": f"{len(inside)}, not scored on test",
    }
    pairs: list[list[str]] = []
    for label, value in facts(results, meta.data, name):
        if label == "Arms":
            pairs += [[key, text] for key, text in told.items()]
        elif label != "Weights":
            pairs.append([label.replace("Trials", "Trials on test"), value])
    return pairs


def judged(results: Results, numbers: Numbers) -> list[dict[str, Any]]:
    """The claims that this report judges."""
    if "C8" not in results.layout.claims:
        return []
    lines = []
    for backbone in numbers.trace.backbones:
        own = numbers.temperature[numbers.temperature["backbone"] == backbone]
        verdict, reason = judge_temperature(own, one_seed=_one_seed(numbers.trace))
        lines.append({"backbone": backbone_name(backbone), "verdict": verdict, "reason": reason})
    return [{"id": "C8", "text": CLAIMS["C8"], "lines": lines}] if lines else []
