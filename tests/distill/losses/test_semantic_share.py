from __future__ import annotations

import pytest
import torch

from harness.distill.losses.l3 import SemanticAdapter, semantic_cross_entropy
from harness.distill.passes.step import Step
from harness.distill.training.objective import Distillation
from harness.models import TTransE
from harness.models.batch import QueryTensors


@pytest.mark.parametrize(("share", "rows"), [(1.0, 10), (0.25, 3), (0.01, 1)])
def test_l3_is_taken_over_a_share_of_the_batch(share: float, rows: int) -> None:
    torch.manual_seed(0)
    model = TTransE(20, 3, 4, 5)
    adapter = SemanticAdapter(torch.rand(20, 6), torch.rand(6, 6), 5)
    index = torch.arange(10)
    batch = QueryTensors(index, index % 6, torch.randint(4, (10, 2)), index + 5)
    loss = Distillation(adapter=adapter, beta=2.0, semantic_share=share)
    actual = loss(model, batch, index)["loss_l3"]
    wanted = 2.0 * semantic_cross_entropy(Step.of(model, batch[:rows], index[:rows]), adapter)
    assert torch.equal(actual, wanted)
