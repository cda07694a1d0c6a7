"""Penalties of complex backbones against sums over complex numbers, one by one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from harness.models import BACKBONES, Backbone
from harness.models.batch import QueryTensors
from harness.models.complex_numbers import ComplexBackbone
from harness.trial.spec import TeacherSpec, TrialSpec

Numbers = np.ndarray


def _complex(row: torch.Tensor) -> Numbers:
    real, imaginary = row.detach().numpy().reshape(2, -1)
    return np.asarray(real + 1j * imaginary)


def _cubes(*vectors: Numbers) -> float:
    return float(sum(abs(number) ** 3 for vector in vectors for number in vector))


FACTORS: dict[str, Callable[[Sequence[Numbers], Numbers], tuple[Numbers, ...]]] = {
    "tcomplex": lambda r, t: (r[0] * t,),
    "tntcomplex": lambda r, t: (r[0] * t, r[1]),
    "timeplex": lambda r, t: (r[0], r[1], t),
}


@pytest.mark.parametrize("name", FACTORS)
def test_penalty_of_factors_and_of_steps_in_time(name: str, queries: QueryTensors) -> None:
    torch.manual_seed(0)
    model = BACKBONES[name](11, 3, 6, 8, penalty="factors", smoothness=0.7).double()
    subject, answer = model.entity_table()[queries.subject], model.entity_table()[queries.answer]
    query = model.encode(queries.subject, queries.relation, queries.time)
    penalty = model.penalty(query, subject, answer) + model.penalty_beside_entities(queries.relation, queries.time)

    assert isinstance(model, ComplexBackbone)
    times = [_complex(row) for row in model.time.weight]
    expected = 0.7 * sum(_cubes(after - before) for before, after in itertools.pairwise(times)) / 5
    for s, r, (start, end), o in zip(subject, queries.relation, queries.time, answer, strict=True):
        parts = [_complex(part) for part in model.relation_table()[r].split(8)]
        factors = FACTORS[name](parts, (times[start] + times[end]) / 2)
        expected += (2 * _cubes(_complex(s), _complex(o)) + _cubes(*factors)) / len(queries)
    assert penalty.item() == pytest.approx(expected, abs=1e-8)


def test_every_complex_backbone_is_tested_here() -> None:
    assert set(FACTORS) == {name for name, kind in BACKBONES.items() if issubclass(kind, ComplexBackbone)}


def test_steps_in_time_beside_the_query(queries: QueryTensors) -> None:
    """Without factors the penalty on steps is added to that of the query, and other backbones have none."""
    smooth, plain = (BACKBONES["tcomplex"](11, 3, 6, 8, smoothness=weight) for weight in (2.0, 0.0))
    steps = smooth.time.weight.detach().diff(dim=0).unflatten(1, (2, 4)).norm(dim=1)
    added = smooth.penalty_beside_entities(queries.relation, queries.time)
    assert isinstance(added, torch.Tensor)
    assert added.item() == pytest.approx(2 * float(steps.pow(3).sum()) / 5, abs=1e-8)
    assert plain.penalty_beside_entities(queries.relation, queries.time) == 0
    assert Backbone.penalty_beside_entities(smooth, queries.relation, queries.time) == 0


def test_penalties_are_part_of_a_spec_where_they_differ() -> None:
    """Trials without them keep the identity that they had before there were these options."""
    spec = TrialSpec(backbone="tcomplex", arm="teacher").acting()
    assert spec.teacher.model_dump().get("tcomplex") is None
    named = spec.model_copy(update={"teacher": TeacherSpec.model_validate({"tcomplex": {"penalty": "query"}})})
    assert named.acting() == spec
    other = spec.model_copy(update={"teacher": TeacherSpec.model_validate({"tcomplex": {"penalty": "factors"}})})
    assert other.acting().model_dump()["teacher"]["tcomplex"] == {"penalty": "factors"}
    assert other.acting().teacher.options("tcomplex") == {"penalty": "factors", "smoothness": 0.0}
