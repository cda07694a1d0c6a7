"""Stores of all schemas that there have been: each was written by the project as it was then."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import report
from harness.store import frames
from harness.store.copies import copy
from harness.store.records import COMMON, ENVIRONMENT, packed, shared, unpacked
from harness.store.store import SCHEMA, Store

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
    specs = [[json.loads(text) for text in frame.pop("spec")] for frame in (before, after)]
    assert specs[0] == specs[1]
    pd.testing.assert_frame_equal(before, after[before.columns])
    (study,) = optuna.get_all_study_summaries(target)
    assert study.user_attrs["schema"] == SCHEMA
    assert any(name.startswith("common:") for name in study.user_attrs)
    for trial in optuna.load_study(study_name=study.study_name, storage=target).trials:
        assert "common" in trial.user_attrs
        assert not any(name.startswith(("seconds_", "test_tail")) for name in trial.user_attrs)


NAMES = ["test_tail_mrr", "valid_head_hits10", "seconds_stage2", "built_seconds_teacher-vectors", "peak_mib_evaluate"]


@given(st.dictionaries(st.sampled_from([*NAMES, "test_mrr", "label"]), st.floats(0, 1)))
def test_what_is_packed_comes_out_again(attributes: dict[str, float]) -> None:
    held = packed(attributes) | {ENVIRONMENT: {"torch": "2.13.0"}}
    assert unpacked(held, {}) == attributes | {"torch": "2.13.0"}
    assert set(held) <= {"test_mrr", "label", "by_direction", "costs", ENVIRONMENT}


LEAVES = st.none() | st.booleans() | st.integers(0, 1) | st.sampled_from([0.0, 1.0, 1e-5]) | st.sampled_from(["", "x"])
NESTED = st.recursive(LEAVES, lambda each: st.dictionaries(st.sampled_from("abc"), each, max_size=3), max_leaves=8)
SETTINGS = st.dictionaries(st.sampled_from("abc"), NESTED)


@given(st.lists(st.tuples(SETTINGS, st.sampled_from(["quick", "default"])), min_size=1, max_size=6))
def test_what_trials_share_comes_out_again(trials: list[tuple[dict[str, Any], str]]) -> None:
    records: dict[str, Any] = {}
    stored = []
    for settings, preset in trials:
        own, record = shared({"spec": settings, "preset": preset, "label": "L1"}, records)
        records |= record
        stored.append(json.loads(json.dumps(own)))
    assert len(records) <= len(trials)
    for own, (settings, preset) in zip(stored, trials, strict=True):
        told = unpacked(own, json.loads(json.dumps(records)))
        # as text: 1, 1.0 and true are equal to Python, and not to a reader
        assert json.dumps(json.loads(told.pop("spec")), sort_keys=True) == json.dumps(settings, sort_keys=True)
        assert told == {"preset": preset, "label": "L1"}


def test_a_trial_tells_what_differs_from_the_record_alone() -> None:
    base = {"spec": {"seed": 0, "loss": {"alpha": 3.0, "beta": 0.3}}, "preset": "quick", ENVIRONMENT: {"torch": "2"}}
    first, records = shared({**base, "label": "L1"}, {})
    name = next(iter(records))
    assert first == {"label": "L1", COMMON: name.removeprefix("common:")}
    assert records[name] == base
    second, same = shared({**base, "spec": {"seed": 1, "loss": {"alpha": 3.0, "beta": 1.0}}}, records)
    assert second == {COMMON: first[COMMON], "spec": {"seed": 1, "loss": {"beta": 1.0}}}
    assert same == records
    third, same = shared({**base, "data_digest": "d"}, records)
    assert third == {COMMON: first[COMMON], "data_digest": "d"}
    assert same == records
    # settings that a later version of the project adds have a record of their own
    _, other = shared({**base, "spec": {**base["spec"], "depth": 2}}, records)
    assert other.keys() != records.keys()
