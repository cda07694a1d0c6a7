"""What a store holds of one study, and the life of a trial in it.

Up to three studies of Optuna: students in ``NAME``; reference rows in ``NAME-teachers``, so that the best trial is a
student; and where settings are searched, students in ``NAME-seeds`` and configurations in ``NAME``. What describes the
study is an attribute of ``NAME``.
"""

from __future__ import annotations

import math
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

import optuna
import pandas as pd
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from harness.design import files
from harness.design.cells import Run
from harness.store import outside
from harness.store.configurations import Configurations
from harness.store.database import optuna_private
from harness.store.database.leases import ended, leases_of
from harness.store.database.retries import retried
from harness.store.database.urls import safe
from harness.store.factors import parameters
from harness.store.files import artifacts
from harness.store.notes import note_of, note_of_part
from harness.store.records import SPEC, common, packed, shared, spec_of, unpacked
from harness.store.store import SCHEMA, Store
from harness.trial.cache import digest
from harness.trial.run import TrialResult
from harness.trial.spec import TrialSpec
from harness.vocabulary import REFERENCES

#: how the names of the studies end that hold reference rows, and what a search has trained
TEACHERS, SEEDS = "-teachers", "-seeds"
#: how the reason of a trial begins that ended with its coordinator
INTERRUPTED = "interrupted"
#: how the attributes of a study begin that hold what was measured beside its trials, a record each
MEASURED = "measured:"


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
    study, design = store.study(run.study_name), run.design
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
    if (search := run.search) is not None:
        sample = search.sample() if search.sampler == "qmc" else None
        attributes["search"] = search.model_dump() | {"sample": sample}
    if run.tune is not None:
        attributes["tune"] = run.tune.model_dump()
    if run.looks:
        attributes["looks"] = list(run.looks)

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


def known_as(store: Store, run: Run) -> Run:
    """A run under the name that the store has for its study: equal data may lie in a folder of another name by now."""
    for name, study in store.studies().items():
        about = study.user_attrs
        is_same = (about["study"], about.get("preset"), about.get("data_digest")) == (
            run.design.name,
            run.preset,
            run.data_digest,
        )
        if is_same and name.rpartition("-")[2] == run.study_name.rpartition("-")[2]:
            return replace(run, study_name=name, dataset=about["dataset"])
    return run


def parts_of(storage: BaseStorage, study: str) -> list[Study]:
    """The existing studies of Optuna that may hold trials of a study."""
    names = {frozen.study_name for frozen in storage.get_all_studies()}
    parts = (f"{study}{suffix}" for suffix in ("", SEEDS, TEACHERS))
    return [optuna.load_study(study_name=part, storage=storage) for part in parts if part in names]


class StudyStore:
    """One study of a store: its complete trials, and the life of a trial from begin to finish or fail."""

    def __init__(self, run: Run, study: Study, store: Store) -> None:
        self.run, self.study, self.store = run, study, store
        self.artifacts = artifacts.Artifacts(store.artifacts, safe(store.url))
        self.leases = leases_of(store.storage.engine, study.study_name)
        self.retry_timeout = store.retry_timeout
        #: what trials have in common
        self.records = common(study.user_attrs)
        self.students = study if run.search is None else self._beside(SEEDS)
        has_teachers = any(spec.arm in REFERENCES for spec in run.specs)
        has_teachers |= f"{study.study_name}{TEACHERS}" in {part.study_name for part in store.storage.get_all_studies()}
        self.teachers = self._beside(TEACHERS) if has_teachers else None
        self.parts = [part for part in (self.students, self.teachers) if part is not None]
        self.configurations = None if run.search is None else Configurations(run, study, store)
        #: trials that were over when the study was opened
        self.before = {optuna_private.trial_id(trial) for trial in self.trials() if trial.state.is_finished()}

    def _beside(self, suffix: str) -> Study:
        """A study that belongs to this one."""
        return self.store.study(f"{self.study.study_name}{suffix}")

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials of students and teachers in these states; without any, all. Other programs' do not count."""
        trials = (trial for part in self.parts for trial in part.get_trials(deepcopy=False, states=states or None))
        return [trial for trial in trials if "cell" in trial.user_attrs]

    def close_stale(self) -> None:
        """Mark as failed what no coordinator works on any more."""
        with self.store.transaction():
            for part in self.parts:
                for trial in part.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                    key = str(trial.user_attrs.get("cell"))
                    if self.leases.take(key):
                        self.leases.free(key)
                        handle = optuna_private.handle(part, trial)
                        self._fail(handle, f"{INTERRUPTED}: its coordinator ended before it")

    def fold(self) -> None:
        """Move ranks and curves of complete trials from a file a trial to those of the study.

        Left undone while another coordinator does it.

        Raises:
            UserError: files cannot be read or written; nothing is lost then.
        """
        if not self.artifacts.has_loose() or not self.leases.take("fold"):
            return
        try:
            keys = [artifacts.key_of(trial) for trial in self.trials(TrialState.COMPLETE)]
            self.artifacts.fold(self.study.study_name, keys)
            self.name_artifacts()
        finally:
            self.leases.free("fold")

    def name_artifacts(self) -> None:
        """Have optuna-dashboard list the files of the study."""
        storage, name = self.store.storage, self.study.study_name
        known = optuna_private.system_attributes(storage, self.study)
        for file in (artifacts.RANKS, artifacts.CURVES):
            artifact = artifacts.study_file(name, file)
            is_new = f"{optuna_private.ARTIFACT}{artifact}" not in known
            if is_new and (self.store.artifacts / artifact).exists():
                optuna_private.name_artifact(storage, self.study, artifact, file)

    def describe(self, run: Run) -> None:
        """Store a note about the study for optuna-dashboard, once. Takes a second: the package imports much."""
        note = note_of(run, self.study.user_attrs["data"])
        if self.study.user_attrs.get("note") == digest(note):
            return
        from optuna_dashboard import save_note

        def save() -> None:
            with self.store.transaction(), warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                for part in {part.study_name: part for part in (self.study, *self.parts)}.values():
                    part.set_metric_names(["validation MRR"])
                save_note(self.study, note)
                for part in self.parts:
                    if part.study_name != self.study.study_name:
                        save_note(part, note_of_part(run, part.study_name))
                self.study.set_user_attr("note", digest(note))

        retried(save, self.retry_timeout)

    def attach(self, queries: pd.DataFrame) -> None:
        """Store what reports may split test queries by (`harness.store.files.queries`), once a study."""
        if "queries" in self.study.user_attrs:
            return
        content = sha256(queries.to_csv(index=False).encode()).hexdigest()
        name = str(uuid.uuid5(uuid.NAMESPACE_URL, content))  # studies with equal content share the file
        self.artifacts.keep_queries(name, queries)

        def attach() -> None:
            with self.store.transaction():
                optuna_private.name_artifact(self.store.storage, self.study, name, artifacts.QUERIES)
                self.study.set_user_attr("queries", name)

        retried(attach, self.retry_timeout)  # another coordinator may write the same at this moment

    def done(self) -> list[dict[str, Any]]:
        """The attributes of the complete trials, and their arms."""
        complete, records = self.trials(TrialState.COMPLETE), self.study.user_attrs
        attributes = [trial.user_attrs for trial in complete]
        return [unpacked(one, records) | {"arm": spec_of(one, records)["arm"]} for one in attributes]

    def complete(self) -> set[str]:
        """Keys of the trials that have a result."""
        return {trial.user_attrs["cell"] for trial in self.trials(TrialState.COMPLETE)}

    def ended(self, key: str) -> FrozenTrial | None:
        """What ended since the study was opened of the trials with a key: the complete one, else one that failed and
        was not interrupted.
        """
        storage, names = self.store.storage, [part.study_name for part in self.parts]
        numbers = retried(lambda: ended(storage.engine, names, key), self.retry_timeout)
        trials = [storage.get_trial(number) for number in numbers if number not in self.before]
        over = [trial for trial in trials if not str(trial.user_attrs.get("reason", "")).startswith(INTERRUPTED)]
        return min(over, key=lambda trial: trial.state == TrialState.FAIL, default=None)

    def measured(self) -> dict[str, dict[str, Any]]:
        """What was measured beside the trials: records by name."""
        return measured(self.study.user_attrs)

    def measure(self, name: str, record: dict[str, Any]) -> None:
        """Store a record of JSON values in the place of what was measured under the same name."""
        with self.store.transaction():
            self.study.set_user_attr(f"{MEASURED}{name}", record)

    def values(self) -> dict[str, float]:
        """Validation MRR of the trials that have a result, by their keys."""
        complete = self.trials(TrialState.COMPLETE)
        return {trial.user_attrs["cell"]: float(trial.value) for trial in complete if trial.value is not None}

    def searched(self) -> list[FrozenTrial]:
        """The trials inside a search."""
        return [trial for trial in self.trials() if trial.user_attrs.get("role") == "search"]

    def begin(self, spec: TrialSpec, attributes: dict[str, Any]) -> Trial:
        """Begin a trial."""
        point = attributes.get("point")  # in the parameters
        factors, distributions = parameters(self.run, spec, point)
        about = {name: value for name, value in attributes.items() if name != "point"}
        key = spec.key()
        about |= {"cell": key, SPEC: spec.model_dump(mode="json")}
        attributes, record = shared(about, self.records)
        running = create_trial(
            state=TrialState.RUNNING, params=factors, distributions=distributions, user_attrs=attributes
        )
        part = self.part_of(spec)
        self.leases.take(key)

        def create() -> Trial:
            with self.store.transaction():
                self.share(record)
                return optuna_private.create(self.store.storage, part, running)

        trial = retried(create, self.retry_timeout)
        self.records |= record
        return trial

    def part_of(self, spec: TrialSpec) -> Study:
        """The study of Optuna that holds a trial."""
        if spec.arm not in REFERENCES:
            return self.students
        if self.teachers is None:
            self.teachers = self._beside(TEACHERS)
            self.parts.append(self.teachers)
        return self.teachers

    def share(self, records: Mapping[str, Any]) -> None:
        """Store what trials have in common, in the transaction that adds the first of them."""
        for name in records.keys() - self.records.keys():
            self.study.set_user_attr(name, records[name])

    def finish(self, trial: Trial, result: TrialResult) -> bool:
        """Store a result: its file first, then all attributes and that it is complete, in one transaction.

        A trial that another coordinator has leased while the database was gone is left to it: the result is dropped,
        and False is returned.
        """
        by_stage = {"seconds": result.seconds, "built_seconds": result.built_seconds, "peak_mib": result.peak_mib}
        costs = {
            f"{name}_{stage}": round(value, 3)
            for name, values in by_stage.items()
            for stage, value in values.items()
            if math.isfinite(value)
        }
        by_protocol = {
            f"test_{protocol}_{name}": round(value, 6)
            for protocol, values in result.by_protocol.items()
            for name, value in values.items()
            if math.isfinite(value)
        }
        numbers = {"updates": result.updates, "best_epoch": result.best_epoch}
        numbers |= {f"bytes_{part}": size for part, size in result.stored_bytes.items()}
        attributes = {**packed({**result.metrics, **by_protocol, **costs}), **numbers}
        # a search has so many trials that their curves are left to the artifacts
        curve = {int(row["epoch"]): row["valid_mrr"] for row in result.curve if "valid_mrr" in row and result.ranks}
        begun = trial.user_attrs
        if unpacked(begun, self.records).get("data_digest") != result.data_digest:
            attributes["data_digest"] = result.data_digest
        if not self.leases.keep(begun["cell"]):
            self.fail(trial, f"{INTERRUPTED}: the database was gone, and another coordinator took the trial")
            return False
        key = artifacts.key_of(trial)
        self.artifacts.keep(key, result)

        def complete() -> bool:  # also if the server was lost after it had stored it
            with self.store.transaction():
                return self.store.storage.complete(trial, result.metrics["valid_mrr"], attributes, curve)

        is_complete = retried(complete, self.retry_timeout)
        if not is_complete:  # another coordinator has closed it
            self.artifacts.drop(key)
        self.leases.free(begun["cell"])
        return is_complete

    def fail(self, trial: Trial, reason: str, details: str = "", retry_timeout: float | None = None) -> None:
        """Mark a trial as failed, with the reason; ``retry_timeout``: seconds to wait for a database that is gone."""

        def failed() -> None:
            if not self._state(trial).is_finished():
                with self.store.transaction():
                    self._fail(trial, reason, details)

        retried(failed, self.retry_timeout if retry_timeout is None else retry_timeout)
        self.leases.free(str(trial.user_attrs.get("cell")))

    def _state(self, trial: Trial) -> TrialState:
        return optuna_private.refreshed(self.store.storage, trial).state

    def _fail(self, trial: Trial, reason: str, details: str = "") -> None:
        self.artifacts.drop(artifacts.key_of(trial))
        trial.set_user_attr("reason", reason)
        if details:
            trial.set_user_attr("traceback", details)
        trial.study.tell(trial, state=TrialState.FAIL)


def measured(attributes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The records of measurements among the attributes of a study, by name."""
    return {name.removeprefix(MEASURED): value for name, value in attributes.items() if name.startswith(MEASURED)}
