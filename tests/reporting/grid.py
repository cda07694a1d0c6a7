"""Synthetic frames of a grid: validation MRR as planted, test ranks that follow it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.reporting.data.layout import Layout
from harness.reporting.data.results import Results
from harness.reporting.output.typst import write
from harness.reporting.sensitivity.report import content
from tests.reporting.conftest import Frames, importance_by_hand, metrics, provenance

LAYOUT = Layout(
    name="grid",
    title="A grid of α, β and δ",
    about="The full method at every combination of the weights.",
    report="sensitivity",
    claims=("C7",),
    arms=("L1", "L1+L2+L3"),
    compare={"L1": ("L1+L2+L3",)},
)
META = {"command": "python -m harness.study grid --dataset wiki", "data": {"training facts": 32497}}
LEVELS = {"alpha": (0.1, 0.5, 1.0), "beta": (0.01, 0.1, 1.0), "delta": (0.1, 1.0, 10.0)}
#: takes the positions of a point's levels, in the order of the factors; returns its gain over L1 in MRR
Planted = Callable[..., float]


def planted(*place: int) -> float:
    """The first factor raises MRR by .003 a level, the second lowers it by .001; they do not interact."""
    return 0.002 + 0.003 * place[0] - 0.001 * place[1]


def label(levels: dict[str, float]) -> str:
    return "L1+L2+L3 · " + ", ".join(f"{key}={value}" for key, value in levels.items())


def make_grid(
    gain: Planted = planted,
    *,
    factors: dict[str, tuple[float, ...]] | None = None,
    seeds: int = 3,
    backbones: Sequence[str] = ("ttranse",),
    facts: int = 60,
    noise: float = 0.0003,
    failed: Sequence[tuple[int, ...]] = (),
    missing: Sequence[tuple[int, ...]] = (),
    base: bool = True,
    dataset: str = "wiki",
    rising: Sequence[tuple[int, ...]] = (),
) -> Frames:
    """A study with a point at every combination of levels.

    ``failed`` and ``missing`` are positions of points that diverged (with seed 0) and that were never tried; ``rising``
    of those whose L2 grows in stage 2.
    """
    random = np.random.default_rng(0)
    grid = factors or LEVELS
    hardness = random.normal(2.2, 1.9, 2 * facts)
    relation = random.choice(["spouse", "employer"], facts)
    study = Frames(pd.DataFrame(), pd.DataFrame())
    trials: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    places = [place for place in itertools.product(*(range(len(v)) for v in grid.values())) if place not in missing]
    for backbone, seed in itertools.product(backbones, range(seeds)):
        luck = random.normal(0, 0.002)
        level = 0.29 if backbone == "ttranse" else 0.31
        rows: list[tuple[tuple[int, ...] | None, float]] = [(None, 0.0)] if base else []
        rows += [(place, gain(*place)) for place in places]
        for place, more in rows:
            number = len(trials)
            key = {"study": "grid", "study_name": f"grid-{dataset}-3f2a91", "trial": number, "dataset": dataset}
            key |= {"backbone": backbone, "seed": seed}
            point = {k: v[i] for (k, v), i in zip(grid.items(), place or (), strict=bool(place))}
            stated = provenance("L1+L2+L3", "default") | {"losses": "L1+L2+L3"} | point
            spec = json.loads(stated["spec"])
            spec["loss"] |= {k: v for k, v in point.items() if k in spec["loss"]}
            stated["spec"] = json.dumps(spec)
            if place is None:
                stated |= {"losses": "L1", "alpha": np.nan, "beta": np.nan, "delta": np.nan, "arm": "L1"}
                stated |= dict.fromkeys((k for k in grid if k in ("alpha", "beta", "delta")), np.nan)
            else:
                stated["arm"] = label(point)
            row = key | stated
            if place in failed and seed == 0:
                trials.append(row | {"state": "failed", "reason": "the loss became nan in epoch 9"})
                continue
            shift = -8 * more + random.normal(0, 0.2, 2 * facts)
            rank = np.maximum(1, np.round(2 * np.exp(hardness + shift))) / 2 + 0.5
            study.ranks[number] = pd.DataFrame(
                {
                    "query": np.arange(2 * facts),
                    "direction": np.repeat(["tail", "head"], facts),
                    "relation": np.tile(relation, 2),
                    "rank": rank,
                }
            )
            row |= metrics("test", rank) | metrics("valid", rank)
            row |= metrics("test_tail", rank[:facts]) | metrics("test_head", rank[facts:])
            row["valid_mrr"] = level + luck + more + (random.normal(0, noise) if place is not None else 0.0)
            trials.append(row | {"state": "complete", "reason": None})
            for epoch in range(1, 9):
                l2 = (
                    (0.3 + 0.02 * (epoch if place in rising else -epoch)) if place is not None and epoch > 4 else np.nan
                )
                curves.append(
                    key
                    | {"arm": stated["arm"], "stage": 1 if epoch <= 4 else 2, "epoch": epoch, "updates": 127 * epoch}
                    | {"loss": 1.0, "loss_l2": l2, "valid_mrr": row["valid_mrr"] * (1 - 0.5**epoch)}
                )
    study.trials, study.curves = pd.DataFrame(trials), pd.DataFrame(curves)
    return study


def results(study: Frames) -> Results:
    """The results of all its trials."""
    return study.of(LAYOUT).results()


def make(study: Frames, output: Path) -> Path:
    """Make the report of a grid in a folder; return the path of its PDF."""
    return write(content(study.of(LAYOUT, META, importance_by_hand)), output)
