"""Waiting for a database server that is gone for a moment, as while it is started again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, InvalidRequestError, OperationalError

from harness.errors import UserError

T = TypeVar("T")

#: seconds that a server may be gone
RETRY_TIMEOUT = 60.0
#: what a server that is gone looks like; the last one is Optuna's second try in a transaction that ended with the first
GONE = (OperationalError, InterfaceError, InvalidRequestError)


def retry_timeout_of(engine: Engine) -> float:
    """For how many seconds a database may be gone: a file that is locked or full stays so, and gets none."""
    return 0.0 if engine.dialect.name == "sqlite" else RETRY_TIMEOUT


def retried(call: Callable[[], T], retry_timeout: float) -> T:
    """What ``call`` returns; it is called again while the server is gone, so it must be one transaction, or only read.

    Raises:
        StorageInternalError: the server is gone for more than ``retry_timeout`` seconds, or refuses.
        UserError: as ``call`` does, of a storage that cannot be opened for so long.
    """
    deadline = time.monotonic() + retry_timeout
    while True:
        try:
            return call()
        except (StorageInternalError, UserError, *GONE) as error:
            is_known = isinstance(error, (StorageInternalError, UserError))
            if not isinstance(error.__cause__ if is_known else error, GONE) or time.monotonic() >= deadline:
                if is_known:
                    raise
                raise StorageInternalError("the database does not answer") from error
            time.sleep(0.5)
