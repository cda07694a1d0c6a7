"""The private names of Optuna that two modules use: this fails when a version changes them, and says which."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import optuna
from optuna.artifacts import get_all_artifact_meta
from optuna.trial import TrialState, create_trial

import harness
from harness.store.database import optuna_private

#: the version that the modules were read against
VERSION = "5.0.0"
PRIVATE = (
    "._storage",
    "._study_id",
    "._trial_id",
    "optuna.study._",
    "storages._",
    "set_trial_system_attr",
    "set_study_system_attr",
)


def test_the_version_is_the_one_that_was_looked_at() -> None:
    assert version("optuna") == VERSION, "read the modules against the new version, then raise this"


def test_private_names_stand_in_two_modules() -> None:
    package = Path(harness.__file__).parent
    using = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if any(name in path.read_text("utf-8") for name in PRIVATE)
    }
    assert using == {"store/database/optuna_private.py", "store/database/storage.py"}


def test_a_trial_is_created_continued_and_read(tmp_path: Path) -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/store.db")
    study = optuna.create_study(study_name="mine", storage=storage)
    trial = optuna_private.create(storage, study, create_trial(state=TrialState.RUNNING, user_attrs={"cell": "x"}))
    (frozen,) = study.get_trials()
    assert optuna_private.trial_id(trial) == optuna_private.trial_id(frozen)
    optuna_private.report(storage, trial, {1: 0.1})
    again = optuna_private.handle(study, frozen)
    optuna_private.report(storage, again, {1: 0.3, 2: 0.2})
    study.tell(again, 0.2)
    read = optuna_private.refreshed(storage, trial)
    assert (read.state, read.value, read.intermediate_values) == (TrialState.COMPLETE, 0.2, {1: 0.3, 2: 0.2})


def test_an_artifact_is_one_to_optuna(tmp_path: Path) -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/store.db")
    study = optuna.create_study(study_name="mine", storage=storage)
    optuna_private.name_artifact(storage, study, "an-id", "ranks.parquet")
    (about,) = get_all_artifact_meta(study)
    assert (about.artifact_id, about.filename) == ("an-id", "ranks.parquet")
    (value,) = optuna_private.system_attributes(storage, study).values()
    assert json.loads(value)["filename"] == "ranks.parquet"
