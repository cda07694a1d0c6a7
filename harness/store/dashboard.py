"""The factors of a trial as Optuna's parameters."""

from __future__ import annotations

from typing import Any, get_args

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import BaseModel

from harness.models import BACKBONES
from harness.teachers.language_model import LanguageModelConfig
from harness.trial.spec import LossSpec, SemanticSpec, StudentSpec, TrialSpec

LANGUAGE = ("L2", "L3")
_ARMS = (
    "none",
    "L1",
    "L1+L2",
    "L1+L3",
    "L1+L2+L3",
    "L2+L3",
    "L1+FitNet",
    "L1+RKD-D",
    "L1+RKD-A",
    "teacher",
    "llm-teacher",
)


def parameters(spec: TrialSpec) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """The factors of a trial and their distributions, such as the dashboard filters and plots them.

    Factors that do not act in an arm are left out: α belongs to L2, β to L3, and so on.
    """
    arm, parts, loss = spec.arm, spec.parts, spec.loss
    dim = {"teacher": spec.teacher.dim, "llm-teacher": spec.semantic.dim}.get(arm, spec.student.dim)
    factors: dict[str, tuple[Any, BaseDistribution]] = {
        "arm": (arm, CategoricalDistribution(_ARMS)),
        "backbone": (spec.backbone, CategoricalDistribution(tuple(sorted(BACKBONES)))),
        "seed": (spec.seed, IntDistribution(0, max(1_000_000, spec.seed))),
        "dim": (dim, IntDistribution(1, max(10_000, dim))),
    }
    if parts:
        factors["stage1_epochs"] = 0 if spec.is_joint else spec.student.stage1_epochs, IntDistribution(0, 10_000)
        factors["hard_weight"] = loss.hard_weight, FloatDistribution(0.0, 1000.0)
    if "L1" in parts:
        factors["temperature"] = loss.temperature, FloatDistribution(0.01, 1000.0)
        factors["soft_weight"] = loss.soft_weight, FloatDistribution(0.0, 1000.0)
        if any(part in LANGUAGE for part in parts):
            order = spec.student.order if spec.is_reversed else "structure-first"
            factors["order"] = order, _choices(StudentSpec, "order")
    if "L2" in parts:
        factors["alpha"] = loss.alpha, FloatDistribution(0.0, 1000.0)
        factors["alignment"] = loss.alignment, _choices(LossSpec, "alignment")
        factors["outliers"] = loss.outliers, FloatDistribution(0.0, 1.0)
        factors["fusion"] = loss.fusion, FloatDistribution(0.0, 1.0)
    if "L2" in parts and loss.alignment == "huber":
        factors["delta"] = loss.delta, FloatDistribution(1e-4, 1e4)
    if "L3" in parts:
        factors["beta"] = loss.beta, FloatDistribution(0.0, 1000.0)
    if arm == "llm-teacher" or any(part in LANGUAGE for part in parts):
        factors["finetune"] = spec.llm.finetune, _choices(LanguageModelConfig, "finetune")
        factors["vectors"] = spec.semantic.vectors, _choices(SemanticSpec, "vectors")
    if "FitNet" in parts:
        factors["fitnet"] = loss.fitnet, FloatDistribution(0.0, 1000.0)
    if "RKD-D" in parts:
        factors["rkd_distance"] = loss.rkd_distance, FloatDistribution(0.0, 10_000.0)
    if "RKD-A" in parts:
        factors["rkd_angle"] = loss.rkd_angle, FloatDistribution(0.0, 10_000.0)
    return {k: v for k, (v, _) in factors.items()}, {k: d for k, (_, d) in factors.items()}


def _choices(model: type[BaseModel], field: str) -> CategoricalDistribution:
    """What a field of a spec may be."""
    return CategoricalDistribution(get_args(model.model_fields[field].annotation))
