"""Studies and results as tests of the store make them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from harness.design import cells
from harness.design import files as designs
from harness.design.cells import Run
from harness.store.records import ENVIRONMENT
from harness.store.store import Store
from harness.store.study import StudyStore, open_study
from harness.trial.run import TrialResult

HERE: dict[str, Any] = {"machine": "m", "device": "cpu", "number_format": "bfloat16"}
COUNTS = {"training facts": 10, "test facts": 2}


def result(shift: float = 0.0) -> TrialResult:
    rank = np.array([1.0, 4.0, 2.5, 10.0]) + shift
    metrics = {"mrr": (1 / rank).mean(), "mr": rank.mean(), **{f"hits{k}": (rank <= k).mean() for k in (1, 3, 10)}}
    return TrialResult(
        data_digest="d",
        metrics={f"{split}_{name}": float(value) for split in ("valid", "test") for name, value in metrics.items()},
        ranks={
            "query": np.arange(4),
            "direction": np.array([0, 0, 1, 1], np.int8),
            "relation": np.array([0, 1, 0, 1], np.int32),
            "rank": rank,
        },
        curve=[{"stage": 1, "epoch": 1, "updates": 5, "loss": 2.0, "valid_mrr": 0.3}],
        seconds={"stage1": 1.5},
        peak_mib={"stage1": 300.0},
        built_seconds={"stage1": 1.4},
        updates=5,
        best_epoch=1,
    )


#: what the four test queries of `result` ask
QUERIES = pd.DataFrame(
    {"query": np.arange(4), "direction": ["tail", "tail", "head", "head"], "relation": ["plays for", "manages"] * 2}
)


def opened(url: str, run: Run) -> StudyStore:
    study = open_study(Store(url), run, "python -m harness.study ablation", COUNTS)
    study.attach(QUERIES)
    return study


def planned(study: str, engine: str = "e", data_digest: str = "d") -> Run:
    run = cells.plan(
        designs.load(study), dataset="lahman", data_digest=data_digest, backbones=["ttranse"], preset="quick"
    )
    return replace(run, engine=engine)


def finished(store: Store, run: Run, about: Mapping[str, Any] = MappingProxyType({ENVIRONMENT: HERE})) -> StudyStore:
    """A study with every cell complete but the last."""
    study = open_study(store, run, "python -m harness.study ablation", COUNTS)
    study.attach(QUERIES)
    for k, spec in enumerate(run.specs[:-1]):
        attributes = {"label": run.labels[spec.key()], "preset": "quick", **about}
        study.finish(study.begin(spec, attributes), result(k))
    study.fail(study.begin(run.specs[-1], {"label": "x"}), "for a reason")
    return study


KEYS = [f"{number:024x}" for number in range(8)]


def numbered(number: int) -> TrialResult:
    """A result that can be told from others."""
    curve = [{"stage": 1, "epoch": epoch, "updates": epoch, "valid_mrr": number / 10} for epoch in (1, 2)]
    return replace(result(float(number)), curve=curve)
