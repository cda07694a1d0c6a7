"""What a study asks others for, and loses: a database, a cluster's scheduler."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from harness.store.store import Store
from tests.engine.dask_cluster import cluster
from tests.faults.places import Study, check, end, until
from tests.postgresql import Server


def complete(store: Store) -> int:
    """How many cells are."""
    time.sleep(0.1)
    with store.storage.engine.connect() as connection:
        actual = connection.exec_driver_sql("SELECT count(*) FROM trials WHERE state = 'COMPLETE'")
        return int(actual.scalar_one())


@pytest.mark.slow
def test_postgresql_is_started_again(study: Study, undisturbed: Study, postgresql: Server) -> None:
    url = postgresql.database("again")
    with closing(Store(url)) as store:
        process = study.begin("--storage", url)
        until(lambda: complete(store) > 1, process)
    postgresql.stop()
    time.sleep(3)
    postgresql.start()
    end(process)
    check(study, undisturbed, url)
    study.complete("--storage", url)
    check(study, undisturbed, url)


@pytest.mark.slow
def test_a_scheduler_is_lost(study: Study, undisturbed: Study, tmp_path: Path) -> None:
    at = study.options.index("--jobs")
    del study.options[at : at + 2]
    output = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "toy").symlink_to(study.folder / "toy")  # workers have the same data
        with cluster(tmp_path / name, DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT="5s") as dask:
            dask.add(1, "--no-nanny")
            process = study.begin("--cluster", dask.address)
            if name == "first":
                until(lambda: any((study.cache / "stage1").glob("*.safetensors")), process)
                dask.stop()
                output.append(end(process, 2))
            else:
                end(process)
    assert "the scheduler is lost; what is complete is kept" in output[0]
    check(study, undisturbed)
