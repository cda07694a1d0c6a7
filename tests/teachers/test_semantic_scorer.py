"""The LLM teacher's head: whitening that cannot blow up, encodings in (0, 1), scores without free entity vectors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.distill.passes.sampled import Candidates
from harness.distill.training.loop import Schedule, train
from harness.distill.training.objective import Distillation, Objective
from harness.distill.training.sampler import Sampling
from harness.models.base import scores
from harness.models.batch import QueryTensors
from harness.teachers.semantic import FrequentFirst, SemanticScorer, most_frequent, whiten


def vectors(n: int, d: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator) * torch.linspace(1, 30, d) + 5


def test_whitened_components_are_uncorrelated_at_unit_variance() -> None:
    actual = whiten(vectors(200, 6), 4)
    assert actual.shape == (200, 4)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual.T.cov(), torch.eye(4), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(actual.mean(0), torch.zeros(4), rtol=0, atol=1e-5)


def test_it_is_an_affine_map_of_the_leading_components() -> None:
    given = vectors(50, 6)
    actual, everything = whiten(given, 3), whiten(given, 6)
    torch.testing.assert_close(actual, everything[:, :3])
    ones = torch.cat([given, torch.ones(50, 1)], dim=1).double()
    solution = torch.linalg.lstsq(ones, actual.double()).solution
    torch.testing.assert_close(ones @ solution, actual.double(), rtol=1e-5, atol=1e-5)


def test_repeatable() -> None:
    assert torch.equal(whiten(vectors(40, 8), 5), whiten(vectors(40, 8), 5))


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 12),
    d=st.integers(1, 8),
    rank=st.integers(0, 8),
    components=st.integers(1, 20),
    size=st.sampled_from([1e-3, 1.0, 1e3]),
    noise=st.sampled_from([0.0, 1e-7]),
)
def test_degenerate_vectors_stay_finite_and_small(
    n: int, d: int, rank: int, components: int, size: float, noise: float
) -> None:
    """Fewer vectors than components, equal vectors, few directions, rounding noise on top."""
    generator = torch.Generator().manual_seed(n * 100 + d)
    low = torch.randn(n, rank, generator=generator) @ torch.randn(rank, d, generator=generator)
    given = size * (low + 3) * (1 + noise * torch.randn(n, d, generator=generator))
    actual = whiten(given, components)
    assert actual.isfinite().all()
    # n vectors at unit variance: none is further out than all of the variance in one of them
    assert actual.abs().max() <= n**0.5 + 1e-3
    assert actual.shape[0] == n
    assert 1 <= actual.shape[1] <= max(min(components, rank, n - 1, d), 1)


def test_equal_vectors_carry_nothing() -> None:
    assert whiten(torch.full((9, 4), 0.3), 3).tolist() == [[0.0]] * 9


def test_few_relations_become_equally_far_apart() -> None:
    """With as many components as vectors whitening forgets which relations are alike: E(r) is a free vector."""
    actual = whiten(vectors(6, 50), 40)
    assert actual.shape == (6, 5)
    distances = torch.cdist(actual, actual)[~torch.eye(6, dtype=torch.bool)]
    torch.testing.assert_close(distances, torch.full_like(distances, 10**0.5), rtol=1e-4, atol=1e-4)


@pytest.fixture
def scorer() -> SemanticScorer:
    torch.manual_seed(0)
    return SemanticScorer(vectors(30, 7) / 20, vectors(4, 5) / 20, n_times=3, dim=6)


def test_encodings_are_sigmoids_of_affine_maps(scorer: SemanticScorer) -> None:
    entities, relations = scorer.encodings()
    assert entities.shape == (30, 6)
    assert relations.shape == (4, 6)
    weight, bias = scorer.entity_map.weight, scorer.entity_map.bias
    torch.testing.assert_close(entities, 1 / (1 + torch.exp(-(scorer.entity_vectors @ weight.T + bias))))
    torch.testing.assert_close(scorer.entity_table(), 2 * entities - 1)
    torch.testing.assert_close(scorer.relation_table(), 2 * relations - 1)


def test_both_ways_to_encode_a_query_agree(scorer: SemanticScorer) -> None:
    subject, relation, time = torch.tensor([0, 29]), torch.tensor([3, 0]), torch.tensor([[0, 1], [2, 2]])
    by_vectors = scorer.encode_vectors(scorer.entity_table()[subject], scorer.relation_table()[relation], time)
    torch.testing.assert_close(scorer.encode(subject, relation, time), by_vectors)


def test_there_are_no_free_entity_vectors(scorer: SemanticScorer) -> None:
    assert not [name for name, p in scorer.named_parameters() if len(p) == 30]
    scorer.entity_vectors[7] = scorer.entity_vectors[3]
    query = scorer.encode(torch.tensor([1]), torch.tensor([2]), torch.tensor([[0, 1]]))
    z = scores(query, scorer.entity_table(), scorer.kernel, scorer.scale())[0]
    assert z[7] == z[3]


def test_it_learns_and_repeats_to_the_last_bit() -> None:
    generator = torch.Generator().manual_seed(5)
    subject = torch.randint(30, (200,), generator=generator)
    data = QueryTensors(subject, subject % 4, torch.zeros(200, 2, dtype=torch.int64), (subject + 1) % 30)

    def trained() -> tuple[dict[str, Tensor], float]:
        torch.manual_seed(0)
        model = SemanticScorer(whiten(vectors(30, 20), 20), whiten(vectors(4, 5), 5), n_times=3, dim=16)
        schedule = Schedule(epochs=30, batch_size=50, optimizer="adam", learning_rate=0.01, seed=0)
        result = train(model, data, Distillation(), schedule, lambda model: 0.0)
        return result.last, result.curve[-1]["loss"]

    (first, loss), (second, _) = trained(), trained()
    assert loss < 0.5  # ln 30 = 3.4 at the start
    assert all(torch.equal(first[name], second[name]) for name in first)


def queries(n: int, n_entities: int) -> QueryTensors:
    """Training queries, half of which have one of three answers."""
    generator = torch.Generator().manual_seed(5)
    subject = torch.randint(n_entities, (n,), generator=generator)
    answer = torch.where(subject % 2 == 0, subject % 3, (subject + 1) % n_entities)
    return QueryTensors(subject, subject % 4, torch.zeros(n, 2, dtype=torch.int64), answer)


def test_the_most_frequent_answers_come_first() -> None:
    assert most_frequent(torch.tensor([4, 2, 2, 4, 4, 0]), 6, 2).tolist() == [4, 2]
    assert most_frequent(torch.tensor([4, 2]), 6, 100).tolist() == [2, 4, 0, 1, 3, 5]


@pytest.mark.parametrize("regularization", [0.0, 0.01])
def test_frequent_answers_and_all_others_give_the_exact_loss(scorer: SemanticScorer, regularization: float) -> None:
    batch, index = queries(50, 30), torch.arange(50)
    frequent = most_frequent(batch.answer, 30, 8)
    objective = FrequentFirst(frequent, 30, regularization)
    everything = Candidates(torch.randperm(30, generator=torch.Generator().manual_seed(0)))
    gradients = []
    for wanted in (objective, Distillation(regularization=regularization)):
        scorer.zero_grad()
        terms = wanted(scorer, batch, index, everything if wanted is objective else None)
        torch.stack(list(terms.values())).sum().backward()
        parameters = [p.grad for p in scorer.parameters() if p.grad is not None]
        gradients.append([*(term.detach() for term in terms.values()), *parameters])
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_random_entities_stand_for_all_others(scorer: SemanticScorer) -> None:
    """Over many draws the estimate of Σ exp(z), whose logarithm enters the loss, has the right mean."""
    batch, index = queries(1, 30), torch.arange(1)
    objective = FrequentFirst(torch.tensor([int(batch.answer), 3, 4]), 30)
    exact = float(Distillation()(scorer, batch, index)["loss_ce"])
    generator = torch.Generator().manual_seed(0)
    losses = torch.tensor([
        objective(scorer, batch, index, Candidates(torch.randperm(30, generator=generator)[:9]))["loss_ce"]
        for _ in range(300)
    ])  # fmt: skip
    assert losses.std() > 1e-3
    assert losses.exp().mean().log() == pytest.approx(exact, abs=4 * float(losses.std()) / 300**0.5)


def test_it_learns_from_candidates_as_from_all() -> None:
    data = queries(400, 60)

    def trained(objective: Objective, shared: int) -> float:
        torch.manual_seed(0)
        model = SemanticScorer(whiten(vectors(60, 40), 40), whiten(vectors(4, 5), 5), n_times=3, dim=16)
        sampling = Sampling(shared, exact_epochs=0)
        schedule = Schedule(epochs=30, batch_size=50, optimizer="adam", learning_rate=0.01, seed=0, sampling=sampling)
        train(model, data, objective, schedule, lambda model: 0.0)
        return float(Distillation()(model, data, torch.arange(400))["loss_ce"].detach())

    sampled, exact = trained(FrequentFirst(most_frequent(data.answer, 60, 8), 60), 16), trained(Distillation(), 0)
    assert exact < 0.5  # ln 60 = 4.1 at the start
    assert sampled < exact + 0.2
