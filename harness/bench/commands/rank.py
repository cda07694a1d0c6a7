"""``rank``: exact filtered ranking, beside PyKEEN's evaluator."""

from __future__ import annotations

import time
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
from harness.measurements.timer import alternate, fastest, rate

if TYPE_CHECKING:
    from harness.data import Facts
    from harness.trial.stages import Stages

#: facts that PyKEEN scores at a time; its fastest is what counts
BATCH_SIZES = (16, 64, 256)


@app.command()
def rank(
    dataset: Dataset = "lahman",
    backbone: AnyBackbone = "all",
    data_dir: DataDir = None,
    facts: Annotated[int, typer.Option(min=1, help="Facts of the test split; each is two queries.")] = 1000,
    dim: Annotated[int, typer.Option(min=1, help="Dimension of the models.")] = 25,
    threads: Threads = 1,
    rounds: Rounds = 5,
    file: JsonFile = None,
) -> None:
    """Exact filtered ranking of test queries, beside PyKEEN's RankBasedEvaluator if PyKEEN is installed.

    PyKEEN knows no time: both sides leave out all other known answers whatever their time (protocol "static"). It
    ranks twice: with its own TransE (for ttranse) or DistMult (for ta-distmult) of the same dimension, and with the
    scores of our model, where the ranks must be ours but for scores that rounding alone tells apart. It makes its
    filter in each evaluation, which we do once for all epochs; a column gives ours with the filter made each time.
    Of three batch sizes its fastest counts. Models are untrained: ranks cost the same.
    """
    names = backbones(backbone, several=True)
    stages = open_stages(dataset, names[0], data_dir, threads)
    beside = has_pykeen()
    rows, notes = [], []
    for name in names:
        row, more = _ranked(stages, name, facts=facts, dim=dim, rounds=rounds, beside=beside)
        rows.append(row)
        notes += more
    columns = {
        "backbone": "backbone",
        "queries": "queries",
        "queries_per_second": "ours, queries/s",
        "pykeen_per_second": "PyKEEN, queries/s",
        "ratio": "ratio",
        "anew_per_second": "ours, new filter",
        "ratio_anew": "ratio, new filter",
        "same_scores_per_second": "PyKEEN, our scores",
        "ratio_same_scores": "ratio, our scores",
        "equal_ranks": "equal ranks",
    }
    if not beside:
        notes.append("PyKEEN is not installed: ours alone")
    show(f"ranking on {dataset}, {len(stages.graph.entities):,} entities, {threads} thread(s)", columns, rows, notes)
    save(file, "rank", stages, threads, rows=rows)


def _ranked(
    stages: Stages, backbone: str, *, facts: int, dim: int, rounds: int, beside: bool
) -> tuple[dict[str, Any], list[str]]:
    """The row of a backbone, and lines on it."""
    import numpy as np
    from torch import Tensor

    from harness.data import KnownAnswers, both_directions
    from harness.evaluate import RankTask, ranks
    from harness.models import scores

    graph, timeline = stages.graph, stages.inputs.timeline
    model = stages.new_model(backbone, stages.spec.student.model_copy(update={"dim": dim}), 0)
    asked = _timeless(graph.test, facts)
    queries = both_directions(asked, len(graph.relations))

    def task() -> RankTask:
        return RankTask.build(queries, KnownAnswers(graph), timeline, model.time_input, "static")

    started = time.perf_counter()
    once = task()
    filter_seconds = time.perf_counter() - started
    size = len(queries)
    row = {"backbone": backbone, "dim": dim, "queries": size, "filter_seconds": filter_seconds}
    ways = {"ours": rate(size, lambda: ranks(model, once)), "anew": rate(size, lambda: ranks(model, task()))}
    if beside:
        from harness.bench import baseline

        theirs = baseline.Ranking(graph, asked)
        native = baseline.new_model(backbone, theirs.factory, dim)

        def all_scores(entity: Tensor, relation: Tensor) -> Tensor:
            no_time = once.queries.time[:1].expand(len(entity), -1)  # as in all queries
            return scores(model.encode(entity, relation, no_time), model.entity_table(), model.kernel, model.scale())

        borrowed = baseline.Borrowed(theirs.factory, all_scores)
        for key, rival in (("pykeen", native), ("same_scores", borrowed)):
            sizes = {b: rate(size, partial(theirs.evaluate, rival, b)) for b in BATCH_SIZES}
            row[f"{key}_batch_size"] = best = fastest(sizes)
            ways[key] = sizes[best]
        row["equal_ranks"] = float(np.isclose(ranks(model, once), theirs.evaluate(borrowed, BATCH_SIZES[0])).mean())
    measured = alternate(ways, rounds)
    row |= {"queries_per_second": measured["ours"].value, "anew_per_second": measured["anew"].value}
    if beside:
        for key, ratio in (("pykeen", "ratio"), ("same_scores", "ratio_same_scores")):
            row[f"{key}_per_second"] = measured[key].value
            row[ratio] = measured["ours"].value / measured[key].value
        row["ratio_anew"] = measured["anew"].value / measured["pykeen"].value
    return row, warm_up_notes({f"{way} of {backbone}": figure for way, figure in measured.items()})


def _timeless(facts: Facts, count: int) -> Facts:
    """``count`` of the facts without their times: what PyKEEN knows of them."""
    import numpy as np

    from harness.bench.sizes import spread
    from harness.data import UNKNOWN

    asked = spread(facts, count)
    unknown = np.full(len(asked), UNKNOWN)
    return replace(asked, start=unknown, end=unknown)
