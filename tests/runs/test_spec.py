from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from harness.runs.spec import TrialSpec, option_names


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

    assert set(option_names(TrialSpec)) == flat(json.loads(TrialSpec().model_dump_json()))


def test_every_option_says_what_it_is() -> None:
    """``describe`` shows these texts."""
    for name in option_names(TrialSpec):
        part: object = TrialSpec
        for step in name.split("."):
            field = part.model_fields[step]
            part = field.annotation
        assert name in ("dataset", "backbone", "arm", "seed") or field.description, name
