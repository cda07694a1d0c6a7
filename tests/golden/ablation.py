"""The quick ablation on a whole data set, from the command line to the store."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from harness.store import frames
from tests.golden.cases import Numbers

DATASETS = ("lahman", "wiki")
ROOT = Path(__file__).parent.parent.parent


def numbers_of_ablation(dataset: str, folder: Path) -> dict[str, Numbers]:
    """All metrics of ``python -m harness.study ablation --preset quick`` on a data set, run in ``folder``, by arm."""
    folder.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{folder}/{dataset}.db"
    command = [sys.executable, "-m", "harness.study", "ablation", "--preset", "quick", "--device", "cpu"]
    # as when the numbers were made
    head = ("semantic.candidates=0", "semantic.frequent=0", "semantic.learning_rate=0.003")
    command += [part for setting in ("validation_filter=all", *head) for part in ("--set", setting)]
    options = ["--dataset", dataset, "--storage", url, "--cache-dir", str(folder / "cache")]
    data = {} if "HARNESS_DATA" in os.environ else {"HARNESS_DATA": str(ROOT.parent / "shared" / "data")}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **data}
    subprocess.run([*command, *options], cwd=folder, env=environment, check=True, capture_output=True)
    trials, _, _ = frames.load(url, "ablation", dataset)
    # those of the study's protocol: others were added later
    names = [name for name in trials.columns if re.fullmatch(r"(valid|test)_((head|tail)_)?(mrr|mr|hits\d+)", name)]
    return {
        f"{row['backbone']}, {row['arm']}": {name: float(row[name]) for name in names} for _, row in trials.iterrows()
    }
