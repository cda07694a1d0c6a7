"""What all losses have in common that take the teacher's distribution: DKD, DIST, LSKD, CTKD and RCE-KD."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from harness.distill.losses import LOSSES
from harness.distill.passes.sampled import Candidates
from harness.distill.passes.terms import NEVER
from harness.errors import UserError
from harness.trial.arms import check_arm
from tests.distill.losses.taught import (
    WAYS,
    both_scores,
    check_gradient,
    minimised,
    own_targets,
    softmax,
    step_of,
    term_of,
)

NAMES = ("DKD", "DIST", "LSKD", "CTKD", "RCE-KD")
FEW = Candidates(torch.tensor([3, 8, 4, 0, 9]))


@pytest.fixture(params=["ttranse", "ta-distmult"])
def taught(request: pytest.FixtureRequest, build_problem: Callable[..., Any]) -> Any:
    return build_problem(request.param, taught=True)


def started(name: str, problem: Any, candidates: Candidates | None) -> Any:
    """A loss that knows what it finds out in the first epochs, and goes on with it."""
    term = term_of(name, problem, **({"student": 4, "every": 1000} if name == "RCE-KD" else {}))
    if name in ("DIST", "LSKD", "RCE-KD"):
        for _ in range(2):
            term(step_of(problem, candidates, torch.arange(len(problem.data))))
    return term


@pytest.mark.parametrize("way", WAYS)
def test_a_sample_of_all_entities_is_all_entities(taught: Any, way: str) -> None:
    step = step_of(taught, WAYS[way])
    sample, (y, z) = step.sample, both_scores(taught)
    counts = sample.log_weight.detach().numpy() > -1
    assert counts.sum(1).tolist() == [10] * 5
    assert np.abs(sample.log_weight.numpy()[counts]).max() < 1e-12
    for ours, dense in ((sample.teacher, np.log(softmax(y / 2))), (sample.student.detach(), z)):
        np.testing.assert_allclose(np.sort(np.where(counts, ours, np.inf), 1)[:, :10], np.sort(dense, 1))
    np.testing.assert_allclose(sample.teacher.numpy()[range(5), 0], np.log(softmax(y / 2))[range(5), step.batch.answer])


@pytest.mark.parametrize("vectors", [True, False])
def test_samples_of_some_entities_stand_for_all(taught: Any, vectors: bool) -> None:
    """The mean of their sums is the sum over all."""
    soft, sums = taught.soft if vectors else replace(taught.soft, teacher=None), []
    complete = np.exp(both_scores(taught)[1]).sum(1)
    for drawn in combinations(range(10), 8):
        sample = step_of(replace(taught, soft=soft), Candidates(torch.tensor(drawn))).sample
        weight = sample.log_weight.exp()
        assert sample.shared == 8
        torch.testing.assert_close(weight.sum(1), torch.full((5,), 10.0).double())
        sums.append(torch.stack([(weight * x.exp()).sum(1) for x in (sample.teacher, sample.student.detach())]))
    np.testing.assert_allclose(torch.stack(sums).mean(0), [np.ones(5), complete])


def test_what_is_shared_is_of_the_same_entities_in_all_queries(taught: Any) -> None:
    sample, (y, z) = step_of(taught).sample, both_scores(taught)
    np.testing.assert_allclose(sample.student.detach()[:, -10:], z)
    np.testing.assert_allclose(sample.teacher[:, -10:], np.log(softmax(y / 2)))


def test_without_scores_of_all_what_is_not_listed_is_one_outcome(taught: Any) -> None:
    step = step_of(replace(taught, soft=replace(taught.soft, teacher=None)), FEW)
    assert torch.equal(step.distributions[0], step.teacher.log_probabilities)
    assert torch.equal(step.distributions[1], step.student.log_probabilities)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("vectors", [True, False])
def test_distributions_add_up_to_one(taught: Any, way: str, vectors: bool) -> None:
    soft = taught.soft if vectors else replace(taught.soft, teacher=None)
    for log_p in step_of(replace(taught, soft=soft), WAYS[way]).distributions:
        torch.testing.assert_close(log_p.exp().sum(1), torch.ones(5).double())
        assert ((log_p <= 0) & (log_p >= 2 * NEVER)).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("candidates", [None, FEW], ids=["all", "few"])
def test_a_student_like_its_teacher_has_nothing_to_learn(taught: Any, name: str, candidates: Any) -> None:
    same = replace(taught, soft=own_targets(taught))
    term = started(name, same, candidates)
    assert term(step_of(same, candidates)).item() == pytest.approx(0, abs=1e-6)
    assert started(name, taught, candidates)(step_of(taught, candidates)) > 1e-3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("candidates", [None, FEW], ids=["all", "few"])
def test_gradient_equals_finite_differences(taught: Any, name: str, candidates: Any) -> None:
    term = started(name, taught, candidates)
    assert check_gradient(term.double() if name == "CTKD" else term, step_of(taught, candidates))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("taught", "vectors", "exact"),  # each two of them
    [("ttranse", True, True), ("ttranse", False, False), ("ta-distmult", True, False), ("ta-distmult", False, True)],
    indirect=["taught"],
)
def test_alone_it_is_minimised(taught: Any, name: str, vectors: bool, exact: bool) -> None:
    problem = taught if vectors else replace(taught, soft=replace(taught.soft, teacher=None))
    candidates = replace(FEW, exact=exact)
    before, after = minimised(started(name, problem, candidates), problem, candidates)
    assert 0 <= after < 0.5 * before


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_and_a_full_list_have_finite_gradients(taught: Any, name: str) -> None:
    """Nothing varies between queries, and nothing is left that is not listed."""
    log_p = (taught.soft.teacher.query / 2).log_softmax(1)
    ids = torch.arange(10, dtype=torch.int32).expand(12, 10).contiguous()
    soft = replace(taught.soft, ids=ids, log_p=log_p, log_rest=torch.full((12,), -torch.inf).double())
    for one in (replace(taught, soft=soft), taught, replace(taught, soft=replace(soft, teacher=None))):
        for candidates in (None, FEW):
            loss = started(name, one, candidates)(step_of(one, candidates, torch.tensor([4])))
            assert loss.isfinite()
            assert all(gradient.isfinite().all() for gradient in one.gradients(loss).values())


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_nothing_are_no_loss(taught: Any, name: str) -> None:
    weights = {"DKD": ("target", "others"), "DIST": ("within", "between")}.get(name, ("weight",))
    term, every = term_of(name, taught, **dict.fromkeys(weights, 0.0)), torch.arange(12)
    assert [term(step_of(taught, index=every)).item() for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("name", ["DIST", "LSKD"])
def test_what_has_no_scale_begins_with_the_second_epoch(taught: Any, name: str) -> None:
    term, every = term_of(name, taught), torch.arange(12)
    epochs = [[term(step_of(taught, index=part)).item() for part in every.split(5)] for _ in range(2)]
    assert epochs[0] == [0, 0, 0]
    assert min(epochs[1]) > 0


def test_an_arm_has_one_of_them_beside_whatever_else_there_is() -> None:
    for one, other in combinations(("L1", *NAMES), 2):
        with pytest.raises(UserError, match="exclude each other"):
            check_arm(f"{one}+{other}")
    for name in NAMES:
        assert LOSSES[name].acts == "from the start"
        assert set(check_arm(f"{name}+FitNet+L2").split("+")) == {"L2", "FitNet", name}
