"""The recipe for Slurm in the documentation, with programs in the place of Slurm's that run jobs on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.place import Place, numbers

pytest.importorskip("dask_jobqueue")

ROOT = Path(__file__).parents[2]
#: runs the script as a process group of its own, which is the job's number; Slurm, too, keeps a copy of the script
SBATCH = """#!/bin/bash
job=$(mktemp "$JOBS/XXXXXX"); cp "$1" "$job.sh"
setsid bash "$job.sh" > "$job.log" 2>&1 &
echo "Submitted batch job $!"; echo $! >> "$JOBS/submitted"
"""
SCANCEL = """#!/bin/bash
echo "$1" >> "$JOBS/cancelled"; kill -- "-$1"
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which jobs leave their scripts and output."""
    programs, jobs = tmp_path / "bin", tmp_path / "jobs"
    for folder in (programs, jobs):
        folder.mkdir()
    for name, content in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (programs / name).write_text(content)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("JOBS", str(jobs))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return jobs


@contextmanager
def workers(folder: Path, *options: str) -> Iterator[str]:
    """The address at which the recipe's scheduler answers; its command line in a folder."""
    words = [sys.executable, str(ROOT / "docs" / "slurm.py"), "--host", "127.0.0.1", *options]
    with subprocess.Popen(words, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.wait(60) == 0
        finally:
            process.kill()


def numbers_in(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def alive(groups: list[int]) -> list[int]:
    return [one.pid for one in psutil.process_iter() if one.pid and os.getpgid(one.pid) in groups]


@pytest.mark.slow
def test_a_study_on_slurm_has_the_numbers_of_one_process(tmp_path: Path, tiny_encoder: Path, slurm: Path) -> None:
    alone, there = Place(tmp_path / "alone", tiny_encoder), Place(tmp_path / "there", tiny_encoder)
    done = alone("ablation", "--preset", "quick", *alone.options, "--jobs", "1")
    assert done.returncode == 0, done.stderr
    options = [word for word in there.options if word not in ("--jobs", "2")]
    with workers(there.folder, "--jobs", "2", "--cores", "1", "--memory", "3GB") as address:
        assert address.startswith("tcp://127.0.0.1:")
        done = there("ablation", "--preset", "quick", *options, "--cluster", address)
        assert done.returncode == 0, done.stderr
        jobs = numbers_in(slurm / "submitted")
        assert len(jobs) == 2
        assert len(alive(jobs)) >= 2
    assert numbers(there.trials()).equals(numbers(alone.trials()))
    script = next(slurm.glob("*.sh")).read_text()
    for line in ("#SBATCH --cpus-per-task=1", "#SBATCH --mem=3G", "#SBATCH -t 08:00:00", "export OMP_NUM_THREADS='1'"):
        assert line in script
    # Enter gave all jobs back
    assert sorted(numbers_in(slurm / "cancelled")) == sorted(jobs)
    deadline = time.monotonic() + 20
    while alive(jobs):
        assert time.monotonic() < deadline
        time.sleep(0.2)
