"""The order of tasks: what others wait for first, longest first. Time is simulated, all else is the real pool."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.design import cells
from harness.design import files as design
from harness.engine import coordinator as execute
from harness.engine import scheduler as pool
from harness.engine.priority import Expected, estimate, upward_ranks
from harness.engine.scheduler import Listener
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
        future = min(self.running, key=lambda each: self.running[each][0])
        self.now, tasks = self.running.pop(future)
        self.ended |= {task.id: self.now for task in tasks}
        future.set_result([Outcome()] * len(tasks))
        return [future], None

    def progress(self, task: Task) -> None: ...

    def forget(self, task: Task) -> None: ...

    def lost_all(self, error: BaseException) -> bool:
        return False

    def close(self) -> None: ...


Ranks = Callable[[Collection[Task]], dict[str, float]]


@contextmanager
def changed(ranks: Ranks, workers: Simulated) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "wait", workers.wait)
        patch.setattr(pool, "upward_ranks", ranks)
        yield


def simulate(
    tasks: Sequence[Task],
    slots: int,
    seconds: Callable[[Task], float] = lambda task: task.seconds,
    *,
    ranks: Ranks = upward_ranks,
    stack: int = 1,
    more: Callable[[int], Sequence[Task]] = lambda _: (),
) -> Simulated:
    workers = Simulated(slots, seconds)
    with changed(ranks, workers):
        pool.run(tasks, workers, Listener(lambda _: None, lambda *_: None, lambda _: None, more=more), stack)
    assert not workers.running
    return workers


def task(name: str, seconds: float, *needs: str) -> Task:
    return Task(name, TrialSpec(), "teacher", frozenset(needs), seconds=seconds)


# ---- makespan -------------------------------------------------------------------------------------------------------

lengths = st.floats(0.01, 100)


@st.composite
def graphs(draw: st.DrawFn) -> list[Task]:
    """Tasks that wait for some of those before them, in any order."""
    found: list[Task] = []
    for k in range(draw(st.integers(1, 14))):
        needs = draw(st.sets(st.sampled_from([each.id for each in found]), max_size=3)) if found else set()
        found.append(task(str(k), draw(lengths), *needs))
    return draw(st.permutations(found))


def longest_way(tasks: Sequence[Task], seconds: Mapping[str, float]) -> float:
    by_id = {each.id: each for each in tasks}

    def end(name: str) -> float:
        return seconds[name] + max((end(need) for need in by_id[name].needs), default=0.0)

    return max(map(end, by_id))


@given(tasks=graphs(), slots=st.integers(1, 5), data=st.data())
@settings(deadline=None, max_examples=60)
def test_grahams_bound_holds_whatever_tasks_take(tasks: list[Task], slots: int, data: st.DataObject) -> None:
    """No worker idles while a task is ready, however wrong the expectation."""
    seconds = {each.id: data.draw(lengths) for each in tasks}
    makespan = simulate(tasks, slots, lambda each: seconds[each.id]).now
    work, way = sum(seconds.values()), longest_way(tasks, seconds)
    assert makespan <= work / slots + (1 - 1 / slots) * way + 1e-6
    assert makespan <= (2 - 1 / slots) * max(work / slots, way) + 1e-6


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=7), slots=st.integers(2, 3))
@settings(deadline=None, max_examples=60)
def test_independent_tasks_take_at_most_a_third_longer_than_the_best(sizes: list[int], slots: int) -> None:
    """Longest first is within 4/3 - 1/(3m) of the optimum (Graham 1969), which is found here by trying all."""
    best = min(
        max(sum(size for size, where in zip(sizes, places, strict=True) if where == k) for k in range(slots))
        for places in itertools.product(range(slots), repeat=len(sizes))
    )
    makespan = simulate([task(str(k), size) for k, size in enumerate(sizes)], slots).now
    assert makespan <= (4 / 3 - 1 / (3 * slots)) * best + 1e-9


def test_what_a_long_way_begins_with_goes_first() -> None:
    """Three short tasks and a chain: begun last, the chain ends at 2 + 9; begun first, all ends with it."""
    todo = [task("a", 3), task("b", 3), task("c", 3), task("1", 1), task("2", 4, "1"), task("3", 4, "2")]
    first = simulate(todo, 2)
    in_order = simulate(todo, 2, ranks=lambda tasks: {each.id: 0.0 for each in tasks})
    assert (first.now, in_order.now) == (9, 12)
    assert first.started[0].id == "1"


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
    return execute.tasks(run.cells, execute.plans(run.cells, "d", "cpu"), Cache(tmp_path_factory.mktemp("cache")))


def measured(each: Task) -> float:
    return MEASURED[each.stage or each.spec.arm]


def earlier_ranks(tasks: Collection[Task]) -> dict[str, float]:
    """The order before this one: cells last, stage 1 before them, targets before that, all else first."""
    coarse = {None: 3, "stage1": 2, "targets": 1, "teacher-vectors": 1, "llm-targets": 1}
    return {each.id: -float(coarse.get(each.stage, 0)) for each in tasks}


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 6, 8, 12, 16, 32])
def test_the_ablation_takes_no_longer_than_in_the_earlier_order(ablation: list[Task], slots: int) -> None:
    new, old = simulate(ablation, slots, measured), simulate(ablation, slots, measured, ranks=earlier_ranks)
    assert new.now <= old.now + 1e-9


@pytest.mark.parametrize("slots", [1, 3, 16])
def test_teachers_come_before_students_and_each_stage_once(ablation: list[Task], slots: int) -> None:
    done = simulate(ablation, slots, measured)
    assert Counter(each.id for each in done.started) == Counter(each.id for each in ablation)
    stages = Counter(each.stage for each in done.started if each.stage not in (None, "stage1"))
    # the language model's are those of both backbones; its scorer reads times as classes in either
    assert stages == {"finetune": 1, "encode": 1, "semantic": 1, "llm-targets": 1} | dict.fromkeys(
        ("teacher", "targets", "teacher-vectors"), 2
    )
    begins = [each.stage for each in done.started]
    assert set(begins[:3]) == {"finetune", "teacher"} if slots > 2 else begins[0] == "finetune"
    places = {each.id: place for place, each in enumerate(done.started)}
    assert all(places[need] < places[each.id] for each in ablation for need in each.needs & places.keys())
    students = {arm: [places[e.id] for e in ablation if not e.stage and e.spec.arm == arm] for arm in ("L1", "none")}
    teachers = [places[each.id] for each in ablation if each.stage == "teacher"]
    assert max(teachers) < min(itertools.chain(*students.values()))


def test_a_cell_that_comes_later_raises_what_it_waits_for() -> None:
    """As in a search: of two stages, the one that a long cell came to need goes first."""
    one, other = task("one", 2), task("other", 1)
    long = replace(task("cell", 50, "other"), stage=None)
    came = iter([[long]])
    done = simulate([task("first", 1), one, other], 1, more=lambda _: next(came, []))
    assert [each.id for each in done.started] == ["one", "other", "cell", "first"]


def test_students_of_a_group_still_share_a_stack() -> None:
    group = [replace(task(f"s{k}", 1 + k / 10, "teacher"), stage="stage1", group="g") for k in range(5)]
    done = simulate([*group, task("teacher", 3)], 1, stack=4)
    assert [each.id for each in done.started] == ["teacher", "s4", "s3", "s2", "s1", "s0"]
    assert done.now == pytest.approx(3 + 1.4 + 1.0)


# ---- what tasks are expected to take --------------------------------------------------------------------------------


def of(**values: object) -> TrialSpec:
    return TrialSpec.model_validate({"arm": "L1", **values})


def test_the_estimate_grows_with_epochs_dimension_losses_and_small_batches() -> None:
    base = estimate(of(), None)
    assert estimate(of(student={"epochs": 24}), None) == pytest.approx(2 * base, rel=0.05)  # stage 1 has 8 of them
    assert estimate(of(student={"dim": 100}), None) > 2 * base
    assert estimate(of(student={"batch_size": 128}), None) > base
    arms = ["none", "L1", "L1+L2", "L1+L2+L3", "L1+RKD-A"]
    sizes = [estimate(of(arm=arm), None) for arm in arms]
    assert sizes == sorted(sizes)
    assert estimate(of(arm="teacher"), None) < estimate(of(arm="none"), None) < estimate(of(), "teacher")


def test_what_alike_tasks_took_is_expected() -> None:
    expected = Expected()
    assert expected(of(), None) == estimate(of(), None)
    for seconds in (10.0, 11.0, 300.0):
        expected.learn(of(seed=1), None, seconds)
    expected.learn(of(arm="none"), None, 2.0)
    expected.learn(of(), "teacher", float("nan"))
    assert expected(of(), None) == pytest.approx(11)
    assert expected(of(arm="none", seed=7), None) == pytest.approx(2)
    assert expected(of(student={"epochs": 24}), None) == pytest.approx(22, rel=0.05)
    assert expected.knows(of(seed=3), None)
    assert not expected.knows(of(), "teacher")
    # of the stage nothing is known: the median of all, which is a faster or slower machine's
    ratios = sorted(
        [*(seconds / estimate(of(), None) for seconds in (10, 11, 300)), 2 / estimate(of(arm="none"), None)]
    )
    assert expected(of(), "teacher") == pytest.approx(estimate(of(), "teacher") * (ratios[1] + ratios[2]) / 2)


def test_a_trial_tells_of_its_stages_and_of_itself() -> None:
    expected, spec = Expected(), of()
    times = {"built_seconds_teacher": 20.0, "built_seconds_stage1": 3.0, "seconds_stage1": 3.1, "seconds_stage2": 8.0}
    expected.learn_trial({"spec": spec.model_dump_json(), "seconds_evaluate": 0.5, "seconds_data": 0.5, **times})
    assert expected(of(seed=4), "teacher") == pytest.approx(20)
    assert expected(of(seed=4), "stage1") == pytest.approx(3)
    assert expected(of(seed=4), None) == pytest.approx(9)
