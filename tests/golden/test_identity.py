"""What code may do to the identity of results: nothing by moving, and nothing unseen by changing a number."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

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
    """A copy of the code and of what its golden numbers need."""
    for part in ("harness", "tests"):
        shutil.copytree(ROOT / part, tmp_path / "tree" / part, ignore=shutil.ignore_patterns("__pycache__"))
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


@pytest.mark.long
def test_a_module_that_moves_changes_no_identity_and_a_number_that_moves_is_caught(
    tree: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One copy of the tree with both, since its process compiles all that it needs."""
    monkeypatch.chdir(tree.parent)
    keys = here(KEYS, tiny_encoder)
    assert here(NUMBERS, tiny_encoder)[1] == "[]"
    (tree / "harness" / "distill" / "seeds.py").rename(tree / "harness" / "distill" / "seeding.py")
    for path in [*tree.glob("harness/**/*.py"), *tree.glob("tests/**/*.py")]:
        rewrite(path, "harness.distill.seeds", "harness.distill.seeding")
    ttranse = tree / "harness" / "models" / "ttranse.py"
    assert "std=0.02" in ttranse.read_text(encoding="utf-8")
    rewrite(ttranse, "std=0.02", "std=0.2")
    *same, distance, moved = printed_by(tree, KEYS + NUMBERS, tiny_encoder)
    assert same == keys
    assert float(distance) > 1e-3
    assert moved != "[]"
