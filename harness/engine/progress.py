"""One progress display for a whole study; plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from harness.console import printable
from harness.engine.task import Task
from harness.vocabulary import stage_name


def label(task: Task) -> str:
    """What a task is about, short, and safe to show."""
    return printable(_label(task))


def _label(task: Task) -> str:
    spec = task.spec
    if task.stage in ("finetune", "encode", "semantic", "llm-targets"):
        return spec.llm.model
    if task.stage in ("teacher", "targets", "teacher-vectors"):
        return f"{spec.teacher_backbone} {spec.teacher.dim}-d"
    if task.stage == "stage1":
        return f"{spec.backbone} {'undistilled' if spec.arm == 'none' else 'L1'}, seed {spec.seed}"
    return f"{spec.backbone} {spec.arm}, seed {spec.seed}"


class StudyProgress:
    """A bar for the study (cells done of all, time left) and a line for each task that runs."""

    def __init__(self, title: str, tasks: list[Task], cells: int, complete: int, console: Console) -> None:
        self.console, self.title = console, title
        self.cells, self.complete, self.failed = cells, complete, 0
        #: expected seconds of the work, of which the display needs proportions only
        self.costs = {task.id: task.seconds for task in tasks}
        self.total, self.done_cost, self.started = sum(self.costs.values()), 0.0, time.monotonic()
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
            disable=not console.is_terminal,
        )
        self.whole = self.bar.add_task(f"[bold]{escape(title)}", total=max(self.total, 1e-9), note="")

    def add(self, tasks: Iterable[Task]) -> None:
        """Tasks that were not known at the start."""
        new = {task.id: task.seconds for task in tasks if task.id not in self.costs}
        self.costs |= new
        self.total += sum(new.values())
        self.bar.update(self.whole, total=max(self.total, 1e-9))

    @contextmanager
    def shown(self) -> Iterator[StudyProgress]:
        with self.bar:
            self._refresh(0.0)
            yield self

    def start(self, task: Task) -> None:
        """A task runs, or runs again."""
        if task.id in self.bars:
            return
        self.running[task.id] = task
        name = stage_name(task.stage) if task.stage else "cell"
        self.bars[task.id] = self.bar.add_task(f"  {name} · {escape(label(task))}", total=1.0, note="")

    def update(self, reports: Mapping[str, tuple[str, float, float | None]]) -> None:
        """Take what the workers report: stage, fraction done of it, latest validation MRR."""
        partial = 0.0
        for key, (stage, done, metric) in reports.items():
            if key not in self.bars:
                continue
            share = 0.9 + 0.1 * done if stage == "evaluate" else 0.9 * done
            partial += share * self.costs[key]
            name = f"  {stage_name(stage)} · {escape(label(self.running[key]))}"
            self.bar.update(self.bars[key], description=name, completed=done)
            if metric is not None:
                self.bar.update(self.bars[key], note=f"MRR {metric:.4f}")
        self._refresh(partial)

    def finish(self, task: Task, note: str, failed: bool) -> None:
        """A task is done; ``note`` says what came of it."""
        self.done_cost += self.costs[task.id]
        self.running.pop(task.id, None)
        if task.id in self.bars:
            self.bar.remove_task(self.bars.pop(task.id))
        if task.stage is None:
            self.failed += failed
            self.complete += not failed
        mark = "[red]failed[/]" if failed else "[green]done[/]"
        name = stage_name(task.stage) if task.stage else f"cell {self.complete + self.failed}/{self.cells}"
        self.console.print(f"{mark} {name} · {escape(label(task))}: {escape(printable(note))}", highlight=False)
        self._refresh(0.0)

    def _refresh(self, partial: float) -> None:
        done = self.done_cost + partial
        spent = time.monotonic() - self.started
        left = spent * (self.total - done) / done if done > 0.02 * self.total else None
        note = f"{self.complete}/{self.cells} cells" + (f", {self.failed} failed" if self.failed else "")
        note += "" if left is None else f" · {_duration(left)} left"
        self.bar.update(self.whole, completed=done, note=note)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes}:{rest:02d}"
