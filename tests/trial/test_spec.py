from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from harness.teachers.language.language_model import LanguageModelConfig
from harness.trial.keys import Plan
from harness.trial.options import option_names, option_of
from harness.trial.spec import LossSpec, SemanticSpec, StudentSpec, TeacherSpec, TrialSpec
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
    later |= {"llm": LanguageModelConfig.later, "semantic": SemanticSpec.later}
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


def taught(arm: str = "L1", seed: int = 0, **teacher: object) -> TrialSpec:
    return TrialSpec.model_validate({"arm": arm, "seed": seed, "teacher": teacher}).acting()


def test_one_teacher_for_all_seeds_is_stored_as_before() -> None:
    assert "seeds" not in TrialSpec().model_dump()["teacher"]
    assert taught(seeds="one").key() == taught().key()
    assert taught("none", seeds="student").key() == taught("none").key()


def test_a_teacher_a_seed_is_the_teacher_of_that_seed() -> None:
    """Its stages are those of a teacher with that seed, whichever way it was asked for."""
    for source in ("structural", "ensemble", "distilled"):
        common = {"source": source, "ensemble": {"members": "tcomplex,ta-distmult"}}

        def keys(trial: int, common: dict[str, object] = common, **teacher: object) -> dict[str, str]:
            spec = TrialSpec.model_validate({"arm": "L1", "seed": trial, "teacher": common | teacher}).acting()
            return Plan.of(spec, "data", "cpu").keys

        usual, of_three = keys(0), keys(3, seeds="student")
        assert keys(0, seeds="student") == usual
        assert keys(3, seeds="student", seed=7) == of_three
        assert keys(3, seed=3) == of_three
        assert keys(3)["teacher"] == usual["teacher"] != of_three["teacher"]


def test_members_have_the_seed_of_the_student() -> None:
    members = taught(seed=3, source="ensemble", seeds="student", ensemble={"members": "tcomplex,ta-distmult"}).members
    assert [one.teacher.seed for one in members] == [3, 3]
    (last,) = taught(seed=3, source="distilled", seeds="student", distilled={"dims": "40,20"}).members
    (first,) = last.members
    assert (last.seed, first.seed, first.teacher.seed) == (3, 3, 3)


def test_only_a_teacher_a_seed_is_a_reference_row_of_each_seed() -> None:
    assert [taught("teacher", seeds=seeds).has_seed for seeds in ("one", "student")] == [False, True]
    assert not taught("llm-teacher", seeds="student").has_seed
    assert taught("none").has_seed
