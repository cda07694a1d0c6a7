"""TA-DistMult: the sequence that the LSTM reads, and the N3 penalty."""

from __future__ import annotations

import pytest
import torch

from harness.models import TADistMult
from harness.models.batch import QueryTensors


def test_the_order_of_an_interval_matters(queries: QueryTensors) -> None:
    torch.manual_seed(0)
    model = TADistMult(11, 3, 6, 4)
    query = model.encode(queries.subject, queries.relation, queries.time)
    flipped = model.encode(queries.subject, queries.relation, queries.time.flip(1))
    intervals = queries.time[:, 0] != queries.time[:, 1]
    assert ((query - flipped).abs().amax(1) > 1e-6).equal(intervals)


def test_start_and_end_have_vectors_of_their_own(queries: QueryTensors) -> None:
    model = TADistMult(11, 3, 6, 4)
    model.encode(queries.subject[:1], queries.relation[:1], torch.tensor([[2, 3]])).sum().backward()
    assert model.token.weight.grad is not None
    assert model.token.weight.grad.abs().sum(1).nonzero()[:, 0].tolist() == [2, 6 + 3]


@pytest.mark.parametrize("length", [1, 5, 7], ids=["classes", "tokens of a year", "tokens of a day"])
def test_any_alphabet_of_tokens_is_read(length: int) -> None:
    """The digits of the paper as well as one token for each end; every token changes what is read."""
    torch.manual_seed(0)
    model = TADistMult(11, 3, 90, 4)
    time = torch.randint(90, (1, 2 * length))
    relation = model.relation_table()[:1]
    read = model.read(relation, time)
    assert read.shape == (1, 4)
    for k in range(2 * length):
        other = time.clone()
        other[0, k] = (other[0, k] + 1) % 90
        assert (model.read(relation, other) - read).abs().max() > 1e-6


def test_penalty_is_the_cubic_norm_of_what_the_batch_uses() -> None:
    """N3 (Lacroix et al., 2018, Eq. 4) of subject, answer and the query, which holds relation and time."""
    query, subject, answer = (
        torch.tensor(rows) for rows in ([[1.0, -2.0], [0.5, 0.0]], [[0.0, 1.0]] * 2, [[3.0, 0.0]] * 2)
    )
    expected = (1 + 8 + 0.125 + 2 * 1 + 2 * 27) / 2
    assert TADistMult(3, 1, 2, 2).penalty(query, subject, answer).item() == pytest.approx(expected)
