"""Asking students' files: time from the names of a question to ten answers, and questions a second in batches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import cycle

import numpy as np

from harness.data import UNKNOWN, both_directions, dates
from harness.evaluate import query_tensors
from harness.measurements.inference import SINGLE, Ways, in_turns
from harness.measurements.timer import Rows
from harness.student.export import untrained
from harness.student.student import Student
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages

#: training questions that are asked over and over, and questions of a batch
QUESTIONS, BATCH = 256, 128


def files(specs: Sequence[TrialSpec], context: Context) -> Rows:
    """Ask the file of the student of each trial training questions, in turns, on one thread, by NumPy alone.

    Seconds are the processor's, so that waiting for other programs does not count. Neither size nor speed depend on
    what a student has learnt: the files are those of untrained ones.

    Returns:
        A row a trial: ``dim``, ``bits``, ``gaps``, ``size_mb`` (of the file, 10⁶ bytes), ``latency_ms`` and
        ``queries_per_second``, lists of a value a turn (a median of its calls).
    """
    ways, rows = {}, {}
    for spec in specs:
        content = untrained(spec, Stages(spec, context).inputs)
        shape = {"dim": spec.student.dim, "bits": str(spec.student.bits), "gaps": spec.student.gaps}
        rows[spec.key()] = shape | {"size_mb": len(content) / 1e6}
        ways[spec.key()] = _ways(Student.from_bytes(content), Stages(spec, context))
    turns = in_turns(ways)
    return [row | turns[key] for key, row in rows.items()]


def _ways(student: Student, stages: Stages) -> Ways:
    graph, half = stages.graph, len(stages.graph.relations)
    queries, rng = both_directions(graph.train, half), np.random.default_rng(0)
    tensors = query_tensors(queries, stages.inputs.timeline, student.about.time_input)
    chosen = rng.permutation(len(queries))[:QUESTIONS]
    first, last = queries.time_points()

    def ask(rows: Iterator[int]) -> object:
        row = next(rows)
        subject = graph.entities.names[queries.subject[row]]
        relation = graph.relations.names[queries.relation[row] % half]
        ends = [dates.show(int(point[row]), graph.granularity) for point in (first, last)]
        at = None if first[row] == UNKNOWN else (ends[0], ends[1])
        return student.answers(subject, relation, at, head=bool(queries.relation[row] >= half))

    batch = np.resize(chosen, BATCH)
    asked = queries.subject[batch], queries.relation[batch], tensors.time[batch].numpy(), first[batch]
    single, scores = partial(ask, cycle(chosen.tolist())), partial(student.scores, *asked)
    return Ways(single, scores, BATCH, SINGLE, batches=1, clock=time.process_time)
