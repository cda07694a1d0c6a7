"""The numbers of a report on costs as tidy frames: training, online teachers, inference, amortisation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from numpy.typing import NDArray

from harness.reporting.data.frames import interval_columns, records, rows_of, validate, where
from harness.reporting.data.results import Results, costs_by_stage, means
from harness.stats import Interval, mean_interval
from harness.vocabulary import METRICS, REFERENCES, by_level, student_arms

_POSITIVE = pa.Check.gt(0)
_TEXT, _OPTIONAL_TEXT = pa.Column(str, coerce=True), pa.Column(nullable=True)
_NUMBER = pa.Column(float, _POSITIVE, coerce=True)
_OPTIONAL = pa.Column(float, pa.Check.ge(0), nullable=True, coerce=True)
_CELL = {"backbone": _TEXT, "arm": _TEXT, "batch_size": pa.Column(float, _POSITIVE, nullable=True, coerce=True)}

SCHEMAS = {
    "stage": pa.DataFrameSchema(
        _CELL
        | {"stage": _TEXT, "seconds": _OPTIONAL, "peak_mib": _NUMBER, "base_mib": _NUMBER}
        | {"energy_wh": _OPTIONAL, "energy_reason": _OPTIONAL_TEXT},
        name="measured stages",
    ),
    "loop": pa.DataFrameSchema(
        _CELL
        | {"seed": pa.Column(int, coerce=True), "way": _TEXT, "trained": pa.Column(bool, coerce=True)}
        | {"seconds": _NUMBER, "test_mrr": _OPTIONAL},
        name="measured online teachers",
    ),
    "inference": pa.DataFrameSchema(
        {"backbone": _TEXT, "model": _TEXT, "parameters": pa.Column(int, _POSITIVE, coerce=True), "size_mb": _NUMBER}
        | {"latency_ms": pa.Column(object), "queries_per_second": pa.Column(object)},
        name="measured inference",
    ),
    "export": pa.DataFrameSchema(
        {"backbone": _TEXT, "format": _TEXT, "size_mb": _OPTIONAL, "reason": _OPTIONAL_TEXT}
        | {metric.key: _OPTIONAL for metric in METRICS}
        | {"moved": _OPTIONAL, "largest": _OPTIONAL},
        name="measured exports",
    ),
    "files": pa.DataFrameSchema(
        {"backbone": _TEXT, "dim": pa.Column(int, _POSITIVE, coerce=True), "bits": _TEXT, "gaps": pa.Column(bool)}
        | {"size_mb": _NUMBER, "latency_ms": pa.Column(object), "queries_per_second": pa.Column(object)},
        name="measured student files",
    ),
}


@dataclass(frozen=True, eq=False)
class Measured:
    """The frames by kind, as in `SCHEMAS` (empty where nothing was measured), and what failed: (label, reason)."""

    stage: pd.DataFrame
    loop: pd.DataFrame
    inference: pd.DataFrame
    export: pd.DataFrame
    files: pd.DataFrame
    failed: tuple[tuple[str, str], ...]


def with_batch_size(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials with ``losses`` (what each is trained with) and ``batch_size``, NaN of a reference row."""
    losses = trials["losses"] if "losses" in trials else trials["arm"]
    sizes = trials["spec"].map(_batch_size).mask(losses.isin(REFERENCES))
    return trials.assign(losses=losses, batch_size=sizes.astype(float))


def _batch_size(spec: object) -> float:
    try:
        return float(json.loads(str(spec))["student"]["batch_size"])
    except (ValueError, KeyError, TypeError):
        return math.nan


def measured(measurements: Sequence[Mapping[str, Any]], trials: pd.DataFrame) -> Measured:
    """Frames of the records that are about the given trials, of which some may be shown and others not.

    Args:
        measurements: records of one design.
        trials: as of `with_batch_size`.

    Raises:
        UserError: a row has not the columns of its kind, or a value out of range.
    """
    keys = ["backbone", "losses", "seed", "batch_size"]
    by_cell = trials.drop_duplicates("cell").set_index("cell")[keys].rename(columns={"losses": "arm"})
    owners = {str(row.pop("index")): row for row in records(by_cell.reset_index(names="index"))}
    rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in SCHEMAS}
    failed = []
    for record in measurements:
        of_record = [owners[cell] for cell in record["cells"] if cell in owners]
        if not of_record or record["kind"] not in rows:
            continue
        if record["reason"] is not None:
            failed.append((str(record["label"]), str(record["reason"])))
            continue
        of_record = of_record if record["kind"] == "stage" else of_record[:1]
        rows[record["kind"]] += [owner | row for row in record["rows"] for owner in of_record]
    frames = {
        kind: validate(schema, pd.DataFrame(rows[kind])) if rows[kind] else pd.DataFrame(columns=list(schema.columns))
        for kind, schema in SCHEMAS.items()
    }
    return Measured(**frames, failed=tuple(failed))


def first_reason(stages: pd.DataFrame) -> str:
    """Why the energy of the stages could not be read; "" where it was read, or nothing was measured."""
    if stages.empty or stages["energy_wh"].notna().any():
        return ""
    return next((str(row["energy_reason"]) for row in records(stages) if row["energy_reason"]), "")


#: stages that all students of a backbone and arm share
SHARED = ("teacher", "finetune", "encode", "semantic", "llm-targets", "rerank", "targets", "teacher-vectors")
#: of them those that cache the teachers' outputs
STORING = ("llm-targets", "targets", "teacher-vectors")
STUDENT = ("stage1", "stage2")
#: where the memory of a student's last stage is, by the way in which it is trained
_LAST = {"loop": "loop", "stored": "stage2"}
#: the batch size that is shown where all cannot be, if the study has it
USUAL = 512


def reference_size(training: pd.DataFrame) -> float:
    """The batch size that tables and figures show which have room for one."""
    sizes = sorted(training["batch_size"].dropna().unique())
    return float("nan") if not sizes else USUAL if USUAL in sizes else sizes[0]


def keyed(frame: pd.DataFrame, name: str) -> dict[str, dict[str, Any]]:
    """The rows by the value of a column that distinguishes them, in their order."""
    return {str(row[name]): row for row in records(frame)}


def at(training: pd.DataFrame, backbone: str, size: float) -> pd.DataFrame:
    """The rows of a backbone with that batch size, and its reference rows."""
    rows = where(training, backbone=backbone)
    return rows[(rows["batch_size"] == size) | rows["arm"].isin(REFERENCES)]


def training(results: Results, costs: pd.DataFrame, means: pd.DataFrame, measured: Measured) -> pd.DataFrame:
    """One row per backbone, arm and batch size: what training takes, and what comes of it.

    Columns: backbone, arm (losses), batch_size (NaN of reference rows), label, seeds, student_seconds (stages 1 and 2,
    mean, with _low and _high, 95 % over seeds), shared_seconds (teachers and targets, once), seconds (both), mrr (test,
    mean, with _low and _high), student_mib and peak_mib (most memory in the student's stages and in all; NaN where it
    was not measured), energy_wh (all stages; NaN where one could not be read).
    """
    done = where(with_batch_size(results.trials), state="complete")
    mrr = {(row["backbone"], row["arm"]): row for row in rows_of(means, metric="mrr")}
    rows: list[dict[str, Any]] = []
    for backbone in results.backbones:
        for label in results.arms(backbone):
            group = where(done, backbone=backbone, arm=label)
            arm, size = str(group["losses"].iloc[0]), float(group["batch_size"].iloc[0])
            by_stage = where(costs, backbone=backbone, arm=label)
            shared = float(by_stage[by_stage["stage"].isin(SHARED)]["seconds"].sum())
            student = Interval(0.0, math.nan, math.nan, 0)
            if arm not in REFERENCES:
                student = mean_interval(student_seconds(group))
            quality = mrr[backbone, label]
            stages = _of(measured.stage, backbone, arm, size)
            rows.append(
                {"backbone": backbone, "arm": arm, "batch_size": size, "label": label, "seeds": len(group)}
                | interval_columns("student_seconds", student)
                | {"shared_seconds": shared, "seconds": shared + student.estimate}
                | {"mrr": quality["mean"], "mrr_low": quality["low"], "mrr_high": quality["high"]}
                | {"student_mib": _most(stages, STUDENT), "peak_mib": _most(stages, (*SHARED, *STUDENT))}
                | {"energy_wh": float(stages["energy_wh"].sum()) if _all_read(stages) else math.nan}
            )
    frame = pd.DataFrame(rows)
    order = {arm: k for k, arm in enumerate(by_level(frame["arm"]))}
    keys = [frame["backbone"].map(results.backbones.index), frame["arm"].map(order), frame["batch_size"]]
    return frame.iloc[np.lexsort([np.asarray(key, dtype=float) for key in reversed(keys)])].reset_index(drop=True)


def student_seconds(trials: pd.DataFrame) -> NDArray[np.float64]:
    """Seconds of both stages of each student, in the order of the seeds: a stage 1 from the cache as it was built."""
    rows = trials.sort_values("seed")
    empty = pd.Series(np.nan, index=rows.index)
    parts = [rows.get(f"seconds_{stage}", empty).fillna(rows.get(f"built_seconds_{stage}", empty)) for stage in STUDENT]
    total: NDArray[np.float64] = np.nansum([part.to_numpy(dtype=float) for part in parts], axis=0)
    return total


def _of(stages: pd.DataFrame, backbone: str, arm: str, size: float) -> pd.DataFrame:
    rows = where(stages[stages["stage"] != "loop"], backbone=backbone, arm=arm)
    return rows if math.isnan(size) else rows[rows["batch_size"] == size]


def _most(stages: pd.DataFrame, names: tuple[str, ...]) -> float:
    peaks = stages[stages["stage"].isin(names)]["peak_mib"]
    return float(peaks.max()) if len(peaks) else math.nan


def _all_read(stages: pd.DataFrame) -> bool:
    counted = stages[stages["stage"] != "evaluate"]
    return bool(len(counted) and counted["energy_wh"].notna().all())


def memory(measured: Measured, backbone: str, size: float) -> pd.DataFrame:
    """Most memory (MiB) of each stage of a backbone, one row an arm and stage, students of one batch size."""
    rows = where(measured.stage, backbone=backbone)
    rows = rows[(rows["batch_size"] == size) | rows["batch_size"].isna()]
    columns = ["backbone", "arm", "stage", "seconds", "peak_mib", "base_mib", "energy_wh"]
    return rows[columns].drop_duplicates(["arm", "stage"]).reset_index(drop=True)


def loops(measured: Measured, costs: pd.DataFrame, training: pd.DataFrame) -> pd.DataFrame:
    """Online teachers beside cached targets: one row per backbone, arm and way.

    Columns: backbone, arm, way, seeds, trained, seconds (mean), ratio (to the same student trained from what is
    stored), mrr (test, mean), difference (the stored way's MRR minus this one's, mean over seeds, with _low and _high,
    95 %), storing_seconds (of making what is stored, for the stored ways), peak_mib (of the last stage; NaN where it
    was not measured).
    """
    rows = []
    for (backbone, arm, way), group in measured.loop.groupby(["backbone", "arm", "way"], sort=False):
        stored = {row["seed"]: row for row in rows_of(measured.loop, backbone=backbone, arm=arm, way="stored")}
        seconds, usual = float(group["seconds"].mean()), sum(row["seconds"] for row in stored.values()) / len(stored)
        is_trained = bool(group["trained"].all())
        changes = [stored[row["seed"]]["test_mrr"] - row["test_mrr"] for row in records(group)]
        difference = mean_interval(changes) if is_trained and way != "stored" else None
        size, last = group["batch_size"].iloc[0], _LAST.get(str(way))
        peak = where(measured.stage, backbone=backbone, arm=arm, batch_size=size, stage=last)
        keeps = arm != "none" and str(way).startswith("stored")
        rows.append(
            {"backbone": backbone, "arm": arm, "way": way, "seeds": len(group), "trained": is_trained}
            | {"seconds": seconds, "ratio": seconds / usual}
            | {"mrr": float(group["test_mrr"].mean()) if is_trained else math.nan}
            | interval_columns("difference", difference)
            | {"storing_seconds": storing(costs, training, str(backbone), str(arm)) if keeps else 0.0}
            | {"peak_mib": float(peak["peak_mib"].max()) if len(peak) else math.nan}
        )
    names = ["backbone", "arm", "way", "seeds", "trained", "seconds", "ratio", "mrr"]
    names += ["difference", "difference_low", "difference_high", "storing_seconds", "peak_mib"]
    return pd.DataFrame(rows, columns=names)


def storing(costs: pd.DataFrame, training: pd.DataFrame, backbone: str, arm: str) -> float:
    """Seconds of making what an arm's students read of their teachers."""
    labels = where(at(training, backbone, reference_size(training)), arm=arm)["label"]
    made = where(costs[costs["arm"].isin(labels) & costs["stage"].isin(STORING)], backbone=backbone)
    return float(made["seconds"].sum())


def inference(measured: Measured) -> pd.DataFrame:
    """Models that answer queries: one row per backbone and model.

    Columns: backbone, model, parameters, size_mb, latency_ms (median of the turns, with _low and _high, the quartiles),
    queries_per_second (median), ratio (of latency to that of the undistilled student in the same turn, geometric mean,
    with _low and _high, 95 % over the turns; NaN without one).
    """
    rows = []
    for row in records(measured.inference):
        latency = np.asarray(row["latency_ms"], dtype=float)
        plain = rows_of(measured.inference, backbone=row["backbone"], model="none")
        ratio = mean_interval(np.log(latency / np.asarray(plain[0]["latency_ms"], dtype=float))) if plain else None
        low, middle, high = np.percentile(latency, [25, 50, 75])
        rows.append(
            {name: row[name] for name in ("backbone", "model", "parameters", "size_mb")}
            | {"latency_ms": middle, "latency_ms_low": low, "latency_ms_high": high}
            | {"queries_per_second": float(np.median(row["queries_per_second"]))}
            | {"ratio": math.exp(ratio.estimate) if ratio else math.nan}
            | {f"ratio_{end}": math.exp(getattr(ratio, end)) if ratio else math.nan for end in ("low", "high")}
        )
    names = ["backbone", "model", "parameters", "size_mb", "latency_ms", "latency_ms_low", "latency_ms_high"]
    return pd.DataFrame(rows, columns=[*names, "queries_per_second", "ratio", "ratio_low", "ratio_high"])


def amortised(training: pd.DataFrame) -> pd.DataFrame:
    """Distilled students against training the teacher alone: one row per backbone and distilled arm.

    Columns: backbone, arm, teacher_seconds, shared_seconds, student_seconds, ratio (of teachers, targets and one
    student to the teacher alone), students (the smallest number at which one of them costs, with its part
    of what all share, no more than training a teacher; NaN where no number is enough).
    """
    rows = []
    for backbone, of_backbone in training.groupby("backbone", sort=False):
        by_arm = keyed(at(training, str(backbone), reference_size(training)), "arm")
        teacher = by_arm["teacher"]["shared_seconds"] if "teacher" in by_arm else 0.0
        for arm in student_arms(of_backbone["arm"]):
            if arm == "none" or arm not in by_arm or not teacher > 0:
                continue
            shared, student = (by_arm[arm][f"{part}_seconds"] for part in ("shared", "student"))
            saved = teacher - student
            rows.append(
                {"backbone": backbone, "arm": arm, "teacher_seconds": teacher, "shared_seconds": shared}
                | {"student_seconds": student, "ratio": (shared + student) / teacher}
                | {"students": float(math.ceil(shared / saved)) if saved > 0 else math.nan}
            )
    names = ["backbone", "arm", "teacher_seconds", "shared_seconds", "student_seconds", "ratio", "students"]
    return pd.DataFrame(rows, columns=names)


def front(training: pd.DataFrame, inference: pd.DataFrame, exports: pd.DataFrame) -> pd.DataFrame:
    """Accuracy against cost: one row a point.

    Columns: backbone, arm, batch_size, quantised, mrr (test, mean over seeds; of a quantised student that of the
    one that was exported), seconds (from nothing; NaN of a quantised student), size_mb (NaN where it was not measured),
    best_seconds and best_size (whether no point is both cheaper and better).
    """
    rows = []
    for row in records(training):
        sizes = {answer["model"]: answer["size_mb"] for answer in rows_of(inference, backbone=row["backbone"])}
        if row["arm"] == "llm-teacher":
            size = sizes.get("llm-teacher", math.nan) + sizes.get("language model", math.nan)
        elif row["arm"] == "teacher":
            size = sizes.get("teacher", math.nan)
        else:  # students of a backbone have one size, whatever taught them
            size = sizes.get("none", sizes.get(row["arm"], math.nan))
        about = {name: row[name] for name in ("backbone", "arm", "batch_size", "mrr", "seconds")}
        rows.append({**about, "quantised": False, "size_mb": size})
    for row in records(exports):
        if row["format"] == "int8" and not pd.isna(row["mrr"]):
            about = {name: row[name] for name in ("backbone", "arm", "batch_size", "mrr", "size_mb")}
            rows.append({**about, "quantised": True, "seconds": math.nan})
    frame = pd.DataFrame(rows)
    for name, cost in (("best_seconds", "seconds"), ("best_size", "size_mb")):
        frame[name] = False
        for _, points in frame.dropna(subset=[cost]).groupby("backbone"):
            order = points.sort_values([cost, "mrr"], ascending=[True, False])
            before = order["mrr"].cummax().shift(fill_value=-np.inf)
            frame.loc[order.index, name] = order["mrr"] > before
    return frame


@dataclass(frozen=True, eq=False)
class Numbers:
    """The frames of a report on costs; ``stages`` as of `harness.reporting.data.results.costs_by_stage`."""

    measured: Measured
    stages: pd.DataFrame
    training: pd.DataFrame
    loops: pd.DataFrame
    inference: pd.DataFrame
    amortised: pd.DataFrame
    front: pd.DataFrame
    #: the batch size that tables and figures show which have room for one
    batch_size: float

    @classmethod
    def of(cls, results: Results, measured: Measured) -> Numbers:
        """All numbers of the report."""
        stages = costs_by_stage(results)
        trained = training(results, stages, means(results), measured)
        answering = inference(measured)
        return cls(
            measured=measured,
            stages=stages,
            training=trained,
            loops=loops(measured, stages, trained),
            inference=answering,
            amortised=amortised(trained),
            front=front(trained, answering, measured.export),
            batch_size=reference_size(trained),
        )

    def at_size(self, backbone: str) -> pd.DataFrame:
        """The training of a backbone's students at that batch size, and its reference rows."""
        return at(self.training, backbone, self.batch_size)
