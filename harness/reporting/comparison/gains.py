"""Where the gain that a study is about lies: by relation, and by what is known of the entities of a query."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.reporting.claims import QUESTIONS
from harness.reporting.data.results import Array, Results
from harness.stats import mean_intervals
from harness.vocabulary import losses_of

#: Relations with fewer test facts share one row: an interval over a handful of facts shows nothing.
FEW_FACTS = 20
#: A figure or table of relations has at most this many rows.
MOST_RELATIONS = 16
#: groups of degrees have about equal numbers of queries
DEGREE_GROUPS = 4

_KEY = ["backbone", "arm", "base"]
_NUMBERS = ["difference", "low", "high"]


def gains(results: Results) -> pd.DataFrame:
    """MRR of the arm that a study is about minus that of its base (`headline`), by relation and direction.

    Most frequent relations come first.

    Columns: backbone, arm, base, relation, direction, facts, difference, low, high (95 % interval).
    Relations with few test facts, and those beyond the most frequent ones, share the last row.
    """
    names, counts = np.unique(results.relations, return_counts=True)
    frequent = names[np.argsort(-counts, kind="stable")][: (counts >= FEW_FACTS).sum()]
    everything = len(frequent) == len(names) <= MOST_RELATIONS
    shown = frequent if everything else frequent[: MOST_RELATIONS - 1]
    groups = {str(name): results.relations == name for name in shown}
    if len(others := np.setdiff1d(names, shown)):
        groups[f"{len(others)} other relation{'s' if len(others) > 1 else ''}"] = np.isin(results.relations, others)
    rows = []
    for backbone in results.backbones:
        if (pair := headline(results, backbone)) is None:
            continue
        arm, base = pair
        delta = _differences(results, backbone, arm, base)
        for relation, facts in groups.items():
            for index, direction in enumerate(("tail", "head")):
                key = {"backbone": backbone, "arm": arm, "base": base, "relation": relation, "direction": direction}
                rows.append(key | {"facts": int(facts.sum())} | _interval(delta[:, index, facts]))
    return pd.DataFrame(rows, columns=[*_KEY, "relation", "direction", "facts", *_NUMBERS])


def splits(results: Results) -> pd.DataFrame:
    """The same difference by label and degree of the entity that is given and of the one that is asked for.

    Columns: backbone, arm, base, end ("subject" or "answer"), by ("label" or "degree"), group, queries, difference,
    low, high (95 % interval over seeds and queries). Empty where nothing is known of the queries.
    """
    known = results.queries
    rows = []
    for backbone in results.backbones if known is not None else ():
        if known is None or (pair := headline(results, backbone)) is None:
            continue
        arm, base = pair
        delta = _differences(results, backbone, arm, base)
        by_query = delta.reshape(len(delta), -1, 1)  # the tails of all facts, then the heads, as ``queries`` has them
        for end in ("subject", "answer"):
            labelled = known[f"{end}_labelled"].to_numpy(dtype=bool)
            groups = {("label", "labelled"): labelled, ("label", "without a label"): ~labelled}
            if labelled.all() or not labelled.any():
                groups = {}
            groups |= {("degree", name): chosen for name, chosen in _degrees(known[f"{end}_degree"].to_numpy())}
            for (by, group), chosen in groups.items():
                key = {"backbone": backbone, "arm": arm, "base": base, "end": end, "by": by, "group": group}
                rows.append(key | {"queries": int(chosen.sum())} | _interval(by_query[:, chosen]))
    return pd.DataFrame(rows, columns=[*_KEY, "end", "by", "group", "queries", *_NUMBERS])


def headline(results: Results, backbone: str) -> tuple[str, str] | None:
    """The comparison that a study is about on a backbone, an arm and its base; None: nothing is compared.

    The full method against L1; else the first that one of the study's claims asks for; else, of the sums of losses that
    are compared with L1, the one of most losses; else the first comparison.
    """
    pairs = [pair for pair in results.layout.pairs(results.arms(backbone)) if results.common_seeds(backbone, *pair)]
    asked = [QUESTIONS[claim].steps.values() for claim in results.layout.claims if claim in QUESTIONS]
    sums = [pair for pair in pairs if pair[1] == "L1" and losses_of(pair[0])]
    sums.sort(key=lambda pair: len(losses_of(pair[0]) or ()), reverse=True)
    wanted = [("L1+L2+L3", "L1"), *(step for steps in asked for step in steps), *sums, *pairs]
    return next((pair for pair in wanted if pair in pairs), None)


def _differences(results: Results, backbone: str, arm: str, base: str) -> Array:
    """Of MRR, ``[S, 2, N, 1]``: seeds, directions, test facts."""
    first, second = results.ranks[backbone, arm], results.ranks[backbone, base]
    seeds = results.common_seeds(backbone, arm, base)
    return np.stack([first[seed].values()[:, :, :1] - second[seed].values()[:, :, :1] for seed in seeds])


def _interval(values: Array) -> dict[str, float]:
    interval = mean_intervals(values)[0]
    return {"difference": interval.estimate, "low": interval.low, "high": interval.high}


def _degrees(degree: NDArray[np.int64]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Groups of about equal size, by rising degree, with names such as "in 3 to 9 facts"; only those with queries."""
    inner = np.quantile(degree, np.arange(1, DEGREE_GROUPS) / DEGREE_GROUPS, method="inverted_cdf")
    low, groups = 0, []
    for high in dict.fromkeys([*inner.astype(int).tolist(), int(degree.max())]):
        chosen = (degree >= low) & (degree <= high)
        if chosen.any():
            groups.append((f"in {low} facts" if low == high else f"in {low:,} to {high:,} facts", chosen))
        low = high + 1
    return groups
