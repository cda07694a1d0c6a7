from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.errors import UserError
from harness.models import BACKBONES
from harness.trial import keys as module
from harness.trial.keys import Plan, engine_version
from harness.trial.shared import stage as stage_module
from harness.trial.shared.language import weights_version
from harness.trial.shared.stage import STAGES
from harness.trial.spec import TrialSpec

LANGUAGE = ["finetune", "encode", "semantic", "llm-targets"]


def keys(**changes: object) -> dict[str, str]:
    return Plan.of(TrialSpec.model_validate(changes), "digest", "cpu").keys


@pytest.mark.parametrize(
    ("arm", "stages"),
    [
        ("none", ["stage1"]),
        ("L1", ["teacher", "targets", "teacher-vectors", "stage1"]),
        ("L1+L2", ["teacher", "targets", "teacher-vectors", "finetune", "encode", "semantic", "llm-targets", "stage1"]),
        (
            "L1+L2+L3",
            ["teacher", "targets", "teacher-vectors", "finetune", "encode", "semantic", "llm-targets", "stage1"],
        ),
        ("L2+L3", ["finetune", "encode", "semantic", "llm-targets", "stage1"]),
        ("L1+FitNet", ["teacher", "targets", "teacher-vectors"]),
        ("L1+RKD-D", ["teacher", "targets", "teacher-vectors"]),
        ("teacher", ["teacher"]),
        ("llm-teacher", ["finetune", "encode", "semantic"]),
    ],
)
def test_stages_of_an_arm(arm: str, stages: list[str]) -> None:
    assert list(keys(arm=arm)) == stages


def test_stages_come_after_what_they_need() -> None:
    plan = Plan.of(TrialSpec(arm="L1+L2+L3"), "digest", "cpu")
    seen: set[str] = set()
    for stage, key in plan.keys.items():
        assert set(plan.keys_needed(stage)) <= seen
        seen.add(key)


def test_distilled_arms_of_a_seed_share_stage_1() -> None:
    shared = {keys(arm=arm)["stage1"] for arm in ("L1", "L1+L2", "L1+L3", "L1+L2+L3")}
    assert len(shared) == 1
    assert keys(arm="none")["stage1"] not in shared
    assert keys(arm="L1", seed=1)["stage1"] not in shared


def test_a_student_of_the_language_model_alone_starts_undistilled() -> None:
    assert keys(arm="L2+L3")["stage1"] == keys(arm="none")["stage1"]


def test_fused_targets_are_made_of_both_teachers() -> None:
    for arm in ("L1+L2", "L2+L3"):
        plan = Plan.of(TrialSpec(arm=arm, loss={"fusion": 0.5}), "digest", "cpu")
        assert set(plan.keys_needed("llm-targets")) == {plan.keys["semantic"], plan.keys["teacher"]}
        assert plan.keys["llm-targets"] != keys(arm=arm)["llm-targets"]
    assert keys(arm="L1+L3", loss={"fusion": 0.5}) == keys(arm="L1+L3")


def test_the_language_first_has_a_stage_1_of_its_own() -> None:
    reverse = {"order": "language-first"}
    assert "stage1" not in keys(arm="L1+L2+L3", student=reverse)
    assert keys(arm="L1", student=reverse) == keys(arm="L1")


def test_weights_of_stage_2_do_not_touch_shared_stages() -> None:
    base = keys(arm="L1+L2+L3")
    assert keys(arm="L1+L2+L3", loss={"alpha": 0.9, "beta": 0.9, "delta": 2.0}) == base
    warm = keys(arm="L1+L2+L3", loss={"temperature": 3.0})
    assert warm["teacher"] == base["teacher"]
    assert warm["llm-targets"] == base["llm-targets"]
    assert warm["targets"] != base["targets"]
    assert warm["stage1"] != base["stage1"]


def test_teachers_do_not_depend_on_seed_or_student() -> None:
    base = keys(arm="L1+L2")
    other = keys(arm="L1+L2", seed=5, student={"dim": 10})
    assert {s for s in base if base[s] == other[s]} == set(base) - {"stage1"}


def test_another_backbone_with_the_same_teacher_shares_it() -> None:
    teacher = {"backbone": "ta-distmult"}
    one, two = (keys(arm="L1", backbone=b, teacher=teacher) for b in ("ttranse", "ta-distmult"))
    assert one["teacher"] == two["teacher"]
    assert one["targets"] == two["targets"]
    assert one["stage1"] != two["stage1"]


@pytest.mark.parametrize("stage", list(Plan.of(TrialSpec(arm="L1+L2+L3"), "digest", "cpu").needs))
def test_a_new_version_of_a_stage_makes_it_and_what_is_made_of_it_anew(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, engine = keys(arm="L1+L2+L3"), engine_version()
    monkeypatch.setitem(STAGES, stage, replace(STAGES[stage], version=STAGES[stage].version + 1))
    after = keys(arm="L1+L2+L3")
    rebuilt = {stage}
    for other, needs in Plan.of(TrialSpec(arm="L1+L2+L3"), "digest", "cpu").needs.items():
        rebuilt |= {other} if rebuilt & set(needs) else set()
    assert {name for name in before if before[name] != after[name]} == rebuilt
    assert engine_version() != engine


def test_a_new_version_of_the_engine_trains_everything_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before, engine = keys(arm="L1+L2+L3"), engine_version()
    monkeypatch.setattr(module, "ENGINE", 0)
    monkeypatch.setattr(stage_module, "ENGINE", 0)
    after = keys(arm="L1+L2+L3")
    assert {name for name in before if before[name] == after[name]} == {"finetune", "encode"}
    assert engine_version() != engine


def test_a_new_version_of_a_backbone_trains_it_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before, other = keys(arm="L1"), keys(arm="L1", backbone="ta-distmult")
    monkeypatch.setattr(BACKBONES["ttranse"], "version", 2)
    assert not set(before.values()) & set(keys(arm="L1").values())
    assert keys(arm="L1", backbone="ta-distmult") == other


def test_other_weights_at_the_same_path_are_another_language_model(tmp_path: Path, tiny_encoder: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(tiny_encoder, copy)

    def key() -> str:
        weights_version.cache_clear()
        return keys(arm="llm-teacher", llm={"model": str(copy)})["encode"]

    before = key()
    assert key() == before
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert key() != before


def test_machines_that_choose_another_dtype_share_no_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(**llm: str) -> tuple[str, str]:
        actual = keys(arm="llm-teacher", llm=llm)
        return actual["finetune"], actual["encode"]

    rounded, exact = of(dtype="bfloat16"), of(dtype="float32")
    assert not set(rounded) & set(exact)
    for able, same in (({"avx512_bf16": True}, rounded), ({}, exact)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert of() == same
    untuned = {keys(arm="llm-teacher", llm={"finetune": "none", "dtype": d})["encode"] for d in ("bfloat16", "float32")}
    assert len(untuned) == 2


def test_missing_weights_are_noticed_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        keys(arm="L1+L2", llm={"model": str(tmp_path / "nothing")})
