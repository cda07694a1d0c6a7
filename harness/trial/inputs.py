"""The data as a trial reads it: queries as tensors and ranking tasks, made once a process and shared by its trials."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from harness import evaluate
from harness.data import Ints, KnownAnswers, Queries, TemporalGraph, Timeline, both_directions, load, names
from harness.data.graph import SPLITS
from harness.distill.training.points import PointQueries
from harness.models import Backbone
from harness.models.batch import QueryTensors
from harness.trial.spec import Times, TimeSpec, ValidationFilter


class Inputs:
    """A graph under one reading of time, one protocol and on one device.

    Everything is made when first asked for and kept: a worker runs many trials on the same data.
    """

    def __init__(
        self,
        graph: TemporalGraph,
        time: TimeSpec,
        protocol: str,
        device: str,
        validation_filter: ValidationFilter = "all",
    ) -> None:
        self.graph, self.protocol, self.device, self.validation_filter = graph, protocol, device, validation_filter
        self.timeline = Timeline.build(graph, time.classes, time.size)
        self._training: dict[str, QueryTensors] = {}
        self._tasks: dict[tuple[str, str, str], evaluate.RankTask] = {}
        self._asked: dict[tuple[str, str], QueryTensors] = {}

    def n_times(self, time_input: str) -> int:
        """Size of the alphabet that a model with this ``time_input`` reads."""
        return self.timeline.n_classes if time_input == "classes" else self.timeline.n_tokens

    def queries(self, split: str) -> Queries:
        """Both directions of every fact of a split."""
        return both_directions(self.graph.splits[split], len(self.graph.relations))

    def training(self, time_input: str, times: Times = "interval") -> QueryTensors:
        """The training queries [2N]; ``times`` is when an epoch asks them."""
        if time_input not in self._training:
            tensors = evaluate.query_tensors(self.queries("train"), self.timeline, time_input)
            self._training[time_input] = tensors.to(self.device)
        tensors = self._training[time_input]
        if times == "interval":
            return tensors

        def view(drawn: Ints) -> Ints:
            return evaluate.time_of(drawn, drawn, self.timeline, time_input)

        first, last = self.queries("train").time_points()
        return PointQueries(**vars(tensors), first=first, last=last, view=view)

    def task(self, split: str, time_input: str, protocol: str | None = None) -> evaluate.RankTask:
        """What ranking the queries of a split needs under a protocol, None: the trial's own.

        Protocols that ask alike have the same queries, as one object.
        """
        protocol = protocol or self.protocol
        if (split, time_input, protocol) not in self._tasks:
            known = _known(self.graph, without_test=split == "valid" and self.validation_filter == "train-valid")
            task = evaluate.RankTask.build(self.queries(split), known, self.timeline, time_input, protocol)
            task = task.to(self.device)
            if protocol in evaluate.ASKED_ALIKE[0]:
                task = replace(task, queries=self._asked.setdefault((split, time_input), task.queries))
            self._tasks[split, time_input, protocol] = task
        return self._tasks[split, time_input, protocol]

    def validator(self, time_input: str) -> Callable[[Backbone], float]:
        """A function that returns a model's validation MRR."""
        task = self.task("valid", time_input)
        return lambda model: evaluate.metrics(evaluate.ranks(model, task))["mrr"]


@lru_cache(maxsize=2)
def _known(graph: TemporalGraph, *, without_test: bool) -> KnownAnswers:
    return KnownAnswers(graph, SPLITS[:2] if without_test else SPLITS)


@lru_cache(maxsize=2)
def _graph(name: str, data_dir: Path | None, _folder: str) -> TemporalGraph:
    return load(name, data_dir)


_inputs = lru_cache(maxsize=2)(Inputs)


def graph_of(name: str, data_dir: Path | None) -> TemporalGraph:
    """``harness.data.load``, remembered; relative paths are those of the current working directory."""
    return _graph(name, data_dir, os.getcwd())


def named(dataset: str, data_dir: Path | None) -> tuple[str, Path | None]:
    """The name of data, and where they lie unless they are found by it."""
    graph = graph_of(dataset, data_dir)
    is_folder = dataset not in names() and os.path.isdir(dataset)
    return graph.name, Path(dataset).resolve() if is_folder else None


def inputs(
    name: str,
    data_dir: Path | None,
    time: TimeSpec,
    protocol: str,
    device: str,
    validation_filter: ValidationFilter = "all",
) -> Inputs:
    """The inputs of a trial, shared with other trials of this process that read the same."""
    return _inputs(graph_of(name, data_dir), time, protocol, device, validation_filter)
