"""Teachers that are made of trained models: an ensemble, and a chain of distilled students."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.data import Timeline
from harness.distill.losses import LOSSES
from harness.errors import UserError
from harness.evaluate import ranks
from harness.models import BACKBONES, scores
from harness.registry import Plugin
from harness.teachers.ensemble import Ensemble, _by_rank, fit_weights
from harness.trial.run import run_trial, scored_model
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages
from tests.inside import Here
from tests.toy import context, dataset, spec, taught_by

__all__ = ["context", "dataset", "spec"]


TIMELINE = Timeline("year", np.arange(1900, 1905))


def models() -> list[Any]:
    made = []
    for seed, name in enumerate(("ta-distmult", "tcomplex", "tntcomplex")):
        torch.manual_seed(seed)
        model = BACKBONES[name](40, 4, 6, 8).double()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.8)
        made.append(model.eval())
    return made


def test_scores_are_the_mean_of_the_members_log_probabilities() -> None:
    """But for a number that all entities of a query share, and that no softmax sees."""
    members = models()
    ensemble = Ensemble(members, TIMELINE).double()
    ensemble.weights.copy_(torch.tensor([0.5, 0.2, 0.3]))
    generator = torch.Generator().manual_seed(5)
    asked = [torch.randint(top, (9,), generator=generator) for top in (40, 8)]
    asked.append(torch.randint(6, (9, 2), generator=generator))
    with torch.no_grad():
        ours = scores(ensemble.encode(*asked), ensemble.entity_table(), "dot", ensemble.scale()).log_softmax(1)
        mean = torch.zeros_like(ours)
        for weight, member in zip((0.5, 0.2, 0.3), members, strict=True):
            z = scores(member.encode(*asked), member.entity_table(), "dot", member.scale())
            mean += weight * z.log_softmax(1)
    torch.testing.assert_close(ours, mean.log_softmax(1))


def test_fitted_weights_rank_best_and_are_as_likely_as_their_ranks_allow(spec: TrialSpec, context: Context) -> None:
    members = [
        scored_model(taught_by(spec, "structural", "teacher").model_copy(update={"backbone": name}).acting(), context)
        for name in ("ta-distmult", "tcomplex")
    ]
    task = Stages(spec, context).inputs.task("valid", "classes")
    ensemble = Ensemble(members, TIMELINE)

    def mrr(weights: list[float]) -> float:
        ensemble.weights.copy_(torch.tensor(weights))
        return float((1 / ranks(ensemble, task)).mean())

    def loss(weights: list[float]) -> float:
        ensemble.weights.copy_(torch.tensor(weights))
        queries = task.queries
        z = scores(ensemble.encode(queries.subject, queries.relation, queries.time), ensemble.entity_table(), "dot",
                   ensemble.scale())  # fmt: skip
        z[task.row, task.entity] = -torch.inf
        return float((z.logsumexp(1) - z.gather(1, queries.answer[:, None])[:, 0]).double().mean())

    with torch.no_grad():
        fit_weights(ensemble, task)
        ours = ensemble.weights.tolist()
        grid = [[float(a), float(b)] for a in np.geomspace(0.05, 8, 9) for b in np.geomspace(0.05, 8, 9)]
        likeliest = min(grid, key=loss)
        assert mrr(ours) >= mrr(likeliest) - 1e-3
        assert mrr(ours) >= np.median([mrr(weights) for weights in grid])
        assert loss(ours) <= min(loss([factor * w for w in ours]) for factor in np.geomspace(0.1, 10, 21)) + 1e-4


def test_a_member_that_only_seems_likely_counts_little() -> None:
    """It has the answer among its first hundred always and never first; the other is right half of the time."""
    generator = torch.Generator().manual_seed(0)
    answer = torch.randint(500, (300, 1), generator=generator)
    right = torch.zeros(300, 500).scatter_(1, answer, 8.0) * (torch.rand(300, 1, generator=generator) < 0.5)
    right += torch.rand(300, 500, generator=generator)
    near = 4.0 * (torch.rand(300, 500, generator=generator) < 0.2)
    near.scatter_(1, answer, 4.0)
    near += torch.rand(300, 500, generator=generator).scatter_(1, answer, 0.0)
    every = torch.stack([right, near])

    def mrr(weights: list[float]) -> float:
        z = weights[0] * right + weights[1] * near
        return float((1 / (1 + (z > z.gather(1, answer)).sum(1).double())).mean())

    ours = _by_rank(every, answer, np.array([1.0, 1.0]))
    assert mrr(ours.tolist()) >= max(mrr([1.0, 1.0]), mrr([1.0, 0.0]))


def test_from_an_ensemble_to_a_student(spec: TrialSpec, context: Context) -> None:
    """Its members are trained once, the student reads it, and it is scored as a reference row."""
    student = taught_by(spec, "ensemble", members="tcomplex,ta-distmult,llm")
    result = run_trial(student, context)
    assert result.metrics["test_mrr"] > 0
    assert {"teacher", "targets"} <= result.built_seconds.keys()
    row = run_trial(taught_by(spec, "ensemble", "teacher", members="tcomplex,ta-distmult,llm"), context)
    ensemble = scored_model(taught_by(spec, "ensemble", "teacher", members="tcomplex,ta-distmult,llm"), context)
    assert isinstance(ensemble, Ensemble)
    again = ranks(ensemble, Stages(student, context).inputs.task("test", "classes"))
    assert np.array_equal(row.ranks["rank"], again)
    assert len(list((context.cache_dir / "teacher").glob("*.safetensors"))) == 3  # two members, and the ensemble


def test_a_chain_of_distilled_teachers(spec: TrialSpec, context: Context) -> None:
    """Each is a student of the one before; a chain of one is the student of the structural teacher."""
    one = taught_by(spec, "distilled", dims="12", epochs=2)
    two = taught_by(spec, "distilled", dims="12,10", epochs=2)
    (member,) = two.members
    assert (member.arm, member.student.dim, member.teacher.source) == ("L1", 10, "distilled")
    (first,) = member.members
    assert (first.student.dim, first.teacher.source) == (12, "structural")
    results = [run_trial(asked, context) for asked in (taught_by(spec, "structural"), one, two)]
    assert len({result.metrics["test_mrr"] for result in results}) == 3
    teacher = run_trial(taught_by(spec, "distilled", "teacher", dims="12", epochs=2), context)
    (student,) = one.members
    assert np.array_equal(teacher.ranks["rank"], run_trial(student, context).ranks["rank"])


def test_what_makes_a_teacher_is_part_of_its_identity(spec: TrialSpec, context: Context) -> None:
    asked = [
        taught_by(spec, "ensemble", members="tcomplex,ta-distmult"),
        taught_by(spec, "ensemble", members="tcomplex,llm"),
        taught_by(spec, "distilled", dims="12"),
        taught_by(spec, "distilled", dims="12,10"),
        taught_by(spec, "distilled", dims="12", of="ensemble"),
        taught_by(spec, "structural"),
    ]
    keys = [Stages(one, context).plan.keys["targets"] for one in asked]
    assert len(set(keys)) == len(keys)
    assert len({one.key() for one in asked}) == len(asked)
    other_llm = {**spec.model_dump(), "semantic": {**spec.semantic.model_dump(), "seed": 5}}
    settings = TrialSpec.model_validate(other_llm)
    changed = [taught_by(settings, "ensemble", members=names) for names in ("tcomplex,ta-distmult", "tcomplex,llm")]
    assert [one.key() in {two.key() for two in asked} for one in changed] == [True, False]


@pytest.mark.parametrize(
    ("source", "options", "reason"),
    [
        ("ensemble", {"members": "ttranse,ta-distmult"}, "scores by distances"),
        ("ensemble", {"members": "tcomplexx"}, "did you mean 'tcomplex'"),
        ("ensemble", {"members": "tcomplex,tcomplex"}, "each once"),
        ("ensemble", {"members": " "}, "one or more"),
        ("distilled", {"dims": "large"}, "write up to 8 dimensions"),
        ("distilled", {"dims": "²"}, "write up to 8 dimensions"),
        ("distilled", {"dims": ",".join(["9"] * 9)}, "write up to 8 dimensions"),
    ],
)
def test_what_cannot_be_a_teacher_is_one_line(
    spec: TrialSpec, context: Context, source: str, options: dict[str, object], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        run_trial(taught_by(spec, source, **options), context)


def test_an_arm_that_is_none_teaches_nobody(spec: TrialSpec) -> None:
    teacher = {**spec.teacher.model_dump(), "source": "distilled", "distilled": {"arm": "L7"}}
    with pytest.raises(UserError, match="there is no loss 'L7'"):
        TrialSpec.model_validate({**spec.model_dump(), "teacher": teacher}).acting()


def test_equal_teachers_are_one(spec: TrialSpec, context: Context) -> None:
    """Whatever the spaces, the order of an arm's losses, or the seed of the student."""
    pairs = [
        ("ensemble", {"members": "tcomplex,ta-distmult"}, {"members": " tcomplex , ta-distmult,"}),
        ("distilled", {"dims": "12,10"}, {"dims": "12, 010"}),
    ]
    for source, first, second in pairs:
        one, two = (taught_by(spec, source, **options) for options in (first, second))
        assert one.key() == two.key()
        reseeded = Stages(one.model_copy(update={"seed": 1}), context).plan.keys
        assert reseeded["targets"] == Stages(one, context).plan.keys["targets"]
    members = set()
    for arm in ("L1+L2", "L2 + L1"):
        teacher = {**spec.teacher.model_dump(), "source": "distilled", "distilled": {"arm": arm}}
        members |= {one.key() for one in TrialSpec.model_validate({**spec.model_dump(), "teacher": teacher}).members}
    assert len(members) == 1


def test_a_long_chain_is_planned_at_once(spec: TrialSpec, context: Context) -> None:
    long = taught_by(spec, "distilled", dims="12,11,10,9,8,7,6,5")
    assert [one.student.dim for one in long.family] == [5, 6, 7, 8, 9, 10, 11, 12]
    assert Stages(long, context).plan.keys["targets"]


def test_a_plugins_loss_behind_the_teacher_is_part_of_the_identity(
    spec: TrialSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial whose teacher was distilled by other code is another trial."""
    keys = set()
    for digest in ("one", "two"):
        monkeypatch.setitem(LOSSES._origins, "RKD-D", Plugin("rkd", "rkd.py", "", digest))
        teacher = {**spec.teacher.model_dump(), "source": "distilled", "distilled": {"arm": "L1+RKD-D", "dims": "9,8"}}
        keys.add(TrialSpec.model_validate({**spec.model_dump(), "arm": "L1", "teacher": teacher}).acting().key())
    assert len(keys) == 2


def test_penalties_by_member_have_one_form(spec: TrialSpec) -> None:
    """Equal weights are one teacher, and what is no weight is refused."""
    asked = [
        taught_by(spec, "ensemble", members="tcomplex,ta-distmult", penalties=text)
        for text in ("tcomplex=.03, ta-distmult=0.1", "ta-distmult=1e-1,tcomplex=0.03")
    ]
    assert asked[0].key() == asked[1].key()
    weights = {one.backbone: one.teacher.regularization for one in asked[0].members}
    assert weights == {"tcomplex": 0.03, "ta-distmult": 0.1}
    for text in ("tcomplex=1e999", "tcomplex=-1", "tcomplex", "tcomplex=a", "tcomplex=1,tcomplex=2"):
        with pytest.raises(ValueError, match="penalties"):
            taught_by(spec, "ensemble", members="tcomplex,ta-distmult", penalties=text)
    with pytest.raises(UserError, match="'timeplex' is no member"):
        taught_by(spec, "ensemble", members="tcomplex,ta-distmult", penalties="timeplex=1")


@pytest.mark.usefixtures("blank_figures")
def test_a_study_with_an_ensemble_ends_with_its_report(tmp_path: Path, tiny_encoder: Path) -> None:
    """From the command line: the ensemble is a reference row without a learning curve."""
    place = Here(tmp_path, tiny_encoder)
    settings = ("--set", "teacher.source=ensemble", "--set", "teacher.ensemble.members=tcomplex,ta-distmult")
    done = place("ablation", *place.options, "--arms", "L1,teacher", "--seeds", "1", *settings)
    assert done.returncode == 0, done.stderr
    assert Path(tmp_path, done.stdout.splitlines()[-1]).exists()
