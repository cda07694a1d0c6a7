"""What a trial varies, as Optuna's parameters and as columns of frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from harness.design.cells import Run
from harness.design.schema import FRESH, Point, Range
from harness.distill.losses import LOSSES
from harness.trial.arms import parts_of
from harness.trial.spec import TrialSpec
from harness.vocabulary import REFERENCES

#: the parameter that is the seed of a confirmation run: on the axis of the others, which end below, these would be far
FRESH_SEED = "fresh seed"
Parameters = tuple[dict[str, Any], dict[str, BaseDistribution]]


def parameters(run: Run, spec: TrialSpec, point: Point | None = None) -> Parameters:
    """The factors that a study varies and that act in a trial, with their distributions.

    ``point`` has the searched factors of a trial of a search.
    """
    known = run.factors.get(spec.key())
    if known is None:  # a confirmation run
        known = run.factors.get(spec.model_copy(update={"seed": 0}).key()) or {"arm": spec.arm}
    values = {"arm": known["arm"], "backbone": spec.backbone}
    space = run.space if run.tune is None else {**run.space, **run.tune.factors(spec.parts, spec.backbone)}
    if spec.arm in REFERENCES:
        space = space | {"arm": space["reference"]}
    else:
        values |= {name: level for name, level in known.items() if name in space} | (point or {})
    distributions = {name: _distribution(space[name]) for name in values}
    if spec.has_seed:
        name, first = (FRESH_SEED, FRESH) if spec.seed >= FRESH else ("seed", 0)
        values[name] = spec.seed
        distributions[name] = IntDistribution(first, max(first + run.seeds - 1, spec.seed))
    return values, distributions


def of_configuration(run: Run, backbone: str, point: Point) -> Parameters:
    """The factors of a configuration of a search, without its seeds."""
    factors = {"backbone": backbone, **point}
    return factors, {name: _distribution(run.space[name]) for name in factors}


def _distribution(values: tuple[Any, ...] | Range) -> BaseDistribution:
    return values.distribution() if isinstance(values, Range) else CategoricalDistribution(values)


#: the settings that columns of frames are, by their names; others of the same last part are factors of their own
COLUMNS = {"dim": "student.dim", "stage1_epochs": "student.stage1_epochs"} | {
    name: f"loss.{name}" for name in ("hard_weight", "temperature", "alpha", "delta", "beta")
}


def columns(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a trial by its settings (JSON values), without weights that do not act in its arm."""
    arm, loss, student = spec["arm"], spec["loss"], spec["student"]
    parts = parts_of(arm)
    dims = {"teacher": spec["teacher"]["dim"], "llm-teacher": spec["semantic"]["dim"], "gaps": 0, "recurrence": 0}
    row = {name: spec[name] for name in ("arm", "backbone", "seed")} | {"dim": dims.get(arm, student["dim"])}
    if parts:
        # there is one stage only where all losses act from the first epoch on; of a plugin's that is unknown here
        is_joint = parts != ("L1",) and all(part in LOSSES and LOSSES[part].acts == "from the start" for part in parts)
        row |= {"stage1_epochs": 0 if is_joint else student["stage1_epochs"], "hard_weight": loss["hard_weight"]}
    if "L1" in parts:
        row |= {"temperature": loss["temperature"]}
    if "L2" in parts:
        row |= {"alpha": loss["alpha"]} | ({"delta": loss["delta"]} if loss["alignment"] == "huber" else {})
    if "L3" in parts:
        row |= {"beta": loss["beta"]}
    return row
