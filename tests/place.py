"""A working directory with a small data set, and the command line in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from harness.store import frames
from tests.toy import write_dataset

SETTINGS = {
    "student.dim": 8,
    "student.epochs": 2,
    "stage1_epochs": 1,
    "teacher.dim": 16,
    "teacher.epochs": 1,
    "semantic.epochs": 1,
    "semantic.dim": 8,
    "components": 8,
    "targets": 16,
    "time.size": 40,
    "finetune": "none",
}


class Place:
    """A working directory with a small data set, and the command line in it."""

    def __init__(self, folder: Path, encoder: Path, **settings: object) -> None:
        self.folder = folder
        self.url = "sqlite:///runs/harness.db"
        self.environment: dict[str, str] = {}
        write_dataset(folder / "toy")
        self.options = ["--dataset", "./toy", "--jobs", "2"]
        for key, value in {**SETTINGS, "llm.model": str(encoder), **settings}.items():
            self.options += ["--set", f"{key}={value}"]

    def start(self, *arguments: str, module: str = "harness.study", **how: Any) -> subprocess.Popen[str]:
        root = str(Path(__file__).parent.parent)
        environment = {**os.environ, "PYTHONPATH": root, "COLUMNS": "100", "OMP_NUM_THREADS": "1", **self.environment}
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **how,
        )

    def __call__(self, *arguments: str, module: str = "harness.study") -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, module=module)
        out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def trials(self) -> pd.DataFrame:
        here = Path.cwd()
        os.chdir(self.folder)
        try:
            return frames.load(self.url, "ablation", "./toy")[0]
        finally:
            os.chdir(here)


def numbers(trials: pd.DataFrame) -> pd.DataFrame:
    done = trials[trials["state"] == "complete"].sort_values(["backbone", "arm", "seed"])
    return done[["backbone", "arm", "seed", "valid_mrr", "test_mrr", "test_mr"]].reset_index(drop=True)
