"""``rank``: exact filtered ranking, beside PyKEEN's evaluator."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor

from harness.bench.common import backbones, open_stages, pykeen, show, warm_up_notes
from harness.bench.options import Rank
from harness.bench.sizes import spread
from harness.data import UNKNOWN, KnownAnswers, both_directions
from harness.evaluate import RankTask, ranks
from harness.measurements.timer import alternate, fastest, rate
from harness.models import scores
from harness.trial.stages import Stages

#: facts that PyKEEN scores at a time; its fastest is what counts
BATCH_SIZES = (16, 64, 256)


def run(options: Rank) -> dict[str, Any]:
    names = backbones(options.backbone)
    stages, baseline = open_stages(options, names[0]), pykeen()
    notes = [] if baseline else ["PyKEEN is not installed: ours alone"]
    rows = [_row(stages, name, options, baseline, notes) for name in names]
    columns = {
        "backbone": "backbone",
        "queries": "queries",
        "queries_per_second": "ours, queries/s",
        "pykeen_per_second": "PyKEEN, queries/s",
        "ratio": "ratio",
        "new_filter_per_second": "ours, new filter",
        "ratio_new_filter": "ratio, new filter",
        "same_scores_per_second": "PyKEEN, our scores",
        "ratio_same_scores": "ratio, our scores",
        "equal_ranks": "equal ranks",
    }
    about = f"{options.dataset}, {len(stages.graph.entities):,} entities, {options.threads} thread(s)"
    show(f"ranking on {about}", columns, rows, notes)
    return {"rows": rows}


def _row(stages: Stages, backbone: str, options: Rank, baseline: ModuleType | None, notes: list[str]) -> dict[str, Any]:
    """The row of a backbone; ``notes`` gets lines on it."""
    graph, dim = stages.graph, options.dim
    model = stages.new_model(backbone, stages.spec.student.model_copy(update={"dim": dim}), 0)
    facts = spread(graph.test, options.facts)
    no_time = np.full(len(facts), UNKNOWN)
    facts = replace(facts, start=no_time, end=no_time)  # as PyKEEN knows them
    queries = both_directions(facts, len(graph.relations))
    size = len(queries)

    def task() -> RankTask:
        return RankTask.build(queries, KnownAnswers(graph), stages.inputs.timeline, model.time_input, "static")

    started = time.perf_counter()
    once = task()
    row = {"backbone": backbone, "dim": dim, "queries": size, "filter_seconds": time.perf_counter() - started}
    ways = {"ours": rate(size, lambda: ranks(model, once)), "new_filter": rate(size, lambda: ranks(model, task()))}
    if baseline:
        theirs = baseline.Ranking(graph, facts)

        def all_scores(entity: Tensor, relation: Tensor) -> Tensor:
            time = once.queries.time[:1].expand(len(entity), -1)  # unknown, as in all queries
            return scores(model.encode(entity, relation, time), model.entity_table(), model.kernel, model.scale())

        borrowed = baseline.Borrowed(theirs.factory, all_scores)
        for key, rival in (
            ("pykeen", baseline.new_model(backbone, theirs.factory, dim)),
            ("same_scores", borrowed),
        ):
            sizes = {b: rate(size, partial(theirs.evaluate, rival, b)) for b in BATCH_SIZES}
            row[f"{key}_batch_size"] = best = fastest(sizes)
            ways[key] = sizes[best]
        row["equal_ranks"] = float(np.isclose(ranks(model, once), theirs.evaluate(borrowed, BATCH_SIZES[0])).mean())
    measured = alternate(ways, rounds=options.rounds)
    notes += warm_up_notes(backbone, measured)
    speed = {way: figure.value for way, figure in measured.items()}
    row |= {"queries_per_second": speed["ours"], "new_filter_per_second": speed["new_filter"]}
    if baseline:
        row |= {f"{key}_per_second": speed[key] for key in ("pykeen", "same_scores")}
        row |= {"ratio": speed["ours"] / speed["pykeen"], "ratio_new_filter": speed["new_filter"] / speed["pykeen"]}
        row["ratio_same_scores"] = speed["ours"] / speed["same_scores"]
    return row
