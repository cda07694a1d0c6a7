"""The order of tasks: what the longest chain waits for first. Time is simulated, all else is the real scheduler."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.design import cells
from harness.design import files as design
from harness.engine import coordinator as execute
from harness.engine import scheduler as pool
from harness.engine.scheduler import Listener, chain_lengths
from harness.engine.task import Outcome, Task
from harness.trial.cache import Cache
from harness.trial.spec import TrialSpec

#: seconds on Wikidata12k, medians of the trials of the published store
MEASURED: dict[str, float] = {"teacher": 15, "finetune": 71, "encode": 60, "semantic": 10, "stage1": 5.2}
MEASURED |= {"targets": 1, "llm-targets": 1, "teacher-vectors": 0.6}
MEASURED |= {"none": 7, "L1": 10, "L1+L2": 11, "L1+L3": 12, "L1+L2+L3": 12, "teacher": 15, "llm-teacher": 1}


class Simulated:
    """Workers whose tasks take simulated seconds: a clock that moves when the pool waits."""

    def __init__(self, slots: int, seconds: Callable[[Task], float]) -> None:
        self.slots, self.seconds, self.now = slots, seconds, 0.0
        self.running: dict[Future[list[Outcome]], tuple[float, list[Task]]] = {}
        self.started: list[Task] = []
        self.ended: dict[str, float] = {}

    def submit(self, tasks: Sequence[Task]) -> Future[list[Outcome]]:
        assert len(self.running) < self.slots
        assert all(self.ended.get(need, 0) <= self.now for task in tasks for need in task.needs)
        future: Future[list[Outcome]] = Future()
        self.running[future] = self.now + max(map(self.seconds, tasks)), list(tasks)
        self.started += tasks
        return future

    def wait(self, running: Mapping[Future[list[Outcome]], object], **_: object) -> tuple[list[Future[object]], None]:
        assert set(running) == set(self.running)
        if not running:
            return [], None
        future = min(self.running, key=lambda item: self.running[item][0])
        self.now, tasks = self.running.pop(future)
        self.ended |= {task.id: self.now for task in tasks}
        future.set_result([Outcome()] * len(tasks))
        return [future], None

    def progress(self, task: Task) -> None: ...

    def forget(self, task: Task) -> None: ...

    def lost_all(self, error: BaseException) -> bool:
        return False

    def close(self) -> None: ...


Ranks = Callable[[Collection[Task]], Mapping[str, float]]


@contextmanager
def changed(ranks: Ranks, workers: Simulated) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "wait", workers.wait)
        patch.setattr(pool, "chain_lengths", ranks)
        yield


def simulate(
    tasks: Sequence[Task],
    slots: int,
    seconds: Callable[[Task], float],
    *,
    ranks: Ranks = chain_lengths,
    stack: int = 1,
    more: Callable[[int], Sequence[Task]] = lambda _: (),
) -> Simulated:
    workers = Simulated(slots, seconds)
    with changed(ranks, workers):
        pool.run(tasks, workers, Listener(lambda _: None, lambda *_: None, lambda _: None, more=more), stack)
    assert not workers.running
    return workers


def task(name: str, *needs: str) -> Task:
    return Task(name, TrialSpec(), "teacher", frozenset(needs))


def by_name(**seconds: float) -> Callable[[Task], float]:
    return lambda item: seconds[item.id]


def in_order(tasks: Collection[Task]) -> dict[str, float]:
    return dict.fromkeys((item.id for item in tasks), 0.0)


# ---- makespan -------------------------------------------------------------------------------------------------------

lengths = st.floats(0.01, 100)


@st.composite
def graphs(draw: st.DrawFn) -> list[Task]:
    """Tasks that wait for some of those before them, in any order."""
    tasks: list[Task] = []
    for k in range(draw(st.integers(1, 14))):
        needs = draw(st.sets(st.sampled_from([item.id for item in tasks]), max_size=3)) if tasks else set()
        tasks.append(task(str(k), *needs))
    return draw(st.permutations(tasks))


def longest_way(tasks: Sequence[Task], seconds: Mapping[str, float]) -> float:
    by_id = {item.id: item for item in tasks}

    def end(name: str) -> float:
        return seconds[name] + max((end(need) for need in by_id[name].needs), default=0.0)

    return max(map(end, by_id))


@given(tasks=graphs(), slots=st.integers(1, 5), data=st.data())
@settings(deadline=None, max_examples=60)
def test_grahams_bound_holds_whatever_tasks_take(tasks: list[Task], slots: int, data: st.DataObject) -> None:
    """No worker idles while a task is ready."""
    seconds = {item.id: data.draw(lengths) for item in tasks}
    makespan = simulate(tasks, slots, lambda item: seconds[item.id]).now
    work, way = sum(seconds.values()), longest_way(tasks, seconds)
    assert makespan <= work / slots + (1 - 1 / slots) * way + 1e-6
    assert makespan <= (2 - 1 / slots) * max(work / slots, way) + 1e-6


def test_what_a_long_chain_begins_with_goes_first() -> None:
    """Three tasks and a chain that would end at 3 + 9 if it began last."""
    todo = [task("a"), task("b"), task("c"), task("d"), task("e", "d"), task("f", "e")]
    seconds = by_name(a=3, b=3, c=3, d=1, e=4, f=4)
    first, second = simulate(todo, 2, seconds), simulate(todo, 2, seconds, ranks=in_order)
    assert (first.now, second.now) == (10, 12)
    assert [item.id for item in first.started] == ["d", "a", "e", "b", "c", "f"]
    assert chain_lengths(todo) == {"a": 1, "b": 1, "c": 1, "d": 3, "e": 2, "f": 1}


# ---- the graph of a study -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ablation(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Task]:
    """All tasks of the ablation with default settings, both backbones, from nothing."""
    run = cells.plan(
        design.load("ablation"),
        dataset="wiki",
        data_digest="d",
        backbones=["ttranse", "ta-distmult"],
        preset="default",
        changes={"llm": {"model": str(tiny_encoder)}},
    )
    return execute.tasks(run.specs, execute.plans(run.specs, "d", "cpu"), Cache(tmp_path_factory.mktemp("cache")))


def measured(item: Task) -> float:
    return MEASURED[item.stage or item.spec.arm]


def upward_ranks(tasks: Collection[Task]) -> dict[str, float]:
    """The order of HEFT by what tasks take, which nobody knows before: seconds until all that waits for a task ends."""
    by_id = {item.id: item for item in tasks}
    needs = {item.id: item.needs & by_id.keys() for item in tasks}
    ranks = dict.fromkeys(by_id, 0.0)
    for key in reversed([*TopologicalSorter(needs).static_order()]):
        ranks[key] += measured(by_id[key])
        for need in needs[key]:
            ranks[need] = max(ranks[need], ranks[key])
    return ranks


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 6, 8, 12, 16, 32])
def test_the_ablation_takes_hardly_longer_than_if_durations_were_known(ablation: list[Task], slots: int) -> None:
    """Longest chain first is as good as an order by durations, which nobody knows before."""
    taken, known = simulate(ablation, slots, measured), simulate(ablation, slots, measured, ranks=upward_ranks)
    assert taken.now <= 1.03 * known.now


@pytest.mark.parametrize("slots", [1, 3, 16])
def test_teachers_come_before_students_and_each_stage_once(ablation: list[Task], slots: int) -> None:
    done = simulate(ablation, slots, measured)
    assert Counter(item.id for item in done.started) == Counter(item.id for item in ablation)
    stages = Counter(item.stage for item in done.started if item.stage not in (None, "stage1"))
    # the language model's are those of both backbones; its scorer reads times as classes in either
    assert stages == {"finetune": 1, "encode": 1, "semantic": 1, "llm-targets": 1} | dict.fromkeys(
        ("teacher", "targets", "teacher-vectors"),
        6,  # one a seed and backbone
    )
    begins = [item.stage for item in done.started]
    assert set(begins[:3]) == {"finetune", "teacher"} if slots > 2 else begins[0] == "finetune"
    places = {item.id: place for place, item in enumerate(done.started)}
    assert all(places[need] < places[item.id] for item in ablation for need in item.needs & places.keys())
    students = {arm: [places[e.id] for e in ablation if not e.stage and e.spec.arm == arm] for arm in ("L1", "none")}
    teachers = [places[item.id] for item in ablation if item.stage == "teacher"]
    assert max(teachers) < min(itertools.chain(*students.values()))


def test_a_trial_that_comes_later_raises_what_it_waits_for() -> None:
    """As in a search: of two stages, the one that a chain came to need goes first."""
    one, other = task("one"), task("other")
    chain = [replace(task("targets", "other"), stage="targets"), replace(task("trial", "targets"), stage=None)]
    came = iter([chain])
    done = simulate([task("first"), one, other], 1, lambda _: 1.0, more=lambda _: next(came, []))
    assert [item.id for item in done.started] == ["first", "other", "targets", "one", "trial"]


def test_students_of_a_group_still_share_a_stack() -> None:
    group = [replace(task(f"s{k}", "teacher"), stage="stage1", group="g") for k in range(5)]
    seconds = by_name(teacher=3, s0=1.0, s1=1.1, s2=1.2, s3=1.3, s4=1.4)
    done = simulate([*group, task("teacher")], 1, seconds, stack=4)
    assert [item.id for item in done.started] == ["teacher", "s0", "s1", "s2", "s3", "s4"]
    assert done.now == pytest.approx(3 + 1.3 + 1.4)
