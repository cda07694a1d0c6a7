"""L1: cross-entropy and T²·KL against the textbook's dense forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import kl_div

from harness.distill.response import cross_entropy, soft_cross_entropy

TEMPERATURES = [0.5, 1.0, 2.0, 7.0, 20.0]


@pytest.fixture
def logits() -> tuple[Tensor, Tensor]:
    """Teacher's and student's scores [6, 9]."""
    generator = torch.Generator().manual_seed(0)
    teacher, student = 4 * torch.randn(2, 6, 9, dtype=torch.double, generator=generator)
    return teacher, student.requires_grad_()


def ours(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """``soft_cross_entropy`` with all entities listed, in another order for every query."""
    log_p = torch.log_softmax(teacher / temperature, dim=1)
    order = torch.stack([torch.randperm(9, generator=torch.Generator().manual_seed(k)) for k in range(len(teacher))])
    return soft_cross_entropy(
        student.gather(1, order),
        log_p.exp().gather(1, order),
        -(log_p.exp() * log_p).sum(1),
        torch.logsumexp(student / temperature, dim=1),
        temperature,
    )


def test_cross_entropy_is_torchs(logits: tuple[Tensor, Tensor]) -> None:
    z, answer = logits[1], torch.tensor([0, 8, 3, 3, 1, 5])
    found = cross_entropy(z.gather(1, answer[:, None])[:, 0], torch.logsumexp(z, dim=1))
    torch.testing.assert_close(found, torch.nn.functional.cross_entropy(z, answer))


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_with_all_entities_it_is_the_dense_divergence(logits: tuple[Tensor, Tensor], temperature: float) -> None:
    teacher, student = logits
    log_q = torch.log_softmax(student / temperature, dim=1)
    p = torch.softmax(teacher / temperature, dim=1)
    expected = temperature**2 * kl_div(log_q, p, reduction="batchmean")
    found = ours(teacher, student, temperature)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found, student)
    # Hinton et al. (2015), Eq. 2 and the T² that follows it
    torch.testing.assert_close(gradient, temperature * (log_q.exp() - p).detach() / len(p))


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_it_vanishes_where_student_and_teacher_agree(logits: tuple[Tensor, Tensor], temperature: float) -> None:
    teacher, student = logits
    assert ours(teacher, teacher + 5.0, temperature).item() == pytest.approx(0, abs=1e-12 * temperature**2)
    assert ours(teacher, student, temperature).item() > 0


@pytest.mark.parametrize("temperature", [1.0, 7.0])
def test_gradient_equals_finite_differences(logits: tuple[Tensor, Tensor], temperature: float) -> None:
    teacher, student = logits
    assert torch.autograd.gradcheck(lambda z: ours(teacher, z, temperature), student)
    assert torch.autograd.gradcheck(lambda z: cross_entropy(z[:, 0], torch.logsumexp(z, dim=1)), student)


def test_its_gradient_keeps_its_size_over_temperatures(logits: tuple[Tensor, Tensor]) -> None:
    """That is what T² is for: at high temperatures the gradient tends to that of centred scores' squares / E."""
    teacher, student = logits
    limit = (student - teacher - (student - teacher).mean(1, keepdim=True)).detach() / student.shape[1] / len(teacher)
    (gradient,) = torch.autograd.grad(ours(teacher, student, 1e5), student)
    torch.testing.assert_close(gradient, limit, rtol=1e-3, atol=1e-5)
