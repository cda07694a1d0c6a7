"""Copies of studies from one store to another, with their artifacts: as from a laptop's SQLite to PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from harness.errors import UserError, nearest
from harness.store.artifacts import ARTIFACT, copy_to, path_of
from harness.store.database import safe
from harness.store.frames import refuse_newer
from harness.store.records import common, renewed
from harness.store.reuse import copy_of
from harness.store.store import SCHEMA, Store, reading


@dataclass(frozen=True)
class Copied:
    """What became of one study: its name, the trials that were added, and those that the target had already."""

    study: str
    added: int
    there: int


def copy(source: Store, target: Store, names: Collection[str] = ()) -> Iterator[Copied]:
    """Copy complete trials that ``target`` lacks, study by study; what it has stays as it is.

    Copies are of this version's schema, whatever that of the source.

    Args:
        source: is read only.
        target: where they go; nobody else may write to it if it is an SQLite file.
        names: of Optuna studies, or of study files such as ``ablation``; none: all studies.

    Raises:
        UserError: a name means nothing, a study is newer than this version, an artifact is missing, or the target
            cannot be written.
    """
    with reading(source.url):
        found = source.storage.get_all_studies()
    every = {one.study_name: one for one in found if isinstance(one.user_attrs.get("study"), str)}
    known = {*every, *(study.user_attrs["study"] for study in every.values())}
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"storage {safe(source.url)}: has no study {unknown[0]!r}, {nearest(unknown[0], known)}")
    with target.only_writer():
        for name, study in every.items():
            if names and name not in names and study.user_attrs["study"] not in names:
                continue
            refuse_newer(source.url, study.user_attrs)
            yield _copy(optuna.load_study(study_name=name, storage=source.storage), source, target)


def _copy(study: Study, source: Store, target: Store) -> Copied:
    with reading(source.url):
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        told = study.user_attrs
    wanted = [trial for trial in done if "cell" in trial.user_attrs]
    own = optuna.create_study(
        study_name=study.study_name, storage=target.storage, direction="maximize", load_if_exists=True
    )
    before = own.user_attrs
    refuse_newer(target.url, before)
    is_new = not before  # also if an earlier copy got no further
    there = {trial.user_attrs["cell"] for trial in own.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))}
    new = [trial for trial in wanted if trial.user_attrs["cell"] not in there]
    files = {key.removeprefix(ARTIFACT) for trial in new for key in trial.system_attrs if key.startswith(ARTIFACT)}
    files |= {str(told["queries"])} if "queries" in told else set()
    for name in sorted(files):
        if not path_of(target.artifacts, name).exists():
            copy_to(path_of(source.artifacts, name), path_of(target.artifacts, name))
    copies, records = _copies(new, told, common(told) | common(before))
    attributes = {name: value for name, value in told.items() if is_new and name not in common(told)}
    attributes |= {**records, "schema": SCHEMA} if is_new or copies else {}
    with target.transaction():
        for key, value in attributes.items():
            if before.get(key) != value:
                own.set_user_attr(key, value)
        if is_new:
            storage, number = target.storage, own._study_id
            for key, value in source.storage.get_study_system_attrs(study._study_id).items():
                storage.set_study_system_attr(number, key, value)
        own.add_trials(copies)
    return Copied(study.study_name, len(new), len(wanted) - len(new))


def _copies(
    trials: Collection[FrozenTrial], there: Mapping[str, Any], known: Mapping[str, Any]
) -> tuple[list[FrozenTrial], dict[str, Any]]:
    """Trials as this version packs them, and the records that they name.

    Args:
        trials: what is copied, of whichever schema.
        there: attributes of their study.
        known: records that there are.
    """
    copies: list[FrozenTrial] = []
    used: dict[str, Any] = {}
    for trial in trials:
        attributes, record = renewed(trial.user_attrs, there, {**known, **used})
        copies.append(copy_of(trial, attributes))
        used |= record
    return copies, used
