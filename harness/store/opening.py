"""Opening the study of a run in a store, which makes it if it is not there."""

from __future__ import annotations

import optuna

from harness.design import files
from harness.design.cells import Run
from harness.store import outside
from harness.store.database.retries import retried
from harness.store.database.urls import safe
from harness.store.store import SCHEMA, Store
from harness.store.study import StudyStore


def open_study(store: Store, run: Run, command: str, counts: dict[str, int]) -> StudyStore:
    """The study of a run, made if it is not there; trials that a dead coordinator left become failed.

    Raises:
        UserError: the store was written by another version, or has results of one of the run's methods from other
            code of the same version.
    """
    studies = store.studies()
    from_plugins = outside.attributes_of(run.specs)
    if from_plugins:
        outside.refuse_other_code([study.user_attrs for study in studies.values()], from_plugins, safe(store.url))
    study = optuna.create_study(
        study_name=run.study_name, storage=store.storage, direction="maximize", load_if_exists=True
    )
    design = run.design
    attributes = {
        "study": design.name,
        "dataset": run.dataset,
        "preset": run.preset,
        "claims": list(design.claims),
        "command": command,
        "data": counts,
        "schema": SCHEMA,
        "engine": run.engine,
        "data_digest": run.data_digest,
        **from_plugins,
    }
    if design.name not in files.files():  # a user's own: reports are made again without the file
        attributes["design"] = design.model_dump(mode="json", exclude_defaults=True)
    if run.search is not None:
        about = run.search.model_dump()
        attributes["search"] = about | {"sample": run.search.sample() if run.search.sampler == "qmc" else None}

    def describe() -> None:
        known = study.user_attrs
        with store.transaction():
            for key, value in attributes.items():
                if known.get(key) != value:
                    study.set_user_attr(key, value)

    retried(describe, store.retry_timeout)  # another coordinator may write the same at this moment
    opened = StudyStore(run, study, store)
    store.leases.append(opened.leases)
    opened.close_stale()
    opened.fold()
    return opened
