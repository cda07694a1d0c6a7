"""Opening a store: its writer, its version, and URLs that name none."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import optuna
import pytest
from rich.console import Console

from harness.data import load
from harness.design.cells import Run
from harness.engine import coordinator as execute
from harness.errors import UserError
from harness.store import frames
from harness.store.database.urls import safe, sqlite_file
from harness.store.store import SCHEMA, Store
from harness.trial.stages import Context
from tests.store.samples import opened


def test_one_writer(url: str) -> None:
    with Store(url).only_writer(), pytest.raises(UserError, match="another study is writing"), Store(url).only_writer():
        pass
    with Store(url).only_writer():
        pass


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "is not a URL"),
        ("sqlite://", "names no file"),
        ("nosuchdb://host/x", "cannot be opened"),
        ("sqlite:////proc/forbidden/harness.db", "cannot be opened"),
        ("postgresql+psycopg://user:secret@127.0.0.1:1/db", "cannot be opened"),
    ],
)
def test_storage_that_cannot_be_opened(url: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Store(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("hello, this is not a database at all, whatever its name says")
    with pytest.raises(UserError, match="cannot be opened"):
        Store(f"sqlite:///{tmp_path}/x.db")


def test_safe_hides_the_password() -> None:
    assert safe("postgresql://u:secret@host/db") == "postgresql://u:***@host/db"
    assert sqlite_file("postgresql://u:secret@host/db") is None


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (SCHEMA + 1, "newer version.*update it"),
        (SCHEMA - 1, "older version.*use that version, or run the studies again"),
    ],
)
def test_a_store_of_another_version_is_refused(url: str, run: Run, schema: int, message: str) -> None:
    study = opened(url, run)
    study.study.set_user_attr("schema", schema)
    other = replace(run, study_name="other")
    calls = (lambda: frames.load(url, "ablation", "lahman"), lambda: frames.held(url), lambda: opened(url, other))
    for call in calls:
        with pytest.raises(UserError, match=message):
            call()


def test_full_disk_ends_with_one_line(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SQLite says when it cannot write reaches the user as one line, not as a traceback."""
    store = Store(url)
    graph = load("lahman")

    def full(*_: object) -> None:
        raise optuna.exceptions.StorageInternalError("x") from OSError("database or disk is full")

    monkeypatch.setattr(execute.pool, "run", full)
    plans = execute.plans(run.specs, graph.digest, "cpu")
    with pytest.raises(UserError, match=r"cannot be written .*disk is full"):
        execute.execute(run, plans, graph, store, Context(Path("cache")), 1, "command", Console(quiet=True))


def test_a_transaction_that_does_not_end_is_another_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a coordinator that is stopped while it writes."""
    url = f"sqlite:///{tmp_path / 'harness.db'}"
    Store(url).close()
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, timeout=0.1))  # seconds, instead of five
    with closing(sqlite3.connect(tmp_path / "harness.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match="another study is writing to it; wait for it"):
            Store(url)
