"""Stores that are damaged, foreign, newer or empty, read by every report and by ``copy``."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness.store.study import open_study
from tests.badinput.place import Case, Place

URL = "sqlite:///store/store.db"
REPORT = ("report", "ablation", "--dataset", "lahman", "--storage", URL)
COPY = ("study", "copy", URL, "sqlite:///copy/copy.db")
#: the reports that there are
REPORTS = (
    *("ablation", "alignment", "baselines", "capacity", "cost", "generalize", "grid", "llm", "schedule", "sweep"),
    *("claims", "sensitivity", "all"),
)
PICKLE = b"cos\nmkdir\n(S'executed'\ntR."


@lru_cache
def template(cells: int, is_folded: bool = True) -> Path:
    """A folder with a good store: cells of the ablation, their ranks and curves in files of the study or not."""
    from harness.design import files as designs
    from harness.design.cells import plan
    from harness.store.store import Store
    from tests.store.samples import QUERIES, result

    folder = Path(tempfile.mkdtemp(prefix="harness-store-"))
    design = designs.load("ablation")
    run = plan(design, dataset="lahman", data_digest="0", backbones=["ttranse"], preset="quick")
    store = Store(f"sqlite:///{folder / 'store.db'}", folder / "artifacts")
    study = open_study(store, run, "python -m harness.study ablation --preset quick", {"training facts": 3})
    study.attach(QUERIES.assign(subject_degree=1, answer_degree=2))
    for spec in run.specs[:cells]:
        about = {"label": spec.arm, "preset": "quick", "started": "2026-01-01T00:00:00+00:00"}
        study.finish(study.begin(spec, about), result())
    if is_folded:
        study.fold()
    store.close()
    return folder


def store(
    *statements: str, cells: int = 7, change: Callable[[Path], object] | None = None, is_folded: bool = True
) -> Callable[[Place], object]:
    """The good store, changed by SQL, and its files by ``change``, which gets the folder."""

    def build(place: Place) -> None:
        folder = place.work / "store"
        shutil.copytree(template(cells, is_folded), folder)
        with closing(sqlite3.connect(folder / "store.db")) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()
        if change is not None:
            change(folder)

    return build


def file(content: bytes) -> Callable[[Place], object]:
    """Something else than a database."""
    return lambda place: place.write("store/store.db", content)


def foreign(*statements: str) -> Callable[[Place], object]:
    """The database of another program."""

    def build(place: Place) -> None:
        place.write("store/store.db", b"")
        with closing(sqlite3.connect(place.work / "store/store.db")) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()

    return build


def study_attribute(key: str, value: object) -> str:
    """SQL that changes an attribute of the study."""
    return f"UPDATE study_user_attributes SET value_json = '{json.dumps(value)}' WHERE key = '{key}'"


def trial_attribute(key: str, text: str) -> str:
    """SQL that changes an attribute of all trials; ``text`` is JSON, or should be."""
    return f"UPDATE trial_user_attributes SET value_json = '{text}' WHERE key = '{key}'"


def artifacts(name: str, content: bytes | Callable[[Path], bytes] | None) -> Callable[[Path], object]:
    """Have the artifact of a name hold something else, perhaps made from what it holds, or be gone."""

    def change(folder: Path) -> None:
        with closing(sqlite3.connect(folder / "store.db")) as database:
            rows = database.execute("SELECT value_json FROM study_system_attributes WHERE key LIKE 'artifacts:%'")
            ids = {
                about["filename"]: about["artifact_id"] for about in (json.loads(json.loads(row[0])) for row in rows)
            }
        path = folder / "artifacts" / ids[name]
        path.unlink() if content is None else path.write_bytes(content(path) if callable(content) else content)

    return change


def loose(content: bytes) -> Callable[[Path], object]:
    """Have the files of single trials hold something else."""

    def change(folder: Path) -> None:
        for path in (folder / "artifacts").glob(f"{'[0-9a-f]' * 24}-*"):
            path.write_bytes(content)

    return change


def ranks(change: Callable[[NDArray[np.int32]], object], **metadata: str) -> Callable[[Path], bytes]:
    """The ranks of the study, changed, with other ``metadata``."""

    def content(path: Path) -> bytes:
        table = pq.read_table(path)
        new = pa.table({"doubled_rank": change(table.column(0).to_numpy())})
        file = io.BytesIO()
        known = {"trials": pq.read_metadata(path).metadata[b"trials"], **metadata}
        pq.write_table(new.replace_schema_metadata(known), file, row_group_size=10**8)
        return file.getvalue()

    return content


def bomb(column: str) -> bytes:
    """A small file of 10 million rows."""
    return bytes(pd.DataFrame({column: np.zeros(10_000_000, np.int8)}).to_parquet(index=False, compression="zstd"))


def table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], bytes]:
    """The curves or queries of the study, changed."""
    return lambda path: bytes(change(pd.read_parquet(path)).to_parquet(index=False))


def assigned(**columns: object) -> Callable[[Path], bytes]:
    """The curves or queries of the study with other columns."""
    return table(lambda frame: frame.assign(**columns))


#: files in the place of a store
FILES = {
    "text": b"mine\n" * 300,
    "an SQL script": b"DROP TABLE studies;\n",
    "a pickle": PICKLE,
    "random bytes": np.random.default_rng(0).bytes(5000),
    "a gzip bomb": gzip.compress(b"0" * 10_000_000),
    "the head of a database": b"SQLite format 3\0" + b"\0" * 100,
    "NUL bytes": b"\0" * 8192,
}
#: databases of others
FOREIGN = {
    "notes": ("CREATE TABLE notes (text TEXT)", "INSERT INTO notes VALUES ('mine')"),
    "studies of another program": ("CREATE TABLE studies (name TEXT)",),
    "no tables": (),
}
#: changes after which a report of the ablation says what is wrong
BROKEN = {
    "no study": (
        store("DELETE FROM studies"),
        r"has no study 'ablation' on 'lahman'; run: python -m harness\.study abl",
    ),
    "no trials": (store(cells=0), r"has no finished trial yet; run: python -m harness\.study ablation"),
    "running trials alone": (store("UPDATE trials SET state = 'RUNNING'"), r"none is complete"),
    "failed trials alone": (store("UPDATE trials SET state = 'FAIL'"), r"none is complete"),
    "an older schema": (
        store(study_attribute("schema", 4)),
        r"older version of the harness \(schema 4.*run the studies",
    ),
    "a newer schema": (store(study_attribute("schema", 99)), r"newer version of the harness; update it"),
    "a schema that is a word": (store(study_attribute("schema", "two")), r"newer version of the harness"),
    "tables of a newer Optuna": (store("UPDATE alembic_version SET version_num = 'x'"), r"storage .*"),
    "a missing table": (store("DROP TABLE studies"), r"is no store of studies"),
    "a number for the data set": (store(study_attribute("dataset", 3)), r"has no study 'ablation' on 'lahman'"),
    "a list for the study": (store(study_attribute("study", ["a"])), r"has no study 'ablation' on 'lahman'"),
    "broken JSON of the study": (store("UPDATE study_user_attributes SET value_json = '{'"), r"storage .*"),
    "broken JSON of trials": (store("UPDATE trial_user_attributes SET value_json = '{'"), r"storage .*"),
    "NaN for a metric": (store(trial_attribute("test_mrr", "NaN")), r"test_mrr is not a finite number"),
    "infinity for a metric": (store(trial_attribute("test_mrr", "Infinity")), r"test_mrr"),
    "a text for a metric": (store(trial_attribute("test_mrr", '"high"')), r"test_mrr"),
    "a list for a metric": (store(trial_attribute("test_mrr", "[1]")), r"test_mrr"),
    "a metric above 1": (store(trial_attribute("test_mrr", "7")), r"test_mrr"),
    "a negative metric": (store(trial_attribute("test_hits1", "-1")), r"test_hits1"),
    "a metric that is missing": (store("DELETE FROM trial_user_attributes WHERE key = 'test_mrr'"), r"test_mrr"),
    "a metric that ranks do not have": (store(trial_attribute("test_mrr", "0.9")), r"its ranks give"),
    "a record that is missing": (
        store("DELETE FROM study_user_attributes WHERE key LIKE 'common:%'"),
        r"its study does not have \(common:.*restore the store",
    ),
    "a number for a record": (
        store("UPDATE study_user_attributes SET value_json = '5' WHERE key LIKE 'common:%'"),
        r"its study does not have \(common:.*restore the store",
    ),
    "a list for the name of a record": (store(trial_attribute("common", "[1]")), r"its study does not have \(common:"),
    "a number for the environment": (
        store(
            "INSERT INTO trial_user_attributes (trial_id, key, value_json) "
            "SELECT trial_id, 'environment', '5' FROM trials"
        ),
        r"is not as the harness writes trials",
    ),
    "no cells": (store("DELETE FROM trial_user_attributes WHERE key = 'cell'"), r"no finished trial"),
    "no settings": (
        store("DELETE FROM trial_user_attributes WHERE key = 'common'"),
        r"is not as the harness writes trials",
    ),
    "a list for the settings": (
        store(
            "INSERT INTO trial_user_attributes (trial_id, key, value_json) SELECT min(trial_id), 'spec', '[1]' "
            "FROM trials"
        ),
        r"is not as the harness writes trials",
    ),
    "numbers for labels": (store(trial_attribute("label", "3")), r"arm 3, .* is complete more than once"),
    "every file gone": (store(change=lambda folder: shutil.rmtree(folder / "artifacts")), r"cannot be read"),
    "no ranks": (store(change=artifacts("ranks.parquet", None)), r"ranks of trial .*cannot be read"),
    "no curves": (store(change=artifacts("curves.parquet", None)), r"learning curves .*cannot be read"),
    "no queries": (store(change=artifacts("queries.parquet", None)), r"queries .*cannot be read"),
    "a pickle for ranks": (store(change=artifacts("ranks.parquet", PICKLE)), r"ranks of trial .*cannot be read"),
    "a pickle for queries": (store(change=artifacts("queries.parquet", PICKLE)), r"queries .*cannot be read"),
    "a pickle for a trial": (store(change=loose(PICKLE), is_folded=False), r"artifact .*cannot be read"),
    "an empty file for a trial": (store(change=loose(b""), is_folded=False), r"artifact .*cannot be read"),
    "ranks that are cut off": (
        store(change=artifacts("ranks.parquet", lambda path: path.read_bytes()[:300])),
        r"ranks of .*cannot be read",
    ),
    "empty ranks": (store(change=artifacts("ranks.parquet", b"")), r"ranks of trial .*cannot be read"),
    "ranks of nobody": (
        store(change=artifacts("ranks.parquet", ranks(lambda column: column, trials="[]"))),
        r"ranks of trial .*cannot be read",
    ),
    "ranks of a number": (
        store(change=artifacts("ranks.parquet", ranks(lambda column: column, trials="5"))),
        r"ranks of trial .*cannot be read",
    ),
    "ranks that lack one": (
        store(change=artifacts("ranks.parquet", ranks(lambda column: column[1:]))),
        r"ranks of trial .*cannot be read",
    ),
    "ranks of text": (store(change=artifacts("ranks.parquet", ranks(lambda column: column.astype(str)))), r"ranks of"),
    "ranks of NaN": (store(change=artifacts("ranks.parquet", ranks(lambda column: column * np.nan))), r"ranks of"),
    "ranks below 1": (store(change=artifacts("ranks.parquet", ranks(lambda column: column * 0))), r"rank"),
    "queries twice": (store(change=artifacts("queries.parquet", assigned(query=[0, 0, 1, 1]))), r"query"),
    "queries of text": (store(change=artifacts("queries.parquet", assigned(query=list("abcd")))), r"ranks|query"),
    "queries without relations": (
        store(change=artifacts("queries.parquet", table(lambda frame: frame.drop(columns="relation")))),
        r"queries .*cannot be read",
    ),
    "a direction that is none": (store(change=artifacts("queries.parquet", assigned(direction="up"))), r"direction"),
    "curves of bytes": (store(change=artifacts("curves.parquet", b"\xff\xfe\0")), r"learning curves .*cannot be read"),
    "curves of text": (store(change=artifacts("curves.parquet", assigned(epoch="a"))), r"curves: "),
    "curves of NaN": (store(change=artifacts("curves.parquet", assigned(epoch=np.nan))), r"curves: "),
    "curves above 1": (store(change=artifacts("curves.parquet", assigned(valid_mrr=7.0))), r"curves: "),
    "curves of others": (store(change=artifacts("curves.parquet", assigned(trial="x"))), r"learning curves .*restore"),
    "curves of nobody": (
        store(change=artifacts("curves.parquet", table(lambda frame: frame.drop(columns="trial")))),
        r"learning curves .*cannot be read",
    ),
    "curves of 10 million rows": (
        store(change=artifacts("curves.parquet", lambda _: bomb("epoch"))),
        r"learning curves .*cannot be read",
    ),
}
#: names of artifacts that are none
PATHS = ("../../../outside/mine.txt", "/etc/hostname", "..", ".", "a/b", "")


def cases() -> Iterator[Case]:
    """All of them."""
    for name, content in FILES.items():
        yield Case(f"{name} for a store", REPORT, r"storage .*cannot be opened", file(content))
        yield Case(f"{name} to copy from", COPY, r"storage .*cannot be opened", file(content), writes=("work/copy",))
    for name, statements in FOREIGN.items():
        for command in REPORTS:
            argv = ("report", command, "--storage", URL)
            yield Case(f"{name}, {command}", argv, r"is no store", foreign(*statements), slow=name != "notes")
        yield Case(f"{name} to copy from", COPY, r"is no store", foreign(*statements), writes=("work/copy",))
    for name, (build, message) in BROKEN.items():
        yield Case(name, REPORT, message, build)
    for name in ("no study", "no trials"):
        for command in REPORTS:
            message = r"(has no (study|grid)|no finished trial).*; run.*: python -m harness\.study"
            argv = ("report", command, "--storage", URL)
            yield Case(f"{name}, {command}", argv, message, BROKEN[name][0], slow=name != "no study")
    for command in REPORTS:
        message = r"there is no such file; run a study first"
        yield Case(f"no store, {command}", ("report", command, "--storage", URL), message)
        other = ("report", command, "--storage", URL, "--dataset", "icews14")
        message = r"has no (study|grid).*; run.*: python -m harness\.study"
        yield Case(
            f"another data set alone, {command}", other, message, store(), slow=command in ("llm", "grid", "cost")
        )
    for command in ("grid", "capacity", "cost", "llm"):
        message = rf"has no study '{command}' on 'lahman'; it holds: ablation on lahman; run: python -m harness\.study"
        yield Case(f"another study alone, {command}", ("report", command, "--storage", URL), message, store())
    for path in PATHS:
        build = store(study_attribute("queries", path))
        yield Case(f"queries named {path!r}", REPORT, r"is no name of an artifact", build)
        yield Case(f"queries named {path!r} to copy", COPY, r"is no name of an artifact", build, writes=("work/copy",))
    many = artifacts("ranks.parquet", lambda path: ranks(lambda _: np.zeros(10_000_000, np.int32))(path))
    yield Case("ranks of 10 million rows", REPORT, r"cannot be read", store(change=many))
