"""All that the harness uses of Optuna beyond its public interface: numbers of trials and studies in the database.

Tests hold these names against the version that is pinned (`tests/store/test_optuna_private.py`).
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from optuna.artifacts import ArtifactMeta
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _VersionManager
from optuna.study import Study
from optuna.study._frozen import FrozenStudy as FrozenStudy
from optuna.trial import FrozenTrial, Trial

#: how attributes of Optuna's own begin that name an artifact
ARTIFACT = "artifacts:"


@lru_cache(maxsize=1)
def _migrations() -> ScriptDirectory:
    return ScriptDirectory(str(Path(models.__file__).parent / "alembic"))


# Optuna reads its migrations again to open a store, and three times to make one, which takes most of the time. By
# setattr, since mypy refuses an assignment to a method
setattr(_VersionManager, "_create_alembic_script", lambda _: _migrations())  # noqa: B010


def trial_id(trial: Trial | FrozenTrial) -> int:
    """The number of a trial in the database."""
    return trial._trial_id


def create(storage: RDBStorage, study: Study, template: FrozenTrial) -> Trial:
    """A new trial like ``template``, which `Study.add_trial` does without a handle, and with reading all others."""
    return Trial(study, storage.create_new_trial(storage.get_study_id_from_name(study.study_name), template))


def handle(study: Study, trial: FrozenTrial) -> Trial:
    """A trial that is running already, to go on with."""
    return Trial(study, trial._trial_id)


def refreshed(storage: BaseStorage, trial: Trial) -> FrozenTrial:
    """A trial as the database has it now."""
    return storage.get_trial(trial._trial_id)


def report(storage: BaseStorage, trial: Trial, values: Mapping[int, float]) -> None:
    """Set intermediate values, those as well that `Trial.report` would leave out as known before a server was lost."""
    for step, value in values.items():
        storage.set_trial_intermediate_value(trial._trial_id, step, value)


def name_artifact(storage: BaseStorage, study: Study, artifact: str, filename: str) -> None:
    """Have optuna-dashboard show a file of the artifact folder as one of the study's."""
    kind, encoding = mimetypes.guess_type(filename)
    about = ArtifactMeta(artifact, filename, kind or "application/octet-stream", encoding)
    storage.set_study_system_attr(study._study_id, ARTIFACT + artifact, json.dumps(asdict(about)))


def system_attributes(storage: BaseStorage, study: Study) -> dict[str, Any]:
    """What Optuna and its dashboard keep of a study, such as its note and its artifacts."""
    return storage.get_study_system_attrs(study._study_id)


def set_system_attributes(storage: BaseStorage, study: Study, attributes: Mapping[str, Any]) -> None:
    """Set what `system_attributes` returns."""
    for key, value in attributes.items():
        storage.set_study_system_attr(study._study_id, key, value)
