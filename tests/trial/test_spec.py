from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from harness.trial.spec import LossSpec, StudentSpec, TeacherSpec, TrialSpec, option_names, option_of
from tests.golden.cases import ARMS


def test_round_trip_keeps_the_key() -> None:
    spec = TrialSpec(arm="L1+L2", seed=3)
    again = TrialSpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert again.key() == spec.key()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"arm": "L1"},
        {"loss": {"alpha": 0.2}},
        {"student": {"norm": "l1"}},
        {"semantic": {"components": 9}},
    ],
)
def test_everything_that_changes_a_number_changes_the_key(change: dict[str, object]) -> None:
    assert TrialSpec.model_validate(change).key() != TrialSpec().key()


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": 1},
        {"loss": {"alpha": "NaN"}},
        {"loss": {"alpha": float("inf")}},
        {"loss": {"delta": 0}},
        {"student": {"dim": 0}},
        {"student": {"epochs": 2, "stage1_epochs": 3}},
        {"arm": "L4"},
        {"protocol": "filtered"},
        {"seed": -1},
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TrialSpec.model_validate(wrong)


def test_option_names_are_those_of_the_json() -> None:
    def flat(value: object, prefix: str = "") -> set[str]:
        if isinstance(value, dict):
            return {leaf for k, v in value.items() for leaf in flat(v, f"{prefix}{k}.")}
        return {prefix.removesuffix(".")}

    names, in_json = set(option_names(TrialSpec)), flat(json.loads(TrialSpec().model_dump_json()))
    assert in_json <= names
    # beside these there are options of methods, and what came later and stands in a JSON that has another value alone
    others = {name for name in names - in_json if name.count(".") == 1}
    later = {"student": StudentSpec.later, "teacher": TeacherSpec.later}
    assert others == {f"{part}.{name}" for part, names in later.items() for name in names}


def test_every_option_says_what_it_is() -> None:
    """``describe`` shows these texts."""
    for name in option_names(TrialSpec):
        assert name in ("dataset", "backbone", "arm", "seed") or option_of(TrialSpec(), name)[1], name


@pytest.mark.parametrize("arm", ARMS)
def test_settings_that_do_not_act_are_at_their_defaults(arm: str) -> None:
    changed = {"alpha": 9.0, "beta": 9.0, "delta": 9.0, "temperature": 9.0, "fitnet": 9.0, "rkd_distance": 9.0}
    kept = TrialSpec(arm=arm, loss=LossSpec(**changed)).acting().loss.model_dump()
    acting = {name for name in changed if kept[name] == 9.0}
    parts = {"L1": {"temperature"}, "L2": {"alpha", "delta"}, "L3": {"beta"}, "FitNet": {"fitnet"}}
    parts["RKD-D"] = {"rkd_distance"}
    assert acting == set().union(*(parts.get(part, set()) for part in arm.split("+")))


def test_equal_trials_have_one_spec() -> None:
    assert TrialSpec(arm="none", llm={"model": "minilm"}, teacher={"dim": 7}).acting() == TrialSpec(arm="none")
    assert TrialSpec(arm="L1", llm={"model": "minilm"}).acting() == TrialSpec(arm="L1")
    assert TrialSpec(arm="L1", teacher={"dim": 7}).acting() != TrialSpec(arm="L1")
    assert TrialSpec(arm="L2+L3", teacher={"dim": 7}).acting() == TrialSpec(arm="L2+L3")
    fused = {"fusion": 0.5}
    assert TrialSpec(arm="L2+L3", teacher={"dim": 7}, loss=fused).acting() != TrialSpec(arm="L2+L3", loss=fused)
    spec = TrialSpec(arm="L1+L2", loss={"alignment": "kl", "delta": 3.0, "outlier_size": 3.0})
    assert spec.acting().loss == LossSpec(alignment="kl")
    reverse = {"order": "language-first"}
    assert TrialSpec(arm="L1", student=reverse).acting() == TrialSpec(arm="L1")
    assert TrialSpec(arm="L1+L2", student=reverse).acting() != TrialSpec(arm="L1+L2")
    assert spec.acting().acting() == spec.acting()
