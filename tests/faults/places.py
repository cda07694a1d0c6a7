"""Studies in a place of their own, watched from outside, and what has to be equal afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import psutil
from optuna.trial import TrialState

from harness.store.database import optuna_private
from harness.store.database.optuna_private import ARTIFACT
from harness.store.files.artifacts import Evidence, key_of
from harness.store.records import unpacked
from harness.store.store import Store
from harness.store.study import parts_of
from tests.place import Place

#: through all stages; the language model is fine-tuned with LoRA
SETTINGS = {"finetune": "lora", "token_budget": 2000}
#: none, L1, L1+L2, L1+L3, L1+L2+L3, teacher and llm-teacher
CELLS = 7


class Study(Place):
    """The ablation on a small data set: its store, cache, artifacts, report and temporary files in one folder."""

    def __init__(self, folder: Path, encoder: Path, jobs: int = 1, **settings: object) -> None:
        super().__init__(folder, encoder, **{**SETTINGS, **settings})
        self.options[self.options.index("--jobs") + 1] = str(jobs)
        self.cache, self.artifacts = folder / "runs" / "cache", folder / "runs" / "artifacts"
        self.output, self.temporary = folder / "reports" / "output" / "ablation-toy@f31aa698", folder / "tmp"
        self.temporary.mkdir()
        self.environment = {"TMPDIR": str(self.temporary)}

    def begin(self, *more: str, **how: Any) -> subprocess.Popen[str]:
        return self.start("ablation", "--preset", "quick", *self.options, *more, **how)

    def complete(self, *more: str) -> str:
        """Run to the end; what it says."""
        return end(self.begin(*more))


def end(process: subprocess.Popen[str], code: int = 0) -> str:
    out, err = process.communicate(timeout=280)
    assert process.returncode == code, out + err
    return out + err


def until(condition: Callable[[], object], process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Wait for what can be seen from outside."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)


def seen(condition: Callable[[], object], process: subprocess.Popen[str]) -> bool:
    """Whether it could be seen before the process ended."""
    while not (actual := condition()) and process.poll() is None:
        time.sleep(0.001)
    return bool(actual)


# ---- the moments of a study ------------------------------------------------------------------------------------------


def reading(study: Study) -> Callable[[], bool]:
    """The system notes when a file was read last, if it was written since."""
    facts = study.folder / "toy" / "train.txt"
    os.utime(facts, (1, facts.stat().st_mtime))
    return lambda: facts.stat().st_atime > 1


def reading_again(study: Study) -> Callable[[], bool]:
    """A worker reads what the coordinator has read."""
    seen: list[Callable[[], bool]] = []

    def is_read() -> bool:
        if not seen and any(study.temporary.glob("harness-run-*")):
            seen.append(reading(study))
        return bool(seen) and seen[0]()

    return is_read


def making(stage: str) -> Callable[[Study], Callable[[], bool]]:
    """A process has the lock of a shared stage."""
    return lambda study: lambda: any((study.cache / stage).glob("*.lock"))


def student(study: Study) -> Callable[[], bool]:
    """A worker tells of its progress once every shared stage is there."""
    return lambda: any((study.cache / "stage1").glob("*.safetensors")) and _tells(study, "stage2")


def _tells(study: Study, stage: str) -> bool:
    for path in study.temporary.glob("harness-run-*/*.progress"):
        try:
            if path.read_text().startswith(stage):
                return True
        except OSError:
            continue
    return False


def storing(study: Study) -> Callable[[], bool]:
    """A transaction that the disk has not got yet, and the file of its trial."""
    journal = study.folder / "runs" / "harness.db-journal"
    return lambda: journal.exists() and loose(study) > 0


def loose(study: Study) -> int:
    """How many trials have a file of their own, as while a study runs."""
    return sum(1 for _ in study.artifacts.glob(f"{'[0-9a-f]' * 24}-{'[0-9a-f]' * 8}"))


def reporting(study: Study) -> Callable[[], bool]:
    return lambda: any(study.output.glob(".unfinished-*/*"))


#: the shared stages, and the folders of the cache that they go to
SHARED = {"teacher": "teacher", "fine-tuning": "finetune", "encoding": "encode", "targets": "targets"}
#: by stage: what is seen of it from outside
MOMENTS: dict[str, Callable[[Study], Callable[[], bool]]] = {
    "reading": reading,
    **{stage: making(folder) for stage, folder in SHARED.items()},
    "student": student,
    "store": storing,
    "report": reporting,
}


# ---- victims ---------------------------------------------------------------------------------------------------------


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that compute for a coordinator."""
    children = psutil.Process(process.pid).children()
    return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]


def kill(process: subprocess.Popen[str], victim: str) -> None:
    """SIGKILL, which nobody can answer."""
    if victim == "coordinator":
        process.kill()
    elif victim == "group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        for worker in workers(process):
            worker.kill()


def gone(process: subprocess.Popen[str]) -> None:
    """Wait until no process of a killed study is left."""
    process.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while alive := [p for p in psutil.process_iter(["pid"]) if _session(p.pid) == process.pid]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


# ---- what has to be equal --------------------------------------------------------------------------------------------


@dataclass
class Result:
    """What a cell's numbers are, to the bit: metrics, intermediate values, doubled ranks and the learning curve."""

    numbers: dict[str, Any]
    values: dict[int, float]
    ranks: list[int]
    curve: pd.DataFrame


def results(study: Study, url: str | None = None) -> dict[str, Result]:
    """All results of a store, by cell; every cell is complete once, none runs, and no file is there for nothing."""
    actual: dict[str, Result] = {}
    used: set[str] = set()
    with closing(Store(url or f"sqlite:///{study.folder}/runs/harness.db", study.artifacts, create=False)) as store:
        for name, known in store.studies().items():
            evidence = Evidence(study.artifacts, name)
            first, *_ = parts = parts_of(store.storage, name)
            system = optuna_private.system_attributes(store.storage, first)
            used |= {key.removeprefix(ARTIFACT) for key in system if key.startswith(ARTIFACT)}
            for trial in (trial for part in parts for trial in part.get_trials(deepcopy=False)):
                assert trial.state in (TrialState.COMPLETE, TrialState.FAIL)
                if trial.state == TrialState.COMPLETE:
                    assert trial.user_attrs["cell"] not in actual
                    actual[trial.user_attrs["cell"]] = _result(evidence, trial, known.user_attrs)
    assert {path.name for path in study.artifacts.iterdir()} - {".lock"} == used
    return actual


def _result(evidence: Evidence, trial: optuna.trial.FrozenTrial, records: Mapping[str, Any]) -> Result:
    of_its_time = ("seconds_", "built_seconds_", "peak_mib_")
    attributes = unpacked(trial.user_attrs, records)
    about = {name: value for name, value in attributes.items() if not name.startswith(of_its_time)}
    kept = {name: about[name] for name in about if name.startswith(("valid_", "test_"))}
    kept |= {name: about[name] for name in ("spec", "label", "data_digest", "updates", "best_epoch") if name in about}
    kept |= {"value": trial.value, **trial.params}
    curve = evidence.curves([key_of(trial)]).drop(columns=["seconds", "trial"]).dropna(axis="columns", how="all")
    ranks = evidence.doubled(key_of(trial)).tolist()
    return Result(kept, trial.intermediate_values, ranks, curve[sorted(curve)].reset_index(drop=True))


def check(study: Study, undisturbed: Study, url: str | None = None) -> None:
    """The study ended as the undisturbed one: numbers equal to the bit, and no file that the other has not."""
    compare(results(study, url), results(undisturbed))
    assert names(study.cache) == names(undisturbed.cache)
    assert names(study.output) == names(undisturbed.output)
    assert names(study.temporary) == []
    assert len(names(study.artifacts)) == len(names(undisturbed.artifacts))


def compare(actual: dict[str, Result], wanted: dict[str, Result]) -> None:
    """Results that are equal to the bit."""
    assert len(wanted) == CELLS
    assert actual.keys() == wanted.keys()
    for cell, result in actual.items():
        other = wanted[cell].numbers
        assert result.numbers.keys() == other.keys()
        assert {name: (n, other[name]) for name, n in result.numbers.items() if n != other[name]} == {}
        assert result.values == wanted[cell].values, cell
        assert result.ranks == wanted[cell].ranks, cell
        pd.testing.assert_frame_equal(result.curve, wanted[cell].curve, check_exact=True)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
