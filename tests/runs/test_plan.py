from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import harness
from harness.errors import UserError
from harness.runs import plan as module
from harness.runs.plan import Plan, code_version, engine_version, weights_version
from harness.runs.spec import TrialSpec

LANGUAGE = ["finetune", "encode", "semantic", "llm-targets"]


def keys(**changes: object) -> dict[str, str]:
    return Plan.of(TrialSpec.model_validate(changes), "digest", "cpu").keys


@pytest.mark.parametrize(
    ("arm", "stages"),
    [
        ("none", ["stage1"]),
        ("L1", ["teacher", "targets", "teacher-vectors", "stage1"]),
        ("L1+L2", ["teacher", "finetune", "encode", "semantic", "llm-targets", "targets", "teacher-vectors", "stage1"]),
        (
            "L1+L2+L3",
            ["teacher", "finetune", "encode", "semantic", "llm-targets", "targets", "teacher-vectors", "stage1"],
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
        assert set(plan.needs(stage)) <= seen
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
        assert set(plan.needs("llm-targets")) == {plan.keys["semantic"], plan.keys["teacher"]}
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


def test_code_version_ignores_comments_and_docstrings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(source: str) -> str:
        (tmp_path / "module.py").write_text(source, encoding="utf-8")
        code_version.cache_clear()
        return code_version("module")

    monkeypatch.setattr(module, "harness", type("fake", (), {"__file__": str(tmp_path / "__init__.py")}))
    base = version('"""A."""\ndef f():\n    """B."""\n    return 1\n')
    assert version('"""Another."""\n\n\ndef f():\n    """C."""\n    return 1  # why\n') == base
    assert version('"""A."""\ndef f():\n    """B."""\n    return 2\n') != base
    code_version.cache_clear()


def test_code_version_is_the_same_whatever_version_of_python_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The expected digest is Python 3.11's; 3.12 told of type parameters, and 3.13 left empty lists out."""
    source = 'import os\n\n\nclass A(B):\n    def f(self, *, x=[]):\n        return f"{x!r:>8} {os.sep}"\n'
    (tmp_path / "module.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(module, "harness", type("fake", (), {"__file__": str(tmp_path / "__init__.py")}))
    code_version.cache_clear()
    assert code_version("module") == "ac112df6103b16d13dba63f0"
    code_version.cache_clear()


def test_versions_name_modules_that_exist() -> None:
    root = Path(harness.__file__).parent
    for name in (*module._TRAINING, *module._LANGUAGE):
        assert root.joinpath(*name.split(".")).with_suffix(".py").is_file(), name


def test_engine_version_sees_every_module_that_a_number_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of models, losses and teachers; a new file there must be listed."""
    seen: set[str] = set()
    monkeypatch.setattr(module, "code_version", lambda *names: seen.update(names) or "")
    engine_version()
    root = Path(harness.__file__).parent
    for folder in ("models", "distill", "teachers"):
        for path in (root / folder).glob("*.py"):
            assert path.stem == "__init__" or f"{folder}.{path.stem}" in seen, path
    assert {"evaluate", "runs.trial", "runs.stages", "runs.inputs"} <= seen


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
        found = keys(arm="llm-teacher", llm=llm)
        return found["finetune"], found["encode"]

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
