"""Students side by side end as they do alone, whatever they differ in, and none of them touches another."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.distill.training import stacks as stacked
from harness.distill.training.loop import DivergedError, Schedule, Trained, train
from harness.distill.training.objective import Distillation
from harness.distill.training.points import PointQueries
from harness.distill.training.sampler import Sampling
from harness.distill.training.stacks import Student, train_stacked
from harness.models import BACKBONES, Backbone, TADistMult
from harness.models.base import scores
from harness.models.scoring.vmapped import can_compile, is_vmapped, within_vmap
from harness.vocabulary import PAPERS_BACKBONES
from tests.distill.conftest import FEW, STUDENTS, Problem, build

EXACT = Sampling()
#: the first epoch exact; an undistilled student finds lists in the second and the fourth
SAMPLED = Sampling(shared=4, hard=3, hard_every=2, exact_epochs=1)
ARMS = {"none": set[str](), "L1": {"soft"}, "L1+L2": {"soft", "aligned"}, "L1+L3": {"soft", "adapter"}}
ARMS["L1+L2+L3"] = {"soft", "aligned", "adapter"}


@dataclass
class Group:
    """Students of one problem, all different."""

    problem: Problem
    schedule: Schedule

    def member(self, k: int, arm: str, **changes: Any) -> Student:
        """The k-th: each k has its own initial values, seed, rate, targets and weights."""
        torch.manual_seed(k)
        model, adapter = copy.deepcopy(self.problem.student), copy.deepcopy(self.problem.adapter)
        for parameter in (*model.parameters(), *adapter.parameters()):
            parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
        soft = replace(self.problem.soft, temperature=2.0 + k)
        if k % 2:  # of another temperature are other numbers, too; in pairs of students they are the same tensors
            soft = replace(soft, log_p=soft.log_p - 0.1, log_rest=soft.log_rest + 0.05)
        parts = {"soft": soft, "aligned": self.problem.aligned, "adapter": adapter}
        loss = Distillation(
            hard_weight=0.7 + 0.1 * k,
            soft_weight=1.3 - 0.2 * k,
            alpha=0.9 + 0.3 * k,
            delta=0.3 + 0.4 * k,
            beta=0.4 + 0.2 * k,
            regularization=0.03 * (k + 1),
            semantic_share=0.5,
            **{name: part for name, part in parts.items() if name in ARMS[arm]},
        )
        this = {"learning_rate": 0.02 * (k + 1), "seed": k // 2, **changes}
        return Student(model, loss, replace(self.schedule, **this))

    def alone(self, student: Student) -> Trained:
        """What the trainer makes of a copy."""
        this = copy.deepcopy(student)
        others = {"auxiliary": this.loss.adapter, "resume": this.resume}
        return train(this.model, self.problem.data, this.loss, this.schedule, self.validate, **others)

    def together(self, students: Sequence[Student], **others: Any) -> list[Trained | ArithmeticError]:
        return train_stacked(copy.deepcopy(students), self.problem.data, self.validate, **others)

    def validate(self, model: Backbone) -> float:
        """The mean probability of the true answer: unlike a rank, it is as smooth as the model."""
        data = self.problem.data
        with torch.no_grad():
            query = model.encode(data.subject, data.relation, data.time)
            z = scores(query, model.entity_table(), model.kernel, model.scale())
        return float(z.softmax(1).gather(1, data.answer[:, None]).mean())


def group(
    name: str,
    sampling: Sampling = SAMPLED,
    optimizer: str = "adam",
    dtype: torch.dtype = torch.double,
    *,
    taught: bool = False,
) -> Group:
    """Twelve queries in batches of 5, 5 and 2; ``taught``: the teacher tells of what it does not list."""
    return Group(
        build(name, dtype, taught=taught), Schedule(4, 5, optimizer, 0.0, 0, total_epochs=6, sampling=sampling)
    )


def assert_same(one: Trained | ArithmeticError, other: Trained | ArithmeticError, tolerance: float = 1e-11) -> None:
    assert isinstance(one, Trained)
    assert isinstance(other, Trained)
    near = {"rtol": tolerance, "atol": tolerance}
    for part in ("best", "last", "optimizer"):
        mine, theirs = getattr(one, part), getattr(other, part)
        assert mine.keys() == theirs.keys()
        for name in mine:
            torch.testing.assert_close(mine[name], theirs[name], **near, msg=lambda text, name=name: f"{name}: {text}")
    assert (one.best_epoch, one.updates) == (other.best_epoch, other.updates)
    assert one.best_mrr == pytest.approx(other.best_mrr, rel=tolerance)
    for mine, theirs in zip(one.curve, other.curve, strict=True):
        assert list(mine) == list(theirs)
        both = ({name: row[name] for name in row if name != "seconds"} for row in (mine, theirs))
        assert next(both) == pytest.approx(next(both), rel=tolerance, abs=tolerance)


# ---- as alone --------------------------------------------------------------------------------------------------------


#: for a model of distances and one of inner products, all arms with each two of model, sampling and optimizer; for the
#: others the least that a step does, since test_distilled_arms_share_a_stack does the most
WAYS = [
    way
    for way in itertools.product(PAPERS_BACKBONES, ("exact", "sampled"), ("adam", "adagrad"), ARMS)
    if (way[0] == "ttranse") ^ (way[1] == "exact") ^ (way[2] == "adam")
] + [(name, "exact", "adagrad", "none") for name in STUDENTS if name not in PAPERS_BACKBONES]


@pytest.mark.parametrize(("name", "sampling", "optimizer", "arm"), WAYS)
def test_students_side_by_side_end_as_alone(name: str, sampling: str, optimizer: str, arm: str) -> None:
    same = group(name, EXACT if sampling == "exact" else SAMPLED, optimizer)
    students = [same.member(k, arm) for k in range(3)]
    actual = same.together(students)
    for student, trained in zip(students, actual, strict=True):
        assert_same(trained, same.alone(student))
    assert isinstance(actual[0], Trained)
    assert isinstance(actual[1], Trained)
    assert (actual[0].last["entity.weight"] - actual[1].last["entity.weight"]).abs().max() > 0.01


@pytest.mark.parametrize(
    ("name", "taught"), [*((name, True) for name in STUDENTS), *((name, False) for name in PAPERS_BACKBONES)]
)
def test_distilled_arms_share_a_stack(name: str, taught: bool) -> None:
    """Whoever lacks L2 or L3 has them with weight 0, and tells nothing of it."""
    same = group(name, taught=taught)
    students = [same.member(k, arm) for k, arm in enumerate(arm for arm in ARMS if arm != "none")]
    actual = same.together(students)
    for student, trained in zip(students, actual, strict=True):
        assert_same(trained, same.alone(student))
    assert all(student.loss.adapter is None for student in students[:2])  # what was given stays as it was


@pytest.mark.parametrize("name", FEW)
def test_a_second_stage_goes_on_where_the_first_ended(name: str) -> None:
    same = group(name, optimizer="adagrad" if name == "ta-distmult" else "adam")
    first = [same.member(k, "L1", epochs=2) for k in range(3)]
    second = []
    for k, trained in enumerate(same.together(first)):
        assert isinstance(trained, Trained)
        second.append(replace(same.member(k, "L1+L2+L3", first_epoch=2), resume=trained))
    for student, trained in zip(second, same.together(second), strict=True):
        assert_same(trained, same.alone(student))


@pytest.mark.parametrize("name", FEW)
def test_single_precision_but_for_rounding(name: str) -> None:
    same = group(name, dtype=torch.float32)
    students = [same.member(k, "L1+L2+L3") for k in range(2)]
    for student, trained in zip(students, same.together(students), strict=True):
        assert_same(trained, same.alone(student), 2e-3)


@settings(deadline=None, max_examples=10)
@given(order=st.permutations(range(4)), size=st.integers(1, 4), memory=st.sampled_from([0, 2**14, 2**30]))
@pytest.mark.long
def test_company_does_not_matter(order: list[int], size: int, memory: int) -> None:
    """Whichever students share a stack, and however many of them a step takes at once."""
    same = group("ttranse")
    arms = ("L1", "L1+L2", "L1+L2+L3", "L1+L3")
    students = [same.member(k, arms[k]) for k in order[:size]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacked, "CPU_MEMORY", memory)
        actual = same.together(students)
    for student, trained in zip(students, actual, strict=True):
        assert_same(trained, same.alone(student))


def test_memory_bounds_how_many_a_step_takes_at_once() -> None:
    same = group("ttranse")
    student = same.member(0, "L1")
    few, many = (stacked._at_once(student, same.problem.data, True, memory) for memory in (2**15, 2**20))
    assert 1 <= few < many
    assert stacked._at_once(student, same.problem.data, True, 0) == 1
    assert stacked._at_once(same.member(0, "L1+L2+L3"), same.problem.data, True, 2**20) < many


def test_equal_targets_are_held_once() -> None:
    one, other = torch.arange(6).view(3, 2), torch.arange(6, 12).view(3, 2)
    index = torch.tensor([[2, 0], [1, 1], [0, 2]])
    assert stacked._Rows([one, one, one]).rows is one
    rows = stacked._Rows([one, other, one])
    assert len(rows.rows) == 6
    assert torch.equal(rows[index], torch.stack([one[index[0]], other[index[1]], one[index[2]]]))


def test_the_mean_of_validations_is_reported() -> None:
    same, seen = group("ttranse"), list[tuple[float, float | None]]()
    actual = same.together([same.member(k, "L1") for k in range(2)], report=lambda *args: seen.append(args))
    curves = [trained.curve for trained in actual if isinstance(trained, Trained)]
    means = [sum(row["valid_mrr"] for row in rows) / 2 for rows in zip(*curves, strict=True)]
    assert [done for done, _ in seen] == [0.25, 0.5, 0.75, 1.0]
    assert [mrr for _, mrr in seen] == pytest.approx(means)


# ---- divergence ------------------------------------------------------------------------------------------------------


def poisoned(same: Group, how: str) -> Student:
    student = same.member(1, "L1+L2+L3", **({"learning_rate": 1e308} if how == "rate" else {}))
    if how == "table":
        student.model.entity_table().data[3] = torch.nan
    return student


@pytest.mark.parametrize("how", ["rate", "table"])
@pytest.mark.parametrize("name", FEW)
def test_one_that_diverges_touches_no_other(name: str, how: str) -> None:
    same = group(name)
    students = [same.member(0, "L1"), poisoned(same, how), same.member(2, "L1+L2")]
    actual = same.together(students)
    assert isinstance(actual[1], DivergedError)
    assert "in epoch 1" in str(actual[1]) or "in epoch 2" in str(actual[1])
    for k in (0, 2):
        assert_same(actual[k], same.alone(students[k]))


def test_a_stack_of_which_nobody_is_left_ends() -> None:
    same = group("ttranse")
    actual = same.together([poisoned(same, "table"), poisoned(same, "rate")])
    assert all(isinstance(item, DivergedError) for item in actual)


def test_a_validation_without_a_result_fails_that_student_alone() -> None:
    same = group("ttranse")
    students = [same.member(k, "L1") for k in range(3)]
    asked: list[Backbone] = []

    def validate(model: Backbone) -> float:
        asked.append(model)
        if len(asked) == 5:  # the second student's second
            raise ArithmeticError("the scores are not finite")
        return same.validate(model)

    actual = train_stacked(copy.deepcopy(students), same.problem.data, validate)
    assert str(actual[1]) == "the scores are not finite"
    for k in (0, 2):
        assert_same(actual[k], same.alone(students[k]))
    assert len(asked) == 3 + 3 + 2 + 2


# ---- what cannot be stacked ------------------------------------------------------------------------------------------


def changed(student: Student, what: str) -> Student:
    loss, schedule = student.loss, student.schedule
    assert loss.soft is not None
    assert loss.adapter is not None
    if what == "soft targets":
        soft = replace(loss.soft, ids=loss.soft.ids[:, :4], log_p=loss.soft.log_p[:, :4])
        return replace(student, loss=replace(loss, soft=soft))
    if what == "LLM teacher":
        other = copy.deepcopy(loss.adapter)
        other.entities += 1
        return replace(student, loss=replace(loss, adapter=other))
    return {
        "backbone": replace(student, model=build("ttranse-l1").student),
        "sizes": replace(student, model=BACKBONES["ttranse"](10, 2, 4, 5).double()),
        "schedule": replace(student, schedule=replace(schedule, batch_size=4)),
        "share of L3": replace(student, loss=replace(loss, semantic_share=1.0)),
        "penalty": replace(student, loss=replace(loss, regularization=0.0)),
    }[what]


@pytest.mark.parametrize(
    "what", ["backbone", "sizes", "schedule", "soft targets", "share of L3", "penalty", "LLM teacher"]
)
def test_students_that_cannot_share_a_stack(what: str) -> None:
    same = group("ttranse")
    with pytest.raises(ValueError, match=f"cannot differ in their {what}"):
        same.together([same.member(0, "L1+L2+L3"), changed(same.member(1, "L1+L2+L3"), what)])


def test_students_with_and_without_teacher_do_not_mix() -> None:
    same = group("ttranse")
    with pytest.raises(ValueError, match="soft targets"):
        same.together([same.member(0, "L1"), same.member(1, "none")])


def test_no_early_end() -> None:
    same = group("ttranse")
    with pytest.raises(ValueError, match="stop early"):
        same.together([same.member(0, "L1", patience=2)])


# ---- tensor operations -----------------------------------------------------------------------------------------------


def test_an_lstm_written_out_is_the_lstm() -> None:
    torch.manual_seed(0)
    model = TADistMult(5, 2, 4, 6)
    relation, time = torch.randn(7, 6), torch.randint(4, (7, 2))
    expected = model.read(relation, time)
    with within_vmap():
        torch.testing.assert_close(model.read(relation, time), expected)


def test_within_vmap_nothing_is_compiled() -> None:
    assert can_compile(torch.zeros(1))
    with within_vmap():
        assert is_vmapped()
        assert not can_compile(torch.zeros(1))
    assert not is_vmapped()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("arm", ["none", "L1+L2+L3"])
@pytest.mark.parametrize("name", STUDENTS)
def test_on_a_gpu(name: str, arm: str) -> None:
    here = group(name)
    students = [here.member(k, arm) for k in range(3)]
    there = [on_gpu(student) for student in students]
    actual = train_stacked(there, here.problem.data.to("cuda"), validator_on_gpu(here))
    for student, trained in zip(students, actual, strict=True):
        assert_same(trained, here.alone(student), 1e-8)


def on_gpu(student: Student) -> Student:
    def moved(part: Any) -> Any:
        tensors = {name: value.cuda() for name, value in vars(part).items() if isinstance(value, torch.Tensor)}
        return replace(part, **tensors)

    loss = copy.deepcopy(student.loss)
    parts: dict[str, Any] = {name: moved(getattr(loss, name)) for name in ("soft", "aligned") if getattr(loss, name)}
    if isinstance(loss.adapter, nn.Module):
        parts["adapter"] = loss.adapter.cuda()
    return replace(student, model=copy.deepcopy(student.model).cuda(), loss=replace(loss, **parts))


def validator_on_gpu(same: Group) -> Callable[[Backbone], float]:
    there = Group(replace(same.problem, data=same.problem.data.to("cuda")), same.schedule)
    return there.validate


@pytest.mark.parametrize("name", ["ttranse", "ta-distmult"])
def test_each_student_of_a_stack_is_asked_at_times_of_its_own_seed(name: str) -> None:
    several, rows = group(name), len(group(name).problem.data)
    times = several.problem.data.time.numpy()
    any_row = {"first": np.zeros(rows, np.int64), "last": np.full(rows, rows - 1), "view": lambda drawn: times[drawn]}
    several.problem = replace(several.problem, data=PointQueries(**vars(several.problem.data), **any_row))
    students = [several.member(k, "L1+L2") for k in range(4)]  # two of each seed
    for student, together in zip(students, several.together(students), strict=True):
        assert_same(together, several.alone(student))
