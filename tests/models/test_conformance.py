"""What every backbone must do. A new one in ``BACKBONES`` is tested by all of this once its formula is in FORMULAS."""

from __future__ import annotations

import cmath
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.func import functional_call

from harness.models import BACKBONES, Backbone, candidate_scores, scores
from harness.models.batch import QueryTensors

# ---- the papers' formulas, a query and an entity at a time, on lists of numbers --------------------------------------


def ttranse(model: Any, subject: int, relation: int, time: Sequence[int], entity: int) -> float:
    """-s·‖h + r + τ - t‖ with τ the mean of the vectors of start and end."""
    h, r, t = (
        model.entity.weight[subject].tolist(),
        model.relation.weight[relation].tolist(),
        model.entity.weight[entity].tolist(),
    )
    start, end = (model.time.weight[k].tolist() for k in time)
    difference = [h[i] + r[i] + (start[i] + end[i]) / 2 - t[i] for i in range(len(h))]
    norm = math.sqrt(sum(x * x for x in difference)) if model.kernel == "l2" else sum(abs(x) for x in difference)
    return -math.exp(model.log_scale.item()) * norm


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def lstm(parameters: dict[str, Any], sequence: list[list[float]]) -> list[float]:
    """The last hidden state of an LSTM; its gates are ordered input, forget, cell, output."""
    w, u = parameters["weight_ih_l0"].tolist(), parameters["weight_hh_l0"].tolist()
    b = (parameters["bias_ih_l0"] + parameters["bias_hh_l0"]).tolist()
    dim = len(u[0])
    hidden, cell = [0.0] * dim, [0.0] * dim
    for x in sequence:
        gate = [
            b[k] + sum(w[k][j] * x[j] for j in range(len(x))) + sum(u[k][j] * hidden[j] for j in range(dim))
            for k in range(4 * dim)
        ]
        taken, kept, new, shown = (gate[part * dim : (part + 1) * dim] for part in range(4))
        cell = [_sigmoid(kept[k]) * cell[k] + _sigmoid(taken[k]) * math.tanh(new[k]) for k in range(dim)]
        hidden = [_sigmoid(shown[k]) * math.tanh(cell[k]) for k in range(dim)]
    return hidden


def ta_distmult(model: Any, subject: int, relation: int, time: Sequence[int], entity: int) -> float:
    """Σ h·LSTM(relation, start tokens, end tokens)·t; the tokens of an end have vectors of their own."""
    half = len(time) // 2
    tokens = [*time[:half], *(k + model.token.num_embeddings // 2 for k in time[half:])]
    sequence = [model.relation.weight[relation].tolist(), *(model.token.weight[k].tolist() for k in tokens)]
    h, t = model.entity.weight[subject].tolist(), model.entity.weight[entity].tolist()
    return sum(a * b * c for a, b, c in zip(h, lstm(dict(model.lstm.named_parameters()), sequence), t, strict=True))


def _complex(row: Sequence[float]) -> list[complex]:
    half = len(row) // 2
    return [complex(row[k], row[half + k]) for k in range(half)]


def _moment(model: Any, time: Sequence[int]) -> list[float]:
    start, end = (model.time.weight[k].tolist() for k in time)
    return [(a + b) / 2 for a, b in zip(start, end, strict=True)]


def tcomplex(model: Any, subject: int, relation: int, time: Sequence[int], entity: int) -> float:
    """Re Σ s·r·τ·ō."""
    s, r, o = (
        _complex(table.weight[row].tolist())
        for table, row in ((model.entity, subject), (model.relation, relation), (model.entity, entity))
    )
    moment = _complex(_moment(model, time))
    return sum(a * b * c * d.conjugate() for a, b, c, d in zip(s, r, moment, o, strict=True)).real


def lifted(model: Any, subject: int, relation: int, time: Sequence[int], entity: int) -> float:
    """TComplEx of the entities z W, with all entities made wide, which the model never does."""
    dim, wide = model.lift.shape
    s, o = (
        _complex([sum(row[k] * model.lift[k, j].item() for k in range(dim)) for j in range(wide)])
        for row in (model.entity.weight[entity].tolist() for entity in (subject, entity))
    )
    r, moment = _complex(model.relation.weight[relation].tolist()), _complex(_moment(model, time))
    return sum((a * b * c * d.conjugate() for a, b, c, d in zip(s, r, moment, o, strict=True)), 0j).real


def tntcomplex(model: Any, subject: int, relation: int, time: Sequence[int], entity: int) -> float:
    """Re Σ s·(r·τ + r')·ō."""
    row, dim = model.relation.weight[relation].tolist(), model.entity.embedding_dim
    s, o = (_complex(model.entity.weight[k].tolist()) for k in (subject, entity))
    changing, lasting, moment = _complex(row[:dim]), _complex(row[dim:]), _complex(_moment(model, time))
    return sum((s[k] * (changing[k] * moment[k] + lasting[k]) * o[k].conjugate() for k in range(len(s))), 0j).real


def timeplex(model: Any, subject: int, relation: int, time: Sequence[int], entity: int) -> float:
    """Re Σ s·r·ō + 5·Re Σ o·conj(r_ot')·conj(τ) + 5·Re Σ s·τ·ō: Re of a number is that of its conjugate."""
    row, dim = model.relation.weight[relation].tolist(), model.entity.embedding_dim
    s, o = (_complex(model.entity.weight[k].tolist()) for k in (subject, entity))
    r, r_ot, moment = _complex(row[:dim]), _complex(row[dim:]), _complex(_moment(model, time))
    parts = [
        s[k] * r[k] * o[k].conjugate()
        + 5 * o[k] * r_ot[k].conjugate() * moment[k].conjugate()
        + 5 * s[k] * moment[k] * o[k].conjugate()
        for k in range(len(s))
    ]
    return sum(parts, 0j).real


def telm(model: Any, subject: int, relation: int, time: Sequence[int], entity: int) -> float:
    """Half the trace of s r τ ō as 2 × 2 matrices: the plane's e₁ and e₂ are [[1, 0], [0, -1]] and [[0, 1], [1, 0]]."""
    quarter = model.entity.embedding_dim // 4

    def matrices(row: list[float], sign: int = 1) -> Iterator[NDArray[np.float64]]:
        for k in range(quarter):
            a, b, c, d = row[k], *(sign * row[part * quarter + k] for part in (1, 2, 3))
            yield np.array([[a + b, c + d], [c - d, a - b]])

    s, r = model.entity.weight[subject].tolist(), model.relation.weight[relation].tolist()
    o, moment = model.entity.weight[entity].tolist(), _moment(model, time)
    factors = zip(matrices(s), matrices(r), matrices(moment), matrices(o, -1), strict=True)
    return float(sum(np.trace(a @ b @ c @ d) / 2 for a, b, c, d in factors))


def rotate_translate(model: Any, subject: int, relation: int, time: Sequence[int], entity: int) -> float:
    """-s·‖(Rot(r) h + r + τ - t, t's bias)‖, pairs turned as complex numbers."""
    dim = model.entity.embedding_dim
    row = model.relation.weight[relation].tolist()
    h, t = model.entity.weight[subject].tolist(), model.entity.weight[entity].tolist()
    half = (dim - 1) // 2
    turned = [cmath.exp(1j * row[dim + k]) * complex(h[k], h[half + k]) for k in range(half)]
    h = [*(z.real for z in turned), *(z.imag for z in turned), *h[2 * half :]]
    moment = _moment(model, time)
    squares = [(h[k] + row[k] + moment[k] - t[k]) ** 2 for k in range(dim - 1)] + [t[-1] ** 2]
    return -math.exp(model.log_scale.item()) * math.sqrt(sum(squares))


FORMULAS: dict[str, Callable[..., float]] = {
    "ttranse": ttranse,
    "ta-distmult": ta_distmult,
    "tcomplex": tcomplex,
    "lifted": lifted,
    "tntcomplex": tntcomplex,
    "timeplex": timeplex,
    "telm": telm,
    "rotate-translate": rotate_translate,
}


def _all_scores(model: Backbone, queries: QueryTensors) -> Tensor:
    query = model.encode(queries.subject, queries.relation, queries.time)
    return scores(query, model.entity_table(), model.kernel, model.scale())


# ---- conformance -----------------------------------------------------------------------------------------------------


def test_every_backbone_has_its_formula_here() -> None:
    assert set(FORMULAS) == set(BACKBONES)


def test_scores_are_those_of_the_formula(model: Backbone, queries: QueryTensors) -> None:
    formula = FORMULAS[next(name for name, kind in BACKBONES.items() if type(model) is kind)]
    expected = [
        [formula(model, s, r, time, e) for e in range(model.entity.num_embeddings)]
        for s, r, time in zip(queries.subject.tolist(), queries.relation.tolist(), queries.time.tolist(), strict=True)
    ]
    torch.testing.assert_close(_all_scores(model, queries), torch.tensor(expected, dtype=torch.double))


def test_shapes(model: Backbone, queries: QueryTensors) -> None:
    n, dim = len(queries), model.entity_table().shape[1]
    assert model.entity_table().shape == (11, dim)
    assert len(model.relation_table()) == 6  # three relations and their reciprocals
    query = model.encode(queries.subject, queries.relation, queries.time)
    assert query.shape == (n, dim)
    assert model.scale().shape == ()
    assert model.scale() > 0
    penalty = model.penalty(query, model.entity_table()[queries.subject], model.entity_table()[queries.answer])
    assert penalty.shape == ()
    assert penalty >= 0
    assert model.kernel in ("dot", "l2", "l1")


def test_encode_is_encode_vectors_of_the_own_tables(model: Backbone, queries: QueryTensors) -> None:
    vectors = model.entity_table()[queries.subject], model.relation_table()[queries.relation]
    given = model.encode_vectors(*vectors, queries.time)
    torch.testing.assert_close(model.encode(queries.subject, queries.relation, queries.time), given)
    # and it depends on both of the vectors it is given
    for k in (0, 1):
        changed = [vector + (j == k) for j, vector in enumerate(vectors)]
        assert (model.encode_vectors(*changed, queries.time) - given).abs().amax(1).min() > 1e-3


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_scores_of_candidates_are_those_among_all(model: Backbone, queries: QueryTensors, dtype: torch.dtype) -> None:
    ids = torch.randint(11, (len(queries), 7), generator=torch.Generator().manual_seed(1))
    query, table = model.encode(queries.subject, queries.relation, queries.time), model.entity_table()
    actual = candidate_scores(model, query, table, ids.to(dtype))
    torch.testing.assert_close(actual, _all_scores(model, queries).gather(1, ids))


def test_a_query_does_not_depend_on_the_others_of_its_batch(model: Backbone, queries: QueryTensors) -> None:
    alone = torch.cat([_all_scores(model, queries[slice(k, k + 1)]) for k in range(len(queries))])
    torch.testing.assert_close(alone, _all_scores(model, queries))


def test_gradients_equal_finite_differences(model: Backbone, queries: QueryTensors) -> None:
    """Of the scores of all entities and of candidates, and of the penalty, with respect to all parameters."""
    names, parameters = zip(
        *((n, p.detach().clone().requires_grad_()) for n, p in model.named_parameters()), strict=True
    )

    class Scorer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self) -> tuple[Tensor, ...]:
            query, table = model.encode(queries.subject, queries.relation, queries.time), model.entity_table()
            everything = scores(query, table, model.kernel, model.scale())
            penalty = model.penalty(query, table[queries.subject], table[queries.answer])
            outputs = everything, candidate_scores(model, query, table, queries.answer[:, None]), penalty
            return tuple(output for output in outputs if output.requires_grad)  # a backbone may have no penalty

    def call(*values: Tensor) -> Any:
        return functional_call(Scorer(), {f"inner.{n}": v for n, v in zip(names, values, strict=True)}, ())

    assert torch.autograd.gradcheck(call, parameters, fast_mode=True)


def test_gradient_reaches_every_parameter(model: Backbone, queries: QueryTensors) -> None:
    torch.nn.functional.cross_entropy(_all_scores(model, queries), queries.answer).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_a_reciprocal_relation_has_a_vector_of_its_own(model: Backbone, queries: QueryTensors) -> None:
    ask_tail = QueryTensors(*(part[:1] for part in (queries.subject, queries.relation, queries.time, queries.answer)))
    ask_head = QueryTensors(ask_tail.subject, ask_tail.relation + 3, ask_tail.time, ask_tail.answer)
    z = _all_scores(model, ask_head)
    assert (z - _all_scores(model, ask_tail)).abs().max() > 1e-3
    z.square().sum().backward()
    reached = model.relation.weight.grad.abs().sum(1).nonzero()[:, 0]
    assert reached.tolist() == ask_head.relation.tolist()


def test_time_matters(model: Backbone, queries: QueryTensors) -> None:
    z = _all_scores(model, queries)
    for column in range(queries.time.shape[1]):
        time = queries.time.clone()
        time[:, column] = (time[:, column] + 1) % 6
        other = _all_scores(model, QueryTensors(queries.subject, queries.relation, time, queries.answer))
        assert (other - z).abs().amax(1).min() > 1e-6, f"column {column} of time is not read"


def test_state_goes_through_safetensors(
    variant: str, model: Backbone, queries: QueryTensors, build_model: Callable[..., Backbone], tmp_path: Path
) -> None:
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    other = build_model(variant, seed=1)
    assert not torch.equal(_all_scores(other, queries), _all_scores(model, queries))
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(_all_scores(other, queries), _all_scores(model, queries))


@pytest.mark.parametrize("name", BACKBONES)
def test_initialisation_follows_the_seed(name: str) -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(BACKBONES[name](7, 2, 4, 4).state_dict())
    for key, value in states[0].items():
        assert value.dtype == torch.float32
        assert torch.equal(value, states[1][key])
    assert any(not torch.equal(value, states[2][key]) for key, value in states[0].items())


@pytest.mark.parametrize("name", BACKBONES)
def test_declared_attributes(name: str) -> None:
    kind = BACKBONES[name]
    assert kind.time_input in ("classes", "tokens")
    parameters = inspect.signature(kind).parameters
    assert list(parameters)[:4] == ["n_entities", "n_relations", "n_times", "dim"]
    assert set(kind.options.model_fields) == set(list(parameters)[4:])
    assert all(parameters[option].default is not inspect.Parameter.empty for option in kind.options.model_fields)
    for recipe in (kind.student_recipe, kind.teacher_recipe):
        assert recipe.learning_rate > 0
