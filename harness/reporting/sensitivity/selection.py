"""The points that validation chose, and their results on test.

Validation alone selects. Test MRR is looked at for what has been selected, and decides whether it keeps its promise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from harness.reporting.data.frames import records
from harness.reporting.data.results import Results, comparison_row, decided, decisions
from harness.reporting.sensitivity.points import Grid
from harness.selection import best_first
from harness.vocabulary import FRESH_SEEDS, METRICS

BEST = 5
CHOSEN_COLUMNS = [
    *("backbone", "arm", "base", "metric", "value", "base_value", "difference", "difference_low", "difference_high"),
    *("p", "p_holm", "margin", "p_equal", "seeds", "facts", "verdict"),
]


def best_points(grid: Grid, most: int = BEST) -> pd.DataFrame:
    """The points with the highest mean validation MRR, up to ``most`` a backbone, best first.

    Columns: those of `Grid.points`, and rank (1, 2 ...). Points that lost a seed do not take part.
    """
    ranked = best_first(grid.points(), grid.backbones)
    ranked["rank"] = ranked.groupby("backbone").cumcount() + 1
    return ranked[ranked["rank"] <= most].reset_index(drop=True)


def confirmed_points(grid: Grid, again: Results) -> pd.DataFrame:
    """The points (`Grid.points`) with confirmation runs in ``again``, best by validation first.

    ``arm`` and ``base_arm`` (missing without one) are the labels of their confirmation runs.
    """
    points = best_first(grid.points(), grid.backbones)
    for column in ("arm", "base_arm"):
        keys = zip(points["backbone"], points[column] + FRESH_SEEDS, strict=True)
        points[column] = [key[1] if key in again.ranks else None for key in keys]
    return points[points["arm"].notna()].reset_index(drop=True)


def on_test(results: Results, chosen: pd.DataFrame) -> pd.DataFrame:
    """Test results of points (backbone, arm, base_arm or missing) with paired differences to L1, a row a metric.

    The points of a backbone are the family of Holm's correction, by metric; verdicts are those of
    `harness.reporting.data.results.paired`. Without L1 the differences are NaN and the verdict is "".

    Columns: backbone, arm, base, metric, value and base_value (means over seeds), difference (with _low and _high), p,
    p_holm, margin, p_equal, seeds, facts, verdict.
    """
    rows: list[dict[str, Any]] = []
    for point in records(chosen):
        backbone, arm, base = point["backbone"], point["arm"], point.get("base_arm")
        seeds = results.common_seeds(backbone, arm, base) if isinstance(base, str) else []
        values = results.by_fact(backbone, arm, seeds or None)
        against = results.by_fact(backbone, str(base), seeds) if seeds else None
        comparisons = results.compared(backbone, arm, str(base), seeds) if seeds else []
        settled = [] if against is None else decisions(
            results, backbone, values - against, against.mean(axis=(0, 1)), seeds)  # fmt: skip
        for k, metric in enumerate(METRICS):
            row = {"backbone": backbone, "arm": arm, "base": base if seeds else "", "metric": metric.key}
            row |= {"value": float(values[:, :, k].mean()), "seeds": len(values), "facts": values.shape[1]}
            row |= {"base_value": np.nan if against is None else float(against[:, :, k].mean())}
            rows.append(row | (comparison_row(comparisons[k]) | settled[k] if comparisons else {}))
    frame = pd.DataFrame(rows, columns=[name for name in CHOSEN_COLUMNS if name not in ("p_holm", "verdict")])
    return decided(frame, ["backbone", "metric"])[CHOSEN_COLUMNS]
