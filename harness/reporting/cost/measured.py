"""What a study measured beside its trials, as tidy frames: stages, teachers in the loop, inference, exports.

The records come from the store (`harness.costs` makes them): each has its ``kind``, the ``cells`` that it is about, its
``rows``, and the ``reason`` if it failed. Times are seconds, memory is MiB, sizes are 10⁶ bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from harness.reporting.data.frames import records, validate
from harness.vocabulary import METRICS

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
        name="measured teachers in the loop",
    ),
    "inference": pa.DataFrameSchema(
        {"backbone": _TEXT, "model": _TEXT, "parameters": pa.Column(int, _POSITIVE, coerce=True), "size_mb": _NUMBER}
        | {"latency_ms": pa.Column(object), "queries_per_second": pa.Column(object)},
        name="measured inference",
    ),
    "export": pa.DataFrameSchema(
        {"backbone": _TEXT, "format": _TEXT, "size_mb": _OPTIONAL, "reason": _OPTIONAL_TEXT}
        | {measure.key: _OPTIONAL for measure in METRICS}
        | {"moved": _OPTIONAL, "largest": _OPTIONAL},
        name="measured exports",
    ),
}


@dataclass(frozen=True, eq=False)
class Measured:
    """The frames by kind, as in `SCHEMAS` (empty where nothing was measured), and what failed: (label, reason)."""

    stage: pd.DataFrame
    loop: pd.DataFrame
    inference: pd.DataFrame
    export: pd.DataFrame
    failed: tuple[tuple[str, str], ...]


def cells_of(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials with ``losses`` (what each is trained with) and ``batch_size``, NaN of a reference row."""
    losses = trials["losses"] if "losses" in trials else trials["arm"]
    sizes = [_batch_size(spec) for spec in trials.get("spec", pd.Series(None, index=trials.index, dtype=object))]
    is_teacher = losses.str.contains("teacher")
    return trials.assign(losses=losses, batch_size=np.where(is_teacher, np.nan, np.array(sizes, dtype=float)))


def _batch_size(spec: object) -> float:
    try:
        return float(json.loads(str(spec))["student"]["batch_size"])
    except (ValueError, KeyError, TypeError):
        return float("nan")


def measured(found: Sequence[Mapping[str, Any]], trials: pd.DataFrame) -> Measured:
    """Frames of the records that are about the given trials, of which some may be shown and others not.

    Args:
        found: records of one design.
        trials: as of `cells_of`.

    Raises:
        UserError: a row has not the columns of its kind, or a value out of range.
    """
    cells = trials.drop_duplicates("cell").set_index("cell") if "cell" in trials else pd.DataFrame()
    rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in SCHEMAS}
    failed = []
    for record in found:
        own = [cells.loc[cell] for cell in record["cells"] if cell in cells.index]
        if not own or record["kind"] not in rows:
            continue
        if record["reason"] is not None:
            failed.append((str(record["label"]), str(record["reason"])))
            continue
        for row in record["rows"]:
            rows[record["kind"]] += [_key(cell) | row for cell in (own if record["kind"] == "stage" else own[:1])]
    frames = {kind: _frame(kind, each) for kind, each in rows.items()}
    return Measured(**frames, failed=tuple(failed))


def _key(cell: pd.Series[Any]) -> dict[str, Any]:
    return {
        "backbone": cell["backbone"],
        "arm": cell["losses"],
        "seed": cell["seed"],
        "batch_size": cell["batch_size"],
    }


def _frame(kind: str, rows: list[dict[str, Any]]) -> pd.DataFrame:
    schema = SCHEMAS[kind]
    if not rows:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in schema.columns})
    return validate(schema, pd.DataFrame(rows))


def figures(values: object) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The values of all turns of a measurement."""
    return np.asarray(values, dtype=np.float64)


def first_reason(stages: pd.DataFrame) -> str:
    """Why the energy of the stages could not be read; "" where it was read, or nothing was measured."""
    if stages.empty or stages["energy_wh"].notna().any():
        return ""
    return next((str(row["energy_reason"]) for row in records(stages) if row["energy_reason"]), "")
