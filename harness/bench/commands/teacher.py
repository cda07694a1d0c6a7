"""``teacher``: what the structural teacher and its targets cost beside a student."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Annotated, Any

import typer

from harness.bench.common import (
    DataDir,
    Dataset,
    JsonFile,
    OneBackbone,
    Rounds,
    Threads,
    app,
    backbones,
    open_stages,
    save,
    show,
    warm_up_notes,
)
from harness.measurements.timer import alternate, rate


@app.command()
def teacher(
    dataset: Dataset = "lahman",
    backbone: OneBackbone = "ttranse",
    data_dir: DataDir = None,
    dim: Annotated[int, typer.Option(min=1, help="Dimension of the teacher.")] = 400,
    student_dim: Annotated[int, typer.Option(min=1, help="Dimension of the student.")] = 25,
    steps: Annotated[int, typer.Option(min=1, help="Training steps a measurement.")] = 2,
    queries: Annotated[int, typer.Option(min=1, help="Queries that targets are made of, a measurement.")] = 2048,
    threads: Threads = 1,
    rounds: Rounds = 5,
    file: JsonFile = None,
) -> None:
    """Training the structural teacher and storing both teachers' targets, against an undistilled student's training.

    A few steps and queries are measured; seconds of an epoch, which is also one pass over the training queries for the
    targets, are extrapolated from them. Models are untrained, and the encodings of the LLM teacher random: neither
    changes the cost.
    """
    (name,) = backbones(backbone)
    import torch

    from harness.bench import workload
    from harness.distill.training.objective import Distillation
    from harness.teachers import targets
    from harness.teachers.semantic import SemanticScorer

    stages = open_stages(dataset, name, data_dir, threads)
    spec, graph = stages.spec, stages.graph
    sizes = {"student": student_dim, "teacher": dim}
    specs = {"student": spec.student, "teacher": spec.teacher}
    models = {
        who: stages.new_model(name, specs[who].model_copy(update={"dim": size}), 0) for who, size in sizes.items()
    }
    data = stages.inputs.training(models["teacher"].time_input)
    asked = data[:queries]
    said = [torch.rand(n, spec.semantic.components) for n in (len(graph.entities), 2 * len(graph.relations))]
    language = SemanticScorer(said[0], said[1], stages.inputs.n_times("classes"), spec.semantic.dim)
    plain = stages.inputs.training("classes")[:queries]

    def training(who: str) -> Callable[[], float]:
        model, batch_size = models[who], min(specs[who].batch_size, len(data))
        recipe = model.student_recipe if who == "student" else model.teacher_recipe
        loss = Distillation(regularization=recipe.regularization)
        step = workload.stepper(model, data, loss, batch_size, recipe)
        return lambda: batch_size / statistics.median(sum(step()) for _ in range(steps))

    ways = {who: training(who) for who in models}
    soft, size = models["teacher"], spec.loss.targets
    ways["targets"] = rate(len(asked), lambda: targets.soft_targets(soft, asked, spec.loss.temperature, size))
    ways["llm-targets"] = rate(len(plain), lambda: targets.score_targets(language, plain, size, seed=0))
    measured = alternate(ways, rounds)

    dims = {**sizes, "targets": dim, "llm-targets": spec.semantic.dim}
    rows: list[dict[str, Any]] = [
        {
            "what": what,
            "dim": dims[what],
            "queries_per_second": figure.value,
            "epoch_seconds": len(data) / figure.value,
            "ratio": measured["student"].value / figure.value,
        }
        for what, figure in measured.items()
    ]
    columns = {
        "what": "training of, or",
        "dim": "dimension",
        "queries_per_second": "queries/s",
        "epoch_seconds": "s an epoch, extrapolated",
        "ratio": "times a student's",
    }
    show(f"{name} on {dataset}, {threads} thread(s)", columns, rows, warm_up_notes(measured))
    save(file, "teacher", stages, threads, backbone=name, rows=rows)
