"""What a machine runs out of, or does of its own: memory, room on a disk, a disk that takes no more, its clock."""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.faults.places import MOMENTS, Study, check, end, until, workers

Mount = Callable[[Path, str], None]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Gives a folder a file system of its own in memory, or changes the options of the one it has."""
    mounted: list[Path] = []

    def make(folder: Path, options: str) -> None:
        words = ["-o", f"remount,{options}"] if folder in mounted else ["-t", "tmpfs", "-o", options, "tmpfs"]
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", *words, folder], capture_output=True, text=True)
        if done.returncode and folder not in mounted:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        mounted.append(folder)

    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    yield make
    for folder in set(mounted):
        subprocess.run(["umount", "--lazy", folder], check=True)


def is_one_line(output: str) -> bool:
    return "Traceback" not in output and sum(line.startswith("error: ") for line in output.splitlines()) == 1


@pytest.mark.parametrize(
    ("folder", "kib"),
    [("runs", 64), ("runs", 400), ("runs/cache", 200), ("runs/artifacts", 32), ("reports", 100), ("tmp", 8)],
)
@pytest.mark.slow
def test_a_full_disk(study: Study, undisturbed: Study, mount: Mount, folder: str, kib: int) -> None:
    mount(study.folder / folder, f"size={kib}k")
    assert is_one_line(end(study.begin(), 2))
    mount(study.folder / folder, "size=64m")
    study.complete()
    check(study, undisturbed)


@pytest.mark.slow
def test_a_cache_that_cannot_be_written(study: Study, undisturbed: Study, mount: Mount) -> None:
    mount(study.cache, "size=64m,ro")
    output = end(study.begin(), 2)
    assert is_one_line(output)
    assert "cannot be written (Read-only file system)" in output
    mount(study.cache, "rw")
    shutil.copytree(undisturbed.cache, study.cache, dirs_exist_ok=True)
    mount(study.cache, "ro")
    study.complete()  # which has nothing to write
    check(study, undisturbed)


@pytest.mark.parametrize("stage", ["fine-tuning", "student"])
@pytest.mark.slow
def test_a_worker_out_of_memory(study: Study, undisturbed: Study, stage: str) -> None:
    moment, process = MOMENTS[stage](study), study.begin()
    until(moment, process)
    (worker,) = workers(process)
    worker.rlimit(psutil.RLIMIT_AS, (worker.memory_info().vms, resource.RLIM_INFINITY))  # as ulimit -v does
    out, err = process.communicate(timeout=280)
    assert "failed" in out or not worker.is_running()
    assert process.returncode in (0, 2)
    assert "Traceback" not in err
    study.complete()
    check(study, undisturbed)


CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME && access(getenv("JUMPED"), F_OK) == 0) now->tv_sec -= 86400;
    return result;
}
"""


@pytest.mark.slow
def test_a_clock_that_jumps_back(study: Study, undisturbed: Study, tmp_path: Path) -> None:
    """By a day, for all processes of the study, while a student is trained."""
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("the clock is a few lines of C, and there is no compiler here")
    source, library, jumped = tmp_path / "clock.c", tmp_path / "clock.so", tmp_path / "jumped"
    source.write_text(CLOCK, encoding="utf-8")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    study.environment |= {"LD_PRELOAD": str(library), "JUMPED": str(jumped)}
    moment, process = MOMENTS["student"](study), study.begin()
    until(moment, process)
    jumped.touch()
    end(process)
    check(study, undisturbed)
    study.complete()  # the time is an earlier one than that of the trials
    check(study, undisturbed)
