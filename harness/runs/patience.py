"""Waiting for a database server that is gone for a moment, as while it is started again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, InvalidRequestError, OperationalError

T = TypeVar("T")

#: seconds that a server may be gone
PATIENCE = 60.0
#: what a server that is gone looks like; the last one is Optuna's second try in a transaction that ended with the first
GONE = (OperationalError, InterfaceError, InvalidRequestError)


def patience_with(engine: Engine) -> float:
    """For how many seconds a database may be gone: a file that is locked or full stays so, and gets none."""
    return 0.0 if engine.dialect.name == "sqlite" else PATIENCE


def patiently(call: Callable[[], T], patience: float) -> T:
    """What ``call`` returns; it is called again while the server is gone, so it must be one transaction.

    Raises:
        StorageInternalError: the server is gone for more than ``patience`` seconds, or says no.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return call()
        except (StorageInternalError, *GONE) as error:
            cause = error.__cause__ if isinstance(error, StorageInternalError) else error
            if not isinstance(cause, GONE) or time.monotonic() >= deadline:
                if isinstance(error, StorageInternalError):
                    raise
                raise StorageInternalError("the database does not answer") from error
            time.sleep(0.5)
