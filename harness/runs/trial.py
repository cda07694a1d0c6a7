"""One trial: a pure function of its spec and the data, which writes nothing but the cache."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import evaluate
from harness.distill.trainer import DivergedError, Trained, train
from harness.evaluate import NotFiniteError
from harness.models import Backbone
from harness.runs.spec import TrialSpec
from harness.runs.stages import Context, Stages, summary


class TrialFailed(Exception):
    """A trial that cannot have a result, with the reason; it fails alone and never ends a study."""


@dataclass
class TrialResult:
    """All that a trial yields.

    ``metrics``: fractions in 0..1, MR in ranks, named ``<split>_[<direction>_]<metric>``. ``ranks``: per test query,
    ``query`` (row in both directions: the first N ask for tails), ``direction`` (0 tail, 1 head), ``relation`` (id) and
    ``rank``. ``curve``: a row an epoch. ``seconds`` and ``peak_mib`` by stage; ``built_seconds`` are what a stage that
    came from the cache once cost.
    """

    data_digest: str
    metrics: dict[str, float] = field(default_factory=dict)
    ranks: dict[str, NDArray[Any]] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    peak_mib: dict[str, float] = field(default_factory=dict)
    cached: dict[str, bool] = field(default_factory=dict)
    built_seconds: dict[str, float] = field(default_factory=dict)
    updates: int = 0
    best_epoch: int = 0


def peak_memory() -> float:
    """The most memory this process ever held, MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


class _Clock:
    def __init__(self, result: TrialResult, context: Context) -> None:
        self.result, self.context = result, context

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self.context.report(stage, 0.0, None)
        started = time.perf_counter()
        yield
        self.result.seconds[stage] = self.result.seconds.get(stage, 0.0) + time.perf_counter() - started
        self.result.peak_mib[stage] = peak_memory()


def run_trial(spec: TrialSpec, context: Context) -> TrialResult:
    """Run one trial.

    Raises:
        TrialFailed: if the loss or the scores are not finite.
    """
    started = time.perf_counter()
    stages = Stages(spec, context)
    result = TrialResult(data_digest=stages.graph.digest)
    clock = _Clock(result, context)
    result.seconds["data"] = time.perf_counter() - started
    try:
        for name, _ in stages.wanted():
            with clock(name):
                stages.build(name)
        if spec.arm == "teacher":
            model = stages.teacher()
            about = stages.built["teacher"].meta
        elif spec.arm == "llm-teacher":
            model = stages.semantic()
            about = stages.built["semantic"].meta
        else:
            model, about = _student(stages, clock)
        with clock("evaluate"):
            _score(stages, model, result)
    except (DivergedError, NotFiniteError) as error:
        raise TrialFailed(str(error)) from None
    result.curve, result.updates, result.best_epoch = about["curve"], about["updates"], about["best_epoch"]
    for name, entry in stages.built.items():
        result.cached[name] = entry.cached
        result.built_seconds[name] = entry.meta["build_seconds"]
        if entry.cached:
            result.seconds.pop(name, None)
            result.peak_mib.pop(name, None)
    return result


def _student(stages: Stages, clock: _Clock) -> tuple[Backbone, dict[str, Any]]:
    """Stage 1 from the cache, stage 2 of the spec's arm; the best state of both by validation MRR."""
    spec = stages.spec
    student = spec.student
    model = stages.new_model(spec.backbone, student.dim, spec.seed)
    resume, curve = None, []
    if student.stage1_epochs:
        entry = stages.stage1()
        meta = entry.meta
        parts: dict[str, dict[str, Any]] = {"best": {}, "last": {}, "optimizer": {}}
        for name, tensor in entry.tensors.items():
            part, key = name.split("/", 1)
            parts[part][key] = tensor
        resume = Trained(**parts, best_mrr=meta["best_mrr"], best_epoch=meta["best_epoch"], updates=meta["updates"])
        curve = [{"stage": 1, **row} for row in meta["curve"]]
        model.load_state_dict(resume.last)
    if student.stage1_epochs >= student.epochs:
        model.load_state_dict(resume.best if resume else model.state_dict())
        return model.eval(), {"curve": curve, "updates": meta["updates"], "best_epoch": meta["best_epoch"]}
    loss = stages.distillation(model, student, arm=spec.arm)
    with clock("stage2"):
        trained = train(
            model,
            stages.training(model.time_input),
            loss,
            stages.schedule(
                student,
                model.student_recipe,
                spec.seed,
                epochs=student.epochs - student.stage1_epochs,
                first_epoch=student.stage1_epochs,
                total_epochs=student.epochs,
            ),
            stages.validator(model.time_input),
            auxiliary=loss.adapter,
            resume=resume,
            report=lambda done, metric: stages.context.report("stage2", done, metric),
        )
    about = summary(trained)
    about["curve"] = curve + [{"stage": 2, **row} for row in trained.curve]
    model.load_state_dict(trained.best)
    return model.eval(), about


def _score(stages: Stages, model: Backbone, result: TrialResult) -> None:
    """Ranks and metrics on validation and test."""
    for split in ("valid", "test"):
        each = evaluate.ranks(model, stages.task(split, model.time_input))
        found = evaluate.metrics_by_direction(each)
        result.metrics |= {f"{split}_{name}": value for name, value in found.items()}
    queries = stages.queries("test")
    half = len(queries) // 2
    result.ranks = {
        "query": np.arange(len(queries)),
        "direction": (np.arange(len(queries)) >= half).astype(np.int8),
        "relation": (queries.relation % max(len(stages.graph.relations), 1)).astype(np.int32),
        "rank": each,
    }
