"""L1: cross-entropy and T²·KL against the textbook's dense forms, in double precision."""

from __future__ import annotations

import math

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import kl_div

from harness.distill.passes.terms import cross_entropy, lumped_divergence

ENTITIES = 9
TEMPERATURES = [0.5, 1.0, 2.0, 7.0, 20.0]
SIZES = [1, 3, 7, 8]


@pytest.fixture
def logits() -> tuple[Tensor, Tensor]:
    """Teacher's and student's scores [6, E]."""
    generator = torch.Generator().manual_seed(0)
    teacher, student = 2 * torch.randn(2, 6, ENTITIES, dtype=torch.double, generator=generator)
    return teacher, student.requires_grad_()


def best(teacher: Tensor, size: int) -> Tensor:
    """Ids [B, K] of the teacher's best, in another order for every query."""
    orders = [torch.randperm(size, generator=torch.Generator().manual_seed(k)) for k in range(len(teacher))]
    return teacher.topk(size, dim=1).indices.gather(1, torch.stack(orders))


def ours(teacher: Tensor, student: Tensor, temperature: float, size: int = ENTITIES) -> Tensor:
    """``lumped_divergence`` with the teacher's best ``size`` listed; where they are all, log_rest is log 0 = -inf."""
    listed = best(teacher, size)
    log_p = torch.log_softmax(teacher / temperature, dim=1)
    return lumped_divergence(
        student.gather(1, listed),
        log_p.gather(1, listed),
        log_p.scatter(1, listed, -torch.inf).logsumexp(1),
        torch.logsumexp(student / temperature, dim=1),
        temperature,
    )


def lumped(teacher: Tensor, student: Tensor, temperature: float, size: int) -> Tensor:
    """The definition, on matrices: add up the probabilities of what is not listed, then T²·KL of K + 1 outcomes."""
    listed = torch.zeros(teacher.shape, dtype=torch.bool).scatter_(1, best(teacher, size), True)

    def outcomes(scores: Tensor) -> Tensor:
        p = torch.softmax(scores / temperature, dim=1)
        return torch.cat([p * listed, (p * ~listed).sum(1, keepdim=True)], dim=1)

    p, q = outcomes(teacher), outcomes(student)
    log_q = torch.where(q > 0, q, 1.0).log()
    return temperature**2 * kl_div(log_q, p, reduction="batchmean")


def dense(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """T²·KL over all entities."""
    log_q = torch.log_softmax(student / temperature, dim=1)
    return temperature**2 * kl_div(log_q, torch.softmax(teacher / temperature, dim=1), reduction="batchmean")


def test_cross_entropy_is_torchs(logits: tuple[Tensor, Tensor]) -> None:
    z, answer = logits[1], torch.tensor([0, 8, 3, 3, 1, 5])
    actual = cross_entropy(z.gather(1, answer[:, None])[:, 0], torch.logsumexp(z, dim=1))
    torch.testing.assert_close(actual, torch.nn.functional.cross_entropy(z, answer))


# ---- value and gradient ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_with_all_entities_it_is_the_dense_divergence(logits: tuple[Tensor, Tensor], temperature: float) -> None:
    teacher, student = logits
    actual = ours(teacher, student, temperature)
    torch.testing.assert_close(actual, dense(teacher, student, temperature))
    (gradient,) = torch.autograd.grad(actual, student)
    p, q = (torch.softmax(z.detach() / temperature, dim=1) for z in logits)
    # Hinton et al. (2015), Eq. 2 and the T² that follows it
    torch.testing.assert_close(gradient, temperature * (q - p) / len(p))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("temperature", TEMPERATURES[1:])
def test_the_others_count_as_one_outcome(logits: tuple[Tensor, Tensor], temperature: float, size: int) -> None:
    teacher, student = logits
    actual, expected = (loss(teacher, student, temperature, size) for loss in (ours, lumped))
    torch.testing.assert_close(actual, expected)
    (gradient,), (wanted,) = (torch.autograd.grad(loss, student) for loss in (actual, expected))
    torch.testing.assert_close(gradient, wanted)
    # all but the listed entities move together, in proportion to the student's own probabilities
    outside = torch.ones_like(gradient).scatter_(1, best(teacher, size), 0.0) > 0
    for row, q, others in zip(gradient, torch.softmax(student.detach() / temperature, dim=1), outside, strict=True):
        share = row[others] / q[others]
        torch.testing.assert_close(share, share[:1].expand_as(share))


@pytest.mark.parametrize("size", [1, 5, ENTITIES])
@pytest.mark.parametrize("temperature", [1.0, 7.0])
def test_gradient_equals_finite_differences(logits: tuple[Tensor, Tensor], temperature: float, size: int) -> None:
    teacher, student = logits
    assert torch.autograd.gradcheck(lambda z: ours(teacher, z, temperature, size), student)
    assert torch.autograd.gradcheck(lambda z: cross_entropy(z[:, 0], torch.logsumexp(z, dim=1)), student)


def test_its_gradient_keeps_its_size_over_temperatures(logits: tuple[Tensor, Tensor]) -> None:
    """That is what T² is for: at high temperatures the gradient tends to that of centred scores' squares / E."""
    teacher, student = logits
    limit = (student - teacher - (student - teacher).mean(1, keepdim=True)).detach() / ENTITIES / len(teacher)
    (gradient,) = torch.autograd.grad(ours(teacher, student, 1e5), student)
    torch.testing.assert_close(gradient, limit, rtol=1e-3, atol=1e-5)


# ---- what makes it a loss --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [*SIZES, ENTITIES])
@pytest.mark.parametrize("temperature", TEMPERATURES[1:])
def test_it_vanishes_where_student_and_teacher_agree(
    logits: tuple[Tensor, Tensor], temperature: float, size: int
) -> None:
    teacher, student = logits
    same = (teacher + 5.0).requires_grad_()
    actual = ours(teacher, same, temperature, size)
    assert actual.item() == pytest.approx(0, abs=1e-12 * temperature**2)
    (gradient,) = torch.autograd.grad(actual, same)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12 * temperature)
    assert ours(teacher, student, temperature, size).item() > 0.01


@pytest.mark.parametrize("size", SIZES)
def test_it_is_dense_where_the_student_spreads_the_rest_as_the_teacher_does(
    logits: tuple[Tensor, Tensor], size: int
) -> None:
    teacher, student = logits
    listed = best(teacher, size)
    like = (teacher - 1.5).scatter(1, listed, student.detach().gather(1, listed))
    torch.testing.assert_close(ours(teacher, like, 2.0, size), dense(teacher, like, 2.0))


#: scores/T of two queries; within these bounds no entity's probability is below 1e-5
SCORES = arrays.arrays(np.float64, (2, ENTITIES), elements=st.floats(-4, 4))


@settings(max_examples=60, deadline=None)
@given(SCORES, SCORES, st.sampled_from(TEMPERATURES))
def test_it_grows_with_the_list_from_zero_to_the_dense_divergence(
    teacher: np.ndarray, student: np.ndarray, temperature: float
) -> None:
    """The data processing inequality: never negative, a lower bound, and a finer partition never lowers it."""
    t, z = temperature * torch.from_numpy(teacher), temperature * torch.from_numpy(student)
    values = torch.stack([ours(t, z, temperature, size) for size in range(1, ENTITIES + 1)]) / temperature**2
    full = dense(t, z, temperature) / temperature**2
    rounding = 1e-10
    assert values[0] >= -rounding
    assert (values.diff() >= -rounding).all()
    assert (values <= full + rounding).all()
    torch.testing.assert_close(values[-2:], full.expand(2), rtol=0, atol=rounding)  # a rest of one is no lump


# ---- extremes, in single precision -----------------------------------------------------------------------------------


@pytest.mark.parametrize("log_rest", [-20.0, -60.0, -95.0, -300.0, -math.inf])
def test_a_certain_teacher(log_rest: float) -> None:
    """All of its mass on one entity; the rest underflows, or there is none."""
    z = torch.tensor([[0.3, -1.0, 0.8, 0.1, -0.4]], requires_grad=True)
    actual = lumped_divergence(
        z[:, :2], torch.tensor([[0.0, -150.0]]), torch.tensor([log_rest]), torch.logsumexp(z / 2, dim=1), 2.0
    )
    torch.testing.assert_close(actual, -4 * torch.log_softmax(z / 2, dim=1)[0, 0], rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(actual, z)
    answer = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(gradient, 2 * (torch.softmax(z.detach() / 2, dim=1) - answer), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lead", [10.0, 50.0, 1000.0])
def test_a_certain_student(lead: float) -> None:
    """It holds the rest impossible, up to rounding; the teacher does not."""
    teacher = torch.tensor([[1.0, 0.5, 0.3, 0.2, 0.0]])
    z = torch.tensor([[lead, 0.0, -0.2, 0.1, 0.3]], requires_grad=True)
    for size in (1, 2):
        actual = ours(teacher, z, 1.0, size)
        assert 1 < actual.item() <= dense(teacher, z, 1.0).item()
        (gradient,) = torch.autograd.grad(actual, z)
        assert gradient.isfinite().all()
        assert size == 1 or gradient[0, 0] > 0.1  # less certain, please
    agreeing = torch.tensor([[lead, 0.0, -0.2, 0.1, 0.3]])
    assert ours(agreeing, z, 1.0, 1).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("slip", [-1e-5, 0.0, 1e-5])
def test_rounding_may_give_the_listed_more_than_everything(slip: float) -> None:
    """The log-partition comes from a sum in another order, so that Σq of the list is not 1 but 1 ± some digits."""
    z = torch.tensor([[2.0, 1.0, 0.0]], requires_grad=True)
    log_p = torch.log_softmax(torch.tensor([[0.0, 1.0, 0.5]]), dim=1)
    expected = kl_div(torch.log_softmax(z, dim=1), log_p.exp(), reduction="batchmean")
    for log_rest in (-math.inf, -18.0):
        actual = lumped_divergence(z, log_p, torch.tensor([log_rest]), torch.logsumexp(z, dim=1) + slip, 1.0)
        torch.testing.assert_close(actual, expected, rtol=0, atol=3e-5)
        (gradient,) = torch.autograd.grad(actual, z)
        torch.testing.assert_close(gradient, torch.softmax(z.detach(), dim=1) - log_p.exp(), rtol=0, atol=1e-2)


@pytest.mark.parametrize("temperature", [1.0, 7.0])
def test_single_precision_agrees_with_double(temperature: float) -> None:
    """Among thousands of entities; the student gives the unlisted between most of the mass and a thousandth."""
    generator = torch.Generator().manual_seed(3)
    teacher, student = torch.randn(2, 8, 5000, dtype=torch.double, generator=generator)
    student += teacher
    listed = teacher.topk(64, dim=1).indices
    student.scatter_add_(1, listed, torch.linspace(0, 9, 8).double()[:, None].expand(8, 64))
    others = torch.softmax(student, dim=1).scatter(1, listed, 0.0).sum(1)
    assert 3e-4 < others.min() < 3e-3
    assert others.max() > 0.7
    results = []
    for dtype in (torch.double, torch.float):
        z = (temperature * student).to(dtype).requires_grad_()
        value = ours((temperature * teacher).to(dtype), z, temperature, 64)
        results.append((value.double(), torch.autograd.grad(value, z)[0].double()))
    torch.testing.assert_close(results[1], results[0], rtol=2e-3, atol=1e-6 * temperature)
