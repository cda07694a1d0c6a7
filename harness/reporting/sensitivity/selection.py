"""Which settings work everywhere: the region of robust points, the recommended default, the best points on test.

Validation alone selects. Test MRR is looked at for what has been selected, and decides whether it keeps its promise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from harness.reporting.data.results import ALPHA, Results
from harness.reporting.sensitivity.points import Cells
from harness.selection import best_first
from harness.stats import compare, holm
from harness.vocabulary import FRESH_SEEDS, METRICS

BEST = 5
CHOSEN_COLUMNS = [
    *("backbone", "arm", "base", "measure", "value", "base_value", "difference", "low", "high", "p", "p_holm"),
    *("seeds", "facts", "verdict"),
]


def best_points(cells: Cells, most: int = BEST) -> pd.DataFrame:
    """The points with the highest mean validation MRR, up to ``most`` a backbone, best first.

    Columns: those of `Cells.points`, and rank (1, 2 ...). Points that lost a seed do not take part.
    """
    ranked = best_first(cells.points(), cells.backbones)
    ranked["rank"] = ranked.groupby("backbone").cumcount() + 1
    return ranked[ranked["rank"] <= most].reset_index(drop=True)


def confirmed_points(cells: Cells, again: Results) -> pd.DataFrame:
    """The points with confirmation runs, under the labels that they have there, best by validation first.

    Args:
        cells: the points of the grid.
        again: the trials with fresh seeds.

    Returns:
        Columns of `Cells.points`; ``arm`` and ``base_arm`` (missing without one) are labels of ``again``.
    """
    points = best_first(cells.points(), cells.backbones)
    for column in ("arm", "base_arm"):
        labels = points[column] + FRESH_SEEDS
        keys = zip(points["backbone"], labels, strict=True)
        points[column] = [key[1] if key in again.per_fact else None for key in keys]
    return points[points["arm"].notna()].reset_index(drop=True)


def on_test(results: Results, chosen: pd.DataFrame) -> pd.DataFrame:
    """Test results of points that validation chose, with paired differences to L1 (`harness.stats.compare`).

    The points of a backbone are the family of Holm's correction, by measure. The verdict is that of
    `harness.reporting.data.results.paired`.

    Args:
        results: of all trials.
        chosen: a row a point: backbone, arm, base_arm (missing: nothing to compare with).

    Returns:
        A row a point and measure: backbone, arm, base, measure, value and base_value (means over seeds), difference,
        low, high, p, p_holm, seeds, facts, verdict. Without L1 the differences are NaN and the verdict is "".
    """
    rows: list[dict[str, Any]] = []
    better_up = [measure.higher_is_better for measure in METRICS]
    for point in chosen.to_dict("records"):
        backbone, arm, base = point["backbone"], point["arm"], point.get("base_arm")
        base = base if isinstance(base, str) else ""
        seeds = results.common_seeds(backbone, arm, base) if base else []
        values = results.by_fact(backbone, arm, seeds or None)
        against = results.by_fact(backbone, base, seeds) if seeds else None
        comparisons = compare(values, against) if against is not None else []
        for k, measure in enumerate(METRICS):
            row = {"backbone": backbone, "arm": arm, "base": base if seeds else "", "measure": measure.key}
            row |= {"value": float(values[:, :, k].mean()), "seeds": len(values), "facts": values.shape[1]}
            row |= {"base_value": float("nan") if against is None else float(against[:, :, k].mean())}
            if comparisons:
                change = comparisons[k].difference
                row |= {"difference": change.estimate, "low": change.low, "high": change.high, "p": comparisons[k].p}
            rows.append(row | {"up": better_up[k]})
    frame = pd.DataFrame(rows, columns=[*(c for c in CHOSEN_COLUMNS if c not in ("p_holm", "verdict")), "up"])
    family = frame[frame["p"].notna()].groupby(["backbone", "measure"])["p"]
    frame["p_holm"] = family.transform(lambda p: holm(p.to_numpy())).reindex(frame.index)
    decided = (frame["p_holm"] < ALPHA) & ((frame["low"] > 0) | (frame["high"] < 0))
    word = np.where((frame["difference"] > 0) == frame["up"], "better", "worse")
    frame["verdict"] = np.where(frame["p"].isna(), "", np.where(decided, word, "undecided"))
    return frame[CHOSEN_COLUMNS]
