"""Stores of all schemas that there have been: each was written by the project as it was then."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import report
from harness.runs import frames
from harness.runs.copying import copy
from harness.runs.packing import ENVIRONMENT, packed, unpacked
from harness.runs.store import SCHEMA, Store

STORES = Path(__file__).parent / "stores"
#: stores of earlier schemas; a change of the schema adds one
SCHEMAS = sorted(path.name for path in STORES.iterdir())


@pytest.fixture(params=SCHEMAS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    folder = STORES / request.param
    shutil.copytree(folder / "artifacts", tmp_path / "artifacts")
    database = sqlite3.connect(tmp_path / "harness.db")
    database.executescript((folder / "harness.sql").read_text(encoding="utf-8"))
    database.close()
    return f"sqlite:///{tmp_path}/harness.db"


def test_there_is_a_store_of_each_earlier_schema() -> None:
    assert [f"schema-{number}" for number in range(1, SCHEMA)] == SCHEMAS


def test_an_older_store_is_read(url: str) -> None:
    trials, curves, load_ranks = frames.load(url, "ablation", "toy")
    assert sorted(zip(trials["arm"], trials["state"], strict=True)) == [("L1", "complete"), ("none", "complete")]
    for column in ("torch", "machine", "git_commit", "threads", "test_tail_mrr", "test_mrr", "seconds_stage2"):
        assert trials[column].notna().all(), column
    mean = (trials["test_tail_mrr"] + trials["test_head_mrr"]) / 2
    assert mean.tolist() == pytest.approx(trials["test_mrr"].tolist())
    assert set(curves["arm"]) == {"L1", "none"}
    for index, trial in trials.iterrows():
        assert (1 / load_ranks(index)["rank"]).mean() == pytest.approx(trial["test_mrr"])


def test_an_older_store_makes_its_report(url: str, tmp_path: Path) -> None:
    assert report.make("ablation", "toy", url, tmp_path / "out").is_file()


def test_an_older_store_is_copied(url: str, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path}/new/harness.db"
    (tmp_path / "new").mkdir()
    source, there = Store(url, create=False), Store(target)
    assert [each.added for each in copy(source, there)] == [2]
    source.close()
    there.close()
    before, after = (frames.load(each, "ablation", "toy")[0] for each in (url, target))
    columns = [name for name in before if name.startswith(("test_", "valid_"))]
    assert before[columns].equals(after[columns])


NAMES = ["test_tail_mrr", "valid_head_hits10", "seconds_stage2", "built_seconds_teacher-vectors", "peak_mib_evaluate"]


@given(st.dictionaries(st.sampled_from([*NAMES, "test_mrr", "label"]), st.floats(0, 1)))
def test_what_is_packed_comes_out_again(attributes: dict[str, float]) -> None:
    held = packed(attributes) | {ENVIRONMENT: {"torch": "2.13.0"}}
    assert unpacked(held) == attributes | {"torch": "2.13.0"}
    assert set(held) <= {"test_mrr", "label", "by_direction", "costs", ENVIRONMENT}
