"""The store as data frames: the only way from the engine's results to statistics and reports."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from harness.data.registry import identify
from harness.errors import UserError
from harness.store.database.retries import retried
from harness.store.database.urls import safe
from harness.store.factors import COLUMNS, FRESH_SEED, columns
from harness.store.files.artifacts import Evidence, has_curve, key_of, path_of, read_table
from harness.store.files.rank_file import ranks_of
from harness.store.records import spec_of, unpacked
from harness.store.store import Store, reading
from harness.store.study import measured, parts_of

_STATES = {TrialState.COMPLETE: "complete", TrialState.FAIL: "failed", TrialState.RUNNING: "running"}


#: trials, curves, and a function that loads ranks
Frames = tuple[pd.DataFrame, pd.DataFrame, Callable[[Hashable], pd.DataFrame]]


def load(
    storage: str,
    study: str,
    dataset: str,
    artifacts: Path | None = None,
    design: str | None = None,
    retry_timeout: float = 0.0,
) -> Frames:
    """All trials of a study on a data set.

    Args:
        storage: URL of the store.
        study: name of the study file, such as ``ablation``.
        dataset: its name, or a folder with equal data, or the name of that folder.
        artifacts: folder of the artifacts; None: where the store keeps them.
        design: name of the one Optuna study that is wanted; None: all designs of the study.
        retry_timeout: seconds for which the database may be gone.

    Returns:
        trials: a row a trial: factors, metrics, state, seconds and provenance; ``arm`` is its label in the study,
            ``losses`` the losses that it is trained with; ``attrs["meta"]`` has the command, the size of the data and
            what was measured beside the trials by ``study_name``.
        curves: a row an epoch of a trial.
        load_ranks: takes the index label of a row of ``trials``; returns query, rank, and the columns of
            `harness.store.files.queries`: direction, relation, and what reports split queries by.

    Raises:
        UserError: the store cannot be opened or read, is of another version, or has no such study.
    """

    def read() -> Frames:
        with closing(Store(storage, artifacts, create=False)) as store:
            return _load(store, study, dataset, design)

    with reading(storage):
        return retried(read, retry_timeout)


def _load(store: Store, study: str, dataset: str, design: str | None) -> Frames:
    storage = safe(store.url)
    studies = store.studies()
    dataset = identify(dataset, {frozen.user_attrs.get("dataset", "") for frozen in studies.values()})
    chosen = {
        name: frozen
        for name, frozen in studies.items()
        if (frozen.user_attrs["study"], frozen.user_attrs.get("dataset")) == (study, dataset)
    }
    if not chosen:
        pairs = [f"{one} on {data}" for one, data in _pairs(frozen.user_attrs for frozen in studies.values())]
        held = f"; it holds: {', '.join(pairs)}" if pairs else ""
        raise UserError(
            f"storage {storage}: has no study {study!r} on {dataset!r}{held}; "
            f"run: python -m harness.study {study} --dataset {dataset}"
        )
    rows: list[dict[str, Any]] = []
    #: design, number and, where it was ranked, key of the trial of each row: whole trials would take much memory
    places: list[tuple[str, int, str]] = []
    curves: list[pd.DataFrame] = []
    meta: dict[str, dict[str, Any]] = {}
    evidence: dict[str, Evidence] = {}
    for name, frozen in chosen.items():
        if design not in (None, name):
            continue
        meta[name] = _about(frozen.user_attrs)
        parts = parts_of(store.storage, name)
        trials = [t for part in parts for t in part.get_trials(deepcopy=False) if "cell" in t.user_attrs]
        records = optuna.load_study(study_name=name, storage=store.storage).user_attrs  # after trials, which name them
        complete: dict[str, dict[str, Any]] = {}
        for number, trial in enumerate(trials):
            if trial.state not in _STATES:
                continue
            try:
                row = {"study_name": name, "dataset": dataset, "trial": number, **_row(trial, records)}
            except (KeyError, TypeError, ValueError):
                raise UserError(
                    f"storage {storage}: trial {trial.number} of {name} is not as the harness writes trials; "
                    "was it another program?"
                ) from None
            rows.append(row)
            places.append((name, trial.number, key_of(trial) if "test_mrr" in row else ""))
            if trial.state == TrialState.COMPLETE:
                complete[key_of(trial)] = row
        evidence[name] = Evidence(store.artifacts, name)
        trained = {key: row for key, row in complete.items() if has_curve(row)}
        curves.append(_curves(evidence[name], trained))
    if not rows:
        raise UserError(
            f"storage {storage}: study {study!r} on {dataset!r} has no finished trial yet; "
            f"run: python -m harness.study {study} --dataset {dataset}"
        )
    frame = pd.DataFrame(rows)
    frame.attrs["meta"] = meta

    queries = {name: frozen.user_attrs.get("queries") for name, frozen in chosen.items()}

    def load_ranks(label: Hashable) -> pd.DataFrame:
        position = frame.index.get_loc(label)
        assert isinstance(position, int)
        design, number, key = places[position]
        name = f"trial {number} of {design}"
        if not key:
            raise UserError(f"ranks of {name}: there are none; inside a search only validation facts are ranked")
        try:
            ranks = ranks_of(evidence[design].doubled(key))
            if not len(ranks):
                raise UserError(f"cannot be read from {store.artifacts} (not there); restore them")
            about = _queries(path_of(store.artifacts, queries[design]))
            if len(about) != len(ranks):
                raise UserError(f"are of {len(ranks)} queries, the study has {len(about)}; restore both files at once")
            return about.assign(rank=ranks)
        except UserError as error:
            raise UserError(f"ranks of {name}: {error}") from None

    filled = [curve for curve in curves if len(curve)]
    return frame, pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(), load_ranks


def _about(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a study that reports use."""
    about = {name: attributes.get(name, kind()) for name, kind in (("command", str), ("data", dict))}
    if beside := measured(attributes):
        about["measured"] = [record for _, record in sorted(beside.items())]
    return about | {
        name: attributes[name] for name in ("search", "tune", "looks", "design", "labels") if name in attributes
    }


def held(storage: str) -> list[tuple[str, str]]:
    """The pairs of study and data set that a store has results of.

    Raises:
        UserError: the store cannot be opened.
    """
    return sorted(set(of_designs(storage).values()))


def of_designs(storage: str) -> dict[str, tuple[str, str]]:
    """The study and the data set of each design of a store, by the name of the design; errors as of `held`."""
    with reading(storage), closing(Store(storage, create=False)) as store:
        attributes = {name: frozen.user_attrs for name, frozen in store.studies().items()}
    return {name: pair for name, about in attributes.items() for pair in _pairs([about])}


def overview(storage: str) -> pd.DataFrame:
    """What a store holds, a row a design; errors as of `held`.

    Columns: study, dataset, preset, design, started (the last trial), and by state the number of its trials.
    """
    rows = []
    with reading(storage), closing(Store(storage, create=False)) as store:
        for name, frozen in store.studies().items():
            trials = [t for part in parts_of(store.storage, name) for t in part.get_trials(deepcopy=False)]
            trials = [trial for trial in trials if "cell" in trial.user_attrs]
            counts = {text: sum(trial.state == state for trial in trials) for state, text in _STATES.items()}
            about = {key: frozen.user_attrs.get(key, "") for key in ("study", "dataset", "preset")}
            started = max((str(trial.user_attrs.get("started", "")) for trial in trials), default="")
            rows.append({**about, "design": name, "started": started, **counts})
    columns = ["study", "dataset", "preset", "design", "started", *_STATES.values()]
    return pd.DataFrame(rows, columns=columns).sort_values(["study", "dataset", "started"], ignore_index=True)


def _pairs(studies: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Study and data set by the attributes of Optuna studies, without those of other programs."""
    pairs = ((attributes.get("study"), attributes.get("dataset")) for attributes in studies)
    return sorted({(one, data) for one, data in pairs if isinstance(one, str) and isinstance(data, str)})


def _row(trial: FrozenTrial, records: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a trial: factors, attributes, state, the arm's name, and the losses that it stands for."""
    settings = columns(spec_of(trial.user_attrs, records))
    # a factor without a column keeps its dotted name
    shown = {*settings, *(COLUMNS[name] for name in settings if name in COLUMNS), FRESH_SEED}
    factors = {name: value for name, value in trial.params.items() if name not in shown}
    row = factors | settings | unpacked(trial.user_attrs, records)
    return row | {"state": _STATES[trial.state], "losses": row["arm"], "arm": row.get("label", row["arm"])}


@lru_cache(maxsize=8)
def _queries(path: Path) -> pd.DataFrame:
    try:
        return (
            read_table(path)
            .astype({"direction": str, "relation": str, "query": "int64"})
            .sort_values("query", ignore_index=True)
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"queries {path}: cannot be read ({type(error).__name__}); restore it") from None


def _curves(evidence: Evidence, rows: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The learning curves of complete trials, by their keys, with what identifies a trial in reports."""
    frame = evidence.curves(rows.keys())
    if not len(frame):
        return frame
    if "stage" not in frame:
        frame["stage"] = np.nan
    frame["stage"] = frame["stage"].fillna(1).astype(int)  # a teacher has one stage only
    names = ("study_name", "trial", "dataset", "backbone", "arm", "seed")
    keys = frame.pop("trial")
    return frame.assign(**{name: keys.map({key: row[name] for key, row in rows.items()}) for name in names})
