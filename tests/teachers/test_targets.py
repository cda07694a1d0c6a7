"""Stored targets against the teacher's dense scores."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.nn.functional import kl_div

from harness.distill.passes.terms import lumped_divergence
from harness.models import BACKBONES, Backbone, scores
from harness.models.batch import QueryTensors
from harness.teachers.targets import score_targets, soft_targets
from harness.vocabulary import PAPERS_BACKBONES

ENTITIES = 60


# how a backbone encodes decides nothing here, how it scores does: by distances or inner products
@pytest.fixture(params=PAPERS_BACKBONES)
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
def test_soft_targets_hold_the_best_and_the_mass_of_the_rest(
    teacher: Backbone, data: QueryTensors, temperature: float, size: int
) -> None:
    log_p = torch.log_softmax(dense(teacher, data) / temperature, dim=1)
    actual = soft_targets(teacher, data, temperature, size)
    assert actual.temperature == temperature
    assert actual.ids.shape == actual.log_p.shape == (300, size)
    assert actual.log_rest.shape == (300,)
    assert (actual.ids.dtype, actual.log_p.dtype, actual.log_rest.dtype) == (torch.int32, torch.float32, torch.float32)
    best, ids = log_p.topk(size, dim=1)
    # scores of single precision, of a wide model: large numbers and small differences
    torch.testing.assert_close(actual.log_p.double(), best, rtol=1e-5, atol=3e-5)
    torch.testing.assert_close(log_p.gather(1, actual.ids.long()), best, rtol=1e-5, atol=3e-5)
    others = log_p.scatter(1, ids, -torch.inf).logsumexp(1)
    torch.testing.assert_close(actual.log_rest.double(), others, rtol=1e-5, atol=3e-5)
    torch.testing.assert_close(actual.log_p.exp().sum(1) + actual.log_rest.exp(), torch.ones(300), rtol=0, atol=3e-5)


def test_a_tiny_rest_keeps_its_digits(teacher: Backbone, data: QueryTensors) -> None:
    """Below 1e-7 of the mass the difference 1 - Σp is rounding alone."""
    actual = soft_targets(teacher, data, temperature=0.03, size=32)
    log_p = torch.log_softmax(dense(teacher, data) / 0.03, dim=1)
    others = log_p.scatter(1, log_p.topk(32, dim=1).indices, -torch.inf).logsumexp(1)
    tiny = others < math.log(1e-12)
    assert tiny.sum() > 20
    # scores in single precision, divided by T
    torch.testing.assert_close(actual.log_rest.double()[tiny], others[tiny], rtol=1e-4, atol=1e-3)


def test_students_meet_a_lower_bound_of_the_dense_divergence(teacher: Backbone, data: QueryTensors) -> None:
    """Through storage and back: zero for the teacher itself, and the longer the list, the nearer for another model."""
    mine = dense(teacher, data)
    z = mine + torch.randn(mine.shape, generator=torch.Generator().manual_seed(5), dtype=torch.double).mul_(5)
    log_q = torch.log_softmax(z / 7, dim=1)
    full = 49 * kl_div(log_q, torch.softmax(mine / 7, dim=1), reduction="batchmean").item()

    def divergence(scores: Tensor, size: int) -> float:
        actual = soft_targets(teacher, data, 7.0, size)
        listed, log_partition = scores.gather(1, actual.ids.long()), torch.logsumexp(scores / 7, dim=1)
        return lumped_divergence(listed, actual.log_p, actual.log_rest, log_partition, 7.0).item()

    sizes = (2, 8, 20, 40, ENTITIES)
    assert [divergence(mine, size) for size in sizes] == pytest.approx([0.0] * 5, abs=1e-4)
    values = [divergence(z, size) for size in sizes]
    assert values[0] > 0
    assert values == sorted(values)
    assert values[0] < 0.9 * full
    assert values[-1] == pytest.approx(full, rel=1e-4)


@pytest.mark.parametrize("size", [ENTITIES, 1000])
def test_a_list_of_all_entities_leaves_no_rest(teacher: Backbone, data: QueryTensors, size: int) -> None:
    actual = soft_targets(teacher, data, 7.0, size)
    assert torch.equal(actual.ids.sort(1).values, torch.arange(ENTITIES, dtype=torch.int32).expand(300, -1))
    assert (actual.log_rest == -torch.inf).all()
    torch.testing.assert_close(actual.log_p.exp().sum(1), torch.ones(300))
    assert score_targets(teacher, data, size, seed=0).ids.shape[1] <= ENTITIES


def test_soft_targets_do_not_depend_on_chance(teacher: Backbone, data: QueryTensors) -> None:
    torch.manual_seed(1)
    one = soft_targets(teacher, data, 7.0, 8)
    torch.manual_seed(2)
    teacher.train()
    again = soft_targets(teacher, data, 7.0, 8)
    for name in ("ids", "log_p", "log_rest"):
        assert torch.equal(getattr(one, name), getattr(again, name)), name


def test_a_certain_teacher_has_a_single_target(teacher: Backbone, data: QueryTensors) -> None:
    """At so low a temperature that all other probabilities underflow."""
    actual = soft_targets(teacher, data, temperature=1e-4, size=8)
    z = dense(teacher, data)
    certain = (z.topk(2, dim=1).values.diff(dim=1)[:, 0] < -0.1).nonzero()[:, 0]
    assert len(certain) > 100
    assert (actual.log_p[certain, 0] == 0).all()
    assert torch.equal(actual.ids[certain, 0].long(), z.argmax(1)[certain])
    assert (actual.log_p[certain, 1:] < -900).all()
    assert (actual.log_rest[certain] < -900).all()
    assert actual.log_p.isfinite().all()
    assert actual.log_rest.isfinite().all()


# ---- L2 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, 8, 33])
def test_score_targets_hold_the_answer_the_best_and_random_others(
    teacher: Backbone, data: QueryTensors, size: int
) -> None:
    z = dense(teacher, data)
    actual = score_targets(teacher, data, size, seed=0)
    ids = actual.ids.long()
    assert ids.shape == actual.scores.shape == (300, size)
    assert (actual.ids.dtype, actual.scores.dtype) == (torch.int32, torch.float32)
    torch.testing.assert_close(actual.scores.double(), z.gather(1, ids), rtol=1e-4, atol=1e-4)
    assert torch.equal(ids[:, 0], data.answer)
    top = (size - 1) // 2
    best = z.scatter(1, data.answer[:, None], -torch.inf).topk(top, dim=1).indices
    assert torch.equal(ids[:, 1 : 1 + top], best)


def test_the_random_others_are_uniform(teacher: Backbone, data: QueryTensors) -> None:
    actual = score_targets(teacher, repeated(data, 3000), size=9, seed=0)
    counts = torch.bincount(actual.ids[:, 5:].flatten().long(), minlength=ENTITIES)
    assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_score_targets_follow_the_seed(teacher: Backbone, data: QueryTensors) -> None:
    one, again, other = (score_targets(teacher, data, 8, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.ids, again.ids)
    assert torch.equal(one.scores, again.scores)
    assert not torch.equal(one.ids, other.ids)


def test_progress_goes_from_batch_to_batch_to_1(teacher: Backbone, data: QueryTensors) -> None:
    for make in (
        lambda report: soft_targets(teacher, data, 7.0, 8, report),
        lambda report: score_targets(teacher, data, 8, 0, report),
    ):
        seen: list[float] = []
        make(seen.append)
        assert seen == sorted(set(seen))
        assert seen[-1] == 1.0
