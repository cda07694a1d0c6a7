"""Answering queries: latency of one, throughput of batches, and size, of students, teachers and the language model."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import TypeVar

import torch
from torch import Tensor, nn

from harness.distill.packing import pack
from harness.evaluate import query_tensors
from harness.measurements.stages import trained
from harness.measurements.timer import Rows
from harness.models import Backbone
from harness.models.base import scores
from harness.models.batch import QueryTensors
from harness.teachers.gaps import Gaps
from harness.teachers.language import lora
from harness.teachers.language.language_model import LanguageModel, load, mean_pool
from harness.teachers.language.texts import entity_texts, relation_texts
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages

#: turns that count, queries asked one by one a turn, queries of a batch, and texts of a batch of the language model
TURNS, SINGLE, BATCH, TEXTS = 15, 40, 512, 16

T = TypeVar("T")


@dataclass(frozen=True)
class Ways:
    """Functions that answer the next query, and the next batch of so many; how often a turn calls each, and a clock."""

    single: Callable[[], object]
    batch: Callable[[], object]
    queries: int
    calls: int
    batches: int = 3
    clock: Callable[[], float] = time.perf_counter


def in_turns(every: Mapping[T, Ways]) -> dict[T, dict[str, list[float]]]:
    """``latency_ms`` and ``queries_per_second`` of each, lists of a value a turn (a median of its calls)."""
    measured: dict[T, dict[str, list[float]]] = {name: {"latency_ms": [], "queries_per_second": []} for name in every}
    for turn in range(1 + TURNS):
        for name, ways in every.items():
            seconds = _seconds(ways.single, ways.calls, ways.clock)
            seconds_of_batch = _seconds(ways.batch, ways.batches, ways.clock)
            if turn:  # the first fills allocators and caches
                measured[name]["latency_ms"].append(1e3 * seconds)
                measured[name]["queries_per_second"].append(ways.queries / seconds_of_batch)
    return measured


def inference(specs: Sequence[TrialSpec], context: Context) -> Rows:
    """Answer test queries with the model of each trial, in turns, on one thread of the processor.

    A query is answered when all entities have their scores. The trial of the LLM teacher yields two rows: ``head``,
    f_LLM over stored encodings, and ``language model``, whose forward pass encodes the text of one query.

    Returns:
        A row a model: ``model`` (arm of its trial, or "language model"), ``parameters``, ``size_mb`` (of what has to
        be stored to answer, 10⁶ bytes), ``latency_ms`` and ``queries_per_second``, lists of a value a turn (a median of
        its calls).
    """
    ways: dict[str, Ways] = {}
    models: dict[str, nn.Module] = {}
    for spec in specs:
        stages = Stages(spec, context)
        model = copy.deepcopy(trained(spec, context)).to("cpu").eval()
        ways[spec.arm], models[spec.arm] = _ways(stages, model), model
        if spec.arm == "llm-teacher":
            language = _language_model(stages)
            ways["language model"], models["language model"] = _texts(stages, language), language.base
    turns = in_turns(ways)
    rows: Rows = []
    for name, measured in models.items():
        parameters, n_bytes = size(measured)
        rows.append({"model": name, "parameters": parameters, "size_mb": n_bytes / 1e6, **turns[name]})
    return rows


def size(model: nn.Module) -> tuple[int, int]:
    """Numbers that a model holds, and their bytes, buffers and facts that it looks up included; of tied ones once."""
    parts = {tensor.data_ptr(): tensor for tensor in (*model.parameters(), *model.buffers())}
    n_bytes = sum(t.numel() * t.element_size() for t in parts.values())
    looked_up = (pack(part.lookup.facts).nbytes for part in model.modules() if isinstance(part, Gaps))
    return sum(t.numel() for t in parts.values()), n_bytes + sum(looked_up)


def _seconds(call: Callable[[], object], times: int, clock: Callable[[], float]) -> float:
    """Seconds of a call: the median, since a call that waited for other work of the machine misleads."""
    seconds = []
    for _ in range(times):
        started = clock()
        call()
        seconds.append(clock() - started)
    return statistics.median(seconds)


def _ways(stages: Stages, model: Backbone) -> Ways:
    """Scoring all entities for the next test query, and for the next batch of them."""
    tensors = query_tensors(stages.inputs.queries("test"), stages.inputs.timeline, model.time_input)
    order = torch.randperm(len(tensors), generator=torch.Generator().manual_seed(0))
    table, scale = torch.empty(0), torch.empty(0)
    if model.has_vectors:
        with torch.inference_mode():
            table, scale = model.entity_table(), model.scale()  # computed once: they do not depend on the query

    def batches(count: int) -> Iterator[QueryTensors]:
        """``count`` queries at a time, over and over; what is left at the end of the split is left out."""
        repeated = order.repeat(-(-count // len(order)))
        return cycle([tensors[part] for part in repeated.split(count) if len(part) == count])

    @torch.inference_mode()
    def answer(batches: Iterator[QueryTensors]) -> Tensor:
        batch = next(batches)
        asked = batch.subject, batch.relation, batch.time
        return (
            scores(model.encode(*asked), table, model.kernel, scale)
            if model.has_vectors
            else model.direct_scores(*asked)
        )

    return Ways(partial(answer, batches(1)), partial(answer, batches(BATCH)), BATCH, SINGLE)


def _language_model(stages: Stages) -> LanguageModel:
    config, adapter = stages.spec.llm, stages.adapter()
    model = load(config.model, config.torch_dtype)
    if adapter:
        lora.merge(model, adapter, config)
    return model


def _texts(stages: Stages, model: LanguageModel) -> Ways:
    """Encoding the text of subject and relation of a query, and of several."""
    queries = stages.inputs.queries("test")
    entities, relations = entity_texts(stages.graph), relation_texts(stages.graph)
    pairs = zip(queries.subject[:256].tolist(), queries.relation[:256].tolist(), strict=True)
    rows = cycle(model.tokens([f"{entities[s]}, {relations[r]}" for s, r in pairs], 3 * stages.spec.llm.max_length))

    @torch.inference_mode()
    def encode(count: int) -> Tensor:
        ids, mask = model.pad([next(rows) for _ in range(count)])
        return mean_pool(model.hidden(ids, mask), mask)

    return Ways(partial(encode, 1), partial(encode, TEXTS), TEXTS, 5)
