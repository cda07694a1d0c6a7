"""Files of students that look facts up: damaged ones, answers without PyTorch, sizes, and the way in from Python."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.data.graph import Facts
from harness.distill.gaps import MIX, WEIGHTS
from harness.distill.packing import pack, unpack
from harness.errors import UserError
from harness.student import Student
from harness.student.distilling import dimension
from harness.student.export import export
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context
from tests.student.parts import parts_of, written

FACTS = "gaps.facts"


@pytest.fixture
def looking_up(spec: TrialSpec, context: Context, tmp_path: Path) -> Path:
    student = spec.student.model_copy(update={"gaps": True})
    path = tmp_path / "toy.student"
    path.write_bytes(export(spec.model_copy(update={"arm": "none", "student": student}), context).content)
    return path


def _no_facts(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    del arrays[FACTS]


def _more_facts(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    about["n_looked_up"] += 1


def _strange_facts(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    columns = unpack(arrays[FACTS], about["n_looked_up"]).columns
    arrays[FACTS] = pack(Facts(**{**columns, "tail": columns["tail"] + 40}))


def _cut_facts(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    arrays[FACTS] = arrays[FACTS][:-9]


def _fewer_weights(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    arrays[f"{WEIGHTS}.values"] = arrays[f"{WEIGHTS}.values"][:-1].copy()
    about["tensors"][WEIGHTS]["shape"][0] -= 1


def _fewer_kinds(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    arrays[f"{WEIGHTS}.values"] = arrays[f"{WEIGHTS}.values"][:, :-1].copy()
    about["tensors"][WEIGHTS]["shape"][1] -= 1


def _no_weights(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    del about["tensors"][WEIGHTS]


def _no_number(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    del about["n_looked_up"]


def _three(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    arrays[f"{MIX}.values"] = np.ones((1, 3), np.float32)
    about["tensors"][MIX]["shape"] = [3]


@pytest.mark.parametrize(
    "change",
    [_no_facts, _more_facts, _strange_facts, _cut_facts, _fewer_weights, _fewer_kinds, _no_weights, _no_number, _three],
)
def test_what_is_looked_up_is_checked(
    change: Callable[[dict[str, Any], dict[str, Any]], None], looking_up: Path, tmp_path: Path
) -> None:
    arrays, about = parts_of(looking_up)
    assert about["version"] == 2
    change(arrays, about)
    with pytest.raises(UserError, match="damaged"):
        Student.load(written(tmp_path / "changed", arrays, about))


def test_it_answers_without_torch_and_compilers(looking_up: Path) -> None:
    code = (
        "import sys; from harness.student import Student\n"
        f"print(len(Student.load({str(looking_up)!r}).answers('person 03', 'rel 1', at=1931, k=4)))\n"
        "print(sorted({'torch', 'numba', 'pandas', 'scipy'} & set(sys.modules)))\n"
    )
    env = {"PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["4", "[]"]


def test_info_counts_it(looking_up: Path) -> None:
    root = Path(__file__).parent.parent.parent
    command = [sys.executable, "-m", "harness.student", "info", str(looking_up)]
    shown = subprocess.run(
        command, env={"PYTHONPATH": str(root), "COLUMNS": "200"}, capture_output=True, text=True, check=True
    )
    sizes = Student.load(looking_up).content.sizes
    assert f"gaps {sizes['gaps']:,}" in shown.stdout
    assert f"{(sizes['entities'] + sizes['gaps']) / 40:.1f} with what it looks up" in shown.stdout


def test_bytes_buy_fewer_dimensions_beside_facts(dataset: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    quick = {"time.size": 40, "student.epochs": 2, "student.stage1_epochs": 1, "teacher.epochs": 1, "teacher.dim": 16}
    student = harness.distil(dataset, bytes_per_entity=200, gaps=True, settings=quick, cache_dir=tmp_path / "cache")
    sizes, n = student.content.sizes, len(student.content.entities)
    assert 199 * n < sizes["entities"] + sizes["gaps"] <= 200 * n
    assert dimension(100, 2, 20) == dimension(80, 2)
    with pytest.raises(UserError, match="and what gaps need 99"):
        dimension(100, 2, 99)
