"""A folder with a small data set and the command line in it, as a user of the examples has it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.inside import command
from tests.toy import write_dataset

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "docs" / "examples"
SETTINGS = {
    "student.dim": 8,
    "student.epochs": 2,
    "stage1_epochs": 1,
    "teacher.dim": 16,
    "teacher.epochs": 1,
    "targets": 16,
    "time.size": 40,
    # small enough for plain tensor operations: compiling the passes would take seconds
    "student.batch_size": 64,
    "teacher.batch_size": 64,
}


class Desk:
    """A working directory with the data set ``./toy``, and a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_dataset(folder / "toy")
        self.url = f"sqlite:///{folder}/runs/harness.db"

    def run(self, *words: str, code: int = 0, module: str = "harness.study") -> subprocess.CompletedProcess[str]:
        """Give a command here and expect an exit code; 2: with one line on standard error that begins with "error:"."""
        done = command(self.folder, *words, module=module, environment={"COLUMNS": "200"})
        assert done.returncode == code, done.stderr
        if code == 2:
            assert done.stderr.startswith("error: ")
            assert done.stderr.count("\n") == 1, done.stderr
        return done

    def study(self, *words: str, code: int = 0, dataset: str = "./toy") -> subprocess.CompletedProcess[str]:
        """Run the ablation with small settings."""
        settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
        return self.run(
            "ablation", "--dataset", dataset, "--preset", "quick", "--jobs", "1", *settings, *words, code=code
        )


@pytest.fixture
def desk(tmp_path: Path, blank_figures: None) -> Desk:
    return Desk(tmp_path)
