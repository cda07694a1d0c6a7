"""Runs tasks that depend on each other on workers, one task or stack of students each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from harness.runs.work import Outcome, Progress, Task
from harness.runs.workers import Workers

#: whether a task may start: not while another coordinator works on it, and never if one is done with it
Claim = Literal["mine", "later", "elsewhere"]
#: whether the outcome of a task counts: "elsewhere" if another coordinator took the task meanwhile
Settled = Literal["here", "elsewhere"]


@dataclass
class Listener:
    """What a run tells of itself while it goes on; called in the coordinator.

    ``working`` comes first, when the workers have their first tasks: the time for what they need not wait for.
    ``more`` gives further tasks: it is asked, once it was told all news, how many cells could run beside those that
    run or wait. A run ends when it has none. ``claim`` is asked before a task starts: "later" lets it wait, "elsewhere"
    drops it. A task that ``finished`` finds settled elsewhere waits for what comes of it there.
    """

    started: Callable[[Task], None]
    finished: Callable[[Task, Outcome], Settled]
    progress: Callable[[dict[str, Progress]], None]
    working: Callable[[], None] = lambda: None
    more: Callable[[int], Sequence[Task]] = lambda _: ()
    claim: Callable[[Task], Claim] = lambda _: "mine"


def run(tasks: Iterable[Task], workers: Workers, listener: Listener, stack: int = 1) -> None:
    """Run all tasks; return when none is left.

    A task whose needs failed is not started and fails with their reason. When all workers are lost, since one of them
    died (killed, out of memory), the tasks that were running are tried once more, one at a time; the one that kills its
    worker again fails.

    Args:
        tasks: in any order; ``needs`` that name no task are taken as met.
        workers: who does them.
        listener: is told what happens.
        stack: how many students train side by side, at most.

    Raises:
        UserError: one that a worker raised, such as weights that are not there: no other task would fare better.
    """
    _Run(list(tasks), workers, listener, stack).loop()


@dataclass
class _Run:
    waiting: list[Task]
    workers: Workers
    listener: Listener
    stack: int
    failed: dict[str, str] = field(default_factory=dict)
    suspects: dict[str, int] = field(default_factory=dict)
    running: dict[Future[list[Outcome]], tuple[Task, ...]] = field(default_factory=dict)
    #: what the listener has still to be told, in the order in which it happened
    news: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open = {task.id for task in self.waiting}
        self.known = set(self.open)
        if self.waiting:
            self.news.append(self.listener.working)

    def loop(self) -> None:
        try:
            while self.waiting or self.running or self.news or self._extend():
                self._submit()
                self._tell()
                if self._extend():
                    self._submit()
                    self._tell()
                if self.waiting and not self.running:
                    time.sleep(0.5)  # for others to finish what they claimed
                done, _ = wait(self.running, timeout=0.5, return_when=FIRST_COMPLETED)
                self.listener.progress(self._progress())
                for future in done:
                    self._collect(future)
        except BaseException:
            self.workers.close()
            raise

    def _extend(self) -> bool:
        """Take further tasks while workers have nothing to do, stages only that this run did not have yet."""
        taken = sum(task.stage is None for task in self.waiting)
        taken += sum(len(tasks) for tasks in self.running.values())
        room = max(self.workers.slots * self.stack - taken, 0)
        new = [task for task in self.listener.more(room) if task.id not in self.known]
        self.waiting += new
        self.open |= {task.id for task in new}
        self.known |= {task.id for task in new}
        return bool(new)

    def _tell(self) -> None:
        """Tell the listener, who takes his time (he writes to a disk), when the workers have got what comes next."""
        while self.news:
            self.news.pop(0)()

    def _submit(self) -> None:
        for task in [task for task in self.waiting if task.needs & self.failed.keys()]:
            cause = self.failed[min(task.needs & self.failed.keys())]
            self.waiting.remove(task)
            self._finish(task, Outcome(failure=cause))
        ready = sorted((task for task in self.waiting if not task.needs & self.open), key=lambda task: task.rank)
        suspicious = [task for task in ready if task.id in self.suspects]
        alone = any(task.id in self.suspects for tasks in self.running.values() for task in tasks)
        # after a crash, the tasks that may have caused it run one at a time and nothing beside them
        room = 0 if alone else 1 - len(self.running) if suspicious else self.workers.slots - len(self.running)
        limit = 1 if suspicious else self.stack
        for tasks in stacks(self._claimed(suspicious or ready, room * limit), limit)[: max(room, 0)]:
            for task in tasks:
                self.waiting.remove(task)
                self.news.append(partial(self.listener.started, task))
            self.running[self.workers.submit(tasks)] = tasks

    def _claimed(self, tasks: Sequence[Task], most: int) -> list[Task]:
        """Up to ``most`` of the tasks, in their order, that may start; those that others are done with are dropped."""
        found: list[Task] = []
        for task in tasks:
            if len(found) >= most:
                break
            claim = self.listener.claim(task)
            if claim == "mine":
                found.append(task)
            elif claim == "elsewhere":
                self.waiting.remove(task)
                self.open.discard(task.id)
        return found

    def _collect(self, future: Future[list[Outcome]]) -> None:
        if future not in self.running:
            return
        error = future.exception()
        if error is None:
            for task, outcome in zip(self.running.pop(future), future.result(), strict=True):
                self._finish(task, outcome)
        elif self.workers.lost_all(error):
            self._recover()
        else:
            self._tell()  # of what ended well
            raise error

    def _recover(self) -> None:
        lost, self.running = [task for tasks in self.running.values() for task in tasks], {}
        for task in lost:
            self.suspects[task.id] = self.suspects.get(task.id, 0) + 1
            if self.suspects[task.id] > 1 and len(lost) == 1:
                self._finish(task, Outcome(failure="its worker was killed twice (out of memory?)"))
            else:
                self.waiting.append(task)

    def _finish(self, task: Task, outcome: Outcome) -> None:
        self.open.discard(task.id)
        self.workers.forget(task)
        if outcome.failure is None:
            self.suspects.pop(task.id, None)
        else:
            reason = outcome.failure
            if task.stage is not None and not reason.startswith("shared stage"):
                reason = f"shared stage {task.stage}: {reason}"
            self.failed[task.id] = reason
            outcome = replace(outcome, failure=reason)
        self.news.append(partial(self._settle, task, outcome))

    def _settle(self, task: Task, outcome: Outcome) -> None:
        if self.listener.finished(task, outcome) == "elsewhere":
            self.waiting.append(task)
            self.open.add(task.id)

    def _progress(self) -> dict[str, Progress]:
        told = ((tasks, self.workers.progress(tasks[0])) for tasks in self.running.values())
        return {task.id: each for tasks, each in told if each is not None for task in tasks}


def stacks(tasks: Sequence[Task], limit: int) -> list[tuple[Task, ...]]:
    """The tasks in their order, up to ``limit`` of one group together."""
    found: list[list[Task]] = []
    open_ones: dict[str, list[Task]] = {}
    for task in tasks:
        stack = open_ones.get(task.group or "")
        if stack is not None and len(stack) < limit:
            stack.append(task)
            continue
        found.append([task])
        if task.group is not None:
            open_ones[task.group] = found[-1]
    return [tuple(each) for each in found]
