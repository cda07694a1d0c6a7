"""Copies of studies between stores: SQLite to SQLite, and to a real PostgreSQL and back."""

from __future__ import annotations

from pathlib import Path

import optuna
import pandas as pd
import pytest

from harness.design import cells
from harness.design import files as designs
from harness.design.cells import Run
from harness.errors import UserError
from harness.store import frames
from harness.store.copies import copy
from harness.store.database.optuna_private import system_attributes
from harness.store.store import SCHEMA, Store
from harness.store.study import StudyStore, open_study
from tests.postgresql import Server
from tests.store.samples import QUERIES, result


@pytest.fixture
def run() -> Run:
    design = designs.load("ablation")
    return cells.plan(design, dataset="lahman", data_digest="0", backbones=["ttranse"], preset="quick")


def store(folder: Path, url: str | None = None) -> Store:
    return Store(url or f"sqlite:///{folder / 'store.db'}", folder / "artifacts")


def filled(some_store: Store, run: Run, cells: slice) -> StudyStore:
    study = open_study(some_store, run, "command", {"training facts": 3})
    study.attach(QUERIES)
    study.describe(run)
    for spec in run.specs[cells]:
        study.finish(study.begin(spec, {"label": spec.arm}), result())
    study.fail(study.begin(run.specs[-1], {}), "the loss became nan")
    return study


def read(some_store: Store) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    trials, _, load_ranks = frames.load(some_store.url, "ablation", "lahman", some_store.artifacts)
    return trials, [load_ranks(label) for label in trials.index[trials["state"] == "complete"]]


def test_a_copy_reads_as_its_original(run: Run, tmp_path: Path) -> None:
    source, target = store(tmp_path / "from"), store(tmp_path / "to")
    study = filled(source, run, slice(0, 3))
    assert [(one.study, one.added, one.there) for one in copy(source, target)] == [(run.study_name, 3, 0)]
    there, ranks = read(target)
    here, some_store = read(source)
    pd.testing.assert_frame_equal(there, here[here["state"] == "complete"][there.columns], check_dtype=False)
    for one, other in zip(ranks, some_store, strict=True):
        pd.testing.assert_frame_equal(one, other)
    copied = optuna.load_study(study_name=run.study_name, storage=target.storage)
    assert copied.user_attrs == study.study.user_attrs
    times = [
        [(t.datetime_start, t.datetime_complete) for t in item.trials if t.value is not None]
        for item in (study.study, copied)
    ]
    assert times[0] == times[1]
    assert copied.metric_names == ["validation MRR"]
    note = [k for k in system_attributes(target.storage, copied) if k.startswith("dashboard:note")]
    assert note


def test_a_second_copy_adds_what_is_new(run: Run, tmp_path: Path) -> None:
    source, target = store(tmp_path / "from"), store(tmp_path / "to")
    filled(source, run, slice(0, 2))
    list(copy(source, target))
    filled(source, run, slice(2, 4))
    assert [(one.added, one.there) for one in copy(source, target)] == [(2, 2)]
    assert [(one.added, one.there) for one in copy(source, target)] == [(0, 4)]
    # and the copy goes on by itself: it is the same study
    assert open_study(target, run, "command", {}).complete() == {spec.key() for spec in run.specs[:4]}


def test_trials_are_copied_with_what_they_share(run: Run, tmp_path: Path) -> None:
    source, target = store(tmp_path / "from"), store(tmp_path / "to")
    for some_store, device, specs in ((target, "cpu", run.specs[:1]), (source, "cuda", run.specs[1:3])):
        study = open_study(some_store, run, "command", {"training facts": 3})
        study.attach(QUERIES)
        for spec in specs:
            about = {"label": spec.arm, "environment": {"device": device, "torch": "2.13.0"}}
            study.finish(study.begin(spec, about), result())
    list(copy(source, target))
    trials = read(target)[0].set_index("cell")
    assert trials.loc[[spec.key() for spec in run.specs[:3]], "device"].tolist() == ["cpu", "cuda", "cuda"]
    there = optuna.load_study(study_name=run.study_name, storage=target.storage)
    for schema, age in ((SCHEMA + 1, "a newer"), (SCHEMA - 1, "an older")):
        there.set_user_attr("schema", schema)
        with pytest.raises(UserError, match=f"written by {age} version"):
            list(copy(source, target))


def test_to_postgresql_and_back(run: Run, tmp_path: Path, postgresql: Server) -> None:
    first, last = store(tmp_path / "first"), store(tmp_path / "last")
    server = store(tmp_path / "server", postgresql.database("copies"))
    try:
        filled(first, run, slice(0, 3))
        list(copy(first, server))
        assert [(one.added, one.there) for one in copy(server, last)] == [(3, 0)]
        pd.testing.assert_frame_equal(read(last)[0], read(server)[0])
    finally:
        server.close()


def test_what_cannot_be_copied(run: Run, tmp_path: Path) -> None:
    source, target = store(tmp_path / "from"), store(tmp_path / "to")
    filled(source, run, slice(0, 1))
    with pytest.raises(UserError, match="has no study 'ablatoin', did you mean 'ablation'"):
        list(copy(source, target, ["ablatoin"]))
    for artifact in source.artifacts.iterdir():
        artifact.unlink()
    with pytest.raises(UserError, match=r"artifact .* cannot be read .*--artifacts"):
        list(copy(source, target, ["ablation"]))
    with target.only_writer(), pytest.raises(UserError, match="another study is writing to it"):
        list(copy(source, target))
