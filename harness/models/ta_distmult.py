"""TA-DistMult (García-Durán, Dumančić & Niepert, "Learning sequence encoders for temporal KG completion", EMNLP 2018).

An LSTM reads the relation token followed by the time tokens; its last state takes the relation's place in DistMult:
f(h, r, t, τ) = ⟨h ∘ LSTM(r, τ), t⟩.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from harness.models.base import Backbone, Recipe, backbone
from harness.models.scoring.vmapped import is_vmapped


@backbone("ta-distmult", version=1)
class TADistMult(Backbone):
    """TA-DistMult over any alphabet of time tokens.

    Our reading: an interval is the sequence relation, tokens of the start, tokens of the end; reciprocal relations ask
    for heads; the N3 penalty (Lacroix et al., 2018) stands in for the paper's dropout and negative sampling.
    """

    kernel = "dot"
    time_input = "classes"
    # Adagrad's first step moves every weight by the learning rate, several times what an LSTM's weights start with: it
    # saturates, and what it then makes of a time is little more than a hash
    rates: ClassVar[Mapping[str, float]] = {"lstm": 0.03}
    student_recipe: ClassVar[Recipe] = Recipe(optimizer="adagrad", learning_rate=0.4, regularization=0.05)
    teacher_recipe: ClassVar[Recipe] = Recipe(optimizer="adagrad", learning_rate=0.1, regularization=0.02)

    def __init__(self, n_entities: int, n_relations: int, n_times: int, dim: int) -> None:
        super().__init__()
        self.entity = nn.Embedding(n_entities, dim)
        self.relation = nn.Embedding(2 * n_relations, dim)
        self.token = nn.Embedding(2 * n_times, dim)
        self.n_times = n_times
        self.lstm = nn.LSTM(dim, dim, batch_first=True)
        for table in (self.entity, self.relation, self.token):
            nn.init.normal_(table.weight, std=0.02)  # a wide start is noise on rare entities: it costs MR

    def read(self, relation: Tensor, time: Tensor) -> Tensor:
        """The time-aware relation vectors [B, d] from relation vectors [B, d] and tokens [B, L]."""
        half = time.shape[1] // 2  # tokens of the end have vectors of their own
        offset = torch.zeros_like(time)
        offset[:, half:] = self.n_times
        sequence = torch.cat([relation[:, None, :], self.token(time + offset)], dim=1)
        if is_vmapped():
            return _last_state(self.lstm, sequence)
        _, (last, _) = self.lstm(sequence)
        state: Tensor = last[0]
        return state

    def query(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        if is_vmapped():  # there is no rule for finding pairs
            return super().query(subject, relation, time)
        # many queries of a batch share relation and time: the LSTM reads each pair once
        key = relation
        for column in time.unbind(1):
            key = key * self.n_times + column
        pair, first = _distinct(key)
        return subject * self.read(self.relation_table()[relation[first]], time[first])[pair]

    def encode_vectors(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        return subject * self.read(relation, time)

    def penalty(self, query: Tensor, subject: Tensor, answer: Tensor) -> Tensor:
        """N3: Σ|h|³ + Σ|h ∘ LSTM(r, τ)|³ + Σ|t|³, batch mean."""
        return (subject.abs().pow(3).sum() + query.abs().pow(3).sum() + answer.abs().pow(3).sum()) / len(query)


def _last_state(lstm: nn.LSTM, sequence: Tensor) -> Tensor:
    """The last state [B, d] of ``lstm`` over sequences [B, L, d], with tensor operations alone."""
    of_input, of_state, *biases = lstm.all_weights[0]
    h = c = torch.zeros_like(sequence[:, 0])
    for x in sequence.unbind(1):
        gates = x @ of_input.T + h @ of_state.T + sum(biases)
        into, keep, new, out = gates.chunk(4, dim=1)
        c = keep.sigmoid() * c + into.sigmoid() * new.tanh()
        h = out.sigmoid() * c.tanh()
    return h


def _distinct(key: Tensor) -> tuple[Tensor, Tensor]:
    """Of int64 keys [B]: the number of its distinct key for each [B], and a position for each distinct key [U]."""
    values, number = torch.unique(key, return_inverse=True)
    position = torch.empty_like(values)
    position[number] = torch.arange(len(key), device=key.device)
    return number, position
