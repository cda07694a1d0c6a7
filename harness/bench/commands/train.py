"""``train``: queries a second of a student's training loop, beside PyKEEN's."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.bench.common import (
    AnyBackbone,
    DataDir,
    Dataset,
    JsonFile,
    Rounds,
    Threads,
    app,
    backbones,
    has_pykeen,
    open_stages,
    save,
    show,
    warm_up_notes,
)
from harness.measurements.timer import Clock, TimeIsUpError, alternate, fastest, rate

if TYPE_CHECKING:
    from torch import Tensor

    from harness.distill.passes.sampled import Candidates
    from harness.models import Backbone
    from harness.models.batch import QueryTensors
    from harness.trial.stages import Stages

#: queries of a batch that PyKEEN scores at a time; its fastest is what counts
LCWA_SUB_BATCHES, SLCWA_SUB_BATCHES = (8, 16, 64), (32, 128, 512)
#: candidates that a query is scored against: of ours, and negatives of PyKEEN; None: all entities
CANDIDATES: tuple[tuple[int | None, int | None], ...] = ((None, None), (320, 320))
#: of ours, those that a query has for itself; the others are shared by the queries of a step
LISTED = 64


@app.command()
def train(
    dataset: Dataset = "lahman",
    backbone: AnyBackbone = "all",
    data_dir: DataDir = None,
    seconds: Annotated[float, typer.Option(min=0, help="Seconds of each measurement, and at least a step.")] = 2.0,
    threads: Threads = 1,
    rounds: Rounds = 5,
    file: JsonFile = None,
) -> None:
    """Queries a second of an undistilled student's training loop, beside PyKEEN's if PyKEEN is installed.

    Same facts in both directions, dimension, batch size and kind of optimiser (fused); softmax cross-entropy. PyKEEN's
    TransE (for ttranse) and DistMult (for ta-distmult) train with LCWA, which scores all entities, and with sLCWA,
    which scores as many negatives as the column says; of three sizes of sub-batches the fastest counts. Loading
    batches and updating weights are included, validation is not.
    """
    names = backbones(backbone, several=True)
    stages = open_stages(dataset, names[0], data_dir, threads)
    beside = has_pykeen()
    rows, notes = [], []
    for name in names:
        for candidates, negatives in CANDIDATES if beside else CANDIDATES[:1]:
            row, more = _trained(stages, name, candidates, negatives, seconds=seconds, rounds=rounds, beside=beside)
            rows.append(row)
            notes += more
    columns = {
        "backbone": "backbone",
        "scored": "scored by ours",
        "queries_per_second": "ours, queries/s",
        "rival": "PyKEEN",
        "pykeen_scored": "scored by PyKEEN",
        "pykeen_per_second": "PyKEEN, queries/s",
        "ratio": "ratio",
    }
    if not beside:
        notes.append("PyKEEN is not installed: ours alone")
    about = f"{stages.spec.student.dim}-d, batches of {stages.spec.student.batch_size}, {threads} thread(s)"
    show(f"training on {dataset}, {about}", columns, rows, notes)
    save(file, "train", stages, threads, batch_size=stages.spec.student.batch_size, rows=rows)


def ours(stages: Stages, model: Backbone, candidates: int | None, seconds: float) -> float:
    """Queries a second of the training loop of an undistilled student; ``candidates`` None: all entities are scored.

    Else whole epochs are trained, as many as share lists of hard candidates, and finding those is included.
    """
    from harness.distill.training import loop as trainer
    from harness.distill.training.objective import Distillation
    from harness.distill.training.sampler import Sampling

    objective = Distillation(regularization=model.student_recipe.regularization)
    clock = Clock(seconds)

    def ticking(
        model: Backbone, batch: QueryTensors, index: Tensor, candidates: Candidates | None
    ) -> dict[str, Tensor]:
        terms = objective(model, batch, index, candidates)
        clock.tick(len(batch))
        return terms

    recipe, data, endless = model.student_recipe, stages.inputs.training(model.time_input), 1_000_000
    schedule = trainer.Schedule(
        epochs=endless,
        total_epochs=endless,
        validate_every=endless,
        batch_size=stages.spec.student.batch_size,
        optimizer=recipe.optimizer,
        learning_rate=recipe.learning_rate,
        seed=0,
    )
    if candidates is None:
        with suppress(TimeIsUpError):
            trainer.train(model, data, ticking, schedule, lambda model: 0.0)
        return clock.rate
    sampling = Sampling(shared=candidates - LISTED, hard=LISTED)
    cycle = replace(schedule, first_epoch=sampling.hard_every, epochs=sampling.hard_every, sampling=sampling)
    return rate(cycle.epochs * len(data), lambda: trainer.train(model, data, objective, cycle, lambda model: 0.0))()


def _trained(
    stages: Stages,
    backbone: str,
    candidates: int | None,
    negatives: int | None,
    *,
    seconds: float,
    rounds: int,
    beside: bool,
) -> tuple[dict[str, Any], list[str]]:
    """A row, and lines on it."""
    spec, entities = stages.spec.student, len(stages.graph.entities)
    model = stages.new_model(backbone, spec, 0)
    row: dict[str, Any] = {"backbone": backbone, "dim": spec.dim, "scored": candidates or entities}
    ways = {"ours": partial(ours, stages, model, candidates, seconds)}
    if beside:
        from harness.bench import baseline

        def theirs(sub_batch_size: int, seconds: float) -> float:
            return baseline.training_rate(
                stages.graph,
                backbone,
                dim=spec.dim,
                negatives=negatives,
                batch_size=spec.batch_size,
                sub_batch_size=sub_batch_size,
                optimizer=model.student_recipe.optimizer,
                learning_rate=model.student_recipe.learning_rate,
                seconds=seconds,
            )

        sizes = LCWA_SUB_BATCHES if negatives is None else SLCWA_SUB_BATCHES
        best = fastest({size: partial(theirs, size, 0.0) for size in sizes})
        ways["PyKEEN"] = partial(theirs, best, seconds)
        row["rival"] = f"{baseline.NAMES[backbone]}, {'LCWA' if negatives is None else 'sLCWA'}"
        row |= {"pykeen_scored": negatives or entities, "pykeen_sub_batch_size": best}
    measured = alternate(ways, rounds)
    row["queries_per_second"] = measured["ours"].value
    if beside:
        row["pykeen_per_second"] = measured["PyKEEN"].value
        row["ratio"] = measured["ours"].value / measured["PyKEEN"].value
    scored = "all" if candidates is None else f"{candidates:,}"
    return row, warm_up_notes({f"{way}, {backbone}, {scored} entities": figure for way, figure in measured.items()})
