"""Copies of studies from one store to another, with their artifacts: as from a laptop's SQLite to PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from harness.errors import UserError, nearest
from harness.store.configurations import NUMBER, key_of_configuration
from harness.store.database import optuna_private
from harness.store.database.urls import safe
from harness.store.files.artifacts import Artifacts, Evidence, copy_to, path_of
from harness.store.records import common, renewed
from harness.store.reuse import complete_of, copy_of
from harness.store.store import Store, reading


class Copied(NamedTuple):
    """The name of a study, how many trials were added, and how many the target had already."""

    study: str
    added: int
    there: int


def copy(source: Store, target: Store, names: Collection[str] = ()) -> Iterator[Copied]:
    """Copy complete trials that ``target`` lacks, study by study; what it has stays as it is.

    ``names`` are those of Optuna studies, or of study files such as ``ablation``; none: all studies.

    Raises:
        UserError: a name is unknown, a store is of another version, an artifact is missing, or the target cannot be
            written, as an SQLite file to which another coordinator writes.
    """
    with reading(source.url):
        studies = source.studies()
    known = {*studies, *(study.user_attrs["study"] for study in studies.values())}
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"storage {safe(source.url)}: has no study {unknown[0]!r}, {nearest(unknown[0], known)}")
    with target.only_writer():
        target.studies()
        for name, study in studies.items():
            if not names or name in names or study.user_attrs["study"] in names:
                yield _copy(name, source, target)


def _copy(name: str, source: Store, target: Store) -> Copied:
    with reading(source.url):
        study = optuna.load_study(study_name=name, storage=source.storage)
        complete = complete_of(source.storage, name)
        configurations = [trial for trial in study.get_trials(deepcopy=False) if NUMBER in trial.user_attrs]
        attributes = study.user_attrs
    parts = {part: target.study(part) for part in dict.fromkeys((name, *(part for part, _ in complete)))}
    before = parts[name].user_attrs
    there = {trial.user_attrs.get("cell") for _, trial in complete_of(target.storage, name)}
    new = [(part, trial) for part, trial in complete if trial.user_attrs["cell"] not in there]
    held = {key_of_configuration(trial) for trial in parts[name].get_trials(deepcopy=False) if _is_ended(trial)}
    ended = [trial for trial in configurations if _is_ended(trial) and key_of_configuration(trial) not in held]
    if "queries" in attributes:
        queries, copied = (path_of(folder, attributes["queries"]) for folder in (source.artifacts, target.artifacts))
        if not copied.exists():
            copy_to(queries, copied)
    files = Artifacts(target.artifacts, safe(target.url))
    files.take(name, Evidence(source.artifacts, name), [trial for _, trial in new])
    records: dict[str, Any] = {}
    copies = []
    for part, trial in new:
        packed, record = renewed(trial.user_attrs, attributes, common(attributes) | common(before) | records)
        copies.append((part, copy_of(trial, packed)))
        records |= record
    wanted = records if before else attributes | records  # also if an earlier copy got no further
    with target.transaction():
        for key, value in wanted.items():
            if before.get(key) != value:
                parts[name].set_user_attr(key, value)
        if not before:
            for part, made in parts.items():
                original = optuna.load_study(study_name=part, storage=source.storage)
                system = optuna_private.system_attributes(source.storage, original)
                optuna_private.set_system_attributes(target.storage, made, system)
        for part, copy in copies:
            parts[part].add_trial(copy)
        parts[name].add_trials(copy_of(trial, {NUMBER: trial.user_attrs[NUMBER]}) for trial in ended)
    return Copied(name, len(new), len(complete) - len(new))


def _is_ended(trial: FrozenTrial) -> bool:
    """Whether a trial is a configuration of a search, complete or given up."""
    return NUMBER in trial.user_attrs and trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
