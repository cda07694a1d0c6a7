"""``train``: queries a second of a student's training loop, beside PyKEEN's."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

from harness.bench.common import backbones, open_stages, pykeen, show, warm_up_notes
from harness.bench.options import Train
from harness.distill.training import loop
from harness.distill.training.objective import Distillation
from harness.distill.training.sampler import Sampling
from harness.measurements.timer import Clock, TimeIsUpError, alternate, fastest, rate
from harness.models import Backbone
from harness.trial.stages import Stages

#: queries of a batch that PyKEEN scores at a time; its fastest is what counts
LCWA_SUB_BATCHES, SLCWA_SUB_BATCHES = (8, 16, 64), (32, 128, 512)
#: candidates that a query is scored against: of ours, and negatives of PyKEEN; None: all entities
CANDIDATES: tuple[tuple[int | None, int | None], ...] = ((None, None), (320, 320))
#: of ours, those that a query has for itself; the others are shared by the queries of a step
LISTED = 64


def run(options: Train) -> dict[str, Any]:
    names = backbones(options.backbone)
    stages, baseline = open_stages(options, names[0]), pykeen()
    spec, notes = stages.spec.student, [] if baseline else ["PyKEEN is not installed: ours alone"]
    rows = [
        _row(stages, name, candidates, negatives, options, baseline, notes)
        for name in names
        for candidates, negatives in (CANDIDATES if baseline else CANDIDATES[:1])
    ]
    columns = {
        "backbone": "backbone",
        "scored": "scored by ours",
        "queries_per_second": "ours, queries/s",
        "rival": "PyKEEN",
        "pykeen_scored": "scored by PyKEEN",
        "pykeen_per_second": "PyKEEN, queries/s",
        "ratio": "ratio",
    }
    about = f"{options.dataset}, {spec.dim}-d, batches of {spec.batch_size}, {options.threads} thread(s)"
    show(f"training on {about}", columns, rows, notes)
    return {"batch_size": spec.batch_size, "rows": rows}


def ours(stages: Stages, model: Backbone, candidates: int | None, seconds: float) -> float:
    """Queries a second of the training loop of an undistilled student; ``candidates`` None: all entities are scored.

    Else complete epochs are trained, as many as share lists of hard candidates, and finding those is included.
    """
    recipe, data, endless = model.student_recipe, stages.inputs.training(model.time_input), 1_000_000
    objective = Distillation(regularization=recipe.regularization)
    schedule = loop.Schedule(
        epochs=endless,
        total_epochs=endless,
        validate_every=endless,
        batch_size=stages.spec.student.batch_size,
        optimizer=recipe.optimizer,
        learning_rate=recipe.learning_rate,
        seed=0,
    )
    if candidates is not None:
        sampling = Sampling(shared=candidates - LISTED, hard=LISTED)
        cycle = replace(schedule, first_epoch=sampling.hard_every, epochs=sampling.hard_every, sampling=sampling)
        return rate(cycle.epochs * len(data), lambda: loop.train(model, data, objective, cycle, lambda model: 0.0))()
    clock = Clock(seconds)
    with suppress(TimeIsUpError):
        loop.train(model, data, clock.ticking(objective), schedule, lambda model: 0.0)
    return clock.rate


def _row(
    stages: Stages,
    backbone: str,
    candidates: int | None,
    negatives: int | None,
    options: Train,
    baseline: ModuleType | None,
    notes: list[str],
) -> dict[str, Any]:
    """A row; ``notes`` gets lines on it."""
    spec, entities = stages.spec.student, len(stages.graph.entities)
    model = stages.new_model(backbone, spec, 0)
    recipe = model.student_recipe
    row: dict[str, Any] = {"backbone": backbone, "dim": spec.dim, "scored": candidates or entities}
    ways = {"ours": partial(ours, stages, model, candidates, options.seconds)}
    if baseline:
        theirs = partial(
            baseline.training_rate,
            stages.graph,
            backbone,
            dim=spec.dim,
            negatives=negatives,
            batch_size=spec.batch_size,
            optimizer=recipe.optimizer,
            learning_rate=recipe.learning_rate,
        )
        sizes = LCWA_SUB_BATCHES if negatives is None else SLCWA_SUB_BATCHES
        best = fastest({size: partial(theirs, sub_batch_size=size, seconds=0.0) for size in sizes})
        ways["PyKEEN"] = partial(theirs, sub_batch_size=best, seconds=options.seconds)
        row["rival"] = f"{baseline.NAMES[backbone]}, {'LCWA' if negatives is None else 'sLCWA'}"
        row |= {"pykeen_scored": negatives or entities, "pykeen_sub_batch_size": best}
    measured = alternate(ways, rounds=options.rounds)
    notes += warm_up_notes(f"{backbone}, {'all' if candidates is None else f'{candidates:,}'} entities", measured)
    row["queries_per_second"] = measured["ours"].value
    if baseline:
        row["pykeen_per_second"] = measured["PyKEEN"].value
        row["ratio"] = row["queries_per_second"] / row["pykeen_per_second"]
    return row
