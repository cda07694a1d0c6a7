"""The data frames a report is made of, and the checks they must pass first.

Three frames: ``trials`` (one row a trial), ``curves`` (one row an epoch of a trial) and, loaded trial by trial,
``ranks`` (one row a test query). Fractions lie in [0, 1], ranks start at 1, times are seconds, memory is MiB.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from numpy.typing import NDArray
from pandera.errors import SchemaErrors

from harness.errors import UserError
from harness.stats import Interval
from harness.vocabulary import METRICS, PROTOCOLS, REFERENCES, STAGES

#: What identifies a trial among those of one design.
KEY = ["dataset", "backbone", "arm", "seed"]
#: metrics of a trial's ranks must agree with its recorded metrics within this relative error (single precision)
TOLERANCE = 1e-4

_FRACTION = pa.Check.in_range(0, 1)
_RANK = pa.Check.ge(1)


def _metrics(*prefixes: str, required: bool) -> dict[str, pa.Column]:
    return {
        f"{prefix}_{metric.key}": pa.Column(
            float, _RANK if metric.key == "mr" else _FRACTION, nullable=True, coerce=True, required=required
        )
        for prefix in prefixes
        for metric in METRICS
    }


def _optional(dtype: Any, *names: str) -> dict[str, pa.Column]:
    return {name: pa.Column(dtype, pa.Check.ge(0), nullable=True, coerce=True, required=False) for name in names}


def _text(*names: str) -> dict[str, pa.Column]:
    return {name: pa.Column(str, pa.Check.str_length(min_value=1), coerce=True) for name in names}


_KEYS = _text("study_name", "dataset", "backbone", "arm") | {
    "trial": pa.Column(int, pa.Check.ge(0), coerce=True),
    "seed": pa.Column("Int64", pa.Check.ge(0), coerce=True),
}

TRIALS = pa.DataFrameSchema(
    _KEYS
    | {"state": pa.Column(str, pa.Check.isin(["complete", "failed", "running"]), coerce=True)}
    | _metrics("valid", "test", required=True)
    | _metrics("test_tail", "test_head", *(f"test_{name}" for name in PROTOCOLS), required=False)
    | _optional(float, *(f"{kind}_{stage}" for kind in ("seconds", "built_seconds", "peak_mib") for stage in STAGES))
    | _optional(float, "alpha", "beta", "delta", "temperature", "hard_weight")
    | _optional("Int64", "dim", "updates", "best_epoch", "threads", "bytes_entity", "bytes_others"),
    name="trials",
)

CURVES = pa.DataFrameSchema(
    _KEYS
    | {
        "stage": pa.Column(int, pa.Check.isin([1, 2]), coerce=True),
        "epoch": pa.Column(int, pa.Check.ge(0), coerce=True),
        "updates": pa.Column(int, pa.Check.ge(0), coerce=True),
        "valid_mrr": pa.Column(float, _FRACTION, nullable=True, coerce=True),
    },
    checks=pa.Check(
        lambda frame: not frame.duplicated([*KEY, "trial", "stage", "epoch"]).any(), error="one row an epoch"
    ),
    name="learning curves",
)

RANKS = pa.DataFrameSchema(
    {
        "query": pa.Column(int, pa.Check.ge(0), unique=True, coerce=True),
        "direction": pa.Column(str, pa.Check.isin(["tail", "head"]), coerce=True),
        "relation": pa.Column(str, coerce=True),
        "rank": pa.Column(float, pa.Check(lambda rank: np.isfinite(rank) & (rank >= 1), error="finite, at least 1")),
    },
    name="ranks",
)

#: of protocol ``expanded``, which ranks several rows a query: the query that a row asks
ASKED = pa.DataFrameSchema({"asked": pa.Column(int, pa.Check.ge(0), coerce=True)}, name="ranks")


#: what may be known of a query: training facts that name its entities, and whether these have labels
QUERIES = pa.DataFrameSchema(
    {"query": pa.Column(int, pa.Check.ge(0), unique=True, coerce=True)}
    | {f"{end}_degree": pa.Column(int, pa.Check.ge(0), coerce=True) for end in ("subject", "answer")}
    | {f"{end}_labelled": pa.Column(bool, coerce=True) for end in ("subject", "answer")},
    name="queries",
    strict="filter",
)


def known_of(ranks: pd.DataFrame) -> pd.DataFrame | None:
    """What the frame of a trial's ranks holds on their queries beside (`QUERIES`), in their order; None: nothing.

    Raises:
        UserError: wrong values.
    """
    if not set(QUERIES.columns) <= set(ranks):
        return None
    if "asked" in ranks:
        ranks = ranks.drop_duplicates("asked").drop(columns="query").rename(columns={"asked": "query"})
    return validate(QUERIES, ranks).sort_values("query", ignore_index=True)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def where(frame: pd.DataFrame, **values: object) -> pd.DataFrame:
    """The rows that have these values in these columns."""
    masks = [frame[column] == value for column, value in values.items()]
    return frame[reduce(and_, masks)] if masks else frame


def rows_of(frame: pd.DataFrame, **values: object) -> list[dict[str, Any]]:
    """The same as dictionaries."""
    return records(where(frame, **values))


def interval_columns(name: str, interval: Interval | None) -> dict[str, float]:
    """An interval as the columns ``name``, ``name_low`` and ``name_high``; NaN where there is none."""
    values = (interval.estimate, interval.low, interval.high) if interval else (np.nan,) * 3
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def validate(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its columns brought to their types.

    Raises:
        UserError: a column is missing, a value has the wrong type or lies outside its range; names the first one.
    """
    try:
        return schema.validate(frame, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases
        first = cases.iloc[0]
        missing = str(first["check"]).startswith("column_in_dataframe")
        if first["schema_context"] == "DataFrameSchema" and not missing:
            raise UserError(f"{schema.name}: expected {first['check']}") from None
        where = f"column '{first['failure_case'] if missing else first['column']}'"
        if not missing and pd.notna(first["index"]):
            where += f", row {first['index']}"
        what = "is missing" if missing else f"has '{first['failure_case']}', expected {first['check']}"
        more = f" (and {len(cases) - 1} more)" if len(cases) > 1 else ""
        raise UserError(f"{schema.name}: {where} {what}{more}; was this store written by another version?") from None


def curves_of(curves: pd.DataFrame) -> pd.DataFrame:
    """The learning curves with their columns brought to their types; without any, a frame with these columns.

    Raises:
        UserError: see `validate`.
    """
    return validate(CURVES, curves) if len(curves) else pd.DataFrame(columns=list(CURVES.columns))


def validate_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """Check the trials of one design and keep one row an arm, backbone and seed, under the index labels they came with.

    Of several runs of the same trial the complete one counts, else the last.

    Raises:
        UserError: wrong columns or values, several designs, a metric missing from a complete trial, a trial that is
            complete twice or was never run (sparse design), or nothing complete at all.
    """
    if trials.empty:
        raise UserError("trials: there are none; run the study first")
    checked = validate(TRIALS, trials)
    for column in ("study_name", "dataset"):
        if (names := sorted(checked[column].unique()))[1:]:
            raise UserError(f"trials: a report holds one design, got {column} {', '.join(names)}; choose one of them")
    done = checked[checked["state"] == "complete"]
    metrics = [f"{split}_{metric.key}" for split in ("valid", "test") for metric in METRICS]
    for column in metrics:
        if len(bad := done[~np.isfinite(done[column])]):
            raise UserError(f"trials: {_trial(bad.iloc[0])} is complete but its {column} is not a finite number")
    if len(twice := done[done.duplicated(KEY)]):
        raise UserError(f"trials: {_trial(twice.iloc[0])} is complete more than once; remove all but one")
    if done.empty:
        reasons = checked.get("reason", pd.Series(dtype=str)).dropna()
        raise UserError(
            f"trials: none is complete{f'; the first failed with: {reasons.iloc[0]}' if len(reasons) else ''}"
        )
    order = checked["state"].map({"running": 0, "failed": 1, "complete": 2})
    current = checked.assign(_order=order).sort_values(["_order", "trial"]).drop_duplicates(KEY, keep="last")
    current = current.drop(columns="_order").sort_index()
    _refuse_gaps(current)
    return current


@dataclass(frozen=True, eq=False)
class Asked:
    """The test queries that ranks are of.

    Attributes:
        frame: a row a rank, as the ranks came, without them.
        order: ``[R]``, the rows by query.
        first: ``[R]``, which of these rows begin a query: all, but under protocol ``expanded``.
        relations: ``[N]``, the relation of each test fact.
    """

    frame: pd.DataFrame
    order: NDArray[np.int64]
    first: NDArray[np.bool_]
    relations: NDArray[np.str_]

    @classmethod
    def of(cls, ranks: pd.DataFrame, trial: pd.Series[Any]) -> Asked:
        """Check the frame of a trial's ranks; arguments and errors as of `ranked`."""
        checked = validate(RANKS, ranks).reset_index(drop=True).sort_values("query")
        asked = (validate(ASKED, checked)["asked"] if "asked" in ranks else checked["query"]).to_numpy()
        first = np.diff(asked, prepend=-1) != 0
        facts = int(first.sum()) // 2
        is_whole = len(checked) > 0 and np.array_equal(checked["query"], np.arange(len(checked)))
        is_whole = is_whole and np.array_equal(asked[first], np.arange(2 * facts))
        if not is_whole or not np.array_equal(checked["direction"][first], np.repeat(["tail", "head"], facts)):
            raise UserError(f"ranks: {_trial(trial)} does not hold one tail and one head query of every test fact")
        relations = checked["relation"].to_numpy(dtype=str)[first][:facts]
        return cls(ranks.drop(columns="rank"), checked.index.to_numpy(), first, relations)


@dataclass(frozen=True, eq=False)
class Ranked:
    """The doubled ranks ``[R]`` of a trial, in the order of the queries, in the smallest type that has them exactly."""

    asked: Asked
    doubled: NDArray[Any]

    def values(self) -> NDArray[np.float64]:
        """Measures ``[2, N, 5]`` of each test fact: directions (tail, head), test facts, `METRICS`.

        Under protocol ``expanded`` a fact's values are weighted by its number of rows, so that their means are those
        over rows, and an interval takes facts at random, of which rows are no independent parts.
        """
        first, values = self.asked.first, np.stack(_measures(self.doubled.astype(np.float64) / 2), axis=1)
        if not first.all():  # sums over a query's rows, scaled so that their mean is that over all rows
            values = np.add.reduceat(values, np.flatnonzero(first)) * (first.sum() / len(values))
        return values.reshape(2, -1, len(METRICS))


def ranked(ranks: pd.DataFrame, trial: pd.Series[Any], before: Asked | None = None) -> Ranked:
    """Check the ranks of a trial.

    Args:
        ranks: one row a query, 2N rows: queries 0 to N - 1 ask for the tails of the N test facts, N to 2N - 1 for
            their heads. Under protocol ``expanded`` several rows a query, which column ``asked`` names.
        trial: the trial's row.
        before: the queries of another trial; of a study of thousands they are the same, and checked once.

    Raises:
        UserError: wrong columns or values, missing queries, or ranks that do not yield the trial's recorded metrics.
    """
    asked = before if before is not None and _is_like(ranks, before) else Asked.of(ranks, trial)
    exact = ranks["rank"].to_numpy(dtype=np.float64)[asked.order]
    for metric, measure in zip(METRICS, _measures(exact), strict=True):
        value, mean = float(trial[f"test_{metric.key}"]), measure.mean()
        if abs(mean - value) > TOLERANCE * max(abs(value), 1e-3):
            raise UserError(f"ranks: {_trial(trial)} has {metric.label} {value:.6g}, its ranks give {mean:.6g}")
    doubled = 2 * exact
    with np.errstate(invalid="ignore"):  # of ranks beyond the smaller types
        smaller = [doubled.astype(kind) for kind in (np.uint16, np.float32)]
    return Ranked(asked, next((held for held in smaller if np.array_equal(held, doubled)), doubled))


def _is_like(ranks: pd.DataFrame, before: Asked) -> bool:
    """Whether ranks are of these queries, and such that there is nothing left to check."""
    if "rank" not in ranks or ranks["rank"].dtype != float or not len(ranks):
        return False
    rank = ranks["rank"].to_numpy()
    # pandas' own ways to ask either of the frame take milliseconds, of each of thousands of trials
    return bool(rank.min() >= 1 and rank.max() < np.inf) and before.frame.equals(ranks.loc[:, ranks.columns != "rank"])


def _measures(rank: NDArray[np.float64]) -> list[NDArray[Any]]:
    """`METRICS` of each rank."""
    return [1 / rank, rank, rank <= 1, rank <= 3, rank <= 10]


def _trial(row: pd.Series[Any]) -> str:
    return f"arm {row['arm']}, backbone {row['backbone']}, seed {row['seed']}"


def _refuse_gaps(trials: pd.DataFrame) -> None:
    """Compared arms must have tried the same seeds. Reference rows, variants of them too, are shared by all seeds."""
    losses = trials["losses"].fillna(trials["arm"]) if "losses" in trials else trials["arm"]
    students = trials[~losses.isin(REFERENCES)]
    for backbone, group in students.groupby("backbone"):
        tried = group.groupby("arm")["seed"].agg(set)
        wanted = set(group["seed"])
        for arm, seeds in tried.items():
            if gap := sorted(wanted - seeds):
                raise UserError(
                    f"trials: arm {arm}, backbone {backbone} lacks seed {', '.join(map(str, gap))}, which other arms "
                    "have; run the study again to fill the gap"
                )
