"""``step``: the compiled training step against tensor operations."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from harness.bench import workload
from harness.bench.common import open_stages, show, warm_up_notes
from harness.bench.options import Step
from harness.bench.workload import Seconds
from harness.distill.passes import sampled, softmax
from harness.measurements.timer import alternate
from harness.models.scoring import candidates


def run(options: Step) -> dict[str, Any]:
    stages = open_stages(options, options.backbone)
    spec = stages.spec.student
    model = stages.new_model(options.backbone, spec, 0)
    data = stages.inputs.training(model.time_input)
    mined = workload.random_ids(len(data), len(stages.graph.entities), spec.hard_candidates)
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for arm, loss in workload.losses(stages, model, data).items():
        # an undistilled student lists what it finds hard itself
        lists = None if loss.soft is not None else mined
        for scored in ("all", "sampled"):
            make = partial(workload.stepper, model, data, loss, spec.batch_size)
            once = make(shared=spec.candidates, lists=lists, exact=scored == "all")
            steps: list[Seconds] = []  # of the compiled way, in parts
            both = {
                "compiled": partial(_turn, True, once, options.steps, steps),
                "tensors": partial(_turn, False, once, options.steps, []),
            }
            measured = alternate(both, options.rounds)
            row: dict[str, Any] = {"arm": arm, "scored": scored}
            row |= {f"{way}_ms": 1e3 * figure.value for way, figure in measured.items()}
            counted = zip(*steps[options.steps :], strict=True)  # without the first turn, which compiles
            row |= {
                f"{part}_ms": 1e3 * statistics.median(seconds)
                for part, seconds in zip(Seconds._fields, counted, strict=True)
            }
            rows.append(row | {"ratio": row["tensors_ms"] / row["compiled_ms"]})
            notes += warm_up_notes(f"{arm}, {scored}", measured)
    columns = {
        "arm": "losses",
        "scored": "scored",
        "tensors_ms": "tensor operations, ms",
        "compiled_ms": "compiled, ms",
        "ratio": "ratio",
        "forward_ms": "of it forward",
        "backward_ms": "backward",
        "update_ms": "update",
    }
    show(f"{options.backbone} on {options.dataset}, {options.threads} thread(s)", columns, rows, notes)
    return {"backbone": options.backbone, "candidates": spec.candidates, "rows": rows}


def _turn(compiled: bool, once: Callable[[], Seconds], steps: int, taken: list[Seconds]) -> float:
    """The median seconds of a step; ``taken`` gets the parts of those that count."""
    with ways(compiled):
        once()
        steps_taken = [once() for _ in range(steps)]
    taken += steps_taken
    return statistics.median(map(sum, steps_taken))


@contextmanager
def ways(compiled: bool) -> Iterator[None]:
    """Have every problem take the compiled way, or none."""
    before = softmax.FUSED_FROM, candidates.COMPILED_FROM, sampled.COMPILED_FROM
    softmax.FUSED_FROM = candidates.COMPILED_FROM = sampled.COMPILED_FROM = 0 if compiled else 1 << 62
    try:
        yield
    finally:
        softmax.FUSED_FROM, candidates.COMPILED_FROM, sampled.COMPILED_FROM = before
