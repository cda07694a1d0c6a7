"""Leases: where several coordinators work on one study, a lock in the database for each trial.

PostgreSQL's advisory locks belong to a connection: those of a coordinator that dies are free again at once. A
coordinator whose connection broke leases again what it had; what another one has taken meanwhile is lost to it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from contextlib import suppress
from functools import partial

from sqlalchemy import Connection, Engine, bindparam, text
from sqlalchemy.exc import DBAPIError

from harness.store.database.retries import RETRY_TIMEOUT, retried

TAKE = "SELECT pg_try_advisory_lock(:key)"
ENDED = """
SELECT trials.trial_id FROM trials JOIN studies USING (study_id) JOIN trial_user_attributes USING (trial_id)
WHERE study_name IN :studies AND state IN ('COMPLETE', 'FAIL') AND key = 'cell' AND value_json = :cell
ORDER BY trials.trial_id
"""


class Leases:
    """Leases of the only coordinator that a store admits, which gets whatever it asks for."""

    #: whether there may be other coordinators
    shared = False

    def take(self, name: str) -> bool:
        """Lease what has this name, such as the key of a trial; False if another coordinator has it."""
        return True

    def keep(self, name: str) -> bool:
        """Whether a lease is still held."""
        return True

    def free(self, name: str) -> None:
        """Give a lease back."""

    def close(self) -> None:
        """Give all leases back."""


class DatabaseLeases(Leases):
    """Leases in a PostgreSQL database, of the trials of one study.

    Raises:
        optuna.exceptions.StorageInternalError: in any method, if the database does not answer for long.
    """

    shared = True

    def __init__(self, engine: Engine, study: str) -> None:
        self.engine, self.study = engine, study
        self.held: set[str] = set()
        self.connection: Connection | None = None

    def take(self, name: str) -> bool:
        if name in self.held:
            return self.keep(name)
        if self._ask(TAKE, name):
            self.held.add(name)
            return True
        return False

    def keep(self, name: str) -> bool:
        self._ask("SELECT 1")  # only a question shows that a connection is broken
        return name in self.held

    def free(self, name: str) -> None:
        if name in self.held:
            self.held.discard(name)
            self._ask("SELECT pg_advisory_unlock(:key)", name)

    def close(self) -> None:
        self.held.clear()
        if self.connection is not None:
            with suppress(DBAPIError):
                self.connection.execute(text("SELECT pg_advisory_unlock_all()"))
            self.connection.close()
            self.connection = None

    def _ask(self, question: str, name: str = "") -> bool:
        return retried(partial(self._try, question, name), RETRY_TIMEOUT)

    def _try(self, question: str, name: str) -> bool:
        try:
            if self.connection is None:
                # each question is a transaction of its own; locks last as long as the connection
                self.connection = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                self.held = {held for held in self.held if self._call(TAKE, held)}
            return self._call(question, name)
        except DBAPIError:
            if self.connection is not None:
                self.connection.invalidate()
                self.connection.close()
                self.connection = None
            raise

    def _call(self, question: str, name: str) -> bool:
        assert self.connection is not None
        key = int.from_bytes(hashlib.sha256(f"{self.study}/{name}".encode()).digest()[:8], signed=True)
        given = {"key": key} if ":key" in question else {}
        return bool(self.connection.execute(text(question), given).scalar())


def leases_of(engine: Engine, study: str) -> Leases:
    """Leases of the trials of a study; other databases than PostgreSQL admit one coordinator only."""
    return DatabaseLeases(engine, study) if engine.dialect.name == "postgresql" else Leases()


def ended(engine: Engine, studies: Collection[str], key: str) -> list[int]:
    """The database's numbers of the trials with a key that have ended.

    Optuna would read all trials that run, with all that they have, whenever it is asked.
    """
    with engine.connect() as connection:
        question = text(ENDED).bindparams(bindparam("studies", expanding=True))
        values = {"studies": list(studies), "cell": json.dumps(key)}
        return list(connection.execute(question, values).scalars())
