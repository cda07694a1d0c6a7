"""URLs of stores: which file one names, whether it is a store, and how a URL is shown without its password."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from harness.errors import UserError, is_readable

_PASSWORD = re.compile(r"(?<=://)([^:/?#@]*):(.*)@", re.DOTALL)
_OPTION = re.compile(r"([?&][^?&=\s]*(?:pass|secret|token|credential)[^?&=\s]*=)([^&\s]*)", re.IGNORECASE)


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL, None for another database.

    Raises:
        UserError: if it is no URL, or names no file.
    """
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):  # ValueError: of a port that is no number
        raise UserError(f"storage {safe(url)!r}: is not a URL such as sqlite:///runs/harness.db") from None
    if not is_readable(url):
        raise UserError(f"storage {safe(url)!r}: holds control characters")
    if parsed.get_backend_name() != "sqlite":
        if "@" in (parsed.host or ""):
            raise UserError(f"storage {safe(url)!r}: write @ in a password as %40, or give it as PGPASSWORD")
        return None
    if not parsed.database or parsed.database == ":memory:":
        raise UserError(f"storage {safe(url)!r}: names no file; write sqlite:///runs/harness.db")
    return Path(parsed.database)


def refuse_foreign(file: Path, url: str, create: bool) -> None:
    """Leave the SQLite files of other programs alone: Optuna would make its tables in them.

    Raises:
        UserError: the file is no store; an empty one may become one if ``create``.
        sqlite3.Error: it cannot be read.
    """
    if not os.path.exists(file):
        return
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"studies", "trials", "version_info"} <= tables and (tables or not create):
        raise UserError(f"storage {safe(url)}: is no store of studies; run a study first or name another --storage")


def safe(text: str) -> str:
    """A text without the passwords of URLs in it: from ``USER:`` to the last ``@``, and in options.

    >>> safe("postgresql://me:p@ss/w:rd@host/db?password=x&sslmode=require")
    'postgresql://me:***@host/db?password=***&sslmode=require'
    """
    return _OPTION.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))


def reason_of(error: BaseException, url: str) -> str:
    """The message of an error, short, on one line, and without the passwords of ``url``."""
    text = safe(str(error))
    for secret in [match[2] for pattern in (_PASSWORD, _OPTION) for match in pattern.finditer(url)]:
        for form in sorted({secret, unquote(secret)} - {""}, key=len, reverse=True):
            text = text.replace(form, "***")
    return " ".join(text.split())[:160]
