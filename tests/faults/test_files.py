"""Files of the cache and the store that something else has touched, holds, or wrote long ago."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.places import MOMENTS, Study, check, end, names, until


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)


def replace(path: Path) -> None:
    """By what another stage has made: whole, and with its own checksum."""
    other = next(one for one in sorted(path.parents[1].glob("*/*.safetensors")) if one.parent != path.parent)
    for suffix in (".safetensors", ".sha256"):
        shutil.copyfile(other.with_suffix(suffix), path.with_suffix(suffix))


@pytest.mark.parametrize("damage", [truncate, flip, replace])
@pytest.mark.slow
def test_damaged_files_of_the_cache(study: Study, undisturbed: Study, damage: Callable[[Path], None]) -> None:
    shutil.copytree(undisturbed.cache, study.cache)
    for path in sorted(study.cache.glob("*/*.safetensors")):
        damage(path)
    output = study.complete()
    assert "is rebuilt" in output
    check(study, undisturbed)
    assert "is rebuilt" not in study.complete()


@pytest.mark.slow
def test_a_store_that_is_locked_for_a_moment(study: Study, undisturbed: Study) -> None:
    moment, process = MOMENTS["student"](study), study.begin()
    until(moment, process)
    with closing(sqlite3.connect(study.folder / "runs" / "harness.db", timeout=30)) as other:
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(5)
    end(process)
    check(study, undisturbed)


@pytest.mark.slow
def test_a_store_that_stays_locked(study: Study, undisturbed: Study) -> None:
    moment, process = MOMENTS["student"](study), study.begin()
    until(moment, process)
    with closing(sqlite3.connect(study.folder / "runs" / "harness.db", timeout=30)) as other:
        other.execute("BEGIN EXCLUSIVE")
        output = end(process, 2)
    assert "cannot be written" in output
    assert "database is locked" in output
    assert "Traceback" not in output
    study.complete()
    check(study, undisturbed)


@pytest.mark.slow
def test_two_coordinators_started_at_once_on_one_file(study: Study, undisturbed: Study) -> None:
    both = [study.begin(), study.begin()]
    output = [process.communicate(timeout=280) for process in both]
    assert sorted(process.returncode for process in both) in ([0, 2], [2, 2]), output
    for process, (_, err) in zip(both, output, strict=True):
        if process.returncode == 2:
            assert err.startswith("error: storage sqlite:///runs/harness.db: ")
            assert len(err.splitlines()) == 1
    study.complete()
    check(study, undisturbed)


@pytest.mark.slow
def test_a_store_of_an_earlier_version_stays_as_it_is(study: Study, undisturbed: Study) -> None:
    shutil.copytree(undisturbed.artifacts, study.artifacts)
    file = study.folder / "runs" / "harness.db"
    shutil.copyfile(undisturbed.folder / "runs" / "harness.db", file)
    with closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE study_user_attributes SET value_json = '4' WHERE key = 'schema'")
        database.commit()
    before = file.read_bytes()
    output = end(study.begin(), 2)
    assert "was written by an older version of the harness (schema 4, this one has 5)" in output
    assert file.read_bytes() == before
    assert names(study.artifacts) == names(undisturbed.artifacts)
