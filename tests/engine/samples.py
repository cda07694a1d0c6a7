"""Tasks, and a listener that remembers, as tests of workers need them."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field

from harness.engine import coordinator as execute
from harness.engine.scheduler import Listener, Settled
from harness.engine.task import Outcome, Task
from harness.trial.cache import Cache
from harness.trial.inputs import graph_of
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context


@dataclass
class Record:
    started: list[str] = field(default_factory=list)
    finished: dict[str, Outcome] = field(default_factory=dict)

    def listener(self) -> Listener:
        def finish(task: Task, outcome: Outcome) -> Settled:
            assert task.id not in self.finished
            self.finished[task.id] = outcome
            return "here"

        return Listener(lambda task: self.started.append(task.stage or task.spec.arm), finish, lambda _: None)


def change(spec: TrialSpec, **values: object) -> TrialSpec:
    return TrialSpec.model_validate({**spec.model_dump(), **values})


def tasks_of(spec: TrialSpec, context: Context, *arms: str) -> list[Task]:
    digest = graph_of(spec.dataset, None).digest
    cells = [change(spec, arm=arm) for arm in arms]
    return execute.tasks(cells, execute.plans(cells, digest, "cpu"), Cache(context.cache_dir))


class _Deadly(TrialSpec):
    """Kills the worker that reads its data set's name, as the system does when memory runs out."""

    def __getattribute__(self, name: str) -> object:
        if name == "dataset" and os.environ.get("COORDINATOR") != str(os.getpid()):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getattribute__(name)
