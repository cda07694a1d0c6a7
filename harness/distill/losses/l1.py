"""L1: the student learns from the true entity and from the structural teacher's distribution.

L1 = w_hard · CE(z, answer) + w_soft · T² · KL(softmax(t/T) ‖ softmax(z/T))        (Hinton et al., 2015; our reading)

The cross-entropy belongs to every arm; the divergence is what L1 adds. The compiled pass computes both
(`harness.distill.passes`), with the formulas of `harness.distill.passes.terms`.
"""

from __future__ import annotations

from typing import Any, Literal

from harness.distill.losses.base import Given, Loss, register
from harness.registry import MethodOptions, option


class SoftOptions(MethodOptions):
    """How the teacher's distribution is stored: options of all losses that need ``teacher``."""

    temperature: float = option(7.0, "T of the teacher's distribution", ge=0.01, le=1000)
    targets: int = option(128, "entities a query of which a teacher's outputs are stored", ge=2, le=10_000)
    others: Literal["estimated", "merged"] = option(
        "estimated", "entities not stored: estimated from random ones, or merged into one outcome"
    )


class L1Options(MethodOptions):
    """Options of L1; the temperature is one of the stored distribution."""

    soft_weight: float = option(1.0, "weight of T²·KL(teacher ‖ student) in L1", ge=0, le=1000)


def _prepare(given: Given, options: L1Options) -> dict[str, Any]:
    return {"soft": given.soft_targets(), "soft_weight": options.soft_weight}


register(Loss("L1", _prepare, L1Options, needs=("teacher",), acts="from the start", flat=True))
