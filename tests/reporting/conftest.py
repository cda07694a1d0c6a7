"""Synthetic frames of an ablation, shaped like those of a real study: ranks first, metrics derived from them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.reporting.data.layout import Layout, Meta
from harness.reporting.data.results import Frames as Given
from harness.reporting.data.results import Importance
from harness.reporting.kinds import load_shipped
from harness.reporting.output import typst

# a test may ask for any kind of report, also when it runs alone
load_shipped()


#: what the ablation compares
LAYOUT = Layout(
    title="What each distillation loss adds",
    claims=("C2", "C6"),
    arms=("none", "L1", "L1+L2", "L1+L3", "L1+L2+L3", "teacher", "llm-teacher"),
    compare={
        "L1": ("L1+L2", "L1+L3", "L1+L2+L3"),
        "none": ("L1", "L1+L2", "L1+L3", "L1+L2+L3"),
        "L1+L2": ("L1+L2+L3",),
        "L1+L3": ("L1+L2+L3",),
    },
)
#: what a study of dimensions compares
CAPACITY = Layout(
    name="capacity",
    title="How small a student may be",
    report="capacity",
    claims=("C9", "C10"),
    arms=("none", "L1", "L1+L2+L3", "teacher"),
    compare={"L1": ("L1+L2+L3",), "none": ("L1", "L1+L2+L3")},
)
DIMS = (5, 10, 25, 50, 100, 200)
RELATIONS = {
    "member of sports team": 0.34,
    "position held": 0.2,
    "spouse": 0.12,
    "educated at": 0.1,
    "award received": 0.09,
    "residence": 0.06,
    "employer": 0.05,
    "head of government": 0.03,
    "member of": 0.008,
    "capital_of & <x>": 0.002,
}
#: Shift of the mean log rank against the undistilled student: negative is better.
SHIFT = {
    "none": 0.0,
    "L1": -0.05,
    "L1+L2": -0.09,
    "L1+L3": -0.06,
    "L1+L2+L3": -0.1,
    "teacher": -0.3,
    "llm-teacher": 0.9,
}
STUDENTS = ("none", "L1", "L1+L2", "L1+L3", "L1+L2+L3")
SECONDS = {
    "data": 1.2,
    "teacher": 296.0,
    "finetune": 240.0,
    "encode": 118.0,
    "semantic": 61.0,
    "targets": 14.0,
    "stage1": 34.0,
    "stage2": 41.0,
    "evaluate": 3.1,
}


def stages_of(arm: str) -> set[str]:
    """Stages that a trial of the arm needs."""
    if arm == "teacher":
        return {"data", "teacher", "evaluate"}
    llm = {"finetune", "encode", "semantic"}
    if arm == "llm-teacher":
        return {"data", "evaluate"} | llm
    student = {"data", "stage1", "stage2", "evaluate"}
    if arm == "none":
        return student
    return student | {"teacher", "targets"} | (llm if "L2" in arm or "L3" in arm else set())


@dataclass
class Frames:
    """The three frames of a study; ``ranks`` by the index label of the trial's row."""

    trials: pd.DataFrame
    curves: pd.DataFrame
    ranks: dict[int, pd.DataFrame] = field(default_factory=dict)

    def load_ranks(self, label: Any) -> pd.DataFrame:
        return self.ranks[label]

    def of(self, layout: Layout, meta: dict[str, Any] | None = None, importance: Importance | None = None) -> Given:
        """What a report is made from."""
        about = Meta.model_validate(meta or {})
        return Given(layout, self.trials, self.curves, self.load_ranks, about, importance)


def importance_by_hand(factors: pd.DataFrame, values: pd.Series[float]) -> pd.DataFrame:
    """In place of Optuna's evaluators: the share of each factor's linear effect."""
    share = pd.Series({name: abs(np.corrcoef(column, values)[0, 1]) for name, column in factors.items()})
    rows = itertools.product(("PED-ANOVA", "fANOVA"), (share / share.sum()).items())
    return pd.DataFrame(
        [
            {"method": m, "factor": f, "importance": v, "low": v / 2, "high": v, "seed_sd": 0.01, "repeats": 3}
            for m, (f, v) in rows
        ]
    )


def written(folder: Path) -> set[str]:
    """The files below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def metrics(prefix: str, rank: np.ndarray) -> dict[str, float]:
    values = {"mrr": (1 / rank).mean(), "mr": rank.mean()} | {f"hits{k}": (rank <= k).mean() for k in (1, 3, 10)}
    return {f"{prefix}_{name}": float(value) for name, value in values.items()}


def make_frames(
    seeds: int = 3,
    backbones: tuple[str, ...] = ("ttranse",),
    arms: tuple[str, ...] = tuple(SHIFT),
    facts: int = 600,
    failed: tuple[tuple[str, int], ...] = (),
    dataset: str = "wiki",
    shift: dict[str, float] | None = None,
    relations: dict[str, float] | None = None,
    preset: str = "default",
) -> Frames:
    """A study with the given cells; ``failed`` lists (arm, seed) that diverged; ``shift`` overrides `SHIFT`."""
    random = np.random.default_rng(0)
    names = relations or RELATIONS
    relation = random.choice(list(names), facts, p=list(names.values()))
    hardness = random.normal(2.2, 1.9, 2 * facts)
    moves = SHIFT | (shift or {})
    trials: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    ranks: dict[int, pd.DataFrame] = {}
    for number, (backbone, arm, seed) in enumerate(itertools.product(backbones, arms, range(seeds))):
        if arm in ("teacher", "llm-teacher") and seed:
            continue
        key = {"study": "ablation", "study_name": f"ablation-{dataset}-3f2a91", "trial": number, "dataset": dataset}
        key |= {"backbone": backbone, "arm": arm, "seed": seed}
        row: dict[str, Any] = key | provenance(arm, preset)
        if (arm, seed) in failed:
            trials.append(row | {"state": "failed", "reason": "loss became NaN in stage 2, epoch 9 (update 4,101)"})
            continue
        shifts = moves[arm] + random.normal(0, 0.012) + random.normal(0, 0.35, 2 * facts)
        if arm not in ("none", "teacher"):
            shifts = shifts + 0.04 * (hardness > 5)
        if backbone != "ttranse":
            shifts = shifts + 0.25
        rank = np.maximum(1, np.round(2 * np.exp(hardness + shifts))) / 2 + 0.5
        direction = np.repeat(["tail", "head"], facts)
        ranks[len(trials)] = pd.DataFrame(
            {"query": np.arange(2 * facts), "direction": direction, "relation": np.tile(relation, 2), "rank": rank}
        )
        row |= metrics("test", rank) | metrics("valid", rank * 0.98 + 0.02)
        row |= metrics("test_tail", rank[:facts]) | metrics("test_head", rank[facts:])
        needed = stages_of(arm)
        for stage, usual in SECONDS.items():
            seconds = usual * float(random.uniform(0.93, 1.07))
            cached = stage in needed and stage not in ("data", "stage2", "evaluate") and len(trials) > 3
            ran = stage in needed and not cached
            row[f"seconds_{stage}"] = seconds if ran else np.nan
            row[f"built_seconds_{stage}"] = seconds if cached else np.nan
            row[f"peak_mib_{stage}"] = 300 + 6 * usual if ran else np.nan
            row[f"cached_{stage}"] = cached
        trials.append(row | {"state": "complete", "reason": None})
        if arm in STUDENTS:
            top, wobble = row["valid_mrr"], np.random.default_rng(seed)
            start = next(t["valid_mrr"] for t in trials if t["seed"] == seed) * (1 if arm == "none" else 1.02)
            for epoch in range(1, 13):
                # distilled arms share stage 1
                aim = start + (top - start) * min(max(epoch - 6, 0) / 4, 1)
                gone = (1 - np.exp(-epoch / 3) * (1 + 0.05 * wobble.normal())) * aim / top
                curves.append(
                    key
                    | {"stage": 1 if epoch <= 6 else 2, "epoch": epoch, "updates": 127 * epoch, "seconds": 3.1 * epoch}
                    | {"loss": 9 - 3 * gone, "valid_mrr": float(np.clip(top * gone, 0, 1))}
                )
    return Frames(pd.DataFrame(trials), pd.DataFrame(curves), ranks)


def provenance(arm: str, preset: str) -> dict[str, Any]:
    spec = {
        "dataset": "wiki",
        "protocol": "time-aware",
        "time": {"classes": "frequency", "size": 600},
        "student": {"dim": 25, "epochs": 12, "stage1_epochs": 6, "learning_rate": 0.01, "batch_size": 512},
        "teacher": {"dim": 400, "epochs": 8, "backbone": None},
        "llm": {"model": "smollm2", "finetune": "lora", "token_budget": 40000},
        "loss": {"alpha": 0.1, "beta": 0.1, "delta": 1.0, "temperature": 7.0, "hard_weight": 1.0},
    }
    return {
        "dim": 400 if arm == "teacher" else 128 if arm == "llm-teacher" else 25,
        "alpha": 0.1,
        "beta": 0.1,
        "delta": 1.0,
        "temperature": 7.0,
        "hard_weight": 1.0,
        "preset": preset,
        "protocol": "time-aware",
        "updates": 1524,
        "best_epoch": 12,
        "git_commit": "3f2a91c07be2f5c6a1e64dd1be2f1f8dd6a0c955",
        "git_dirty": True,
        "data_digest": "5b1c7e90aa21",
        "machine": "Linux x86_64, Intel Xeon, 2 cores, 8 GiB",
        "threads": 1,
        "python": "3.11.9",
        "torch": "2.13.0",
        "harness": "0.1.0",
        "started": "2026-11-24T05:31:02+00:00",
        "spec": json.dumps(spec),
    }


@pytest.fixture(autouse=True)
def only_what_is_looked_at_is_drawn(request: pytest.FixtureRequest) -> None:
    """Figures are blank but in tests marked ``draws``."""
    if request.node.get_closest_marker("draws") is None:
        request.getfixturevalue("blank_figures")


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The PDF, which is written last, finds no space."""

    def out_of_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(typst, "render", out_of_space)


@pytest.fixture
def frames() -> Callable[..., Frames]:
    """A factory of synthetic frames; see `make_frames`."""
    return make_frames


def make_sizes(
    dims: tuple[int, ...] = DIMS,
    arms: tuple[str, ...] = ("none", "L1", "L1+L2+L3", "teacher"),
    gain: Callable[[int], float] = lambda dim: 0.05 * max(0.0, math.log2(dim / 10)),
    without: tuple[tuple[str, int], ...] = (),
    failed: tuple[tuple[str, int, int], ...] = (),
    **options: Any,
) -> Frames:
    """A study of arms crossed with dimensions.

    Args:
        dims: of the students.
        arms: losses, and reference rows.
        gain: by how much all losses lower the mean log rank against L1, by dimension.
        without: (losses, dimension) that was never run.
        failed: (losses, dimension, seed) that diverged.
        options: of `make_frames`.
    """
    label = {(arm, dim): f"{arm} · dim={dim}" for arm in arms for dim in dims if arm != "teacher"}
    shift = {}
    for (arm, dim), name in label.items():
        mine = {"none": 0.0, "L1": -0.12, "L1+L2+L3": -0.12 - gain(dim)}[arm]
        shift[name] = 0.9 - 0.2 * math.log2(dim / 5) + mine
    of = {name: key for key, name in label.items() if key not in without} | {"teacher": ("teacher", 400)}
    names = [name for name in of if name != "teacher" or name in arms]
    lost = tuple((label[arm, dim], seed) for arm, dim, seed in failed)
    study = make_frames(arms=tuple(names), shift=shift, failed=lost, **options)
    study.trials["losses"] = [of[arm][0] for arm in study.trials["arm"]]
    study.trials["dim"] = [of[arm][1] for arm in study.trials["arm"]]
    specs = [json.loads(text) for text in study.trials["spec"]]
    for spec, dim in zip(specs, study.trials["dim"], strict=True):
        spec["student"]["dim"] = dim
    study.trials["spec"] = [json.dumps(spec) for spec in specs]
    return study


@pytest.fixture
def sizes() -> Callable[..., Frames]:
    """A factory of synthetic frames of arms crossed with dimensions; see `make_sizes`."""
    return make_sizes
