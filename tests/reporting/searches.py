"""Synthetic frames of a search: validation MRR as planted, confirmed winners with test ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.design.schema import FRESH, Search
from harness.reporting.data.layout import Layout
from tests.reporting.conftest import Frames, metrics, provenance

LAYOUT = Layout(
    name="sweep",
    title="A search",
    about="The full method at configurations that a sampler chose.",
    report="sensitivity",
    claims=("C8",),
    arms=("L1",),
)
SEARCH = Search.model_validate(
    {
        "arm": "L1+L2+L3",
        "trials": 30,
        "factors": {
            "loss.alpha": {"low": 0.01, "high": 10.0, "log": True},
            "loss.temperature": {"low": 1, "high": 20, "log": True},
            "student.stage1_epochs": {"low": 0, "high": 12, "step": 2},
        },
    }
)


def planted(alpha: float, temperature: float, stage1_epochs: float) -> float:
    """Gain over L1: best at α = 1 and T = 7, the worse the higher T; the switch does nothing."""
    return 0.004 - 0.004 * np.log10(alpha) ** 2 - 0.006 * np.log(temperature / 7) ** 2


def make_search(
    gain: Callable[..., float] = planted,
    *,
    seeds: int = 3,
    backbones: Sequence[str] = ("ttranse",),
    sampler: str = "tpe",
    trials: int = 30,
    noise: float = 0.0005,
    pruned: Sequence[int] = (),
    failed: Sequence[int] = (),
    base: bool = True,
    confirm: int = 3,
    facts: int = 60,
) -> tuple[Frames, dict[str, Any]]:
    """The frames of a search and its ``meta``; ``pruned`` have one seed, ``failed`` lost their last."""
    random = np.random.default_rng(0)
    search = SEARCH.model_copy(update={"sampler": sampler, "trials": trials})
    points = search.sample() if sampler == "qmc" else None
    if points is None:
        points = [{n: f.at(float(random.uniform())) for n, f in search.factors.items()} for _ in range(trials)]
    study = Frames(pd.DataFrame(), pd.DataFrame())
    hardness = random.normal(2.2, 1.9, 2 * facts)
    relation = random.choice(["spouse", "employer"], facts)
    rows: list[dict[str, Any]] = []

    def add(backbone: str, seed: int, more: float, *, scored: bool, lost: bool = False, **about: Any) -> None:
        number = len(rows)
        key = {"study": "sweep", "study_name": "sweep-wiki-3f2a91", "trial": number, "dataset": "wiki"}
        row = key | provenance(about["losses"], "default") | {"backbone": backbone, "seed": seed} | about
        if lost:
            rows.append(row | {"state": "failed", "reason": "the loss became nan in epoch 9"})
            return
        shift = -8 * more + random.normal(0, 0.2, 2 * facts)
        rank = np.maximum(1, np.round(2 * np.exp(hardness + shift))) / 2 + 0.5
        row |= metrics("valid", rank)
        luck = np.random.default_rng(seed).normal(0, 0.003)
        row["valid_mrr"] = 0.29 + luck + more + (random.normal(0, noise) if about["losses"] != "L1" else 0.0)
        if scored:
            row |= metrics("test", rank) | metrics("test_tail", rank[:facts]) | metrics("test_head", rank[facts:])
            study.ranks[number] = pd.DataFrame(
                {
                    "query": np.arange(2 * facts),
                    "direction": np.repeat(["tail", "head"], facts),
                    "relation": np.tile(relation, 2),
                    "rank": rank,
                }
            )
        rows.append(row | {"state": "complete", "reason": None})

    for backbone in backbones:
        l1 = {"arm": "L1", "losses": "L1", "role": "beside"}
        mine = [{n.split(".")[-1]: v for n, v in point.items()} for point in points]
        for seed in range(seeds) if base else ():
            add(backbone, seed, 0.0, scored=False, **l1)
            add(backbone, FRESH + seed, 0.0, scored=True, **l1 | {"role": None})
        for number, point in enumerate(mine):
            about = {"arm": f"L1+L2+L3 · #{number}", "losses": "L1+L2+L3", "configuration": number} | point
            for seed in range(1 if number in pruned else seeds):
                lost = number in failed and seed == seeds - 1
                add(backbone, seed, gain(**point), scored=False, lost=lost, role="search", **about)
        tried = [n for n in range(len(mine)) if n not in (*pruned, *failed)]
        for number in sorted(tried, key=lambda n: -gain(**mine[n]))[:confirm]:
            about = {"arm": f"L1+L2+L3 · #{number}", "losses": "L1+L2+L3", "configuration": number} | mine[number]
            for seed in range(seeds):
                add(backbone, FRESH + seed, gain(**mine[number]), scored=True, role="confirm", **about)
    study.trials = pd.DataFrame(rows)
    about = search.model_dump() | {"sample": points if sampler == "qmc" else None}
    return study, {"command": "python -m harness.study sweep", "search": about}
