"""Students that look facts up: scored as they are stored, against sums made by hand, and from training facts alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.data import KnownAnswers
from harness.data.graph import Facts
from harness.distill.gaps import MIX, WEIGHTS, bytes_an_entity
from harness.distill.rounding import Bits, rounded, row_bytes
from harness.errors import UserError
from harness.models import BACKBONES
from harness.models.base import scores
from harness.student import Student
from harness.student.converting import converted, graph
from harness.student.export import evaluated, export, inputs_of, model_of
from harness.student.fileformat import read
from harness.teachers.ensemble import Ensemble, fit_weights
from harness.teachers.gaps import Gaps
from harness.trial.run import STUDENTS, rounded_tensors, run_trial, scored_model
from harness.trial.spec import StudentSpec, TrialSpec
from harness.trial.stages import Context, Stages
from tests.plain_gaps import both_ways, plain_score
from tests.toy import context, dataset, spec, taught_by

__all__ = ["context", "dataset", "spec"]


def looking_up(spec: TrialSpec, *, backbone: str = "ttranse", arm: str = "none", **student: object) -> TrialSpec:
    student = {**spec.student.model_dump(), "gaps": True, "lifted": {"wide": 16}, **student}
    return TrialSpec.model_validate(
        {**spec.model_dump(), "backbone": backbone, "arm": arm, "student": student}
    ).acting()


def kept(spec: TrialSpec, context: Context) -> dict[str, torch.Tensor]:
    stages = Stages(spec, context)
    return stages.cache.get_or_build(STUDENTS, stages.student_key(), lambda: ({}, {})).tensors


@pytest.mark.parametrize("bits", [32, 4])
def test_ranks_are_those_of_sums_made_by_hand(spec: TrialSpec, context: Context, bits: Bits) -> None:
    """The student without gaps, and features in plain loops over training facts, with the weights that are stored."""
    chosen = looking_up(spec, bits=bits)
    result, state = run_trial(chosen, context), kept(chosen, context)
    alone = scored_model(looking_up(spec, bits=bits, gaps=False), context)
    of_student, of_gaps = state[MIX].numpy().astype(np.float32 if bits == 32 else np.float16).astype(float)
    assert of_student > 0
    assert of_gaps > 0
    weights = rounded(state[WEIGHTS].numpy(), 32 if bits == 32 else 8)
    stages = Stages(chosen, context)
    facts, known, n = both_ways(stages.graph), KnownAnswers(stages.graph), len(stages.graph.entities)
    points, classes = (stages.inputs.task("test", view).queries for view in ("points", "classes"))
    row, entity = known.pairs(stages.inputs.queries("test"))
    with torch.no_grad():
        query = alone.encode(classes.subject, classes.relation, classes.time)
        z = scores(query, alone.entity_table(), alone.kernel, alone.scale()).double().numpy() * of_student
    for k, (s, r, time) in enumerate(zip(points.subject, points.relation, points.time[:, 0], strict=True)):
        z[k] += [of_gaps * plain_score(facts, weights, int(s), int(r), int(time), e) for e in range(n)]
        others = set(entity[row == k].tolist())
        allowed = np.array([e for e in range(n) if e not in others])
        gold = z[k][int(points.answer[k])]
        near = np.abs(z[k][allowed] - gold) < 1e-4
        better = int((z[k][allowed] > gold + 1e-4).sum())
        assert 1 + better <= result.ranks["rank"][k] <= better + near.sum()
    assert result.metrics["test_mrr"] == pytest.approx(float(np.mean(1 / result.ranks["rank"])))
    assert result.metrics["test_mrr"] != run_trial(looking_up(spec, bits=bits, gaps=False), context).metrics["test_mrr"]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_file_gives_what_its_trial_gave(spec: TrialSpec, context: Context, tmp_path: Path, backbone: str) -> None:
    """Under every protocol, in few bits; in NumPy as in PyTorch; and sizes are those of the trial."""
    chosen = looking_up(spec, backbone=backbone, bits=3)
    result, made = run_trial(chosen, context), export(chosen, context)
    (path := tmp_path / "student").write_bytes(made.content)
    content = read(path)
    assert np.array_equal(evaluated(content, inputs_of(content.about, chosen.dataset, context)), result.ranks["rank"])
    for protocol, expected in result.by_protocol.items():
        ranks = evaluated(content, inputs_of(content.about, chosen.dataset, context, protocol))
        assert float(np.mean(1 / ranks)) == pytest.approx(expected["mrr"], rel=1e-9), protocol
    stages, student = Stages(chosen, context), Student.load(path)
    times = content.about.time_input
    asked, points = (stages.inputs.task("test", view).queries for view in (times, "points"))
    columns = [column.numpy() for column in (asked.subject, asked.relation, asked.time, points.time[:, 0])]
    with torch.no_grad():
        theirs = model_of(content).direct_scores(points.subject, points.relation, points.time).numpy()
    assert student.scores(*columns) == pytest.approx(theirs, rel=1e-3, abs=1e-3)
    best = student.answers("person 03", "rel 1", "1931", k=3)
    assert best[0].score >= best[1].score >= best[2].score
    n = len(content.entities)
    assert result.stored_bytes["entity"] == row_bytes(8, 3) + math.ceil(content.sizes["gaps"] / n)
    assert content.sizes["entities"] == n * row_bytes(8, 3)
    assert bytes_an_entity(stages.graph, 3) == math.ceil(content.sizes["gaps"] / n)


def test_what_is_looked_up_are_training_facts_alone(spec: TrialSpec, context: Context, tmp_path: Path) -> None:
    """Others are known, to be marked, unless the file has none."""
    chosen, graph_of = looking_up(spec), Stages(spec, context).graph

    def rows(*parts: Facts) -> list[tuple[int, ...]]:
        return sorted(row for part in parts for row in zip(*(c.tolist() for c in part.columns.values()), strict=True))

    for facts in (True, False):
        (path := tmp_path / "student").write_bytes(export(chosen, context, facts=facts).content)
        content = read(path)
        assert content.looked_up is not None
        assert rows(content.looked_up) == rows(graph_of.train)
        assert rows(content.known) == rows(*graph_of.splits.values() if facts else [graph_of.train])


def test_how_much_gaps_count_is_fitted_on_validation(spec: TrialSpec, context: Context) -> None:
    """As in an ensemble of the rounded student and the rounded gaps; not as in one of what was trained."""
    chosen = looking_up(spec, bits=2, rounded_epochs=0)
    run_trial(chosen, context)
    stages, state, fitted = Stages(chosen, context), kept(chosen, context), []
    for bits in (2, 32):
        alone = stages.new_model("ttranse", chosen.student, 0)
        gaps = Gaps.of(stages.graph)
        alone.load_state_dict(rounded_tensors({n: t for n, t in state.items() if n not in (WEIGHTS, MIX)}, bits))
        gaps.load_state_dict({"weights": rounded_tensors({WEIGHTS: state[WEIGHTS]}, bits)[WEIGHTS]})
        ensemble = Ensemble([alone, gaps], stages.inputs.timeline)
        fit_weights(ensemble, stages.inputs.task("valid", "points"))
        fitted.append(ensemble.weights)
    assert torch.equal(state[MIX], fitted[0])
    assert not torch.equal(state[MIX], fitted[1])


def test_gaps_at_their_default_leave_all_as_it_was(spec: TrialSpec, context: Context) -> None:
    """Neither the identity of a trial nor a student's file knows of them; students share their stage 1."""
    assert "gaps" not in spec.student.model_dump()
    assert StudentSpec.model_validate(StudentSpec(gaps=True).model_dump()).gaps
    plain, chosen = looking_up(spec, arm="L1", gaps=False), looking_up(spec, arm="L1")
    assert plain.key() == spec.model_copy(update={"student": plain.student}).acting().key() != chosen.key()
    keys = [Stages(one, context).plan.keys for one in (plain, chosen)]
    assert keys[0].items() < keys[1].items()
    assert keys[1].keys() - keys[0].keys() == {"gaps"}
    reference = chosen.model_copy(update={"arm": "gaps"}).acting()
    assert Stages(reference, context).plan.keys["gaps"] == keys[1]["gaps"]
    about = Student.from_bytes(export(plain, context).content).about
    assert about.version == 1
    assert not {"n_looked_up", "gaps"} & {*about.model_dump(), *about.tensors}


def test_a_student_of_gaps_and_its_teacher_of_them(spec: TrialSpec, context: Context) -> None:
    student = taught_by(looking_up(spec, backbone="tcomplex"), "ensemble", members="tcomplex,gaps")
    assert run_trial(student, context).metrics["test_mrr"] > 0.2  # chance is .1


def test_other_forms_of_a_student_that_looks_facts_up(spec: TrialSpec, context: Context, tmp_path: Path) -> None:
    """Fewer bits keep what it looks up; an ONNX graph is refused in one line."""
    (path := tmp_path / "student").write_bytes(export(looking_up(spec), context).content)
    content = read(path)
    path.write_bytes(converted(content, "4", (str(spec.dataset), context)))
    few = read(path)
    assert few.about.bits == 4
    assert few.looked_up is not None
    assert few.sizes["gaps"] < content.sizes["gaps"]
    assert few.tensors[WEIGHTS] == pytest.approx(rounded(content.tensors[WEIGHTS], 8))
    ranks = evaluated(few, inputs_of(few.about, spec.dataset, context))
    assert few.about.metrics["mrr"] == pytest.approx(float(np.mean(1 / ranks)))
    with pytest.raises(UserError, match="--onnx: the student looks facts up"):
        graph(content, tmp_path / "graph.onnx")
    assert list(tmp_path.glob("*.onnx")) == []


def test_starts_are_asked_for(spec: TrialSpec, context: Context) -> None:
    student: Any = Student.from_bytes(export(looking_up(spec), context).content)
    with pytest.raises(ValueError, match="needs the starts"):
        student.scores(np.array([0]), np.array([0]), np.array([[1, 1]]))
