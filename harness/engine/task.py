"""What a worker does: a task, or a stack of students; every failure but a user's error becomes an outcome."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness import plugins
from harness.distill.training.loop import Trained
from harness.errors import UserError
from harness.trial.run import SCORED, TrialError, TrialResult, build_stage, peak_memory, run_trial
from harness.trial.spec import TrialSpec
from harness.trial.stacks import train_together
from harness.trial.stages import Context

#: how a worker's warning of a stack that failed as a whole begins
STACK_FAILED = "a stack failed"
#: what a worker reports: the stage, the fraction of it that is done, and the latest validation MRR
Progress = tuple[str, float, float | None]


@dataclass(frozen=True)
class Task:
    """A shared stage (``stage`` is its name) or a trial (``stage`` None), and the tasks it has to wait for."""

    id: str
    spec: TrialSpec
    stage: str | None = None
    needs: frozenset[str] = frozenset()
    #: stage and key of each stored result that it reads
    reads: tuple[tuple[str, str], ...] = ()
    #: students of one group may train in one stack
    group: str | None = None
    #: whether a trial is scored on test facts; inside a search it is not
    scored: bool = True


@dataclass(frozen=True)
class Outcome:
    """What came of a task: the result of a trial or the seconds of a stage, or why there is none.

    ``worked`` are the seconds that a core worked for it (on a GPU those of the clock; of a stack its share), ``mib``
    the most that its worker ever held, ``starting`` the seconds that a core worked before the worker's first task.
    """

    result: TrialResult | None = None
    seconds: float = 0.0
    failure: str | None = None
    details: str = ""
    warnings: tuple[str, ...] = ()
    worked: float = 0.0
    mib: float = 0.0
    starting: float = 0.0


#: whether this process has had a task
_has_worked = False


def work(tasks: Sequence[Task], context: Context, listen: Callable[[Progress], None]) -> list[Outcome]:
    """Do one task or a stack, in a worker; ``listen`` gets its progress, at most five times a second."""
    global _has_worked
    clock = time.perf_counter if context.device == "cuda" else time.process_time
    began, starting, _has_worked = clock(), 0.0 if _has_worked else time.process_time(), True
    plugins.load(context.plugins)
    last = 0.0

    def report(stage: str, done: float, metric: float | None) -> None:
        nonlocal last
        if time.monotonic() - last > 0.2 or metric is not None:
            last = time.monotonic()
            listen((stage, done, metric))

    reporting = replace(context, report=report)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        trained = _together(tasks, reporting) if len(tasks) > 1 else [None]
        outcomes = [_attempt(task, reporting, stacked) for task, stacked in zip(tasks, trained, strict=True)]
    messages = tuple(str(w.message) for w in caught if str(w.message).startswith(("cache file", STACK_FAILED)))
    worked, mib = (clock() - began) / len(tasks), peak_memory()
    outcomes = [replace(outcome, worked=worked, mib=mib) for outcome in outcomes]
    return [replace(outcomes[0], warnings=messages, starting=starting), *outcomes[1:]]


def _together(tasks: Sequence[Task], context: Context) -> Sequence[Trained | ArithmeticError | None]:
    """What training in a stack yields; None for all students if it fails, which may be the fault of one of them."""
    try:
        return train_together([task.spec for task in tasks], tasks[0].stage, context)
    except UserError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        warnings.warn(f"{STACK_FAILED}; its {len(tasks)} students train one by one ({reason})", stacklevel=2)
        return [None] * len(tasks)


def _attempt(task: Task, context: Context, stacked: Trained | ArithmeticError | None) -> Outcome:
    if isinstance(stacked, ArithmeticError):
        return Outcome(failure=str(stacked))
    try:
        if task.stage is None:
            splits = SCORED if task.scored else SCORED[:1]
            return Outcome(result=run_trial(task.spec, context, stacked, splits))
        return Outcome(seconds=build_stage(task.stage, task.spec, context, stacked))
    except UserError:
        raise
    except TrialError as error:
        return Outcome(failure=str(error))
    except MemoryError:
        return Outcome(failure="out of memory")
    except Exception as error:  # a failed trial never ends a study
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Outcome(failure=reason[:400], details=traceback.format_exc()[-4000:])
