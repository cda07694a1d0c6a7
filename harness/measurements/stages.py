"""Seconds, memory and energy of a stage that is made once more, by a process that does nothing else."""

from __future__ import annotations

import importlib
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from harness.measurements.in_the_loop import stages_of, step_rate
from harness.measurements.timer import Rows
from harness.models import Backbone
from harness.trial.arms import REFERENCES
from harness.trial.run import peak_memory, run_trial, scored_model, stage2_student
from harness.trial.shared.stage import STAGES
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages

#: steps with online teachers after which memory grows no more
LOOP_STEPS = 6


def stage(spec: TrialSpec, name: str, context: Context) -> Rows:
    """Make a stage of a trial, of which all others are cached.

    Args:
        spec: the trial.
        name: a shared stage; "student" for what comes after them (stage 2 and evaluation); "loop" for some steps of
            stage 2 with online teachers.
        context: whose cache has the other stages. The stage is made in another cache.

    Returns:
        A row a stage: ``stage``, ``seconds`` (compiling included), ``peak_mib`` (most memory that the process ever
        held), ``base_mib`` (of it before the stage: interpreter, libraries, data), ``device_mib`` (most that a GPU
        held, None without one), ``energy_wh`` and ``energy_reason``.
    """
    Stages(spec, context).inputs.training("classes")  # reads the data, once a process
    base, started = peak_memory(), time.perf_counter()
    with metered() as energy:
        if name == "student":
            result = run_trial(spec, context)
        elif name == "loop":
            step_rate(spec, context, "exact", stages_of(spec)[-1], LOOP_STEPS)
        else:
            with without(name, context) as elsewhere:
                Stages(spec, elsewhere).entry(name)
    parts = [(name, time.perf_counter() - started, peak_memory())]
    if name == "student":
        students = [part for part in ("stage1", "stage2", "evaluate") if part in result.seconds]
        parts = [(part, result.seconds[part], result.peak_mib[part]) for part in students]
    device = torch.cuda.max_memory_allocated() / 2**20 if context.device == "cuda" else None
    rows: Rows = [
        {"stage": part, "seconds": seconds, "peak_mib": peak, "base_mib": base, "device_mib": device}
        | {"energy_wh": None, "energy_reason": "counted with the stage before"}
        for part, seconds, peak in parts
    ]
    rows[0] |= energy
    return rows


@contextmanager
def without(name: str, context: Context) -> Iterator[Context]:
    """The context with a cache that lacks the stage ``name`` and shares all others."""
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        for other in STAGES:
            if other != name:
                shared = context.cache_dir.resolve() / other
                shared.mkdir(parents=True, exist_ok=True)
                (Path(folder) / other).symlink_to(shared, target_is_directory=True)
        yield replace(context, cache_dir=Path(folder))


def trained(spec: TrialSpec, context: Context) -> Backbone:
    """The trained model of a trial: a teacher from the cache; of a student stage 2 is trained again, unless facts that
    it looks up were weighed against its rounded state, which is kept.

    Raises:
        ValueError: of an arm whose losses come in another order.
    """
    stages = Stages(spec, context)
    if spec.arm in REFERENCES:
        return stages.reference()
    if spec.student.gaps:
        return scored_model(spec, context)
    if spec.stage1_of_its_own:
        raise ValueError("the language model's losses come first: such a student is not trained here")
    if spec.shares_stage1 and spec.student.stage1_epochs == spec.student.epochs:
        model = stages.stage1_student().model
        tensors = stages.entry("stage1").tensors
        model.load_state_dict({k.removeprefix("best/"): v for k, v in tensors.items() if k.startswith("best/")})
        return model.eval()
    student = stage2_student(stages)
    student.model.load_state_dict(stages.train(student, "stage2").best)
    return student.model.eval()


# ---- energy ----------------------------------------------------------------------------------------------------------

#: what codecarbon reads counters through: module, and its function that checks whether it can
_COUNTERS = (
    ("codecarbon.core.cpu", "is_rapl_available"),
    ("codecarbon.core.cpu", "is_powergadget_available"),
    ("codecarbon.core.powermetrics", "is_powermetrics_available"),
)


def unreadable() -> str:
    """Why energy cannot be read here; "" where it can.

    Without counters codecarbon multiplies a power that it assumes by the time, which is no measurement.
    """
    try:
        importlib.import_module("codecarbon")
    except ImportError:
        return "the optional package codecarbon is not installed"
    for name, function in _COUNTERS:
        try:
            if getattr(importlib.import_module(name), function)():
                return ""
        except (ImportError, AttributeError, OSError):  # not of this version, or of another system
            continue
    return "the machine lets no process read the processor's energy counters"


@contextmanager
def metered() -> Iterator[dict[str, Any]]:
    """Yield a row that gets the block's ``energy_wh`` when it ends (None: unreadable, see ``energy_reason``).

    No file is written, and no network is used.
    """
    row: dict[str, Any] = {"energy_wh": None, "energy_reason": unreadable()}
    if row["energy_reason"]:
        yield row
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tracker = importlib.import_module("codecarbon").OfflineEmissionsTracker(
            country_iso_code="USA",  # of no matter: only emissions depend on it
            measure_power_secs=1,
            save_to_file=False,
            allow_multiple_runs=True,
            log_level="critical",
        )
        tracker.start()
        try:
            yield row
        finally:
            tracker.stop()
            row["energy_wh"] = 1000 * float(tracker.final_emissions_data.energy_consumed)
