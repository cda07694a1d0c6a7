"""FitNet (Romero et al., "FitNets: hints for thin deep nets", ICLR 2015), on entity vectors.

The teacher's entity vectors are the hint: a linear map of the student's, learned along and dropped afterwards, should
come close to them,  MSE(W·e_student + b, e_teacher).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.distill.losses.base import Given, Loss, register
from harness.distill.passes.step import Step
from harness.registry import MethodOptions, option


class FitNetOptions(MethodOptions):
    """Options of FitNet."""

    fitnet: float = option(1.0, "weight of FitNet's hint loss", ge=0, le=1000)


class Hint(nn.Module):
    """Weighted mean squared error between mapped student vectors and the teacher's, over the entities of a batch.

    The teacher's ``vectors`` [E, D] are brought to mean square 1, so that one weight suits teachers of any scale (our
    reading). The map from d to D is a parameter of the training, not of the student.
    """

    vectors: Tensor

    def __init__(self, vectors: Tensor, dim: int, weight: float = 1.0) -> None:
        super().__init__()
        scale = vectors.square().mean().sqrt().clamp(min=1e-12)
        self.register_buffer("vectors", vectors / scale, persistent=False)
        self.map = nn.Linear(dim, vectors.shape[1])
        self.weight = weight

    def forward(self, step: Step) -> Tensor:
        """The weighted error, a scalar, over subjects and answers of a batch."""
        wanted = self.vectors[torch.cat([step.batch.subject, step.batch.answer])]
        return self.weight * nn.functional.mse_loss(self.map(torch.cat([step.subject, step.answer])), wanted)


def _prepare(given: Given, options: FitNetOptions) -> Hint:
    return given.seeded("hint", lambda: Hint(given.teacher_entities(), given.dim, options.fitnet))


register(Loss("FitNet", _prepare, FitNetOptions, needs=("entities",), acts="from the start", flat=True))
