"""What code may do to the identity of results: nothing by moving, and nothing unseen by changing a number."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent.parent

KEYS = """
from harness.trial.keys import Plan, engine_version
from harness.trial.spec import TrialSpec
print(engine_version())
for arm in ("none", "L1+L2+L3", "L1+FitNet"):
    print(Plan.of(TrialSpec(arm=arm, llm={"model": ENCODER}), "digest", "cpu").keys)
"""
NUMBERS = """
from pathlib import Path
import torch
from harness.trial.stages import Context
from tests.golden import golden_file
from tests.golden.cases import machine, numbers_of_cases, write_graph
torch.set_num_threads(1)
found = numbers_of_cases(write_graph(Path("graph")), Path(ENCODER), Context(Path("cache")), "ttranse, none")
golden = golden_file.read()["cases"]
own = golden.get(machine()) or next(iter(golden.values()))
print(abs(float(own["ttranse, none"]["test_mrr"]) - found["ttranse, none"]["test_mrr"]))
print([line for line in golden_file.differences("cases", machine(), found) if not line.endswith("is not")])
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the code."""
    shutil.copytree(ROOT / "harness", tmp_path / "tree" / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "tree"


def here(code: str, encoder: Path) -> list[str]:
    """What code prints in this process, and so of the code as it is."""
    with redirect_stdout(io.StringIO()) as printed:
        exec(code.replace("ENCODER", repr(str(encoder))), {})
    return printed.getvalue().splitlines()


def printed_by(tree: Path, code: str, encoder: Path) -> list[str]:
    """What code prints that runs on a copy of the tree."""
    command = [sys.executable, "-c", code.replace("ENCODER", repr(str(encoder)))]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(tree)})
    return done.stdout.splitlines()


def rewrite(path: Path, before: str, after: str) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")


def test_a_module_that_moves_changes_no_identity(tree: Path, tiny_encoder: Path) -> None:
    (tree / "harness" / "distill" / "seeds.py").rename(tree / "harness" / "distill" / "seeding.py")
    for path in tree.glob("harness/**/*.py"):
        rewrite(path, "harness.distill.seeds", "harness.distill.seeding")
    assert printed_by(tree, KEYS, tiny_encoder) == here(KEYS, tiny_encoder)


@pytest.mark.compiles
def test_a_number_that_moves_is_caught_though_no_identity_does(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, which has compiled what the trial needs."""
    monkeypatch.chdir(tmp_path)
    keys = here(KEYS, tiny_encoder)
    assert here(NUMBERS, tiny_encoder)[1] == "[]"
    drawn = torch.nn.init.normal_
    # as if another standard deviation stood in the backbone's file
    monkeypatch.setattr(torch.nn.init, "normal_", lambda tensor, std=1.0: drawn(tensor, std=10 * std))
    shutil.rmtree("cache")
    distance, moved = here(NUMBERS, tiny_encoder)
    assert here(KEYS, tiny_encoder) == keys
    assert float(distance) > 1e-3
    assert moved != "[]"
