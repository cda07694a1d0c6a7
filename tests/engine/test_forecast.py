"""Forecasts: workers divide the work but wait for teachers; rates of this machine alone count."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.console import duration
from harness.engine import forecast
from harness.engine.costs import Cost, Sizes, cost_of
from harness.engine.forecast import Forecast, error_line, makespan
from harness.engine.rates import FILE, VERSION, Rates, Seen
from harness.engine.task import Task
from harness.trial.spec import StudentSpec, TeacherSpec, TrialSpec

SIZES = Sizes(entities=12_554, relations=24, train=32_497, valid=4_062, test=4_062, data="d")
TRIAL = Cost("trial", "ttranse", ("L1",), "d", seconds=10.0, mib=1000.0)


def task(name: str, *needs: str, stage: str | None = None) -> Task:
    return Task(name, TrialSpec(), stage, frozenset(needs))


def test_students_wait_for_their_teacher_and_workers_divide_the_rest() -> None:
    students = [task(f"student {number}", "teacher") for number in range(4)]
    seconds = {"teacher": 10.0, **{student.id: 3.0 for student in students}}
    for jobs, expected in ((1, 22.0), (2, 16.0), (4, 13.0), (8, 13.0)):
        assert makespan([*students, task("teacher")], seconds, jobs) == expected
    assert makespan([], {}, 2) == 0.0


@given(st.lists(st.floats(0.1, 100.0), min_size=1, max_size=20), st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_independent_tasks_take_between_the_bounds_of_graham(took: list[float], jobs: int) -> None:
    seconds = {str(number): one for number, one in enumerate(took)}
    least = max(sum(took) / jobs, *took)
    span = makespan([task(name) for name in seconds], seconds, jobs)
    assert least - 1e-6 <= span <= (2 - 1 / jobs) * least + 1e-6


def test_the_price_of_a_teacher_a_seed_is_their_share_of_the_work() -> None:
    forecast = Forecast(SIZES, Rates("cpu"))
    specs = [TrialSpec(arm="L1", seed=seed, teacher=TeacherSpec(seeds="student")) for seed in range(2)]
    stages = [Task(f"{stage} {spec.seed}", spec, stage) for spec in specs for stage in ("teacher", "targets", "stage1")]
    trials = [Task(str(spec.seed), spec, None) for spec in specs]
    forecast.phases.append([*stages, *trials])
    theirs = sum(forecast.cost(task).seconds for task in stages if task.stage != "stage1")
    share = 100 * theirs / sum(forecast.cost(task).seconds for task in forecast.tasks)
    assert forecast.teachers() == f"2 to train, one a seed: with their targets {share:.0f} % of the work"
    forecast.phases = [trials]  # the teachers are cached
    assert forecast.teachers() is None
    once = TrialSpec(arm="L1")
    forecast.phases = [[Task("teacher", once, "teacher"), Task("0", once, None)]]
    assert forecast.teachers() is None


def test_more_epochs_dimensions_and_facts_cost_more() -> None:
    usual = cost_of(Task("", TrialSpec(arm="L1"), None), SIZES)
    for student in (StudentSpec(epochs=32), StudentSpec(dim=100)):
        assert cost_of(Task("", TrialSpec(arm="L1", student=student), None), SIZES).seconds > usual.seconds
    assert cost_of(Task("", TrialSpec(arm="L1"), None), replace(SIZES, train=10 * SIZES.train)).seconds > usual.seconds
    # no student depends on how large its teacher is
    large = TrialSpec(arm="L1", teacher=TeacherSpec(dim=800))
    assert cost_of(Task("", large, None), SIZES).seconds == usual.seconds
    assert cost_of(Task("", large, "teacher"), SIZES).seconds > cost_of(Task("", TrialSpec(), "teacher"), SIZES).seconds


def test_rates_are_those_of_the_most_similar_task(tmp_path: Path) -> None:
    other = replace(TRIAL, parts=("L1", "L2", "L3"))
    seen = [Seen(TRIAL, 20.0, 2000.0), Seen(other, 80.0, 1000.0), Seen(replace(TRIAL, method="telm"), 50.0, 1000.0)]
    Rates("cpu").write(tmp_path, seen)
    rates = Rates.read(tmp_path, "cpu")
    assert rates.note == ""
    assert rates.of(TRIAL).seconds == pytest.approx(20.0)
    assert rates.of(TRIAL).mib == pytest.approx(2000.0)
    assert rates.of(replace(TRIAL, seconds=30.0)).seconds == pytest.approx(60.0)
    assert rates.of(replace(other, seconds=11.0, data="another")).seconds == pytest.approx(88.0)
    # a kind without rates has the median of all; another device has none
    assert rates.of(replace(TRIAL, kind="encode")).seconds == pytest.approx(50.0)
    assert rates.nearest(replace(TRIAL, kind="encode")) is None
    assert Rates.read(tmp_path, "cuda").nearest(TRIAL) is None

    Rates("cpu").write(tmp_path, [Seen(TRIAL, 40.0, 1500.0)])
    assert Rates.read(tmp_path, "cpu").of(TRIAL) == replace(TRIAL, seconds=pytest.approx(30.0), mib=1500.0)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"version": VERSION + 1}, "of version 2"),
        ({"machine": "a supercomputer"}, "of another machine"),
        ({"rates": [{"kind": "trial"}]}, "cannot be read"),
        ({"rates": 3}, "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_file_of_rates_that_does_not_fit_counts_for_nothing(
    tmp_path: Path, change: dict[str, object] | None, word: str
) -> None:
    Rates("cpu").write(tmp_path, [Seen(TRIAL, 20.0, 2000.0)])
    content = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text("{" if change is None else json.dumps(content | change))
    rates = Rates.read(tmp_path, "cpu")
    assert word in rates.note
    assert rates.rates == []
    assert rates.of(TRIAL).seconds > 0  # measured in its place

    Rates("cpu").write(tmp_path, [Seen(TRIAL, 30.0, 2000.0)])  # the next run begins a new one
    assert Rates.read(tmp_path, "cpu").of(TRIAL).seconds == pytest.approx(30.0)


def test_programs_beside_a_run_take_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast.joblib, "cpu_count", lambda: 2)
    monkeypatch.setattr(forecast.os, "nice", lambda _: 0)
    alone, busy = Forecast(SIZES, Rates("cpu")), Forecast(SIZES, Rates("cpu"), busy=2.0)
    assert (alone.slower(1), alone.slower(2), busy.slower(2)) == (1.0, 1.0, 2.0)
    assert Forecast(SIZES, Rates("cpu"), busy=0.5).slower(2) == pytest.approx(1.25)
    monkeypatch.setattr(forecast.os, "nice", lambda _: 5)  # a third of the weight of others
    assert busy.slower(2) == pytest.approx(4.05, abs=0.01)
    assert Forecast(SIZES, Rates("cpu"), busy=0.5).slower(2) == pytest.approx(2 / 1.5)  # which ask for half a core
    assert alone.slower(2) == 1.0
    assert Forecast(SIZES, Rates("cuda"), busy=2.0).slower(2) == 1.0


def test_words_for_time_and_error() -> None:
    assert [duration(seconds) for seconds in (7.6, 250, 7500)] == ["7.6 s", "4 min 10 s", "2 h 05 min"]
    assert error_line(250, 235, 1.0, at_most=False) == "forecast 4 min 10 s, took 3 min 55 s (−6 %)"
    line = "forecast at most 100 s, took 3 min 20 s (+100 %); workers had 50 % of a core"
    assert error_line(100, 200, 0.5, at_most=True) == line
