"""Trials with each loss that takes the teacher's distribution, of each kind of teacher, with sampled steps."""

from __future__ import annotations

from typing import Any

import pytest

from harness.trial.run import run_trial
from harness.trial.spec import TrialSpec
from harness.trial.stacks import group_of
from harness.trial.stages import Context
from tests.toy import context, dataset, spec

__all__ = ["context", "dataset", "spec"]

NAMES = ("DKD", "DIST", "LSKD", "CTKD", "RCE-KD")
TEACHERS: dict[str, dict[str, Any]] = {
    "structural": {},
    "ensemble": {"ensemble": {"members": "tcomplex,ta-distmult"}},
    "distilled": {"distilled": {"dims": "12", "epochs": 2}},
}


@pytest.fixture
def sampled(spec: TrialSpec) -> TrialSpec:
    """Of four epochs the first is exact, the others sample; with the settings of losses that other arms have, too."""
    return varied(spec, student={"candidates": 8, "hard_candidates": 4}, loss={"targets": 12}, backbone="ta-distmult")


def varied(spec: TrialSpec, **changes: Any) -> TrialSpec:
    content = spec.model_dump()
    for key, value in changes.items():
        content[key] = {**content[key], **value} if isinstance(value, dict) else value
    return TrialSpec.model_validate(content)


def change(spec: TrialSpec, **changes: Any) -> TrialSpec:
    return varied(spec, **changes).acting()


@pytest.mark.parametrize("source", TEACHERS)
def test_each_learns_from_each_teacher(sampled: TrialSpec, context: Context, source: str) -> None:
    teacher, kept = {"source": source, **TEACHERS[source]}, {}
    for name in NAMES:
        result = run_trial(change(sampled, arm=name, teacher=teacher), context)
        assert [row["epoch"] for row in result.curve] == [1, 2, 3, 4]
        column = f"loss_{name.lower().replace('-', '_')}"
        late = name in ("DIST", "LSKD")  # which begin with the second epoch
        assert [row[column] > 0 for row in result.curve] == [not late, True, True, True]
        assert result.best_epoch > 2
        kept[name] = result.metrics["test_mrr"]
    assert len(set(kept.values())) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_gives_the_same_numbers_again(sampled: TrialSpec, context: Context, name: str) -> None:
    asked = change(sampled, arm=name)
    assert run_trial(asked, context).metrics == run_trial(asked, context).metrics


@pytest.mark.parametrize("name", ["DIST", "RCE-KD"])  # which remember from stage 1 to stage 2
def test_beside_the_language_model_it_has_a_stage_1_of_its_own(sampled: TrialSpec, context: Context, name: str) -> None:
    curve = run_trial(change(sampled, arm=f"{name}+L2"), context).curve
    assert [(row["stage"], "loss_l2" in row) for row in curve] == [(1, False), (1, False), (2, True), (2, True)]
    assert all(f"loss_{name.lower().replace('-', '_')}" in row for row in curve)


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_alone(sampled: TrialSpec, name: str) -> None:
    """Stacks know none of them: some keep what they found out about queries, or learn a temperature."""
    for arm in (name, f"{name}+L2", f"{name}+FitNet"):
        asked = change(sampled, arm=arm)
        assert group_of(asked, None) is None
        assert not asked.shares_stage1


@pytest.mark.parametrize("name", NAMES)
def test_its_options_are_part_of_the_identity_of_its_arms_alone(sampled: TrialSpec, name: str) -> None:
    options = {"loss": {name: {"weight": 3.0} if name in ("LSKD", "CTKD", "RCE-KD") else {}}}
    options["loss"][name] |= {"DKD": {"others": 3.0}, "DIST": {"between": 3.0}}.get(name, {})
    assert change(sampled, arm="L1", **options).key() == change(sampled, arm="L1").key()
    assert change(sampled, arm=name, **options).key() != change(sampled, arm=name).key()
