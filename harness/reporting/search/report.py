"""The report of a search: its history, what the factors do, importances, Sobol indices and confirmed winners."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from harness.reporting.claims import Claim, Verdict, claim, no_verdict
from harness.reporting.content import Front, case_of, figure_name, how_equal, report
from harness.reporting.data.about import facts, with_points
from harness.reporting.data.frames import records, rows_of, where
from harness.reporting.data.results import (
    CONFIRMATION,
    EQUAL,
    INSIDE,
    Frames,
    Results,
    importances_of,
    is_search,
    with_role,
)
from harness.reporting.data.text import interval, number, percent
from harness.reporting.evidence import Evidence, side_by_side
from harness.reporting.kinds import report_kind
from harness.reporting.output.document import Detail, Document, Figure, Section, Text
from harness.reporting.search import figures, tables
from harness.reporting.search.trace import MIDDLE, Trace, curves, sobol, temperature, trace_of
from harness.reporting.sensitivity.selection import on_test
from harness.reporting.sensitivity.tables import chosen_lines, importance_table, point_name
from harness.selection import best_first
from harness.vocabulary import backbone_name, dataset_name, joined, level_name, symbol_of

SAMPLERS = {"tpe": "tree-structured Parzen estimator", "qmc": "Saltelli's sample of a Sobol sequence"}


def _importances(trace: Trace, frames: Frames) -> pd.DataFrame:
    trials = {}
    for backbone in trace.backbones:
        rows = where(trace.frame, backbone=backbone, state="complete").reset_index(drop=True)
        trials[backbone] = pd.DataFrame({axis.key: axis.scaled(rows[axis.key]) for axis in trace.axes}), rows["mrr"]
    return importances_of(frames.importance, trials)


def _chosen(trace: Trace, results: Results) -> pd.DataFrame:
    """The configurations with confirmation runs, best by validation first, with L1 beside: that of the same
    temperature, say, or else L1 as the study has it."""
    done = where(results.trials, role=CONFIRMATION, state="complete")
    done = done[done["configuration"].notna()]  # others are those of L1
    done = done.assign(base_arm=done.get("base"))
    again = done.rename(columns={"configuration": "number"})[["backbone", "arm", "number", "base_arm"]]
    again = again.drop_duplicates(["backbone", "arm"])
    chosen = again.astype({"number": int}).merge(trace.frame, on=["backbone", "number"])
    chosen["base_arm"] = [
        next((name for name in (row["base_arm"], "L1") if name in results.arms(row["backbone"])), None)
        for row in records(chosen)
    ]
    return best_first(chosen, results.backbones)


def judge_temperature(bands: pd.DataFrame, *, one_seed: bool) -> Verdict:
    """C8 on one backbone: T = 7 is good, and higher temperatures are worse.

    Supported if temperatures above 10.5 are worse than those around 7, and those below 4.5 not better. Contradicted if
    one of both is better. Equivalent if both are. With one seed there is no verdict.
    """
    by_band = {row["band"]: row for row in rows_of(bands) if row["verdict"]}
    if not by_band:
        return "not tested", "too few configurations at temperatures around 7 and beside"
    reason = "; ".join(
        f"T {band}: {number(row['difference'], 4, signed=True)} "
        f"{interval(row['difference_low'], row['difference_high'], 4)} against T {MIDDLE} ({row['verdict']})"
        for band, row in by_band.items()
    )
    words = {band: row["verdict"] for band, row in by_band.items()}
    if "better" in words.values():
        verdict = "contradicted", reason
    elif words.get("above 10.5") == "worse":
        verdict = "supported", reason
    elif list(words.values()) == [EQUAL, EQUAL]:
        verdict = EQUAL, reason
    else:
        return "undecided", reason
    return no_verdict(verdict) if one_seed else verdict


def _one_seed(trace: Trace) -> bool:
    return bool(trace.frame["seeds"].max() == 1)


def judged(results: Results, trace: Trace, bands: pd.DataFrame) -> list[Claim]:
    """The claims that this report judges."""
    if "C8" not in results.layout.claims:
        return []
    return [
        claim("C8", backbone, judge_temperature(where(bands, backbone=backbone), one_seed=_one_seed(trace)), [])
        for backbone in trace.backbones
    ]


def summary(
    winners: Sequence[Mapping[str, Any]], tests: pd.DataFrame, names: Sequence[str], backbone: str
) -> list[str]:
    """What a search found on a backbone: its best configuration on test, and which factors matter."""
    sentences = []
    for winner in winners[:1]:
        at = f"The best configuration by validation ({point_name(winner, names)}) has test MRR "
        at += number(winner["value"], 3)
        share, low, high = (winner[f"difference{end}"] / winner["base_value"] for end in ("", "_low", "_high"))
        if winner["verdict"] == "undecided":
            sentences.append(f"{at}. Against L1: not significant; compatible with {percent(low)} to {percent(high)}.")
        elif winner["verdict"]:
            no_more = "; no more than the margin" * (winner["verdict"] == EQUAL)
            sentences.append(f"{at}, {percent(share)} ({percent(low)} to {percent(high)}{no_more}) against L1.")
        else:
            sentences.append(f"{at}.")
    rows = rows_of(tests, backbone=backbone)
    for decided, words in ((True, "Validation MRR depends on"), (False, "No effect is shown of")):
        factors = [symbol_of(row["factor"]) for row in rows if bool(row["decided"]) == decided]
        if factors:
            sentences.append(f"{words} {joined(factors)}.")
    return [f"{backbone_name(backbone)}: {' '.join(sentences)}"] if sentences else []


def _searched(trace: Trace, inside: pd.DataFrame) -> dict[str, str]:
    """What was searched, in place of arms."""
    states = trace.frame["state"].value_counts()
    counts = ", ".join(f"{states[state]} {state}" for state in ("complete", "given up", "failed") if state in states)
    return {
        "Searched": "; ".join(
            f"{a.symbol} from {level_name(a.low)} to {level_name(a.high)}{' (log)' * a.log}" for a in trace.axes
        ),
        "Sampler": SAMPLERS.get(trace.sampler, trace.sampler),
        "Configurations": f"{counts}; up to {trace.frame['seeds'].max()} seeds each",
        "Trials inside": f"{len(inside)}, not scored on test",
    }


def loaded(frames: Frames) -> tuple[pd.DataFrame, Trace, Results]:
    """The trials inside a search, their configurations, and the results on test facts beside it.

    Raises:
        UserError: the frames do not pass their checks, or nothing is confirmed yet.
    """
    are_inside = with_role(frames.trials, *INSIDE)
    trace = trace_of(frames.trials[are_inside], frames.meta.search)
    results = Results.load(frames.trials[~are_inside], frames.load_ranks, frames.layout)
    return frames.trials[are_inside], trace, results


def evidence_of(frames: Frames) -> dict[str, Evidence]:
    """The evidence of a search, by claim.

    Raises:
        UserError: the frames do not pass their checks, or nothing is confirmed yet.
    """
    _, trace, results = loaded(frames)
    bands = temperature(trace, frames.layout.margin)
    verdicts = judged(results, trace, bands)
    if not verdicts:
        return {}
    return {
        "C8": Evidence(
            verdicts=verdicts,
            table=side_by_side([(name, tables.temperature_table(bands, name)) for name in trace.backbones]),
            numbers=bands,
            figures={},  # two rows, which the table has
            trials=results.trials,
        )
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
    inside, trace, results = loaded(frames)
    tests, lines = curves(trace)
    importances, indices, bands = _importances(trace, frames), sobol(trace), temperature(trace, frames.layout.margin)
    chosen = _chosen(trace, results)
    confirmed = on_test(results, chosen)
    files: dict[str, tuple[pd.DataFrame, str | None]] = {
        "configurations": (trace.frame, "configurations"),
        "factors": (tests, "factors"),
        "importance": (importances, "importance"),
        "sobol": (indices, "sobol"),
        "temperature": (bands, "temperature"),
        "confirmed": (confirmed, "confirmed"),
    }
    shown = {
        backbone: {
            "configurations": tables.configurations_table(trace, backbone),
            "factors": tables.factors_table(tests, backbone),
            "importance": importance_table(importances, backbone, "configurations"),
            "sobol": tables.sobol_table(indices, backbone),
            "temperature": tables.temperature_table(bands, backbone),
            "confirmed": tables.confirmed_table(chosen_lines(chosen, confirmed, backbone), trace.names),
        }
        for backbone in trace.backbones
    }

    def section(backbone: str) -> Section:
        of = shown[backbone]

        def drawn(kind: str, caption: str, draw: Callable[..., bool], *given: Any) -> Figure:
            return Figure(figure_name(results, backbone, kind), partial(draw, *given, backbone), caption)

        sobols = ", and Sobol indices of the designed sample" if of["sobol"].rows else ""
        return Section(
            backbone_name(backbone),
            [
                of["confirmed"],
                drawn("history", HISTORY, figures.history, trace),
                drawn("factors", FACTORS, figures.factors, trace, lines),
                of["factors"],
                of["temperature"],
                drawn(
                    "indices",
                    f"Importance of each factor by two evaluators{sobols}.",
                    figures.indices,
                    indices,
                    importances,
                    trace,
                ),
                Detail(of["importance"]),
                Detail(of["sobol"]),
                Detail(of["configurations"]),
            ],
            case=case_of(results, backbone),
        )

    findings = [
        words
        for backbone in trace.backbones
        for words in summary(chosen_lines(chosen, confirmed, backbone), tests, trace.names, backbone)
    ]
    dataset = dataset_name(str(results.trials["dataset"].iloc[0]))
    run = [
        ["Trials on test" if label == "Trials" else label, value]
        for label, value in with_points(facts(results, frames.meta.data, dataset), _searched(trace, inside))
    ]
    return report(
        frames,
        results,
        map(section, trace.backbones),
        files=files,
        tables=shown,
        front=Front(findings, judged(results, trace, bands), [ONE_SEED] * _one_seed(trace)),
        reading=[*READING, Text(DIFFERENCES + how_equal(results.layout), "Differences to L1")],
        run=run,
        varied=trace.names,
        trials=pd.concat([inside, results.trials]),
    )


ONE_SEED = (
    "Every configuration ran with one seed (n = 1): what looks like a factor's effect may be the seed's. Intervals of "
    "test MRR are over test facts."
)
HISTORY = (
    "Mean validation MRR of the configurations in the order in which they were asked for. What was given up is shown "
    "with the mean over the seeds it had; dashed: L1."
)
FACTORS = (
    "Configurations by the value of each factor, and a quadratic in all factors fitted to them, with its 95 % "
    "interval. Other factors as in the mean configuration; the worst configurations may lie below the frame."
)
DIFFERENCES = (
    "inside the search are means over the same seeds. On test L1 has the winner's values of all factors "
    "that act in it, such as the temperature, and differences are paired by seed and test fact: intervals, "
    "sign-flip tests, Holm's correction over the winners of a backbone. "
)
READING = (
    Text(
        "A configuration is trained with each of the search's seeds; its value is the mean validation MRR. Inside the "
        "search test facts are not scored at all. The best configurations then have confirmation runs with fresh "
        "seeds, which are scored on test once: the winners' validation MRR is the best of many and therefore too "
        "good, their test MRR is not.",
        "Selection.",
    ),
    Text(
        "After three seeds a configuration that Wilcoxon's signed-rank test finds worse than the best one is trained "
        "with no more.",
        "Given up.",
    ),
    Text(
        "describe. A sampler that looks where values are good makes no random sample, and configurations that share "
        "seeds are not independent of each other.",
        "Curves",
    ),
)
