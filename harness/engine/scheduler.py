"""Runs tasks that depend on each other on workers, one task or stack of students each.

Tasks start in the order of the longest chain of tasks that waits for them: the language model before a teacher, a
teacher before the students that wait for it, and tasks of equal chains as they came. It is the upward rank of HEFT
(Topcuoglu, Hariri and Wu 2002) with each task counted as one: weighing tasks by their expected seconds gains nothing
(tests/engine/test_priority.py). In any order no worker idles while a task could run, which keeps the makespan on m
workers below 2 - 1/m times the best (Graham 1969). No number depends on the order.
"""

from __future__ import annotations

import heapq
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from functools import partial
from graphlib import TopologicalSorter
from typing import Literal

from harness.engine.local_workers import Workers
from harness.engine.task import Outcome, Progress, Task

#: whether a task may start: "later" while another coordinator works on it, "elsewhere" once one has finished it
Claim = Literal["mine", "later", "elsewhere"]
#: whether the outcome of a task counts: "elsewhere" if another coordinator took the task meanwhile
Settled = Literal["here", "elsewhere"]


@dataclass
class Listener:
    """What is called in the coordinator as a run goes on.

    ``working`` comes first, when the workers have their first tasks: the time for what they need not wait for.
    ``more`` returns further tasks, given how many trials could run beside those that run or wait; a run ends when
    there are none. ``claim`` comes before a task starts: "later" lets it wait, "elsewhere" drops it. A task that
    ``finished`` finds settled elsewhere waits for its result there.
    """

    started: Callable[[Task], None]
    finished: Callable[[Task, Outcome], Settled]
    progress: Callable[[dict[str, Progress]], None]
    working: Callable[[], None] = lambda: None
    more: Callable[[int], Sequence[Task]] = lambda _: ()
    claim: Callable[[Task], Claim] = lambda _: "mine"


def run(tasks: Iterable[Task], workers: Workers, listener: Listener, stack: int = 1) -> None:
    """Run all tasks, of which ``stack`` students at most train side by side; return when none is left.

    ``needs`` that name no task are taken as met. A task whose needs failed is not started and fails with their reason.
    When all workers are lost, since one of them died (killed, out of memory), the tasks that were running are tried
    once more, one at a time; the one that kills its worker again fails.

    Raises:
        UserError: one that a worker raised, such as weights that are not there: no other task would fare better.
    """
    _Run(workers, listener, stack).loop(list(tasks))


#: tasks as a heap: minus the rank, then the place in the order in which they came
Queue = list[tuple[int, int, Task]]


@dataclass
class _Run:
    workers: Workers
    listener: Listener
    stack: int
    #: tasks that have not started, by id, and how many of them are trials
    waiting: dict[str, Task] = field(default_factory=dict)
    trials: int = 0
    #: those of them that wait for no other task, and apart those that were lost with their worker
    ready: Queue = field(default_factory=list)
    lost: Queue = field(default_factory=list)
    ranks: dict[str, int] = field(default_factory=dict)
    #: places of tasks in the order in which they came
    known: dict[str, int] = field(default_factory=dict)
    #: tasks that are not done, and those that wait for them
    open: set[str] = field(default_factory=set)
    dependents: defaultdict[str, list[Task]] = field(default_factory=lambda: defaultdict(list))
    failed: dict[str, Outcome] = field(default_factory=dict)
    suspects: dict[str, int] = field(default_factory=dict)
    running: dict[Future[list[Outcome]], tuple[Task, ...]] = field(default_factory=dict)
    #: calls of the listener that are due, in their order
    news: list[Callable[[], None]] = field(default_factory=list)

    def loop(self, tasks: Sequence[Task]) -> None:
        if tasks:
            self._add(tasks)
        try:
            while self.waiting or self.running or self.news or self._extend():
                self._submit()
                self._report()
                if self._extend():
                    self._submit()
                    self._report()
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
        """Take further tasks while workers have nothing to do, but no stage that this run has had."""
        taken = self.trials + sum(len(tasks) for tasks in self.running.values())
        room = max(self.workers.slots * self.stack - taken, 0)
        new = [task for task in self.listener.more(room) if task.id not in self.known]
        if new:
            self._add(new)
        return bool(new)

    def _add(self, tasks: Sequence[Task]) -> None:
        if not self.known:
            self.news.append(self.listener.working)
        for task in tasks:
            self.known[task.id] = len(self.known)
            self.waiting[task.id] = task
            self.trials += task.stage is None
        self.open |= {task.id for task in tasks}
        # what is new may wait for what is not, whose rank it raises
        self.ranks |= chain_lengths(self.waiting.values())
        for task in tasks:
            for need in task.needs & self.open:
                self.dependents[need].append(task)
            if causes := task.needs & self.failed.keys():
                self._leave(task)
                self._finish(task, self.failed[min(causes)])
        fresh = (task for task in self.waiting.values() if task.id not in self.suspects)
        self.ready = [self._entry(task) for task in fresh if not task.needs & self.open]
        heapq.heapify(self.ready)

    def _entry(self, task: Task) -> tuple[int, int, Task]:
        return -self.ranks[task.id], self.known[task.id], task

    def _wait(self, task: Task, queue: Queue) -> None:
        """Let a task that had started wait again."""
        self.waiting[task.id] = task
        self.trials += task.stage is None
        heapq.heappush(queue, self._entry(task))

    def _leave(self, task: Task) -> None:
        del self.waiting[task.id]
        self.trials -= task.stage is None

    def _report(self) -> None:
        """Call the listener, which takes its time (it writes to a disk), once the workers have their next tasks."""
        while self.news:
            self.news.pop(0)()

    def _submit(self) -> None:
        alone = any(task.id in self.suspects for tasks in self.running.values() for task in tasks)
        # after a crash, the tasks that may have caused it run one at a time and nothing beside them
        room = 0 if alone else 1 - len(self.running) if self.lost else self.workers.slots - len(self.running)
        queue, limit = (self.lost, 1) if self.lost else (self.ready, self.stack)
        packed = stacks(self._claimed(queue, room * limit), limit)
        for tasks in packed[: max(room, 0)]:
            for task in tasks:
                self._leave(task)
                self.news.append(partial(self.listener.started, task))
            self.running[self.workers.submit(tasks)] = tasks
        for task in (task for tasks in packed[max(room, 0) :] for task in tasks):
            heapq.heappush(queue, self._entry(task))

    def _claimed(self, queue: Queue, most: int) -> list[Task]:
        """Up to ``most`` tasks of a queue, in its order, that may start; those that others have done are dropped."""
        startable: list[Task] = []
        later: Queue = []
        while queue and len(startable) < most:
            entry = heapq.heappop(queue)
            task = entry[-1]
            claim = self.listener.claim(task)
            if claim == "mine":
                startable.append(task)
            elif claim == "later":
                later.append(entry)
            else:
                self._leave(task)
                self.open.discard(task.id)
        for entry in later:
            heapq.heappush(queue, entry)
        return startable

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
            self._report()  # what ended well
            raise error

    def _recover(self) -> None:
        lost, self.running = [task for tasks in self.running.values() for task in tasks], {}
        for task in lost:
            self.suspects[task.id] = self.suspects.get(task.id, 0) + 1
            if self.suspects[task.id] > 1 and len(lost) == 1:
                self._finish(task, Outcome(failure="its worker was killed twice (out of memory?)"))
            else:
                self._wait(task, self.lost)

    def _finish(self, task: Task, outcome: Outcome) -> None:
        self.open.discard(task.id)
        self.workers.forget(task)
        if outcome.failure is None:
            self.suspects.pop(task.id, None)
        else:
            reason = outcome.failure
            if task.stage is not None and not reason.startswith("shared stage"):
                reason = f"shared stage {task.stage}: {reason}"
            outcome = replace(outcome, failure=reason)
            # with its traceback: a stage has no trial to keep it
            self.failed[task.id] = replace(outcome, warnings=())
        self.news.append(partial(self._settle, task, outcome))
        for other in self.dependents.pop(task.id, ()):
            if other.id not in self.waiting:  # it failed with another of its needs
                continue
            if outcome.failure is not None:
                self._leave(other)
                self._finish(other, self.failed[task.id])
            elif not other.needs & self.open:
                heapq.heappush(self.ready, self._entry(other))

    def _settle(self, task: Task, outcome: Outcome) -> None:
        """Report an outcome; a trial that is left to another coordinator waits for its result there."""
        if self.listener.finished(task, outcome) == "elsewhere":
            self.open.add(task.id)
            self._wait(task, self.ready)

    def _progress(self) -> dict[str, Progress]:
        reports = ((tasks, self.workers.progress(tasks[0])) for tasks in self.running.values())
        return {task.id: report for tasks, report in reports if report is not None for task in tasks}


def chain_lengths(tasks: Collection[Task]) -> dict[str, int]:
    """By task id, the length of the longest chain of tasks, each waiting for the one before, that begins with it."""
    ids = {task.id for task in tasks}
    needs = {task.id: task.needs & ids for task in tasks}
    lengths = dict.fromkeys(ids, 1)
    for key in reversed([*TopologicalSorter(needs).static_order()]):  # those that wait come before what they need
        for need in needs[key]:
            lengths[need] = max(lengths[need], lengths[key] + 1)
    return lengths


def stacks(tasks: Sequence[Task], limit: int) -> list[tuple[Task, ...]]:
    """The tasks in their order, up to ``limit`` of one group together."""
    packed: list[list[Task]] = []
    open_ones: dict[str, list[Task]] = {}
    for task in tasks:
        stack = open_ones.get(task.group or "")
        if stack is not None and len(stack) < limit:
            stack.append(task)
            continue
        packed.append([task])
        if task.group is not None:
            open_ones[task.group] = packed[-1]
    return [tuple(stack) for stack in packed]
