"""A study whose students train in stacks has the numbers, failures and resumption of one whose students train alone."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from harness.design import files as designs
from harness.design.cells import Run, space_of
from harness.engine import coordinator as execute
from harness.engine.coordinator import Tally
from harness.engine.scheduler import stacks
from harness.engine.task import STACK_FAILED, Outcome, Progress, Task, work
from harness.errors import UserError
from harness.models import BACKBONES
from harness.store import frames
from harness.store.store import Store
from harness.trial.cache import Cache
from harness.trial.inputs import graph_of
from harness.trial.spec import TrialSpec
from harness.trial.stacks import group_of
from harness.trial.stages import Context
from tests.inside import no_workers

ARMS = ("none", "L1", "L1+L2", "L1+L3", "L1+L2+L3")


def change(spec: TrialSpec, part: str = "", **values: object) -> TrialSpec:
    changed = {part: {**getattr(spec, part).model_dump(), **values}} if part else values
    return TrialSpec.model_validate({**spec.model_dump(), **changed})


@pytest.fixture
def sampled(spec: TrialSpec) -> TrialSpec:
    """Of four epochs the first is exact, the others sample."""
    return change(spec, "student", candidates=16, hard_candidates=8)


def tasks_of(cells: Sequence[TrialSpec], context: Context) -> list[Task]:
    plans = execute.plans(cells, graph_of(cells[0].dataset, None).digest, "cpu")
    return execute.tasks(cells, plans, Cache(context.cache_dir))


def carry_out(cells: Sequence[TrialSpec], context: Context, folder: Path) -> tuple[Tally, pd.DataFrame, pd.DataFrame]:
    """The tally of a run of these cells in this process, and what the store holds then."""
    dataset, url = cells[0].dataset, f"sqlite:///{folder}/harness.db"
    graph, design = graph_of(dataset, None), designs.load("ablation")
    space = space_of((*design.conditions, *ARMS), (), BACKBONES, {}, None)
    run = Run(design, "quick", dataset, tuple(cells), {cell.key(): cell.arm for cell in cells}, "toy", space=space)
    plans = execute.plans(cells, graph.digest, "cpu")
    stated = io.StringIO()
    with no_workers():
        tally = execute.execute(run, plans, graph, Store(url), context, 1, "command", Console(file=stated))
    assert STACK_FAILED not in stated.getvalue()
    trials, curves, _ = frames.load(url, "ablation", dataset)
    order = ["backbone", "arm", "seed"]
    return tally, trials.sort_values(order, ignore_index=True), curves.sort_values([*order, "epoch"], ignore_index=True)


# ---- which tasks share a stack ---------------------------------------------------------------------------------------


def test_a_group_may_differ_in_seed_arm_weights_and_rate(spec: TrialSpec) -> None:
    base = group_of(spec, None)
    weights = {"alpha": 0.1, "beta": 0.2, "delta": 0.3, "temperature": 2.0, "hard_weight": 0.4, "soft_weight": 0.5}
    for other in (
        change(spec, seed=3),
        *(change(spec, arm=arm) for arm in ARMS[1:]),
        *(change(spec, "loss", **{name: value}) for name, value in weights.items()),
        change(spec, "student", learning_rate=0.3, regularization=0.2),
    ):
        assert group_of(other, None) == base
        assert group_of(other, "stage1") == group_of(spec, "stage1") != base


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("", {"arm": "none"}),
        ("", {"backbone": "ta-distmult"}),
        ("", {"protocol": "raw"}),
        ("time", {"size": 30}),
        ("student", {"dim": 9}),
        ("student", {"epochs": 5}),
        ("student", {"batch_size": 32}),
        ("student", {"norm": "l1"}),
        ("student", {"optimizer": "adagrad"}),
        ("student", {"candidates": 7}),
        ("student", {"regularization": 0.0}),
        ("loss", {"targets": 8}),
        ("loss", {"semantic_share": 0.5}),
        ("teacher", {"dim": 17}),
        ("semantic", {"dim": 9}),
    ],
)
def test_a_group_has_all_else_in_common(spec: TrialSpec, part: str, values: dict[str, object]) -> None:
    assert group_of(change(spec, part, **values), None) != group_of(spec, None)


def test_what_trains_no_student_has_no_group(spec: TrialSpec) -> None:
    assert group_of(spec, "teacher") is None
    assert group_of(spec, "targets") is None
    assert group_of(change(spec, arm="teacher"), None) is None
    over = change(spec, "student", stage1_epochs=4)
    assert group_of(over, None) is None
    assert group_of(over, "stage1") is not None


def test_tasks_are_packed_in_their_order(spec: TrialSpec) -> None:
    tasks = [Task(str(k), spec, group=group) for k, group in enumerate(["a", None, "b", "a", "a", None, "b", "a"])]

    def packed(limit: int) -> list[list[str]]:
        return [[task.id for task in stack] for stack in stacks(tasks, limit)]

    assert packed(1) == [[str(k)] for k in range(8)]
    assert packed(3) == [["0", "3", "4"], ["1"], ["2", "6"], ["5"], ["7"]]
    assert packed(9) == [["0", "3", "4", "7"], ["1"], ["2", "6"], ["5"]]


def test_a_gpu_has_stacks_and_a_cpu_has_none() -> None:
    assert execute.default_stack("cuda") > execute.default_stack("cpu") == 1


# ---- studies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["ttranse", "ta-distmult"])
@pytest.mark.long
def test_the_store_is_that_of_students_alone(
    sampled: TrialSpec, backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [change(sampled, arm=arm, seed=seed, backbone=backbone) for arm in ARMS for seed in range(2)]
    cells += [change(cells[2], "loss", temperature=3.0), change(cells[4], "loss", alpha=0.5, delta=0.4)]
    cells[-2:] = (change(cell, seed=2) for cell in cells[-2:])
    actual = []
    for limit in (1, 4):
        context = Context(tmp_path / f"cache{limit}", stack=limit)
        actual.append(carry_out(cells, context, tmp_path / str(limit)))
    (_, alone, alone_curves), (tally, trials, curves) = actual
    assert (tally.added, tally.failed) == (12, 0)
    assert trials["state"].tolist() == ["complete"] * 12
    assert trials["stack"].tolist() == [4] * 12
    same = ["cell", "arm", "seed", "updates", "data_digest", "alpha", "temperature"]
    pd.testing.assert_frame_equal(trials[same], alone[same])
    losses = [name for name in curves if str(name).startswith(("loss", "penalty"))]
    assert len(losses) == 6
    pd.testing.assert_frame_equal(curves[losses], alone_curves[losses], rtol=1e-3, atol=1e-5)
    for metric in ("valid_mrr", "test_mrr"):
        assert trials[metric].to_numpy() == pytest.approx(alone[metric].to_numpy(), abs=0.02)
    assert (trials["built_seconds_stage1"] > 0).all()
    # a share of the stack's seconds, which the curve has too
    assert trials["seconds_stage2"].tolist() == pytest.approx(curves.loc[curves["epoch"] == 4, "seconds"], abs=1e-3)


def test_a_study_goes_on_with_what_is_missing(sampled: TrialSpec, tmp_path: Path) -> None:
    cells = [change(sampled, arm=arm, seed=seed) for seed in range(2) for arm in ("none", "L1")]
    context = Context(tmp_path / "cache", stack=4)
    first, _, _ = carry_out(cells[:2], context, tmp_path)
    tally, trials, _ = carry_out(cells, context, tmp_path)
    assert (first.added, tally.before, tally.added) == (2, 2, 2)
    assert len(trials) == 4
    assert trials["state"].tolist() == ["complete"] * 4


@pytest.mark.parametrize("stage1_epochs", [0, 2])
def test_a_cell_that_diverges_fails_alone(sampled: TrialSpec, stage1_epochs: int, tmp_path: Path) -> None:
    """In stage 1, or in the cell itself where there is none."""
    entire = change(change(sampled, "student", stage1_epochs=stage1_epochs), arm="none")
    cells = [change(entire, seed=seed) for seed in range(3)]
    cells[1] = change(cells[1], "student", learning_rate=1e30)
    tally, trials, _ = carry_out(cells, Context(tmp_path / "cache", stack=4), tmp_path)
    assert (tally.added, tally.failed) == (2, 1)
    assert trials["state"].tolist() == ["complete", "failed", "complete"]
    assert ("shared stage stage1" in trials.loc[1, "reason"]) == (stage1_epochs > 0)
    assert "the loss became" in trials.loc[1, "reason"]


# ---- in a worker -----------------------------------------------------------------------------------------------------


def outcomes(
    cells: Sequence[TrialSpec], context: Context, stated: Callable[[Progress], None] = lambda _: None
) -> list[Outcome]:
    return work([task for task in tasks_of(cells, context) if task.stage is None], context, stated)


def test_a_stack_reports_its_progress_as_one(sampled: TrialSpec, tmp_path: Path) -> None:
    cells = [change(change(sampled, "student", stage1_epochs=0), arm="none", seed=seed) for seed in range(2)]
    stated: list[Progress] = []
    actual = outcomes(cells, Context(tmp_path / "cache", stack=2), stated.append)
    assert [outcome.failure for outcome in actual] == [None, None]
    assert {stage for stage, _, _ in stated} <= {"stage2", "evaluate"}
    assert stated[0][0] == "stage2"
    for outcome in actual:
        assert outcome.result is not None
        assert outcome.result.seconds["stage2"] == outcome.result.curve[-1]["seconds"]


def test_a_stack_that_fails_as_a_whole_is_trained_one_by_one(
    sampled: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [change(change(sampled, "student", stage1_epochs=0), arm="none", seed=seed) for seed in range(2)]
    context = Context(tmp_path / "cache", stack=2)

    def full(*_: object) -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr("harness.engine.task.train_together", full)
    actual = outcomes(cells, context)
    assert all(outcome.result is not None for outcome in actual)
    assert actual[0].warnings == ("a stack failed; its 2 students train one by one (RuntimeError: CUDA out of memory)",)
    assert actual[1].warnings == ()


def test_a_users_error_in_a_stack_ends_the_run(
    sampled: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise UserError("weights are missing")

    monkeypatch.setattr("harness.engine.task.train_together", missing)
    cells = [change(change(sampled, "student", stage1_epochs=0), arm="none", seed=seed) for seed in range(2)]
    with pytest.raises(UserError, match="weights are missing"):
        outcomes(cells, replace(Context(tmp_path / "cache"), stack=2))
