"""In which order tasks start: first what the longest chain of tasks waits for.

So the language model comes before a teacher, a teacher before the students that wait for it, and tasks of equal chains
in the order in which they came. It is the upward rank of HEFT (Topcuoglu, Hariri and Wu 2002) with each task counted
as one: weighing tasks by their expected seconds was measured to gain nothing (docs/performance.md). In any order no
worker idles while a task could run, which keeps the makespan on m workers below 2 - 1/m times the best (Graham 1969).
No number depends on the order.
"""

from __future__ import annotations

from collections.abc import Collection
from graphlib import TopologicalSorter

from harness.engine.task import Task


def chain_lengths(tasks: Collection[Task]) -> dict[str, int]:
    """The longest chain of tasks that begins with a task and in which each waits for the one before, by task id."""
    ids = {task.id for task in tasks}
    needs = {task.id: task.needs & ids for task in tasks}
    lengths = dict.fromkeys(ids, 1)
    for key in reversed([*TopologicalSorter(needs).static_order()]):  # those that wait come before what they need
        for need in needs[key]:
            lengths[need] = max(lengths[need], lengths[key] + 1)
    return lengths
