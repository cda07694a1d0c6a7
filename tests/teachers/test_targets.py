"""Stored targets against the teacher's dense scores; their estimates without bias."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.nn.functional import kl_div

from harness.distill.response import soft_cross_entropy
from harness.models import BACKBONES, Backbone, scores
from harness.models.batch import QueryTensors
from harness.teachers.targets import score_targets, soft_targets

ENTITIES = 60


@pytest.fixture(params=list(BACKBONES))
def teacher(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    model = BACKBONES[request.param](ENTITIES, 2, 5, 8)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.8)
    return model


@pytest.fixture
def data() -> QueryTensors:
    generator = torch.Generator().manual_seed(1)

    def draw(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=generator)

    return QueryTensors(draw(ENTITIES, 300), draw(4, 300), draw(5, 300, 2), draw(ENTITIES, 300))


@torch.no_grad()
def dense(model: Backbone, data: QueryTensors) -> Tensor:
    query = model.encode(data.subject, data.relation, data.time)
    return scores(query, model.entity_table(), model.kernel, model.scale()).double()


def repeated(data: QueryTensors, times: int) -> QueryTensors:
    """One query, many times: its targets are independent draws."""
    return QueryTensors(*(part[:1].expand(times, *part.shape[1:]) for part in vars(data).values()))


# ---- L1 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 7.0])
@pytest.mark.parametrize("size", [2, 9, 32])
def test_soft_targets_hold_the_best_exactly_and_draws_from_the_rest(
    teacher: Backbone, data: QueryTensors, temperature: float, size: int
) -> None:
    p = torch.softmax(dense(teacher, data) / temperature, dim=1)
    found = soft_targets(teacher, data, temperature, size, seed=0)
    assert found.temperature == temperature
    assert found.ids.shape == found.weights.shape == (300, size)
    assert (found.ids.dtype, found.weights.dtype, found.entropy.dtype) == (torch.int32, torch.float32, torch.float32)
    top = size // 2
    best = p.topk(top, dim=1)
    torch.testing.assert_close(found.weights[:, :top].double(), best.values, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(p.gather(1, found.ids[:, :top].long()), best.values, rtol=1e-4, atol=1e-7)
    # the draws share the mass of the rest, of which they are
    rest = (1 - best.values.sum(1, keepdim=True)).expand(-1, size - top) / (size - top)
    torch.testing.assert_close(found.weights[:, top:].double(), rest, rtol=1e-3, atol=1e-6)
    is_top = torch.zeros(300, ENTITIES).scatter_(1, found.ids[:, :top].long(), 1.0)
    assert is_top.gather(1, found.ids[:, top:].long()).sum() == 0
    torch.testing.assert_close(found.weights.sum(1), torch.ones(300))
    torch.testing.assert_close(found.entropy.double(), -(p * p.log()).sum(1), rtol=1e-4, atol=1e-5)


def test_an_entity_is_drawn_as_often_as_the_teacher_says(teacher: Backbone, data: QueryTensors) -> None:
    n = 5000
    found = soft_targets(teacher, repeated(data, n), temperature=7.0, size=8, seed=0)
    p = torch.softmax(dense(teacher, data)[0] / 7, dim=0)
    mean = torch.zeros(ENTITIES, dtype=torch.double)
    mean.index_add_(0, found.ids.flatten().long(), found.weights.flatten().double() / n)
    # a weight is at most the mass of the rest / 4 draws, and an entity is drawn at most once or so a query
    error = (p * found.weights[0, -1].double() / n).sqrt()
    assert ((mean - p).abs() < 4.5 * error + 1e-6).all()


@pytest.mark.parametrize("temperature", [1.0, 2.0, 7.0])
def test_the_estimate_of_the_divergence_is_unbiased(teacher: Backbone, data: QueryTensors, temperature: float) -> None:
    """Its mean over draws is the dense T²·KL, and its mean gradient that of the dense one."""
    n = 4000
    student = torch.randn(ENTITIES, generator=torch.Generator().manual_seed(5), dtype=torch.double).mul_(3)
    found = soft_targets(teacher, repeated(data, n), temperature, size=16, seed=1)
    log_q = torch.log_softmax(student / temperature, dim=0)
    p = torch.softmax(dense(teacher, data)[0] / temperature, dim=0)
    expected = temperature**2 * kl_div(log_q, p, reduction="sum")

    z = student.expand(n, -1).clone().requires_grad_()
    ids, log_partition = found.ids.long(), torch.logsumexp(z / temperature, dim=1)
    value = soft_cross_entropy(z.gather(1, ids), found.weights, found.entropy, log_partition, temperature)
    # the draws enter through the teacher's expectation of z alone
    error = temperature * (found.weights * student[ids]).sum(1).std() / math.sqrt(n)
    assert abs(value - expected) < 4 * error + 1e-5 * temperature**2
    assert error < 0.05 * expected  # or the test could not fail

    (gradient,) = torch.autograd.grad(value, z)
    gap = gradient.sum(0) - temperature * (log_q.exp() - p)
    assert (gap.abs() < 4.5 * gradient.mul(n).std(0) / math.sqrt(n) + 1e-5 * temperature).all()


def test_soft_targets_follow_the_seed_and_nothing_else(teacher: Backbone, data: QueryTensors) -> None:
    torch.manual_seed(1)
    one = soft_targets(teacher, data, 7.0, 8, seed=0)
    torch.manual_seed(2)
    again, other = (soft_targets(teacher, data, 7.0, 8, seed=seed) for seed in (0, 1))
    assert torch.equal(one.ids, again.ids)
    assert torch.equal(one.weights, again.weights)
    assert not torch.equal(one.ids, other.ids)
    torch.testing.assert_close(one.entropy, other.entropy)


def test_a_list_longer_than_the_entities_is_cut(teacher: Backbone, data: QueryTensors) -> None:
    found = soft_targets(teacher, data, 7.0, size=1000, seed=0)
    assert found.ids.shape[1] <= ENTITIES
    torch.testing.assert_close(found.weights.sum(1), torch.ones(300))
    assert score_targets(teacher, data, size=1000, seed=0).ids.shape[1] <= ENTITIES


def test_a_certain_teacher_has_a_single_target(teacher: Backbone, data: QueryTensors) -> None:
    """At so low a temperature that all other probabilities underflow: no mass is left to draw from."""
    found = soft_targets(teacher, data, temperature=1e-4, size=8, seed=0)
    z = dense(teacher, data)
    certain = (z.topk(2, dim=1).values.diff(dim=1)[:, 0] < -0.1).nonzero()[:, 0]
    assert len(certain) > 100
    torch.testing.assert_close(found.weights[certain, 0], torch.ones(len(certain)))
    assert torch.equal(found.ids[certain, 0].long(), z.argmax(1)[certain])
    assert found.weights[certain, 1:].abs().max() < 1e-6
    assert found.weights.isfinite().all()
    assert found.entropy.isfinite().all()
    assert (found.entropy[certain].abs() < 1e-6).all()


# ---- L2 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, 8, 33])
def test_score_targets_hold_the_answer_the_best_and_random_others(
    teacher: Backbone, data: QueryTensors, size: int
) -> None:
    z = dense(teacher, data)
    found = score_targets(teacher, data, size, seed=0)
    ids = found.ids.long()
    assert ids.shape == found.scores.shape == (300, size)
    assert (found.ids.dtype, found.scores.dtype) == (torch.int32, torch.float32)
    torch.testing.assert_close(found.scores.double(), z.gather(1, ids), rtol=1e-4, atol=1e-4)
    assert torch.equal(ids[:, 0], data.answer)
    top = (size - 1) // 2
    best = z.scatter(1, data.answer[:, None], -torch.inf).topk(top, dim=1).indices
    assert torch.equal(ids[:, 1 : 1 + top], best)


def test_the_random_others_are_uniform(teacher: Backbone, data: QueryTensors) -> None:
    found = score_targets(teacher, repeated(data, 3000), size=9, seed=0)
    counts = torch.bincount(found.ids[:, 5:].flatten().long(), minlength=ENTITIES)
    assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_score_targets_follow_the_seed(teacher: Backbone, data: QueryTensors) -> None:
    one, again, other = (score_targets(teacher, data, 8, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.ids, again.ids)
    assert torch.equal(one.scores, again.scores)
    assert not torch.equal(one.ids, other.ids)


def test_progress_goes_from_batch_to_batch_to_1(teacher: Backbone, data: QueryTensors) -> None:
    for make in (
        lambda report: soft_targets(teacher, data, 7.0, 8, 0, report),
        lambda report: score_targets(teacher, data, 8, 0, report),
    ):
        seen: list[float] = []
        make(seen.append)
        assert seen == sorted(set(seen))
        assert seen[-1] == 1.0
