"""Which candidates a training scores when."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.distill.training import sampler as module
from harness.distill.training.sampler import Sampler, Sampling, hardest
from harness.models import TADistMult, TTransE, scores
from harness.models.batch import QueryTensors

ENTITIES, QUERIES = 300, 150


def problem(kind: Any = TTransE) -> tuple[Any, QueryTensors]:
    torch.manual_seed(0)
    model = kind(ENTITIES, 3, 4, 6)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    index = torch.arange(QUERIES)
    return model, QueryTensors(index, index % 6, torch.randint(4, (QUERIES, 2)), index + 1)


def dense(model: Any, data: QueryTensors) -> Tensor:
    with torch.no_grad():
        return scores(
            model.encode(data.subject, data.relation, data.time), model.entity_table(), model.kernel, model.scale()
        )


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("size", [1, 7, 30, 299, 300, 999])
@pytest.mark.parametrize("kind", [TTransE, TADistMult])
def test_lists_hold_the_best_of_each_group(kind: Any, size: int, compiled: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "COMPILED_FROM", 0 if compiled else 1 << 62)
    model, data = problem(kind)
    actual = hardest(model, data, size, 3).long()
    size = min(size, ENTITIES)
    width = ENTITIES // size
    groups = torch.randperm(ENTITIES, generator=torch.Generator().manual_seed(3))[: size * width].view(width, size)
    z = dense(model, data)
    best = groups.expand(QUERIES, width, size).gather(1, z[:, groups].argmax(1)[:, None])[:, 0]
    torch.testing.assert_close(z.gather(1, actual), z.gather(1, best))
    assert all(len(row.unique()) == size for row in actual)


def test_equal_queries_have_one_list_whatever_their_answers() -> None:
    model, data = problem()
    twice = QueryTensors(*(part.repeat(2, *[1] * (part.dim() - 1)) for part in vars(data).values()))
    twice.answer[QUERIES:] += 1
    assert torch.equal(hardest(model, twice, 30, 3), hardest(model, data, 30, 3).repeat(2, 1))


def test_lists_hold_nearly_all_of_the_true_top() -> None:
    model, data = problem()
    actual, k = hardest(model, data, 60, 0).long(), 10
    top = dense(model, data).topk(k).indices
    share = (top[:, :, None] == actual[:, None, :]).any(2).float().mean()
    assert share == pytest.approx(1 - (k - 1) / (2 * 60), abs=0.03)


def epochs(sampling: Sampling, n: int = 10, first: int = 0) -> list[Any]:
    """The candidates of the first step of each epoch."""
    model, data = problem()
    drawing = Sampler(sampling, 5)
    return [next(drawing.epoch(model, data, epoch)) for epoch in range(first, n)]


def test_the_default_scores_all_entities() -> None:
    assert epochs(Sampling()) == [None] * 10
    assert epochs(Sampling(shared=ENTITIES, hard=9)) == [None] * 10


@pytest.mark.parametrize("exact", [0, 1, 3])
def test_the_first_epochs_are_exact(exact: int) -> None:
    assert [c.exact for c in epochs(Sampling(shared=20, exact_epochs=exact))] == [True] * exact + [False] * (10 - exact)
    assert all(c is None or c.lists is None for c in epochs(Sampling(shared=20, exact_epochs=exact)))


def test_lists_are_made_after_the_exact_epochs_and_then_now_and_again() -> None:
    first, *made = epochs(Sampling(shared=20, hard=8, hard_every=4))
    assert first.exact
    assert made[0].lists.shape == (QUERIES, 8)
    same = [a.lists is b.lists for a, b in pairwise(made)]
    assert [k for k, kept in enumerate(same, 2) if not kept] == [4, 8]


def test_a_later_stage_starts_with_lists_of_its_own() -> None:
    made = [c.lists for c in epochs(Sampling(shared=20, hard=8, hard_every=4), first=6)]
    assert made[0] is not None
    assert made[1] is made[0]
    assert made[2] is not made[0]


def test_draws_are_a_function_of_seed_and_epoch() -> None:
    model, data = problem()
    sampling = Sampling(shared=20, hard=8)

    def draws(seed: int, epoch: int) -> list[Any]:
        return list(islice(Sampler(sampling, seed).epoch(model, data, epoch), 3))

    for a, b in zip(draws(5, 2), draws(5, 2), strict=True):
        assert torch.equal(a.shared, b.shared)
        assert torch.equal(a.lists, b.lists)
    assert not torch.equal(draws(5, 2)[0].shared, draws(5, 3)[0].shared)
    assert not torch.equal(draws(5, 2)[0].shared, draws(6, 2)[0].shared)
