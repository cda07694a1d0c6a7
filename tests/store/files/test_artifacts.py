"""Files of trials and of studies: nothing complete is lost, wherever a writer is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import create_trial

from harness.errors import UserError
from harness.store.files import rank_file
from harness.store.files.artifacts import CURVES, RANKS, Artifacts, Evidence, key_of, study_file
from tests.store.samples import KEYS, numbered


def check(folder: Path, numbers: list[int]) -> None:
    """These results are there, whether in files of their own or in that of the study."""
    evidence = Evidence(folder, "study")
    for number in numbers:
        expected = (2 * numbered(number).ranks["rank"]).tolist()
        assert evidence.doubled(KEYS[number]).tolist() == expected
    curves = evidence.curves([KEYS[number] for number in numbers])
    folded = curves.groupby("trial")["valid_mrr"].agg(list).to_dict()
    assert folded == {KEYS[number]: [number / 10] * 2 for number in numbers}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_file, "_BLOCK", 12)  # three trials of four queries


@pytest.mark.usefixtures("small_blocks")
def test_trials_are_folded_in_any_number_of_steps(tmp_path: Path) -> None:
    files = Artifacts(tmp_path, "store")
    done: list[int] = []
    for step in ([0], [1, 2], [], [3, 4, 5, 6], [7]):
        for number in step:
            files.keep(KEYS[number], numbered(number))
        done += step
        check(tmp_path, done)
        files.fold("study", KEYS)
        check(tmp_path, done)
        assert not files.has_loose()
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {study_file("study", n) for n in (RANKS, CURVES)}


@given(st.lists(st.lists(st.integers(2, 30_000), min_size=5, max_size=5), min_size=1, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@pytest.mark.usefixtures("small_blocks")
def test_ranks_come_out_as_they_went_in(tmp_path_factory: pytest.TempPathFactory, ranks: list[list[int]]) -> None:
    path = tmp_path_factory.mktemp("ranks") / "file"
    for first in range(0, len(ranks), 3):
        trials = {KEYS[k]: np.array(ranks[k], np.int32) for k in range(first, min(first + 3, len(ranks)))}
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            rank_file.write_ranks(file, path, trials)
        new.replace(path)
    places = rank_file.places_of(path)
    read = [rank_file.trial_of(path, places, KEYS[k]) for k in range(len(ranks))]
    assert [None if item is None else item.tolist() for item in read] == ranks
    assert rank_file.trial_of(path, places, "f" * 24) is None


def test_a_trial_inside_a_search_has_a_curve_alone(tmp_path: Path) -> None:
    files = Artifacts(tmp_path, "store")
    files.keep(KEYS[0], replace(numbered(0), ranks={}))
    for _ in range(2):
        assert len(Evidence(tmp_path, "study").doubled(KEYS[0])) == 0
        assert len(Evidence(tmp_path, "study").curves(KEYS[:1])) == 2
        files.fold("study", KEYS)
    assert not (tmp_path / study_file("study", RANKS)).exists()


@pytest.mark.parametrize("operation", ["replace", "unlink"])
@pytest.mark.parametrize("calls", range(4))
def test_folding_that_is_cut_off_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, calls: int
) -> None:
    files, left = Artifacts(tmp_path, "store"), [calls]
    for number in (0, 1):
        files.keep(KEYS[number], numbered(number))
    files.fold("study", KEYS)
    for number in (2, 3):
        files.keep(KEYS[number], numbered(number))
    real = getattr(Path, operation)

    def cut_off(self: Path, *arguments: object, **options: object) -> object:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return real(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, operation, cut_off)
        try:
            files.fold("study", KEYS)
        except KeyboardInterrupt:
            check(tmp_path, [0, 1, 2, 3])
    files.fold("study", KEYS)
    check(tmp_path, [0, 1, 2, 3])
    assert not files.has_loose()


def test_a_reader_finds_what_is_folded_meanwhile(tmp_path: Path) -> None:
    files = Artifacts(tmp_path, "store")
    files.keep(KEYS[1], numbered(1))
    evidence = Evidence(tmp_path, "study")  # which has seen the trial's own file
    files.fold("study", KEYS)
    assert evidence.doubled(KEYS[1])[0] == 2 * (1 + 1)
    assert len(evidence.curves([KEYS[1]])) == 2


def test_stores_that_share_a_folder_keep_each_others_files(tmp_path: Path) -> None:
    one, other = Artifacts(tmp_path, "one"), Artifacts(tmp_path, "other")
    one.keep(KEYS[1], numbered(1))
    other.drop(KEYS[1])  # of the same trial, in a copy of the store: there it was cut off
    other.keep(KEYS[2], numbered(2))
    other.fold("study", [KEYS[2]])
    one.fold("study", [KEYS[1]])
    check(tmp_path, [1, 2])


def test_trials_are_taken_from_another_folder(tmp_path: Path) -> None:
    there, here = Artifacts(tmp_path / "there", "there"), Artifacts(tmp_path / "here", "here")
    trials = [create_trial(value=0.1, user_attrs={"cell": str(k), "updates": 2 * (k != 1)}) for k in range(4)]
    keys = [key_of(trial) for trial in trials]
    for k in range(3):
        kept = numbered(k)
        there.keep(keys[k], kept if k != 1 else replace(kept, curve=[], updates=0))  # an ensemble has no curve
    there.fold("study", keys[:2])  # and one has a file of its own
    here.take("study", Evidence(tmp_path / "there", "study"), trials[1:2])
    here.take("study", Evidence(tmp_path / "there", "study"), trials[:3])
    taken = Evidence(tmp_path / "here", "study")
    assert [taken.doubled(key)[0] for key in keys[:3]] == [2 * (1 + k) for k in range(3)]
    assert sorted(taken.curves([keys[0], keys[2]])["valid_mrr"]) == [0.0, 0.0, 0.2, 0.2]
    with pytest.raises(UserError, match="lack those of 1 trials"):
        here.take("study", Evidence(tmp_path / "there", "study"), trials[3:])


def test_a_folder_that_cannot_be_written_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"artifact .* cannot be written"):
        Artifacts(tmp_path / "file", "store").keep(KEYS[0], numbered(0))


WRITER = """
import sys
from pathlib import Path
from harness.store.files.artifacts import Artifacts
from tests.store.samples import KEYS, numbered
files = Artifacts(Path(sys.argv[1]), "store")
for number in range(int(sys.argv[2]), 8):
    files.keep(KEYS[number], numbered(number))
    print(number, flush=True)  # as the database says that it is complete
    files.fold("study", KEYS[: number + 1])
"""


@pytest.mark.slow
def test_kill_9_while_files_are_written(tmp_path: Path) -> None:
    done: list[int] = []
    delays: Iterator[float] = iter([0.002, 0.004, 0.006, 0.01, 0.015, 0.02, 0.03, 0.05] * 3)
    while len(done) < len(KEYS):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(len(done))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            done.append(int(process.stdout.readline()))
            time.sleep(next(delays))
            os.kill(process.pid, signal.SIGKILL)
            done += map(int, process.stdout.read().split())
        check(tmp_path, done)


def test_what_the_files_say_to_others(tmp_path: Path) -> None:
    """As docs/architecture.md tells readers who do without the harness."""
    files = Artifacts(tmp_path, "store")
    for number in range(3):
        files.keep(KEYS[number], numbered(number))
    files.fold("study", KEYS)
    ranks = pd.read_parquet(tmp_path / study_file("study", RANKS))
    assert ranks["doubled_rank"].to_numpy().reshape(4, 3)[:, 1].tolist() == (2 * numbered(1).ranks["rank"]).tolist()
    assert set(pd.read_parquet(tmp_path / study_file("study", CURVES))["trial"]) == set(KEYS[:3])
