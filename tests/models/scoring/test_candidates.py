"""The compiled scores of candidates against the tensor operations in double precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.models import BACKBONES, Backbone, candidate_scores
from harness.models.scoring import candidates as module

SHAPE = (6, 9)
KINDS: dict[str, dict[str, Any]] = {"ta-distmult": {}, "ttranse": {}, "ttranse-l1": {"norm": "l1"}}


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    return BACKBONES[request.param.removesuffix("-l1")](11, 3, 4, 13, **KINDS[request.param])


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_values_and_gradients(model: Backbone, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    query = torch.randn(SHAPE[0], 13, generator=generator)
    table = torch.randn(11, 13, generator=generator)
    table[3] = query[2]  # points that coincide
    ids = torch.randint(11, SHAPE, generator=generator)  # some of them twice
    ids[2, 4] = 3
    weight = torch.randn(SHAPE, generator=generator)

    def run(precision: torch.dtype) -> tuple[torch.Tensor, ...]:
        of = model.to(precision)
        given = [part.to(precision).requires_grad_() for part in (query.clone(), table.clone())]
        z = candidate_scores(of, *given, ids.to(dtype))
        learned = [p for p in of.parameters() if p.numel() == 1]  # the scale
        return z.detach(), *torch.autograd.grad((z * weight.to(precision)).sum(), given + learned)

    expected = run(torch.double)
    monkeypatch.setattr(module, "COMPILED_FROM", 0)
    monkeypatch.setattr(torch.nn.functional, "embedding", None)  # the other way cannot be gone
    for ours, reference in zip(run(torch.float), expected, strict=True):
        torch.testing.assert_close(ours.double(), reference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("wrong", [-1, 11])
def test_what_is_no_entity_is_refused(model: Backbone, wrong: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled code would read, and write a gradient to, whatever lies there."""
    monkeypatch.setattr(module, "COMPILED_FROM", 0)
    ids = torch.zeros(SHAPE, dtype=torch.int32)
    ids[1, 1] = wrong
    with pytest.raises(IndexError, match="not an entity"):
        candidate_scores(model, torch.randn(6, 7), torch.randn(11, 7), ids)


def test_nan_stays_nan(model: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPILED_FROM", 0)
    query = torch.randn(6, 7)
    query[1, 3] = torch.nan
    z = candidate_scores(model, query, torch.randn(11, 7), torch.zeros(SHAPE, dtype=torch.int64))
    assert z[1].isnan().all()
    assert z[[0, 2, 3, 4, 5]].isfinite().all()
