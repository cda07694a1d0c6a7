"""The most telling faults in one small study: a second coordinator, then kill -9 of all while a result is stored.

The second coordinator, and the one that goes on, are this process: the first is the only one that has to die.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from harness.trial.run import run_trial
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context
from tests.faults.places import MOMENTS, Study, gone, names, results, seen, until
from tests.inside import command


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as workers do
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread", "blank_figures")
@pytest.mark.long
def test_refused_killed_and_run_again(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(study.temporary))
    again = ("ablation", "--preset", "quick", *study.options, "--arms", "none")
    moment, process = MOMENTS["store"](study), study.begin("--arms", "none")
    until(lambda: any(study.temporary.glob("harness-run-*")), process)
    os.kill(process.pid, signal.SIGSTOP)  # while it has the store
    refused = command(study.folder, *again)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: storage sqlite:///runs/harness.db: another study is writing to it")
    os.kill(process.pid, signal.SIGCONT)
    while not seen(moment, process):  # on a busy machine the moment may pass unseen
        shutil.rmtree(study.folder / "runs")
        process = study.begin("--arms", "none")
    os.killpg(process.pid, signal.SIGKILL)
    gone(process)

    completed = command(study.folder, *again)
    assert completed.returncode == 0, completed.stderr
    (result,) = results(study).values()
    assert names(study.temporary) == []
    assert not [name for name in (*names(study.cache), *names(study.output)) if "/." in f"/{name}"]
    monkeypatch.chdir(study.folder)
    # as the trial is by itself
    spec = TrialSpec.model_validate_json(result.numbers["spec"]).model_copy(update={"dataset": "./toy"})
    alone = run_trial(spec, Context(tmp_path / "cache"))
    assert {name: result.numbers[name] for name in alone.metrics} == alone.metrics
    assert result.ranks == (2 * alone.ranks["rank"]).tolist()
