"""One progress display for a study; plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from types import MappingProxyType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from harness.console import duration, printable
from harness.engine.task import Task
from harness.vocabulary import stage_name


def _label(task: Task) -> str:
    """What a task is about, for the terminal."""
    spec, name = task.spec, f"{task.spec.backbone} {task.spec.arm}, seed {task.spec.seed}"
    if task.stage in ("finetune", "encode", "semantic", "llm-targets", "rerank"):
        name = spec.llm.model
    elif task.stage in ("teacher", "targets", "teacher-vectors"):
        name = f"{spec.teacher_backbone} {spec.teacher.dim}-d"
        name += f", seed {spec.seed}" if spec.has_teacher_a_seed else ""
    elif task.stage == "stage1":
        name = f"{spec.backbone} {'undistilled' if spec.arm == 'none' else 'L1'}, seed {spec.seed}"
    return escape(printable(name))


def _in_notebook(console: Console) -> bool:
    """Whether this is a notebook in which rich can draw: without ipywidgets it would warn again and again."""
    return console.is_jupyter and find_spec("ipywidgets") is not None


class StudyProgress:
    """A bar for the study (tasks done of all, time left) and a line for each task that runs.

    The time left is that of the tasks left by what those of their kind (a stage, or trials) took so far.
    """

    def __init__(self, title: str, tasks: list[Task], trials: int, complete: int, console: Console) -> None:
        self.console, self.title = console, title
        self.trials, self.complete, self.failed = trials, complete, 0
        #: the kind of each task that is not done, by its id
        self.left = {task.id: task.stage for task in tasks}
        self.total, self.most_running = len(self.left), 1
        self.began: dict[str, float] = {}
        #: seconds and number of the tasks of a kind that are done
        self.took: defaultdict[str | None, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
        self.bars: dict[str, TaskID] = {}
        self.running: dict[str, Task] = {}
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            refresh_per_second=2,  # drawing it takes a core's time from the workers
            disable=not (console.is_terminal or _in_notebook(console)),
        )
        self.study_bar = self.bar.add_task(f"[bold]{escape(title)}", total=max(self.total, 1), note="")

    def add(self, tasks: Iterable[Task]) -> None:
        """Tasks that were not known at the start."""
        known = len(self.left)
        self.left |= {task.id: task.stage for task in tasks}
        self.total += len(self.left) - known
        self.bar.update(self.study_bar, total=max(self.total, 1))

    @contextmanager
    def shown(self) -> Iterator[StudyProgress]:
        with self.bar:
            self._refresh()
            yield self

    def start(self, task: Task) -> None:
        """A task runs, or runs again."""
        if task.id in self.bars:
            return
        self.running[task.id], self.began[task.id] = task, time.monotonic()
        self.most_running = max(self.most_running, len(self.running))
        name = stage_name(task.stage) if task.stage else "trial"
        self.bars[task.id] = self.bar.add_task(f"  {name} · {_label(task)}", total=1.0, note="")

    def update(self, reports: Mapping[str, tuple[str, float, float | None]]) -> None:
        """Take what the workers report: stage, fraction done of it, latest validation MRR."""
        shares: dict[str, float] = {}
        for key, (stage, done, metric) in reports.items():
            if key not in self.bars:
                continue
            shares[key] = 0.9 + 0.1 * done if stage == "evaluate" else 0.9 * done
            name = f"  {stage_name(stage)} · {_label(self.running[key])}"
            self.bar.update(self.bars[key], description=name, completed=done)
            if metric is not None:
                self.bar.update(self.bars[key], note=f"MRR {metric:.4f}")
        self._refresh(shares)

    def finish(self, task: Task, note: str, failed: bool) -> float:
        """A task is done; ``note`` is its outcome in words. Returns the seconds that it took."""
        took = time.monotonic() - self.began.get(task.id, time.monotonic())
        self.left.pop(task.id, None)
        if self.running.pop(task.id, None) is not None:
            seconds, number = self.took[task.stage]
            self.took[task.stage] = seconds + took, number + 1
        if task.id in self.bars:
            self.bar.remove_task(self.bars.pop(task.id))
        if task.stage is None:
            self.failed += failed
            self.complete += not failed
        mark = "[red]failed[/]" if failed else "[green]done[/]"
        name = stage_name(task.stage) if task.stage else f"trial {self.complete + self.failed}/{self.trials}"
        self.console.print(f"{mark} {name} · {_label(task)}: {escape(printable(note))}", highlight=False)
        self._refresh()
        return took

    def _refresh(self, shares: Mapping[str, float] = MappingProxyType({})) -> None:
        note = f"{self.complete}/{self.trials} trials" + (f", {self.failed} failed" if self.failed else "")
        seconds = self._seconds_left(shares)
        note += "" if seconds is None else f" · {duration(seconds)} left"
        done = self.total - len(self.left) + sum(shares.values())
        self.bar.update(self.study_bar, completed=done, note=note)

    def _seconds_left(self, shares: Mapping[str, float]) -> float | None:
        """By the tasks that are done, as many at once as so far at most; None while there are none."""
        if not self.took:
            return None
        means = {kind: seconds / number for kind, (seconds, number) in self.took.items()}
        usual = sum(seconds for seconds, _ in self.took.values()) / sum(number for _, number in self.took.values())
        left: float = sum(means.get(kind, usual) * (1 - shares.get(key, 0.0)) for key, kind in self.left.items())
        return left / self.most_running
