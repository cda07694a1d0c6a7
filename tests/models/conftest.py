"""Every backbone, in every variant of its options, small and in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from harness.models import BACKBONES, Backbone
from harness.models.batch import QueryTensors

ENTITIES, RELATIONS, TIMES, DIM = 11, 3, 6, 8

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in BACKBONES}
VARIANTS["lifted"] = ("lifted", {"wide": 10})
VARIANTS["ttranse-l1"] = ("ttranse", {"norm": "l1"})


def build(variant: str, seed: int = 0) -> Backbone:
    """A model whose parameters are all of order one: recipes start some of them so near to 0 that errors would hide."""
    name, options = VARIANTS[variant]
    torch.manual_seed(seed)
    model = BACKBONES[name](ENTITIES, RELATIONS, TIMES, DIM, **options).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return model


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(variant: str) -> Backbone:
    return build(variant)


@pytest.fixture(scope="session")
def build_model() -> Callable[..., Backbone]:
    return build


@pytest.fixture
def queries() -> QueryTensors:
    """Eight queries; time is a start and an end class, of which some are equal and some are 0, the unknown class."""
    return QueryTensors(
        subject=torch.tensor([0, 3, 3, 7, 10, 2, 5, 0]),
        relation=torch.tensor([0, 1, 4, 5, 2, 3, 0, 0]),
        time=torch.tensor([[1, 2], [3, 3], [3, 3], [0, 0], [5, 1], [2, 5], [1, 1], [2, 1]]),
        answer=torch.tensor([1, 4, 3, 9, 8, 6, 10, 2]),
    )
