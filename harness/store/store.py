"""The store: cells as Optuna trials, with ranks and learning curves as artifacts. One coordinator writes to it."""

from __future__ import annotations

import math
import os
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path
from typing import Any

import filelock
import optuna
import pandas as pd
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from harness.design import files
from harness.design.cells import Run
from harness.errors import UserError
from harness.scratch import scratch
from harness.store import artifacts, outside
from harness.store.dashboard import parameters
from harness.store.database import reason_of, refuse_foreign, safe, sqlite_file
from harness.store.locks import Claims, claims_of, ended
from harness.store.notes import note_of
from harness.store.patience import patience_with, patiently
from harness.store.records import SPEC, common, packed, shared, unpacked
from harness.trial.cache import digest
from harness.trial.run import TrialResult
from harness.trial.spec import TrialSpec

#: version of the attributes that a trial has (see `packing`); readers refuse newer ones, and read older ones
SCHEMA = 4
#: teachers are stored as violating a constraint, that of being a student, so that the best trial of a study is one
CONSTRAINTS, REFERENCES = "constraints", ("teacher", "llm-teacher")
#: how the reason of a trial begins that ended with its coordinator
INTERRUPTED = "interrupted"
#: how the names of temporary folders begin
TEMPORARY = "harness-run-"
#: how the attributes of a study begin that hold what was measured beside its trials, a record each
MEASURED = "measured:"


class Store:
    """An Optuna storage and its artifacts.

    Args:
        url: SQLAlchemy URL, such as ``sqlite:///runs/harness.db``.
        artifacts: folder of the artifacts; None: ``artifacts`` beside an SQLite file, else ``runs/artifacts``.

    Raises:
        UserError: if the storage cannot be opened.
    """

    def __init__(self, url: str, artifacts: Path | None = None, *, create: bool = True) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.url, self.file = url, sqlite_file(url)
        if self.file is not None and not create and not os.path.isfile(self.file):
            raise UserError(f"storage {safe(url)}: there is no such file; run a study first or name another --storage")
        beside = self.file.parent if self.file is not None else Path("runs")
        self.artifacts = artifacts or beside / "artifacts"
        self._claims: list[Claims] = []
        try:
            if self.file is not None:
                refuse_foreign(self.file, url, create)
                self.file.parent.mkdir(parents=True, exist_ok=True)
            engine = {"connect_args": {"timeout": 60}} if self.file is not None else {"pool_pre_ping": True}
            self.storage = optuna.storages.RDBStorage(url, engine_kwargs=engine)
            self.patience = patience_with(self.storage.engine)
        except (OSError, SQLAlchemyError, sqlite3.Error, ImportError, RuntimeError, ValueError) as error:
            raise UserError(
                f"storage {safe(url)}: cannot be opened ({reason_of(error, url)}); such as: sqlite:///runs/harness.db"
            ) from error

    def close(self) -> None:
        """Give all claims and connections to the database back."""
        for claims in self._claims:
            claims.close()
        self.storage.engine.dispose()

    @contextmanager
    def only_writer(self) -> Iterator[None]:
        """Hold the right to write to an SQLite file.

        Raises:
            UserError: if another coordinator has it.
        """
        if self.file is None:
            yield
            return
        lock = filelock.FileLock(self.file.with_name(f"{self.file.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UserError(
                f"storage {safe(self.url)}: another study is writing to it; wait for it, name another file with "
                "--storage, or use PostgreSQL (postgresql+psycopg://...)"
            ) from None
        except OSError as error:
            raise UserError(f"storage {safe(self.url)}: cannot be written ({error.strerror})") from None
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell the user, in one line, that the storage cannot be written or does not answer any more.

        Raises:
            UserError: in the place of a ``StorageInternalError``.
        """
        try:
            yield
        except StorageInternalError as error:
            cause = reason_of(error.__cause__ or error, self.url)
            raise UserError(
                f"storage {safe(self.url)}: cannot be written ({cause}); what is complete is kept"
            ) from None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make one transaction of all that is written to the storage inside: it is there as a whole or not at all.

        Optuna commits each attribute for itself, which costs a write to the disk each. Here its session joins a
        transaction from outside, as SQLAlchemy documents it, so that its commits wait for the one at the end.

        Raises:
            StorageInternalError: as Optuna's methods do, if it cannot be written.
        """
        session = self.storage.scoped_session()
        try:
            with self.storage.engine.begin() as connection:
                session.bind = connection
                yield
        except SQLAlchemyError as error:
            raise StorageInternalError("the transaction cannot be completed") from error
        finally:
            session.bind = self.storage.engine

    def open(self, run: Run, command: str, counts: dict[str, int]) -> StudyStore:
        """The Optuna study of a run, made if it is not there; trials that a dead coordinator left become failed.

        Raises:
            UserError: the store has results of one of the run's methods from other code of the same version.
        """
        from_plugins = outside.attributes_of(run.cells)
        if from_plugins:
            studies = [study.user_attrs for study in self.storage.get_all_studies()]
            outside.refuse_other_code(studies, from_plugins, safe(self.url))
        study = optuna.create_study(
            study_name=run.study_name, storage=self.storage, direction="maximize", load_if_exists=True
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
            with self.transaction():
                for key, value in attributes.items():
                    if known.get(key) != value:
                        study.set_user_attr(key, value)

        patiently(describe, patience_with(self.storage.engine))  # another coordinator may write the same at this moment
        opened = StudyStore(study, self)
        self._claims.append(opened.claims)
        opened.close_stale()
        return opened


class StudyStore:
    """One Optuna study: its finished cells, and the life of a trial from begin to finish or fail."""

    def __init__(self, study: optuna.Study, store: Store) -> None:
        self.study, self.store = study, store
        self.artifacts = artifacts.Artifacts(store.artifacts, safe(store.url))
        self.claims = claims_of(store.storage.engine, study.study_name)
        self.patience = store.patience
        #: what trials have in common
        self.records = common(study.user_attrs)
        #: trials before this one were there when the study was opened
        self.first = len(study.get_trials(deepcopy=False))

    def close_stale(self) -> None:
        """Mark as failed what no coordinator works on any more."""
        with self.store.transaction():
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                cell = str(trial.user_attrs.get("cell"))
                if not self.claims.take(cell):
                    continue
                self.claims.free(cell)
                self._fail(Trial(self.study, trial._trial_id), f"{INTERRUPTED}: its coordinator ended before it")
            # earlier versions let a cell wait before it ran
            while self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                self.study.tell(self.study.ask(), state=TrialState.FAIL)

    def describe(self, run: Run) -> None:
        """Tell optuna-dashboard what the study is, unless it was told. Takes a second: the package imports much."""
        note = note_of(run, self.study.user_attrs["data"])
        if self.study.user_attrs.get("note") == digest(note):
            return
        from optuna_dashboard import save_note

        with self.store.transaction(), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study.set_metric_names(["validation MRR"])
            save_note(self.study, note)
            self.study.set_user_attr("note", digest(note))

    def attach(self, queries: pd.DataFrame) -> None:
        """Store what reports may split test queries by (`harness.store.queries`), once a study."""
        if "queries" in self.study.user_attrs:
            return
        with scratch(TEMPORARY) as folder:
            path = folder / "queries.parquet"
            queries.to_parquet(path, compression="zstd", index=False)
            with self.store.transaction():
                self.study.set_user_attr("queries", self.artifacts.keep_of_study(self.study, path))

    def done(self) -> list[dict[str, Any]]:
        """The factors and attributes of the complete trials."""
        done = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        records = self.study.user_attrs
        return [trial.params | unpacked(trial.user_attrs, records) for trial in done]

    def complete(self) -> set[str]:
        """Keys of the cells that have a result."""
        done = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return {trial.user_attrs["cell"] for trial in done}

    def ended(self, cell: str) -> FrozenTrial | None:
        """How a cell ended since the study was opened: its complete trial, else one that failed and was not cut off."""
        storage, name = self.store.storage, self.study.study_name
        own = map(storage.get_trial, patiently(lambda: ended(storage.engine, name, cell, self.first), self.patience))
        over = [trial for trial in own if not str(trial.user_attrs.get("reason", "")).startswith(INTERRUPTED)]
        return min(over, key=lambda trial: trial.state == TrialState.FAIL, default=None)

    def measured(self) -> dict[str, dict[str, Any]]:
        """What was measured beside the trials: records by name."""
        return measured(self.study.user_attrs)

    def measure(self, name: str, record: dict[str, Any]) -> None:
        """Store a record of JSON values in the place of what was measured under the same name."""
        with self.store.transaction():
            self.study.set_user_attr(f"{MEASURED}{name}", record)

    def values(self) -> dict[str, float]:
        """Validation MRR of the cells that have a result, by their keys."""
        done = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return {trial.user_attrs["cell"]: float(trial.value) for trial in done if trial.value is not None}

    def searched(self) -> list[dict[str, Any]]:
        """The attributes of all trials of a search: its ``configuration``, ``point`` and ``backbone``, ``cell`` ..."""
        trials = self.study.get_trials(deepcopy=False)
        return [
            trial.user_attrs | {"backbone": trial.params["backbone"], "seed": trial.params["seed"]}
            for trial in trials
            if trial.user_attrs.get("role") == "search"
        ]

    def pruned(self) -> dict[str, list[int]]:
        """The configurations that a search gave up, by backbone."""
        return dict(self.study.user_attrs.get("pruned", {}))

    def prune(self, backbone: str, number: int) -> None:
        """Keep in mind that a search gave up a configuration."""
        known = self.pruned()
        known[backbone] = sorted({*known.get(backbone, ()), number})
        self.study.set_user_attr("pruned", known)

    def begin(self, spec: TrialSpec, attributes: dict[str, Any]) -> Trial:
        """A running trial for a cell."""
        factors, distributions = parameters(spec)
        about = {"cell": spec.key(), SPEC: spec.model_dump(mode="json"), **attributes}
        own, record = shared(about, self.records)
        running = create_trial(state=TrialState.RUNNING, params=factors, distributions=distributions, user_attrs=own)
        storage = self.store.storage
        self.claims.take(spec.key())

        def create() -> Trial:
            with self.store.transaction():
                self.share(record)
                study = storage.get_study_id_from_name(self.study.study_name)
                return Trial(self.study, storage.create_new_trial(study, running))

        trial = patiently(create, self.patience)
        self.records |= record
        return trial

    def share(self, records: Mapping[str, Any]) -> None:
        """Tell what trials have in common, in the transaction that adds the first of them."""
        for name in records.keys() - self.records.keys():
            self.study.set_user_attr(name, records[name])

    def finish(self, trial: Trial, result: TrialResult, relations: Sequence[str]) -> bool:
        """Store a result: its files first, then all attributes and that it is complete, at once.

        A cell that another coordinator has claimed since, while the database was gone, is left to it: the result is
        dropped, and False is returned.
        """
        times = {
            **{f"seconds_{stage}": value for stage, value in result.seconds.items()},
            **{f"built_seconds_{stage}": value for stage, value in result.built_seconds.items()},
            **{f"peak_mib_{stage}": value for stage, value in result.peak_mib.items()},
        }
        finite = {name: round(value, 3) for name, value in times.items() if math.isfinite(value)}
        attributes = {
            **packed({**result.metrics, **finite}),
            "updates": result.updates,
            "best_epoch": result.best_epoch,
        }
        curve = {row["epoch"]: row["valid_mrr"] for row in result.curve if "valid_mrr" in row}
        begun = trial.user_attrs
        if unpacked(begun, self.records).get("data_digest") != result.data_digest:
            attributes["data_digest"] = result.data_digest
        cell = str(begun["cell"])
        if not self.claims.keep(cell):
            self.fail(trial, f"{INTERRUPTED}: the database was gone, and another coordinator took the cell")
            return False
        with scratch(TEMPORARY) as folder:
            files = artifacts.write(folder, result, relations)

            def complete() -> bool:
                if (state := self._state(trial)).is_finished():  # the server was lost after it had been told
                    return state == TrialState.COMPLETE
                with self.store.transaction():
                    self.artifacts.keep(trial, files)
                    for epoch, mrr in curve.items():  # trial.report() leaves out what it told before a server was lost
                        self.store.storage.set_trial_intermediate_value(trial._trial_id, int(epoch), mrr)
                    for key, value in attributes.items():
                        trial.set_user_attr(key, value)
                    if trial.params["arm"] in REFERENCES:
                        self.store.storage.set_trial_system_attr(trial._trial_id, CONSTRAINTS, [1.0])
                    self.study.tell(trial, result.metrics["valid_mrr"])
                return True

            is_complete = patiently(complete, self.patience)
        if not is_complete:  # another coordinator has closed it
            self.artifacts.drop(trial)
        self.claims.free(cell)
        return is_complete

    def fail(self, trial: Trial, reason: str, details: str = "", patience: float | None = None) -> None:
        """Mark a trial as failed, with the reason; ``patience``: seconds to wait for a database that is gone."""

        def failed() -> None:
            if not self._state(trial).is_finished():
                with self.store.transaction():
                    self._fail(trial, reason, details)

        patiently(failed, self.patience if patience is None else patience)
        self.claims.free(str(trial.user_attrs.get("cell")))

    def _state(self, trial: Trial) -> TrialState:
        return self.store.storage.get_trial(trial._trial_id).state

    def _fail(self, trial: Trial, reason: str, details: str = "") -> None:
        self.artifacts.drop(trial)
        trial.set_user_attr("reason", reason)
        if details:
            trial.set_user_attr("traceback", details)
        self.study.tell(trial, state=TrialState.FAIL)


@contextmanager
def reading(url: str) -> Iterator[None]:
    """Turn what a damaged or lost database raises into one line.

    Raises:
        UserError: it cannot be read.
    """
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, JSONDecodeError) as error:
        cause = reason_of(error.__cause__ or error, url)
        advice = "give the command again" if sqlite_file(url) is None else "restore it from a back-up"
        raise UserError(f"storage {safe(url)}: cannot be read ({cause}); {advice}") from None


def measured(attributes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The records of measurements among the attributes of a study, by name."""
    return {name.removeprefix(MEASURED): value for name, value in attributes.items() if name.startswith(MEASURED)}
