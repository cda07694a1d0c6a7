"""The store: an Optuna storage, and a folder of artifacts. Its content by study is in `harness.store.study`."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path

import filelock
import optuna
from optuna.exceptions import StorageInternalError
from optuna.study import Study
from sqlalchemy.exc import SQLAlchemyError

from harness.errors import UserError
from harness.store.database.leases import Leases
from harness.store.database.optuna_private import FrozenStudy
from harness.store.database.retries import retry_timeout_of
from harness.store.database.storage import Storage
from harness.store.database.urls import reason_of, refuse_foreign, safe, sqlite_file

#: version of what a store holds and how; stores of others are refused
SCHEMA = 5
#: how the names of temporary folders begin
TEMPORARY = "harness-run-"


#: what keeps a second coordinator from an SQLite file
BUSY = (
    "another study is writing to it; wait for it, name another file with --storage, or use PostgreSQL "
    "(postgresql+psycopg://...)"
)


class Store:
    """An Optuna storage and its artifacts: ``artifacts`` beside an SQLite file, else ``runs/artifacts``.

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
        self.leases: list[Leases] = []
        try:
            if self.file is not None:
                refuse_foreign(self.file, url, create)
                self.file.parent.mkdir(parents=True, exist_ok=True)
            engine = {"connect_args": {"timeout": 60}} if self.file is not None else {"pool_pre_ping": True}
            self.storage = Storage(url, engine_kwargs=engine)
            self.retry_timeout = retry_timeout_of(self.storage.engine)
        except (OSError, SQLAlchemyError, sqlite3.Error, ImportError, RuntimeError, ValueError) as error:
            reason = reason_of(error, url)
            is_busy = "database is locked" in reason  # by a transaction that does not end
            problem = BUSY if is_busy else f"cannot be opened ({reason}); such as: sqlite:///runs/harness.db"
            raise UserError(f"storage {safe(url)}: {problem}") from error

    def close(self) -> None:
        """Give all leases and connections to the database back."""
        for leases in self.leases:
            leases.close()
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
            raise UserError(f"storage {safe(self.url)}: {BUSY}") from None
        except OSError as error:
            raise UserError(f"storage {safe(self.url)}: cannot be written ({error.strerror})") from None
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def errors_for_users(self) -> Iterator[None]:
        """Report in one line that the storage cannot be written or does not answer any more.

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
        """Make one transaction of all that is written to the storage inside: all of it is there or nothing.

        Optuna commits attributes one by one, each with a write to the disk. Here its session joins a transaction from
        outside, as SQLAlchemy documents it, so that its commits wait for the one at the end.

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

    def study(self, name: str) -> Study:
        """A study of Optuna, made if it is not there."""
        return optuna.create_study(study_name=name, storage=self.storage, direction="maximize", load_if_exists=True)

    def studies(self) -> dict[str, FrozenStudy]:
        """The studies of the harness by name, without those of their teachers and seeds.

        Raises:
            UserError: one of them was written by another version.
        """
        frozen = self.storage.get_all_studies()  # summaries of them would read all their trials
        studies = {study.study_name: study for study in frozen if isinstance(study.user_attrs.get("study"), str)}
        for study in studies.values():
            schema = study.user_attrs.get("schema", 0)
            if not isinstance(schema, int) or schema > SCHEMA:
                raise UserError(f"storage {safe(self.url)}: was written by a newer version of the harness; update it")
            if schema < SCHEMA:
                raise UserError(
                    f"storage {safe(self.url)}: was written by an older version of the harness (schema {schema}, this "
                    f"one has {SCHEMA}); use that version, or run the studies again with another --storage"
                )
        return studies


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
