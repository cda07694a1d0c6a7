"""What trials of a study have in common, which the study stores once."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.design.cells import Run
from harness.store import frames
from harness.store.records import COMMON, ENVIRONMENT, packed, shared, unpacked
from harness.trial.spec import TrialSpec
from tests.store.samples import opened, result


def test_what_trials_have_in_common_is_stored_once(url: str, run: Run) -> None:
    study = opened(url, run)
    about = {"environment": {"torch": "2.13.0", "device": "cpu"}, "preset": "quick", "data_digest": "d"}
    for spec in run.specs[:3]:
        study.finish(study.begin(spec, about), result())
    again = opened(url, run)  # by another machine
    about["environment"] = {"torch": "2.13.0", "device": "cuda"}
    again.finish(again.begin(run.specs[3], about), result())
    written = [trial.user_attrs for trial in again.study.trials]
    assert {trial["common"] for trial in written} == {name.removeprefix("common:") for name in again.records}
    assert len(again.records) == 2  # of arms without a language model and with one, which have other settings
    assert all("preset" not in trial and "data_digest" not in trial for trial in written)
    first, other = (spec.model_dump(mode="json") for spec in run.specs[:2])
    assert "spec" not in written[0]
    assert written[1]["spec"].keys() == {name for name in first if first[name] != other[name]} != first.keys()
    assert [trial.get("environment") for trial in written] == [None, None, None, {"device": "cuda"}]
    trials, _, _ = frames.load(url, "ablation", "lahman")
    assert [TrialSpec.model_validate_json(spec) for spec in trials["spec"]] == list(run.specs[:4])
    assert trials["device"].tolist() == ["cpu"] * 3 + ["cuda"]
    assert trials["data_digest"].tolist() == ["d"] * 4
    arms = [spec.arm for spec in run.specs[:4]]
    assert again.done() == [
        unpacked(trial, again.records) | {"arm": arm} for trial, arm in zip(written, arms, strict=True)
    ]


def test_data_that_a_worker_read_otherwise_are_told(url: str, run: Run) -> None:
    study = opened(url, run)
    study.finish(study.begin(run.specs[0], {"data_digest": "d"}), replace(result(), data_digest="other"))
    assert frames.load(url, "ablation", "lahman")[0]["data_digest"].tolist() == ["other"]


def test_coordinators_that_begin_at_once_share_each_their_own(url: str, run: Run) -> None:
    one, other = opened(url, run), opened(url, run)  # neither knows the record of the other
    for study, spec, device in ((one, run.specs[0], "cpu"), (other, run.specs[1], "cuda"), (one, run.specs[2], "cpu")):
        study.finish(study.begin(spec, {"environment": {"device": device}}), result())
    assert frames.load(url, "ablation", "lahman")[0]["device"].tolist() == ["cpu", "cuda", "cpu"]


def test_a_record_that_is_added_while_a_report_reads_is_found(
    url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = opened(url, run)
    study.finish(study.begin(run.specs[0], {}), result())
    every = optuna.Study.get_trials

    def meanwhile(self: optuna.Study, *arguments: object, **options: object) -> list[optuna.trial.FrozenTrial]:
        monkeypatch.undo()
        again = opened(url, run)
        again.finish(again.begin(run.specs[1], {"environment": {"torch": "2.13.0"}}), result())
        other = opened(url, run)
        other.records.clear()  # as if it had stored none yet
        other.finish(other.begin(run.specs[2], {"environment": {"torch": "2.13.0"}}), result())
        return every(self, *arguments, **options)

    monkeypatch.setattr(optuna.Study, "get_trials", meanwhile)
    assert len(frames.load(url, "ablation", "lahman")[0]) == 3


NAMES = [
    "test_tail_mrr",
    "valid_mrr",
    "valid_head_hits10",
    "seconds_stage2",
    "built_seconds_teacher-vectors",
    "peak_mib_evaluate",
]


@given(st.dictionaries(st.sampled_from([*NAMES, "test_mrr", "label"]), st.floats(0, 1)))
def test_what_is_packed_comes_out_again(attributes: dict[str, float]) -> None:
    held = packed(attributes) | {ENVIRONMENT: {"torch": "2.13.0"}}
    assert unpacked(held, {}) == attributes | {"torch": "2.13.0"}
    groups = {"valid", "valid_head", "test_tail", "seconds", "built_seconds", "peak_mib"}
    assert set(held) <= {"test_mrr", "label", ENVIRONMENT} | groups


LEAVES = st.none() | st.booleans() | st.integers(0, 1) | st.sampled_from([0.0, 1.0, 1e-5]) | st.sampled_from(["", "x"])
NESTED = st.recursive(LEAVES, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8)
SETTINGS = st.dictionaries(st.sampled_from("abc"), NESTED)


@given(st.lists(st.tuples(SETTINGS, st.sampled_from(["quick", "default"])), min_size=1, max_size=6))
def test_what_trials_share_comes_out_again(trials: list[tuple[dict[str, Any], str]]) -> None:
    records: dict[str, Any] = {}
    stored = []
    for settings, preset in trials:
        differing, record = shared({"spec": settings, "preset": preset, "label": "L1"}, records)
        records |= record
        stored.append(json.loads(json.dumps(differing)))
    assert len(records) <= len(trials)
    for differing, (settings, preset) in zip(stored, trials, strict=True):
        restored = unpacked(differing, json.loads(json.dumps(records)))
        # as text: 1, 1.0 and true are equal to Python, and not to a reader
        assert json.dumps(json.loads(restored.pop("spec")), sort_keys=True) == json.dumps(settings, sort_keys=True)
        assert restored == {"preset": preset, "label": "L1"}


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
    # settings that a later version of the project adds have a record of their differing
    _, other = shared({**base, "spec": {**base["spec"], "depth": 2}}, records)
    assert other.keys() != records.keys()
