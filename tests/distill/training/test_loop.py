"""The training loop: the same on every run, however it is cut into stages; stopping, the best state, divergence."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.distill.seeds import derive_seed
from harness.distill.training import loop as trainer
from harness.distill.training.loop import (
    DivergedError,
    Schedule,
    Trained,
    batches,
    make_optimizer,
    snapshot,
    train,
)
from harness.distill.training.objective import Distillation
from harness.distill.training.points import PointQueries
from harness.models import BACKBONES, Backbone, scores
from harness.models.batch import QueryTensors
from harness.vocabulary import PAPERS_BACKBONES
from tests.distill.conftest import DIM, ENTITIES, RELATIONS, STUDENTS, TIMES

State = dict[str, Tensor]


def equal(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@dataclass(frozen=True)
class Setup:
    """A problem in single precision, with the optimiser that the backbone's recipe names."""

    problem: Any
    schedule: Schedule
    fresh: Callable[[], Backbone]

    def loss(self, **parts: Any) -> Distillation:
        """L1 as in stage 1, with any more parts."""
        return Distillation(regularization=0.01, soft=self.problem.soft, **parts)

    def validate(self, model: Backbone) -> float:
        """MRR on the training queries, without filter."""
        data = self.problem.data
        with torch.no_grad():
            query = model.encode(data.subject, data.relation, data.time)
            z = scores(query, model.entity_table(), model.kernel, model.scale())
        gold = z.gather(1, data.answer[:, None])
        return float((1 / (1 + (z > gold).sum(1))).double().mean())

    def run(self, objective: Any = None, schedule: Schedule | None = None, **kwargs: Any) -> tuple[Trained, Backbone]:
        model, validate = self.fresh(), kwargs.pop("validate", self.validate)
        wanted = schedule or self.schedule
        return train(model, self.problem.data, objective or self.loss(), wanted, validate, **kwargs), model


#: for what a backbone's parameters and recipe decide
every_backbone = pytest.mark.parametrize("setup", BACKBONES, indirect=True)


@pytest.fixture(params=PAPERS_BACKBONES)
def setup(request: pytest.FixtureRequest, build_problem: Callable[..., Any]) -> Setup:
    problem = build_problem(request.param, torch.float32)
    state = snapshot(problem.student)
    kind, (_, options) = type(problem.student), STUDENTS[request.param]

    def fresh() -> Backbone:
        model = kind(ENTITIES, RELATIONS, TIMES, DIM, **options)
        model.load_state_dict(state)
        return model

    recipe = kind.student_recipe
    schedule = Schedule(epochs=6, batch_size=5, optimizer=recipe.optimizer, learning_rate=0.05, seed=3)
    return Setup(problem, schedule, fresh)


# ---- reproducibility -------------------------------------------------------------------------------------------------


@every_backbone
def test_the_same_seed_gives_the_same_bits(setup: Setup) -> None:
    results = []
    for seed in (3, 3, 4):
        model = setup.fresh()
        torch.rand(seed)  # what others draw must not matter
        before = torch.get_rng_state()
        schedule = replace(setup.schedule, seed=seed)
        results.append(train(model, setup.problem.data, setup.loss(), schedule, setup.validate))
        assert torch.equal(torch.get_rng_state(), before)
    one, again, other = results
    for part in ("best", "last", "optimizer"):
        assert equal(getattr(one, part), getattr(again, part))
    assert (one.best_mrr, one.best_epoch, one.updates) == (again.best_mrr, again.best_epoch, again.updates)
    assert not equal(one.last, other.last)


@pytest.mark.parametrize("cut", [1, 4])
def test_two_stages_of_l1_are_one_uninterrupted_run(setup: Setup, cut: int, tmp_path: Path) -> None:
    """Bit for bit, with all that stage 1 leaves having gone through files."""
    complete, _ = setup.run()
    first, _ = setup.run(schedule=replace(setup.schedule, epochs=cut, total_epochs=6))
    parts = {}
    for part in ("best", "last", "optimizer"):
        save_file(getattr(first, part), tmp_path / part)
        parts[part] = load_file(tmp_path / part)
    kept = Trained(**parts, best_mrr=first.best_mrr, best_epoch=first.best_epoch, updates=first.updates)
    others = replace(setup.schedule, epochs=6 - cut, first_epoch=cut, total_epochs=6)
    second, model = setup.run(schedule=others, resume=kept)

    for part in ("best", "last", "optimizer"):
        assert equal(getattr(second, part), getattr(complete, part)), part
    assert equal(snapshot(model), complete.last)
    assert (second.best_mrr, second.best_epoch) == (complete.best_mrr, complete.best_epoch)
    assert second.updates == complete.updates == 6 * 3
    curve = [{**row, "seconds": 0.0} for row in first.curve + second.curve]
    assert curve == [{**row, "seconds": 0.0} for row in complete.curve]


def test_arms_with_weight_0_are_the_arm_l1(setup: Setup) -> None:
    """So arms differ by their losses and by nothing else: neither by updates nor by batches."""
    l1, _ = setup.run()
    problem = setup.problem
    loss = setup.loss(aligned=problem.aligned, alpha=0.0, adapter=problem.adapter, beta=0.0)
    all_three, _ = setup.run(loss, auxiliary=problem.adapter)
    assert equal(all_three.last, l1.last)
    assert equal(all_three.best, l1.best)
    assert all_three.updates == l1.updates


def test_batches_are_a_function_of_seed_and_epoch() -> None:
    def of(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in batches(13, 5, seed, epoch)]

    expected = of(1, 2)
    assert [len(batch) for batch in expected] == [5, 5, 3]
    assert sorted(itertools.chain.from_iterable(expected)) == list(range(13))
    torch.manual_seed(99)
    assert of(1, 2) == expected
    assert of(1, 3) != expected
    assert of(2, 2) != expected


def test_derived_seeds_are_the_same_everywhere() -> None:
    """A constant of this test, since a change would silently change every result; fits what torch takes for a seed."""
    assert derive_seed("batches", 3, 0) == 63210948636215165
    actual = {derive_seed(*parts) for parts in (("a", "b"), ("ab",), ("a", "b", 0), ("a", 0), (0, "a"))}
    assert len(actual) == 5
    assert all(0 <= seed < 2**63 for seed in actual)


# ---- what an epoch does ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stages", [(6,), (2, 4), (1, 2, 3)])
def test_the_learning_rate_falls_to_a_tenth_over_the_whole_run(
    setup: Setup, stages: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[float]] = []

    def recording(*args: Any) -> torch.optim.Optimizer:
        optimizer = make_optimizer(*args)
        optimizer.register_step_pre_hook(lambda opt, *_: seen.append([group["lr"] for group in opt.param_groups]))
        return optimizer

    monkeypatch.setattr(trainer, "make_optimizer", recording)
    resume, done = None, 0
    adapter = setup.problem.adapter
    for epochs in stages:
        schedule = replace(setup.schedule, epochs=epochs, first_epoch=done, total_epochs=6)
        loss = setup.loss(adapter=adapter, beta=0.1) if done else None
        resume, _ = setup.run(loss, schedule, resume=resume, auxiliary=adapter if done else None)
        done += epochs
    assert [rates[0] for rates in seen] == pytest.approx([0.05 * (1 - 0.9 * k / 18) for k in range(18)])
    factors = [1.0, *setup.problem.student.rates.values(), *([] if len(stages) == 1 else [1.0])]  # the auxiliary last
    assert [rate / seen[-1][0] for rate in seen[-1]] == pytest.approx(factors)


def test_without_a_total_the_run_ends_with_the_stage(setup: Setup) -> None:
    late, _ = setup.run(schedule=replace(setup.schedule, first_epoch=4, epochs=2))
    expected, _ = setup.run(schedule=replace(setup.schedule, first_epoch=4, epochs=2, total_epochs=6))
    assert equal(late.last, expected.last)


def test_the_curve_holds_means_over_queries(setup: Setup) -> None:
    """Twelve queries in batches of 5, 5 and 2: each query counts once, whatever its batch."""
    seen: list[Tensor] = []

    def objective(model: Backbone, batch: QueryTensors, index: Tensor, candidates: Any) -> dict[str, Tensor]:
        assert torch.equal(batch.subject, setup.problem.data.subject[index])
        seen.append(index)
        anchor = 0 * model.entity.weight.sum()
        return {"loss_a": anchor + index.float().mean(), "penalty": anchor + 2.0}

    result, _ = setup.run(objective, replace(setup.schedule, epochs=2))
    assert [len(index) for index in seen] == [5, 5, 2] * 2
    for k, row in enumerate(result.curve, 1):
        assert row["loss_a"] == pytest.approx(5.5)
        assert row["penalty"] == pytest.approx(2.0)
        assert row["loss"] == pytest.approx(7.5)
        assert (row["epoch"], row["updates"]) == (k, 3 * k)
        assert row["valid_mrr"] == setup.validate(setup.fresh())
        assert row["seconds"] >= 0


@every_backbone
def test_training_learns(setup: Setup) -> None:
    result, model = setup.run(Distillation(), replace(setup.schedule, epochs=40, batch_size=12, learning_rate=0.3))
    assert setup.validate(setup.fresh()) < 0.6
    assert result.best_mrr > 0.9
    assert result.curve[-1]["loss"] < 0.3 * result.curve[0]["loss"]
    model.load_state_dict(result.best)
    assert setup.validate(model) == result.best_mrr


def test_auxiliary_parameters_are_trained_and_dropped(setup: Setup) -> None:
    adapter = setup.problem.adapter
    first, _ = setup.run(schedule=replace(setup.schedule, epochs=2, total_epochs=6))
    before = snapshot(adapter)
    schedule = replace(setup.schedule, first_epoch=2, epochs=4, total_epochs=6)
    result, model = setup.run(setup.loss(adapter=adapter, beta=1.0), schedule, auxiliary=adapter, resume=first)
    for name, value in snapshot(adapter).items():
        assert not torch.equal(value, before[name]), name
    assert set(result.best) == set(result.last) == set(model.state_dict())
    assert set(result.optimizer) == set(first.optimizer)
    without, _ = setup.run(schedule=schedule, resume=first)
    assert not equal(result.last, without.last)  # L3's gradient has reached the student


def test_parameters_that_are_frozen_stay(setup: Setup) -> None:
    model = setup.fresh()
    model.relation.requires_grad_(False)
    frozen = model.relation.weight.clone()
    train(model, setup.problem.data, Distillation(), setup.schedule, setup.validate)
    assert torch.equal(model.relation.weight, frozen)
    assert not torch.equal(model.entity.weight, setup.fresh().entity.weight)


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adagrad", torch.optim.Adagrad)])
def test_optimizers(setup: Setup, name: str, kind: type[torch.optim.Optimizer]) -> None:
    optimizer = make_optimizer(setup.fresh(), name, 0.1)
    assert type(optimizer) is kind
    assert {group["lr"] for group in optimizer.param_groups} == {0.1}


@every_backbone
def test_each_parameter_is_in_the_group_of_its_rate(setup: Setup) -> None:
    model = setup.fresh()
    groups = make_optimizer(model, "adam", 0.1).param_groups
    actual = {id(p): group["rate"] for group in groups for p in group["params"]}
    expected = {id(p): model.rates.get(name.split(".")[0], 1.0) for name, p in model.named_parameters()}
    assert actual == expected


# ---- validation, stopping, the best state ----------------------------------------------------------------------------


class Script:
    """A validation that returns what it was told to and keeps each state it saw."""

    def __init__(self, *values: float) -> None:
        self.values, self.states = list(values), list[State]()

    def __call__(self, model: Backbone) -> float:
        self.states.append(snapshot(model))
        return self.values[len(self.states) - 1]


def test_training_stops_after_stale_validations_and_keeps_the_best(setup: Setup) -> None:
    script = Script(0.1, 0.3, 0.2, 0.3, 0.9, 0.9)
    result, model = setup.run(schedule=replace(setup.schedule, patience=2), validate=script)
    assert len(result.curve) == len(script.states) == 4  # an equal MRR is no better one
    assert (result.best_mrr, result.best_epoch, result.updates) == (0.3, 2, 12)
    assert equal(result.best, script.states[1])
    assert equal(result.last, script.states[3])
    assert equal(snapshot(model), result.last)
    assert not equal(result.best, result.last)


def test_without_patience_all_epochs_are_trained(setup: Setup) -> None:
    script = Script(0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
    result, _ = setup.run(validate=script)
    assert (len(result.curve), result.best_epoch) == (6, 1)


def test_validation_happens_when_asked_and_at_the_end(setup: Setup) -> None:
    script = Script(0.1, 0.2, 0.3)
    seen: list[tuple[float, float | None]] = []
    schedule = replace(setup.schedule, epochs=5, validate_every=2)
    result, _ = setup.run(schedule=schedule, validate=script, report=lambda *args: seen.append(args))
    assert [row.get("valid_mrr") for row in result.curve] == [None, 0.1, None, 0.2, 0.3]
    assert seen == [(0.2, None), (0.4, 0.1), (0.6, 0.1), (0.8, 0.2), (1.0, 0.3)]  # with the latest MRR


def test_long_epochs_report_within(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10**6, 2))  # two seconds pass between any two looks
    monkeypatch.setattr("harness.distill.training.loop.time.perf_counter", lambda: float(next(clock)))
    seen: list[tuple[float, float | None]] = []
    schedule = replace(setup.schedule, epochs=2)
    setup.run(schedule=schedule, validate=Script(0.1, 0.2), report=lambda *args: seen.append(args))
    done = [fraction for fraction, _ in seen]
    assert done == sorted(done)
    assert 0 < done[0] < 0.5
    assert done[-1] == 1
    assert [mrr for fraction, mrr in seen if fraction < 0.5] == [None] * sum(fraction < 0.5 for fraction in done)
    assert [mrr for fraction, mrr in seen if 0.5 < fraction < 1].count(0.1) == sum(0.5 < f < 1 for f in done) > 0


def test_the_best_state_of_an_earlier_stage_is_kept(setup: Setup) -> None:
    first, _ = setup.run(schedule=replace(setup.schedule, epochs=3, total_epochs=6), validate=Script(0.1, 0.8, 0.2))
    others = replace(setup.schedule, epochs=3, first_epoch=3, total_epochs=6)
    worse, _ = setup.run(schedule=others, resume=first, validate=Script(0.3, 0.4, 0.5))
    assert (worse.best_mrr, worse.best_epoch) == (0.8, 2)
    assert equal(worse.best, first.best)
    script = Script(0.3, 0.9, 0.5)
    better, _ = setup.run(schedule=others, resume=first, validate=script)
    assert (better.best_mrr, better.best_epoch) == (0.9, 5)
    assert equal(better.best, script.states[1])


# ---- divergence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_fails_with_the_epoch(setup: Setup, value: float) -> None:
    calls = itertools.count()

    def objective(model: Backbone, batch: QueryTensors, index: Tensor, candidates: Any) -> dict[str, Tensor]:
        terms = setup.loss()(model, batch, index)
        return terms if next(calls) != 4 else {**terms, "loss_l1": terms["loss_l1"] * value}

    with pytest.raises(DivergedError, match=r"the loss became (nan|inf) in epoch 2"):
        setup.run(objective)


def test_a_learning_rate_too_high_fails(setup: Setup) -> None:
    with pytest.raises(DivergedError):
        setup.run(schedule=replace(setup.schedule, optimizer="adam", learning_rate=1e38))


def test_a_validation_that_is_not_finite_fails(setup: Setup) -> None:
    with pytest.raises(DivergedError, match=r"the validation MRR became nan in epoch 2"):
        setup.run(validate=Script(0.1, float("nan")))


def test_each_epoch_asks_at_its_own_times_and_targets_keep_their_queries(build_problem: Callable[..., Any]) -> None:
    """What the loss sees of a query, against the draw of its epoch read row by row."""
    problem = build_problem("ttranse", torch.float32)
    rows, seen = len(problem.data), list[tuple[Tensor, Tensor]]()
    view = {"first": np.zeros(rows, np.int64), "last": np.full(rows, 3), "view": lambda t: np.stack([t, t], axis=1)}
    data = PointQueries(**vars(problem.data), **view)
    loss = Distillation(soft=problem.soft)

    def recording(model: Backbone, batch: QueryTensors, index: Tensor, candidates: Any) -> dict[str, Tensor]:
        assert torch.equal(batch.subject, data.subject[index])
        assert torch.equal(batch.answer, data.answer[index])
        seen.append((index, batch.time))
        return loss(model, batch, index, candidates)

    train(problem.student, data, recording, Schedule(3, rows, "adam", 0.01, 7), lambda model: 0.5)
    drawn = []
    for epoch, (index, time) in enumerate(seen):
        drawn.append(data.in_epoch(derive_seed("points", 7, epoch)).time)
        assert torch.equal(time, drawn[-1][index])
        assert torch.equal(time[:, 0], time[:, 1])
    assert len(drawn) == 3
    assert not torch.equal(drawn[0], drawn[1])
