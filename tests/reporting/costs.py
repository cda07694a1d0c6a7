"""Synthetic frames of a study on costs, and what was measured beside its trials."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from harness.reporting.data.layout import Layout
from tests.reporting.conftest import SECONDS, SHIFT, Frames, make_frames

LAYOUT = Layout("cost", "What distillation costs", "About.", "cost", ("C11", "C12", "C14"), ("none", "L1", "L1+L2+L3"))
ARMS, SIZES = ("none", "L1", "L1+L2+L3"), (256, 512, 1024)
Record = dict[str, Any]
#: seconds of a student's two stages by arm
STUDENT = {"none": 60.0, "L1": 66.0, "L1+L2+L3": 72.0}
LABELS = {f"{arm} · batch_size={size}": (arm, size) for arm in ARMS for size in SIZES}


def study(seeds: int = 2, backbones: tuple[str, ...] = ("ttranse",), **more: Any) -> Frames:
    """A study over arms and batch sizes with exact seconds: stages as in `SECONDS`, students as in `STUDENT`."""
    shift = {label: SHIFT[arm] for label, (arm, _) in LABELS.items()}
    arms = (*LABELS, "teacher", "llm-teacher")
    frames = make_frames(seeds, backbones, arms, facts=60, shift=shift, **more)
    rows = []
    for row in frames.trials.to_dict("records"):
        arm, size = LABELS.get(row["arm"], (row["arm"], 512))
        spec = json.loads(row["spec"])
        spec["student"]["batch_size"] = size
        row |= {"losses": arm, "spec": json.dumps(spec), "cell": f"{row['backbone']}/{row['arm']}/{row['seed']}"}
        llm = {"finetune", "encode", "semantic"} if arm in ("L1+L2+L3", "llm-teacher") else set()
        structural = {"teacher", "targets"} if arm.startswith("L1") else {"teacher"} if arm == "teacher" else set()
        for stage, seconds in SECONDS.items():
            is_own = stage in llm | structural | {"data", "evaluate"}
            row |= {f"seconds_{stage}": math.nan, f"built_seconds_{stage}": seconds if is_own else math.nan}
        if arm in STUDENT:
            row |= {"built_seconds_stage1": STUDENT[arm] / 3, "seconds_stage2": STUDENT[arm] * 2 / 3}
        rows.append(row)
    frames.trials = pd.DataFrame(rows)
    return frames


def records(
    frames: Frames, *, trained: bool = False, latency: float = 1.0, difference: float = 0.0
) -> list[dict[str, Any]]:
    """What is measured of every backbone: stages, loop, inference, export."""
    every: list[Record] = []
    rows = [row for row in frames.trials.to_dict("records") if row["state"] == "complete"]
    for backbone in dict.fromkeys(row["backbone"] for row in rows):
        mine = [row for row in rows if row["backbone"] == backbone]
        of = {
            (row["losses"], json.loads(row["spec"])["student"]["batch_size"], row["seed"]): row["cell"] for row in mine
        }
        full = [row["cell"] for row in mine if row["losses"] == "L1+L2+L3"]
        for stage, cells, peak in (
            ("teacher", [of["teacher", 512, 0], *full], 900.0),
            ("finetune", [of["llm-teacher", 512, 0], *full], 1300.0),
        ):
            every.append(record("stage", cells, [stage_row(stage, peak)]))
        for (arm, size, seed), cell in of.items():
            if arm in ARMS and seed == 0:
                every.append(record("stage", [cell], [stage_row("stage1", 500), stage_row("stage2", 500 + size / 8)]))
        every.append(record("stage", [of["L1+L2+L3", 512, 0]], [stage_row("loop", 1100)]))
        for seed in sorted({row["seed"] for row in mine if row["losses"] in ARMS}) if trained else [0]:
            mrr = 0.3 + 0.01 * seed
            ways = [
                loop_row("none", "loop", 300, None),
                loop_row("none", "stored", 60, mrr),
                loop_row("L1+L2+L3", "loop", 720, mrr + difference if trained else None),
                loop_row("L1+L2+L3", "stored, all entities", 240, None),
                loop_row("L1+L2+L3", "stored", 72, mrr),
            ]
            every.append(record("loop", [of["L1+L2+L3", 512, seed]], ways))
        students = [of["none", 512, 0], of["L1+L2+L3", 512, 0], of["teacher", 512, 0], of["llm-teacher", 512, 0]]
        wobble = np.random.default_rng(0).normal(1, 0.01, 15)
        models = [("none", 1.0, 1.2), ("L1+L2+L3", latency, 1.2), ("teacher", 8.0, 19.0)]
        models += [("llm-teacher", 4.0, 12.0), ("language model", 90.0, 270.0)]
        answers = [
            {"model": name, "parameters": round(mb * 250_000), "size_mb": mb, "latency_ms": list(ms * wobble[::step])}
            | {"queries_per_second": [1000 / ms] * 15}
            for (name, ms, mb), step in zip(models, (1, -1, 1, 1, 1), strict=True)
        ]
        every.append(record("inference", students, answers))
        metrics = {"mrr": 0.3, "mr": 90.0, "hits1": 0.2, "hits3": 0.3, "hits10": 0.5}
        exported = [
            {"format": "as trained", "size_mb": None, "reason": None, "moved": 0.0, "largest": 0.0, **metrics},
            {"format": "int8", "size_mb": 0.35, "reason": None, "moved": 0.4, "largest": 3.0, **metrics, "mrr": 0.299},
            {"format": "ONNX", "size_mb": None, "reason": "RuntimeError: unsupported"},
        ]
        every.append(record("export", students[1:2], exported))
    return every


def record(kind: str, cells: Sequence[str], rows: list[dict[str, Any]], reason: str | None = None) -> dict[str, Any]:
    return {"kind": kind, "label": f"{kind} of something", "cells": list(cells), "rows": rows, "reason": reason}


def stage_row(stage: str, peak: float, energy: float | None = None) -> dict[str, Any]:
    row = {"stage": stage, "seconds": 10.0, "peak_mib": peak, "base_mib": 400.0, "energy_wh": energy}
    return row | {"energy_reason": "" if energy else "nobody reads it"}


def loop_row(arm: str, way: str, seconds: float, mrr: float | None) -> dict[str, Any]:
    is_trained = mrr is not None
    return {"arm": arm, "way": way, "trained": is_trained, "seconds": seconds, "test_mrr": mrr, "valid_mrr": mrr}


@lru_cache
def usual(seeds: int = 2) -> Frames:
    """The study that no test changes."""
    return study(seeds)
