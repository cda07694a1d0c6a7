"""The store as data frames: the only way from the engine's results to statistics and reports."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.artifacts import get_all_artifact_meta
from optuna.trial import FrozenTrial, TrialState

from harness.errors import UserError
from harness.store.artifacts import path_of, read_csv, read_table
from harness.store.database import safe
from harness.store.patience import patiently
from harness.store.records import unpacked
from harness.store.store import SCHEMA, Store, measured, reading

_STATES = {TrialState.COMPLETE: "complete", TrialState.FAIL: "failed", TrialState.RUNNING: "running"}


def load(
    storage: str,
    study: str,
    dataset: str,
    artifacts: Path | None = None,
    design: str | None = None,
    patience: float = 0.0,
) -> tuple[pd.DataFrame, pd.DataFrame, Callable[[Hashable], pd.DataFrame]]:
    """All trials of a study on a data set.

    Args:
        storage: URL of the store.
        study: name of the study file, such as ``ablation``.
        dataset: the data set's name.
        artifacts: folder of the artifacts, if it is not where the store keeps it.
        design: name of the one Optuna study that is wanted; None: all designs of the study.
        patience: seconds for which the database may be gone.

    Returns:
        trials: one row a trial: factors, metrics, state, seconds and provenance; ``arm`` is what its study calls it,
            ``losses`` what it is trained with; ``attrs["meta"]`` has the command, the size of the data and what was
            measured beside the trials by ``study_name``.
        curves: one row an epoch of a trial.
        load_ranks: takes the index label of a row of ``trials``; returns query, direction, relation and rank, and what
            `harness.store.queries` tells of the query where the study has that.

    Raises:
        UserError: the store cannot be opened or read, is newer than this version, or has no such study.
    """

    def read() -> tuple[pd.DataFrame, pd.DataFrame, Callable[[Hashable], pd.DataFrame]]:
        with closing(Store(storage, artifacts, create=False)) as store:
            return _load(store, study, dataset, design)

    with reading(storage):
        return patiently(read, patience)


def _load(
    store: Store, study: str, dataset: str, design: str | None
) -> tuple[pd.DataFrame, pd.DataFrame, Callable[[Hashable], pd.DataFrame]]:
    storage = store.url
    every = store.storage.get_all_studies()  # summaries of them would read all their trials
    own = [s for s in every if (s.user_attrs.get("study"), s.user_attrs.get("dataset")) == (study, dataset)]
    if not own:
        pairs = [f"{one} on {data}" for one, data in _pairs(s.user_attrs for s in every)]
        held = f"; it holds: {', '.join(pairs)}" if pairs else ""
        raise UserError(
            f"storage {safe(storage)}: has no study {study!r} on {dataset!r}{held}; "
            f"run: python -m harness.study {study} --dataset {dataset}"
        )
    rows, curves, where, queries = [], [], [], []
    meta: dict[str, dict[str, Any]] = {}
    for known in own:
        if design not in (None, known.study_name):
            continue
        refuse_newer(storage, known.user_attrs)
        remembering = optuna.storages.get_storage(store.storage)  # asked for one trial, it need not read it again
        opened = optuna.load_study(study_name=known.study_name, storage=remembering)
        about = {name: known.user_attrs.get(name, kind()) for name, kind in (("command", str), ("data", dict))}
        if beside := measured(known.user_attrs):
            about["measured"] = [record for _, record in sorted(beside.items())]
        about |= {name: known.user_attrs[name] for name in ("search", "design", "labels") if name in known.user_attrs}
        meta[known.study_name] = about
        every_trial = opened.get_trials(deepcopy=False)
        records = opened.user_attrs  # after the trials, which name them
        for trial in every_trial:
            if trial.state not in _STATES or "cell" not in trial.user_attrs:
                continue
            found = {m.filename: m.artifact_id for m in get_all_artifact_meta(trial, storage=remembering)}
            key = {"study_name": known.study_name, "dataset": dataset, "trial": trial.number}
            try:
                rows.append({**key, **_row(trial, records)})
            except (TypeError, ValueError):
                name = f"trial {trial.number} of {known.study_name}"
                raise UserError(
                    f"storage {safe(storage)}: {name} is not as the harness writes trials; was it another program?"
                ) from None
            where.append(found.get("ranks.parquet"))
            queries.append(known.user_attrs.get("queries"))
            if trial.state == TrialState.COMPLETE and "curve.csv" in found:
                curves.append(_curve(path_of(store.artifacts, found["curve.csv"]), rows[-1]))
    if not rows:
        raise UserError(
            f"storage {safe(storage)}: study {study!r} on {dataset!r} has no finished trial yet; "
            f"run: python -m harness.study {study} --dataset {dataset}"
        )
    trials = pd.DataFrame(rows)
    trials.attrs["meta"] = meta

    def load_ranks(label: Hashable) -> pd.DataFrame:
        position = trials.index.get_loc(label)
        assert isinstance(position, int)
        name = f"trial {rows[position]['trial']} of {rows[position]['study_name']}"
        if where[position] is None:
            raise UserError(f"ranks of {name}: there are none; inside a search only validation facts are ranked")
        path = path_of(store.artifacts, where[position])
        try:
            frame = read_table(path)
            if (about := queries[position]) is not None:
                frame = frame.merge(_queries(path_of(store.artifacts, about)), on="query")
            return frame.astype({"direction": str, "relation": str, "query": "int64"})
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"ranks of {name}: {path} cannot be read ({type(error).__name__}); restore it") from None

    return trials, pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(), load_ranks


def held(storage: str) -> list[tuple[str, str]]:
    """The pairs of study and data set that a store has results of.

    Raises:
        UserError: the store cannot be opened.
    """
    with reading(storage), closing(Store(storage, create=False)) as store:
        every = store.storage.get_all_studies()
    return _pairs(s.user_attrs for s in every)


def _pairs(studies: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Study and data set by the attributes of Optuna studies, without those of other programs."""
    pairs = ((attributes.get("study"), attributes.get("dataset")) for attributes in studies)
    return sorted({(one, data) for one, data in pairs if isinstance(one, str) and isinstance(data, str)})


def refuse_newer(storage: str, attributes: Mapping[str, Any]) -> None:
    """Refuse a study whose attributes this version may not understand.

    Raises:
        UserError: it is of a newer schema, or of one that is no number.
    """
    schema = attributes.get("schema", 0)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise UserError(f"storage {safe(storage)}: was written by a newer version of the harness; update it")


def _row(trial: FrozenTrial, records: Mapping[str, Any]) -> dict[str, Any]:
    row = {**trial.params, **unpacked(trial.user_attrs, records), "state": _STATES[trial.state]}
    if trial.state == TrialState.COMPLETE and not {"arm", "backbone", "seed"} <= row.keys():
        raise ValueError("no cell of a design")
    if "arm" in row:  # which one that failed before it began has not
        row |= {"losses": row["arm"], "arm": row.get("label", row["arm"])}
    return row


@lru_cache(maxsize=8)
def _queries(path: Path) -> pd.DataFrame:
    try:
        return read_table(path)
    except (OSError, ValueError) as error:
        raise UserError(f"queries {path}: cannot be read ({type(error).__name__}); restore it") from None


def _curve(path: Path, row: dict[str, Any]) -> pd.DataFrame:
    try:
        frame = read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"learning curve {path}: cannot be read ({type(error).__name__}); restore it") from None
    if "stage" not in frame:  # a teacher has one stage only
        frame["stage"] = 1
    keys = ("study_name", "trial", "dataset", "backbone", "arm", "seed")
    return frame.assign(**{key: row[key] for key in keys})
