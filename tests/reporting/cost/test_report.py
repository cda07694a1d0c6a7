"""The report on costs, from synthetic frames: its numbers, its verdicts, and all or nothing on the disk."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pypdf import PdfReader

from harness.errors import UserError
from harness.reporting.cost.numbers import Numbers, at, measured, reference_size, with_batch_size
from harness.reporting.cost.report import content
from harness.reporting.cost.verdicts import judge
from harness.reporting.data.results import Results
from harness.reporting.output.typst import write
from tests.reporting.conftest import SECONDS, Frames, written
from tests.reporting.costs import LAYOUT, Record, record, records, study, usual


def numbers(frames: Frames, every: list[Record]) -> Numbers:
    known = frames is usual(frames.trials["seed"].nunique())
    results = (
        loaded(frames.trials["seed"].nunique()) if known else Results.load(frames.trials, frames.load_ranks, LAYOUT)
    )
    return Numbers.of(results, measured(every, with_batch_size(results.trials)))


@lru_cache
def loaded(seeds: int) -> Results:
    """Its results, which take a second to check."""
    frames = usual(seeds)
    return Results.load(frames.trials, frames.load_ranks, LAYOUT)


def verdicts(frames: Numbers) -> dict[str, tuple[str, str]]:
    return {claim.id: (claim.verdict, claim.reason) for claim in judge(LAYOUT.claims, frames, ["ttranse"])}


# ---- numbers -------------------------------------------------------------------------------------------------------


def test_training_counts_teachers_once_and_the_student_by_seed() -> None:
    frames = study()
    # one seed's student takes three times as long
    slow = (frames.trials["losses"] == "none") & (frames.trials["seed"] == 1)
    frames.trials.loc[slow, "seconds_stage2"] *= 4
    frame = numbers(frames, records(frames)).training
    assert frame[["arm", "batch_size"]].values.tolist()[:4] == [
        ["none", 256],
        ["none", 512],
        ["none", 1024],
        ["L1", 256],
    ]
    assert frame["arm"].tolist()[-2:] == ["teacher", "llm-teacher"]
    rows = {(row["arm"], row["batch_size"]): row for row in frame.to_dict("records")}
    plain, full = rows["none", 512], rows["L1+L2+L3", 512]
    assert plain["student_seconds"] == pytest.approx((60 + 20 + 160) / 2)
    assert plain["student_seconds_low"] < 60
    assert plain["shared_seconds"] == 0
    shared = sum(SECONDS[stage] for stage in ("teacher", "targets", "finetune", "encode", "semantic"))
    assert full["shared_seconds"] == pytest.approx(shared)
    assert full["seconds"] == pytest.approx(shared + 72)
    assert (plain["student_mib"], plain["peak_mib"]) == (564, 564)
    assert (full["student_mib"], full["peak_mib"]) == (564, 1300)
    assert math.isnan(full["energy_wh"])


def test_teachers_in_the_loop() -> None:
    frames = usual()
    rows = {
        (row["arm"], row["way"]): row for row in numbers(frames, records(frames, trained=True)).loops.to_dict("records")
    }
    loop, stored = rows["L1+L2+L3", "loop"], rows["L1+L2+L3", "stored"]
    assert (loop["ratio"], stored["ratio"], loop["seeds"], loop["trained"]) == (10, 1, 2, True)
    assert loop["difference"] == pytest.approx(0)
    assert (loop["storing_seconds"], stored["storing_seconds"]) == (0, SECONDS["targets"])
    assert loop["peak_mib"] == 1100
    assert rows["none", "loop"]["ratio"] == 5


def test_students_amortise_their_teachers() -> None:
    frame = numbers(usual(), []).amortised.set_index("arm")
    full = frame.loc["L1+L2+L3"]
    shared = 296 + 14 + 240 + 118 + 61
    assert full["ratio"] == pytest.approx((shared + 72) / 296)
    assert full["students"] == math.ceil(shared / (296 - 72)) == 4
    # one fewer would not do
    assert shared / 4 + 72 <= 296 < shared / 3 + 72
    frames = study()
    frames.trials["built_seconds_teacher"] = frames.trials["built_seconds_teacher"] / 10
    assert math.isnan(numbers(frames, []).amortised.set_index("arm").loc["L1+L2+L3", "students"])


def test_latencies_are_compared_turn_by_turn() -> None:
    frames = usual()
    row = numbers(frames, records(frames, latency=1.3)).inference.set_index("model").loc["L1+L2+L3"]
    assert row["ratio"] == pytest.approx(1.3, rel=1e-6)
    assert row["ratio_low"] < 1.3 < row["ratio_high"] < 1.35
    assert row["latency_ms"] == pytest.approx(1.3, rel=0.02)


def test_the_front_is_what_nothing_beats() -> None:
    frames = usual()
    frame = numbers(frames, records(frames)).front
    for cost_of, best in (("seconds", "best_seconds"), ("size_mb", "best_size")):
        points = frame.dropna(subset=[cost_of])
        for _, row in points.iterrows():
            beaten = points[(points[cost_of] <= row[cost_of]) & (points["mrr"] >= row["mrr"])]
            beaten = beaten[(beaten[cost_of] < row[cost_of]) | (beaten["mrr"] > row["mrr"])]
            assert row[best] == beaten.empty
    assert frame["quantised"].sum() == 1
    language = frame[frame["arm"] == "llm-teacher"].iloc[0]
    assert language["size_mb"] == pytest.approx(282)


# ---- verdicts ------------------------------------------------------------------------------------------------------


def test_verdicts() -> None:
    frames = usual()
    said = verdicts(numbers(frames, records(frames)))
    assert said["C11"][0] == "supported"
    assert "13.3 times" in said["C11"][1].replace("\xa0", " ")  # (729 + 72) / 60
    assert "(the student's own stages: 1.20 times)" in said["C11"][1].replace("\xa0", " ")
    assert "1,300 instead of 564" in said["C11"][1]
    # (720 - 300) added in the loop, 72 + 14 - 60 from what is stored
    assert said["C12"][0] == "undecided"
    assert "saves 93.8 %" in said["C12"][1].replace("\xa0", " ")
    assert "extrapolated" in said["C12"][1]
    assert said["C14"][0] == "measured"
    assert "2.71 times" in said["C14"][1].replace("\xa0", " ")
    assert "from 4 students on" in said["C14"][1]


@pytest.mark.parametrize(
    ("latency", "verdict"), [(1.0, "supported"), (1.03, "supported"), (1.5, "contradicted"), (0.7, "contradicted")]
)
def test_latency_decides_c11(latency: float, verdict: str) -> None:
    frames = usual()
    assert verdicts(numbers(frames, records(frames, latency=latency)))["C11"][0] == verdict


def test_noise_leaves_c11_open() -> None:
    frames = usual()
    every = records(frames)
    (answers,) = (item["rows"] for item in every if item["kind"] == "inference")
    answers[1]["latency_ms"] = list(np.geomspace(0.5, 2, 15))
    assert verdicts(numbers(frames, every))["C11"][0] == "undecided"
    answers[1]["latency_ms"], answers[1]["size_mb"] = [1.0] * 15, 1.3
    assert verdicts(numbers(frames, every))["C11"][0] == "contradicted"


@pytest.mark.parametrize(
    ("seeds", "difference", "verdict"),
    [(2, 0.0, "supported"), (2, -0.1, "supported"), (2, 0.1, "contradicted"), (1, 0.0, "undecided")],
)
def test_quality_decides_c12(seeds: int, difference: float, verdict: str) -> None:
    frames = usual(seeds)
    assert verdicts(numbers(frames, records(frames, trained=True, difference=difference)))["C12"][0] == verdict


def test_storing_that_saves_little_contradicts_c12() -> None:
    frames = usual()
    every = records(frames, trained=True)
    for item in every:
        if item["kind"] == "loop":
            item["rows"][2]["seconds"] = 330
    assert verdicts(numbers(frames, every))["C12"][0] == "contradicted"


def test_without_measurements_nothing_is_tested_but_the_total() -> None:
    said = {name: verdict for name, (verdict, _) in verdicts(numbers(usual(), [])).items()}
    assert said == {"C11": "not tested", "C12": "not tested", "C14": "measured"}


# ---- the report ----------------------------------------------------------------------------------------------------


def make(frames: Frames, output: Path, every: list[dict[str, Any]], **meta: Any) -> Path:
    about = {"command": "python -m harness.study cost", "measured": every, **meta}
    return write(content(frames.of(LAYOUT, about)), output)


def text_of(pdf: Path) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(pdf).pages).split()).replace("\xa0", " ")


FRAMES = ("stages", "memory", "training", "loop", "inference", "export", "amortised", "front")


def test_a_report_is_complete_and_repeatable(tmp_path: Path) -> None:
    frames = study(backbones=("ttranse", "ta-distmult"))
    every = [*records(frames), record("export", [frames.trials["cell"].iloc[0]], [], "MemoryError: killed")]
    pdf = make(frames, tmp_path, every)
    assert written(tmp_path) == {
        "cost.pdf",
        "report.html",
        *(f"cost_{name}.{suffix}" for name in FRAMES for suffix in ("csv", "parquet", "tex")),
        *(
            f"figures/{b}_{f}.{s}"
            for b in ("ttranse", "ta-distmult")
            for f in ("stages", "front")
            for s in ("pdf", "png")
        ),
    }
    first = pdf.read_bytes()
    assert make(frames, tmp_path, every).read_bytes() == first
    text = text_of(pdf)
    for said in ("online teachers", "extrapolated", "int8", "language model", "export of something", "killed"):
        assert said in text
    assert "Energy: not measured (nobody reads it)." in text
    assert "each with batches of 256, 512, 1,024; seeds 0–1" in text
    table = pd.read_csv(tmp_path / "cost_training.csv")
    assert len(table) == 2 * (9 + 2)
    assert r"\begin{tabular}" in (tmp_path / "cost_inference.tex").read_text()


def test_a_report_without_measurements_or_teachers(tmp_path: Path) -> None:
    frames = study(seeds=1)
    frames.trials = frames.trials[~frames.trials["losses"].str.contains("teacher")]
    text = text_of(make(frames, tmp_path, []))
    assert "not tested" in text
    assert "queries/s" not in text
    assert pd.read_parquet(tmp_path / "cost_loop.parquet").empty


def test_energy_that_was_read_is_told(tmp_path: Path) -> None:
    frames = study()
    every = records(frames)
    for item in every:
        item["rows"] = [row | {"energy_wh": 1.25} if "energy_wh" in row else row for row in item["rows"]]
    text = text_of(make(frames, tmp_path, every))
    assert "Energy that codecarbon read, Wh (L1 + L2 + L3): structural teacher 1.25" in text
    assert pd.read_parquet(tmp_path / "cost_training.parquet")["energy_wh"].notna().all()


def test_records_of_other_cells_are_not_shown() -> None:
    frames = study(backbones=("ttranse", "ta-distmult"))
    one = replace(frames, trials=frames.trials[frames.trials["backbone"] == "ttranse"])
    assert set(numbers(one, records(frames)).inference["backbone"]) == {"ttranse"}


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("stage", {"peak_mib": -3.0}, "measured stages: column 'peak_mib'.*has '-3.0'"),
        ("inference", {"size_mb": None}, "measured inference: column 'size_mb'"),
    ],
)
def test_records_that_cannot_be_right_stop_the_report(
    tmp_path: Path, kind: str, change: dict[str, Any], message: str
) -> None:
    frames = study()
    every = records(frames)
    for item in every:
        if item["kind"] == kind:
            item["rows"] = [row | change for row in item["rows"]]
    with pytest.raises(UserError, match=message):
        make(frames, tmp_path / "report", every)
    assert not (tmp_path / "report").exists()


@pytest.mark.draws
def test_no_text_acts_as_markup(tmp_path: Path) -> None:
    attack = '#panic("read") *b* $x$ \\ ] } "quote" @ref <label>'
    frames = study()
    every = records(frames)
    every[-1]["rows"][-1]["reason"] = attack
    every.append(record("loop", [frames.trials["cell"].iloc[0]], [], attack) | {"label": attack})
    make(frames, tmp_path, every, notes=[attack])
    assert "panic" in text_of(tmp_path / "cost.pdf")


def test_a_study_with_one_batch_size_shows_that() -> None:
    frames = study()
    only = frames.trials["losses"].str.contains("teacher") | frames.trials["arm"].str.endswith("256")
    frame = numbers(replace(frames, trials=frames.trials[only]), []).training
    assert reference_size(frame) == 256
    make_any: Callable[..., pd.DataFrame] = at
    assert set(make_any(frame, "ttranse", 256)["arm"]) == {"none", "L1", "L1+L2+L3", "teacher", "llm-teacher"}
