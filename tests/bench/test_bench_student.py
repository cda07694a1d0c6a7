"""The exact way has the textbook's losses, and both ways differ in nothing but how these are computed."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from harness import console as cli
from harness.bench import app
from harness.distill.passes.sampled import Candidates
from harness.measurements.in_the_loop import InTheLoop, stages_of, train_student
from harness.models import BACKBONES, Backbone
from harness.models.batch import QueryTensors
from harness.teachers.language.language_model import LanguageModelConfig
from harness.trial.run import run_trial
from harness.trial.spec import LossSpec, SemanticSpec, StudentSpec, TeacherSpec, TimeSpec, TrialSpec
from harness.trial.stages import Context, Stages
from harness.vocabulary import PAPERS_BACKBONES
from tests.toy import write_dataset

ENTITIES = 40
Array = NDArray[Any]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return Context(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("bench") / "toy")


@pytest.fixture(scope="module")
def trial(toy: Path, tiny_encoder: Path) -> TrialSpec:
    """All losses; the structural teacher's list holds all entities, of which a step samples some besides."""
    return TrialSpec(
        dataset=str(toy),
        arm="L1+L2+L3",
        time=TimeSpec(size=40),
        student=StudentSpec(dim=8, epochs=4, stage1_epochs=2, batch_size=64, candidates=16, hard_candidates=8),
        teacher=TeacherSpec(dim=16, epochs=2, batch_size=64),
        llm=LanguageModelConfig(model=str(tiny_encoder), finetune="none"),
        semantic=SemanticSpec(dim=8, components=8, epochs=2, batch_size=64),
        loss=LossSpec(targets=ENTITIES, alpha=0.7, beta=0.6, delta=0.4, hard_weight=0.9, soft_weight=1.2),
    )


def change(spec: TrialSpec, part: str = "", **values: object) -> TrialSpec:
    changed = {part: {**getattr(spec, part).model_dump(), **values}} if part else values
    return TrialSpec.model_validate({**spec.model_dump(), **changed})


def student_of(stages: Stages) -> Backbone:
    """A student far enough from its narrow start that entities differ."""
    model = stages.new_model(stages.spec.backbone, stages.spec.student, 1)
    with torch.no_grad():
        for table in (model.entity, model.relation):
            table.weight.mul_(20)
    return model


def asked(stages: Stages, model: Backbone) -> tuple[QueryTensors, torch.Tensor]:
    """A batch, and where it is among the training queries."""
    index = torch.tensor([3, 141, 59, 265, 35])
    return stages.inputs.training(model.time_input)[index], index


def of(model: Backbone, query: torch.Tensor) -> Array:
    """Scores of all entities by their definition."""
    q, e, scale = (x.detach().double().numpy() for x in (query, model.entity_table(), model.scale()))
    if model.kernel == "dot":
        return np.asarray(scale * (q @ e.T))
    return np.asarray(-scale * np.sqrt(np.square(q[:, None] - e).sum(-1)))


def log_softmax(z: Array) -> Array:
    return np.asarray(z - np.log(np.exp(z).sum(1, keepdims=True)))


@pytest.mark.parametrize("backbone", list(BACKBONES))
def test_the_exact_losses_are_their_formulas_over_all_entities(
    trial: TrialSpec, context: Context, backbone: str
) -> None:
    stages = Stages(change(trial, backbone=backbone), context)
    model, loss = student_of(stages), trial.loss
    objective = InTheLoop(stages, model, "L1+L2+L3")
    batch, index = asked(stages, model)
    answer = batch.answer.numpy()
    rows = np.arange(len(answer))

    def scored(by: Backbone) -> Array:
        data = stages.inputs.training(by.time_input)[index]
        return of(by, by.encode(data.subject, data.relation, data.time))

    z, structural, language = (scored(by) for by in (model, stages.teacher(), stages.semantic()))
    p, log_q = log_softmax(structural / loss.temperature), log_softmax(z / loss.temperature)
    standard = [(s - s.mean(1, keepdims=True)) / s.std(1, keepdims=True) for s in (z, language)]
    away = np.abs(standard[0] - standard[1])
    huber = np.where(away <= loss.delta, away**2 / 2, loss.delta * (away - loss.delta / 2))
    part = batch[slice(2)]  # a quarter of five queries, rounded up
    assert objective.adapter is not None
    entity, relation = objective.adapter(part.subject, part.relation)
    said = log_softmax(of(model, model.encode_vectors(entity, relation, part.time)))
    expected = {
        "loss_ce": -loss.hard_weight * log_softmax(z)[rows, answer].mean(),
        "loss_l1": loss.soft_weight * loss.temperature**2 * (np.exp(p) * (p - log_q)).sum(1).mean(),
        "loss_l2": loss.alpha * huber.mean(),
        "loss_l3": -loss.beta * said[rows[:2], answer[:2]].mean(),
    }
    terms = {name: term.item() for name, term in objective(model, batch, index).items()}
    del terms["penalty"]
    assert terms == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("backbone", list(BACKBONES))
def test_with_all_entities_on_the_list_both_ways_are_one(trial: TrialSpec, context: Context, backbone: str) -> None:
    """Losses and gradients; of L2 they cannot be, since its list repeats entities."""
    stages = Stages(change(trial, backbone=backbone), context)
    model = student_of(stages)
    batch, index = asked(stages, model)
    exact, fast = InTheLoop(stages, model, "L1+L3"), stages.distillation(model, ("L1", "L3"))
    by_way = []
    for objective, candidates in ((exact, None), (fast, None), (fast, Candidates(torch.arange(9)))):
        terms = objective(model, batch, index, candidates)
        model.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        gradient = model.entity.weight.grad
        assert gradient is not None
        by_way.append(({name: term.item() for name, term in terms.items()}, gradient.clone()))
    (terms, gradient), *others = by_way
    assert set(terms) == {"loss_ce", "loss_l1", "loss_l3", "penalty"}
    for other_terms, other_gradient in others:
        assert other_terms == pytest.approx(terms, rel=1e-3, abs=1e-5)
        torch.testing.assert_close(other_gradient, gradient, rtol=1e-3, atol=1e-5)


def test_teachers_get_no_gradient(trial: TrialSpec, context: Context) -> None:
    stages = Stages(trial, context)
    stages.teacher(), stages.semantic()  # one that is not read from the cache keeps the gradient of its last step
    model = student_of(stages)
    objective = InTheLoop(stages, model, trial.arm)
    torch.stack(list(objective(model, *asked(stages, model)).values())).sum().backward()
    assert objective.adapter is not None
    assert all(weight.grad is not None for part in (model, objective.adapter) for weight in part.parameters())
    for teacher in (objective.teacher, objective.language):
        assert teacher is not None
        assert all(weight.grad is None for weight in teacher.model.parameters())


@pytest.mark.parametrize("arm", ["none", "L1", "L1+L2+L3"])
def test_the_fast_way_is_that_of_a_trial(trial: TrialSpec, context: Context, arm: str) -> None:
    spec = change(trial, arm=arm)
    expected, outcome = run_trial(spec, context), train_student(spec, context, "fast")
    assert outcome.mrr == expected.metrics["test_mrr"]
    assert outcome.valid_mrr == expected.metrics["valid_mrr"]
    assert (outcome.best_epoch, outcome.updates) == (expected.best_epoch, expected.updates)
    assert 0 < outcome.seconds_to_best <= outcome.seconds
    assert 0 < outcome.validation_seconds < outcome.seconds


@pytest.mark.parametrize("stage1_epochs", [0, 4])
def test_one_stage_is_that_of_a_trial_too(trial: TrialSpec, context: Context, stage1_epochs: int) -> None:
    spec = change(trial, "student", stage1_epochs=stage1_epochs)
    assert [stage.arm for stage in stages_of(spec)] == ["L1+L2+L3" if stage1_epochs == 0 else "L1"]
    assert train_student(spec, context, "fast").mrr == run_trial(spec, context).metrics["test_mrr"]


@pytest.mark.parametrize("arm", ["none", "L1+L3"])
def test_both_ways_share_initial_values_batches_and_learning_rates(
    trial: TrialSpec, context: Context, arm: str
) -> None:
    """Where the losses are equal (all entities scored, all on the list), so are the students."""
    spec = change(change(trial, arm=arm), "student", candidates=0)
    fast, exact = (train_student(spec, context, way) for way in ("fast", "exact"))
    assert fast.valid_mrr == pytest.approx(exact.valid_mrr, abs=1e-4)
    assert fast.mrr == pytest.approx(exact.mrr, abs=1e-4)
    assert (fast.best_epoch, fast.updates) == (exact.best_epoch, exact.updates)
    other = train_student(change(spec, seed=1), context, "exact")
    assert abs(other.mrr - exact.mrr) > 1e-3


# ---- the command ---------------------------------------------------------------------------------------------------


def figures(tmp_path: Path, trial: TrialSpec, *arguments: str) -> tuple[dict[str, Any], str]:
    """What the command wrote as JSON and printed; teachers and student are small."""
    file = tmp_path / "figures.json"
    student = {name: getattr(trial.student, name) for name in ("dim", "epochs", "stage1_epochs", "candidates")}
    settings = {
        **{f"student.{name}": value for name, value in student.items()},
        "student.batch_size": 64,
        "teacher.dim": 16,
        "teacher.epochs": 1,
        "llm.model": trial.llm.model,
        "llm.finetune": "none",
        "semantic.epochs": 1,
        "semantic.components": 8,
    }
    changes = [item for key, value in settings.items() for item in ("--set", f"{key}={value}")]
    command = ["student", "--dataset", trial.dataset, "--threads", "1", "--steps", "1", "--json", str(file)]
    done = CliRunner().invoke(app, [*command, *changes, *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    written: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return written, done.output


def test_full(trial: TrialSpec, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    written, output = figures(tmp_path, trial, "--backbone", "all", "--arm", "none,L1+L2+L3", "--seeds", "2", "--full")
    assert "building teacher for ttranse" in output
    assert not (tmp_path / "cache" / "stage1").exists()
    assert [(row["backbone"], row["arm"]) for row in written["rows"]] == [
        (backbone, arm) for backbone in PAPERS_BACKBONES for arm in ("none", "L1+L2+L3")
    ]
    assert (written["threads"], written["extrapolated"]) == (1, False)
    by_seed = [seed for row in written["rows"] for seed in row["seeds"]]
    assert [seed["seed"] for seed in by_seed] == [0, 1] * 4
    for figure in (written, *written["rows"], *by_seed):
        assert figure["speedup"] == pytest.approx(figure["seconds_exact"] / figure["seconds_fast"])
        assert figure["mrr_difference"] == pytest.approx(figure["mrr_fast"] - figure["mrr_exact"])
        for key in ("mrr_fast", "mrr_exact", "valid_mrr_fast", "valid_mrr_exact"):
            assert 0 < figure[key] < 1
        for key in ("speedup", "step_ratio", "seconds_to_best_fast"):
            assert math.isfinite(figure[key])
            assert figure[key] > 0
    for row in written["rows"]:
        assert row["epochs"] == 4
        assert row["mrr_exact"] == pytest.approx(np.mean([seed["mrr_exact"] for seed in row["seeds"]]))


def test_without_full_the_exact_way_is_extrapolated(
    trial: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    written, output = figures(tmp_path, trial, "--arm", "none")
    assert "building" not in output
    assert "--full trains the exact way, too" in output
    (row,) = written["rows"]
    (seed,) = row["seeds"]
    for figure in (written, row, seed):
        assert figure["mrr_exact"] is figure["valid_mrr_exact"] is figure["mrr_difference"] is None
        assert figure["mrr_fast"] > 0
    assert written["extrapolated"] is row["extrapolated"] is True
    # 384 queries are six full batches; two stages of two epochs
    in_steps = 2 * 6 * sum(seed["step_ms"]["exact"]) / 1e3
    assert seed["seconds_exact"] == pytest.approx(in_steps + seed["validation_seconds_fast"])


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [
        ("--arm", "L1,L9", "error: arm 'L9': there is no loss 'L9': "),
        ("--arm", "teacher", "error: arm 'teacher': is no student"),
        ("--backbone", "ttrans", "error: unknown backbone 'ttrans': did you mean 'ttranse'?"),
        ("--set", "teacher.dims=3", "error: --set 'teacher.dims=3': unknown key, did you mean 'teacher.dim'?"),
    ],
)
def test_mistakes_are_one_line(
    option: str, value: str, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "student", option, value])
    with pytest.raises(SystemExit) as caught:
        cli.run(app)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(line)
