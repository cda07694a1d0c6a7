"""Two designs side by side: the settings and machines that differ, and each arm's MRR with a paired test."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from harness.design.dotted import leaves
from harness.errors import UserError
from harness.reporting.data.results import Frames, Results, comparison_row, decided
from harness.stats import compare
from harness.vocabulary import METRICS

#: columns of trials that say what a number was made with
MADE_WITH = ("harness", "git_commit", "torch", "numpy", "machine", "device", "number_format", "protocol")


def differences(one: pd.DataFrame, other: pd.DataFrame) -> list[tuple[str, str, str]]:
    """What differs between the trials of two designs that have the same backbone, arm and seed: name and both values.

    Settings by their dotted names, then versions and machines; several values are given with commas between.
    """
    keys = ["backbone", "arm", "seed"]
    pairs = one.merge(other, on=keys, suffixes=("_of_one", "_of_other"))
    values: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for row in pairs.to_dict("records"):
        specs = [dict(leaves(json.loads(row[f"spec{end}"]))) for end in ("_of_one", "_of_other")]
        made = [{name: row.get(f"{name}{end}") for name in MADE_WITH} for end in ("_of_one", "_of_other")]
        first, second = ({**spec, **with_} for spec, with_ in zip(specs, made, strict=True))
        for name in first | second:
            if (a := _text(first.get(name))) != (b := _text(second.get(name))):
                shown = values.setdefault(name, ({}, {}))
                shown[0][a] = shown[1][b] = None
    return [(name, ", ".join(sorted(a)), ", ".join(sorted(b))) for name, (a, b) in values.items()]


def _text(value: Any) -> str:
    return "–" if value is None or value != value else str(value)


def compared(one: Frames, other: Frames) -> pd.DataFrame:
    """Each arm that both designs have, by MRR over their common seeds: ``other`` minus ``one``.

    Columns: backbone, arm, seeds, one, other (means), difference with its interval, p, p_holm over all rows, verdict,
    as of `harness.reporting.data.results.paired`.

    Raises:
        UserError: the designs are about other data, have no arm in common, or their results do not pass the checks.
    """
    digests = [sorted(set(frames.trials["data_digest"].dropna())) for frames in (one, other)]
    if digests[0] != digests[1]:
        raise UserError("compare: the two designs have other data (their digests differ); their ranks do not compare")
    first, second = one.results(), other.results()
    rows = []
    for backbone, arm in first.ranks:
        seeds = sorted(first.ranks[backbone, arm].keys() & second.ranks.get((backbone, arm), {}).keys())
        if seeds:
            rows.append(
                {"backbone": backbone, "arm": arm, "seeds": len(seeds), **_row(first, second, backbone, arm, seeds)}
            )
    if not rows:
        raise UserError("compare: the two designs have no backbone, arm and seed in common")
    return decided(pd.DataFrame(rows), ["metric"])


def _row(first: Results, second: Results, backbone: str, arm: str, seeds: list[int]) -> dict[str, Any]:
    old, new = (results.by_fact(backbone, arm, seeds) for results in (first, second))
    (mrr,) = (k for k, metric in enumerate(METRICS) if metric.key == "mrr")
    comparison = compare(new[:, :, mrr : mrr + 1], old[:, :, mrr : mrr + 1])[0]
    means = {"one": float(old[:, :, mrr].mean()), "other": float(new[:, :, mrr].mean())}
    return {"metric": "mrr", **means, **comparison_row(comparison)}
