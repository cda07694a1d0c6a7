"""TTransE: intervals, the norm and the scale."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor

from harness.models import TTransE, scores
from harness.models.batch import QueryTensors


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_a_fact_that_adds_up_scores_best(norm: Literal["l1", "l2"]) -> None:
    """h + r + τ = t scores 0 and every other entity less."""
    model = TTransE(3, 1, 2, 2, norm)
    model.entity.weight.data = torch.tensor([[1.0, 0.0], [3.0, 5.0], [3.0, 2.0]])
    model.relation.weight.data = torch.tensor([[1.0, 4.0], [0.0, 0.0]])
    model.time.weight.data = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    model.log_scale.data.fill_(0.0)
    query = model.encode(torch.tensor([0]), torch.tensor([0]), torch.tensor([[1, 1]]))
    z = scores(query, model.entity_table(), model.kernel, model.scale())
    expected = {"l1": [2.0 + 5.0, 0.0, 3.0], "l2": [29**0.5, 0.0, 3.0]}[norm]
    torch.testing.assert_close(-z[0], torch.tensor(expected), atol=2e-6, rtol=1e-6)


def test_an_interval_is_the_mean_of_its_ends(queries: QueryTensors) -> None:
    torch.manual_seed(0)
    model = TTransE(11, 3, 6, 4)

    def encode(time: Tensor) -> Tensor:
        return model.encode(queries.subject, queries.relation, time)

    start, end = queries.time[:, :1].expand(-1, 2), queries.time[:, 1:].expand(-1, 2)
    torch.testing.assert_close(encode(queries.time), (encode(start) + encode(end)) / 2)
    torch.testing.assert_close(encode(queries.time), encode(queries.time.flip(1)))


def test_the_scale_sharpens_and_keeps_the_order() -> None:
    torch.manual_seed(0)
    model = TTransE(11, 3, 6, 4)
    query = torch.randn(5, 4)
    z = scores(query, model.entity_table(), model.kernel, model.scale())
    model.log_scale.data += 1.0
    sharper = scores(query, model.entity_table(), model.kernel, model.scale())
    torch.testing.assert_close(sharper, z * torch.e)


def test_the_penalty_cannot_be_had_for_less_by_shrinking_all_vectors() -> None:
    """Vectors half as long under a scale twice as large are the same scores, so they cost the same."""
    torch.manual_seed(0)
    model = TTransE(11, 3, 6, 4)
    vectors = torch.randn(3, 5, 4)
    expected = model.penalty(*vectors)
    model.log_scale.data += torch.tensor(2.0).log()
    torch.testing.assert_close(model.penalty(*vectors / 2), expected)


def test_the_penalty_is_that_of_all_that_is_added_up(queries: QueryTensors) -> None:
    torch.manual_seed(0)
    model = TTransE(11, 3, 6, 4)
    torch.nn.init.normal_(model.log_scale)
    h, t = model.entity_table()[queries.subject], model.entity_table()[queries.answer]
    translation = model.relation_table()[queries.relation] + model.time(queries.time).mean(1)
    query = model.encode(queries.subject, queries.relation, queries.time)
    one = h.square().sum(1) + translation.square().sum(1) + t.square().sum(1)
    torch.testing.assert_close(model.penalty(query, h, t), model.scale() ** 2 * one.mean())
