"""What a student answers in NumPy is what its backbone answers in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.models import BACKBONES
from harness.student.queries import FORMULAS


def test_every_backbone_of_the_package_has_a_formula() -> None:
    assert set(FORMULAS) == {name for name in BACKBONES if BACKBONES.origin(name) is None}


@pytest.mark.parametrize("name", FORMULAS)
def test_query_vectors_are_those_of_the_backbone(name: str) -> None:
    torch.manual_seed(0)
    model = BACKBONES[name](11, 3, 6, 8)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    generator = torch.Generator().manual_seed(1)
    subject, relation = (torch.randint(top, (20,), generator=generator) for top in (11, 6))
    time = torch.randint(6, (20, 2), generator=generator)
    with torch.no_grad():
        expected = model.encode(subject, relation, time).numpy()
    tensors = {key: value.numpy() for key, value in model.state_dict().items()}
    vectors = tensors["entity.weight"][subject.numpy()]
    ours = FORMULAS[name](tensors, vectors, relation.numpy(), time.numpy())
    assert ours.dtype == np.float32
    assert ours == pytest.approx(expected, rel=2e-5, abs=2e-5)
