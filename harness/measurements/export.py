"""A trained student in formats for use elsewhere: size, and the ranks that it gives when it is loaded back."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness import evaluate
from harness.measurements.stages import trained
from harness.measurements.timer import Rows
from harness.models import Backbone
from harness.models.base import scores
from harness.models.batch import QueryTensors
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages

State = dict[str, Tensor]
Change = Callable[[State], State]
#: scores [B, E] of all entities for queries
Scorer = Callable[[QueryTensors], Tensor]

#: queries that an exported graph is asked at once
BATCH = 256
ONNX = ("onnx", "onnxscript", "onnxruntime")
#: end of the names of the scales of quantised tables
SCALE = ".row_scale"


def export(spec: TrialSpec, context: Context) -> Rows:
    """Write a trained student to files, load each back and rank the test queries with it.

    Formats: ``as trained`` (in memory, for reference); ``safetensors``; ``int8``, tables of vectors with a byte a
    number and a scale a row; ``ONNX``, a graph that scores all entities, run by onnxruntime; and, where the packages
    for that are not installed, ``torch.export``, the same graph as PyTorch saves it.

    Returns:
        A row a format: ``format``, ``size_mb`` (10⁶ bytes, None in memory), the metrics of test ranks as ``mrr``,
        ``mr``, ``hits1`` ..., ``moved`` (share of ranks that differ from the trained student's), ``largest`` (the
        largest difference of a rank), and ``reason`` where the format failed, else None.
    """
    model = copy.deepcopy(trained(spec, context)).to("cpu")
    task = Stages(spec, context).inputs.task("test", model.time_input).to("cpu")
    trained_ranks = evaluate.ranks(model, task)
    rows = [_row("as trained", None, trained_ranks, trained_ranks)]
    graph = "ONNX" if not missing() else "torch.export"
    ways: dict[str, Callable[[Path], NDArray[np.float64]]] = {
        "safetensors": lambda path: _by_weights(model, task, path, dict, dict),
        "int8": lambda path: _by_weights(model, task, path, quantised, restored),
        graph: lambda path: ranks_of((onnx if graph == "ONNX" else program)(model, path, task.queries[:2]), task),
    }
    for name, way in ways.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "student"
            try:
                ranks = way(path)
                rows.append(_row(name, sum(p.stat().st_size for p in Path(folder).iterdir()), ranks, trained_ranks))
            except Exception as error:  # exporters raise whatever they like; the other formats are there all the same
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
                rows.append({"format": name, "size_mb": None, "reason": reason})
    return rows


def missing() -> list[str]:
    """The optional packages that ONNX needs and that are not installed."""
    return [name for name in ONNX if importlib.util.find_spec(name) is None]


def _row(name: str, size: int | None, ranks: NDArray[np.float64], trained_ranks: NDArray[np.float64]) -> dict[str, Any]:
    off = np.abs(ranks - trained_ranks)
    about = {"format": name, "size_mb": None if size is None else size / 1e6, "reason": None}
    return about | evaluate.metrics(ranks) | {"moved": float((off > 0).mean()), "largest": float(off.max(initial=0))}


# ---- weights -------------------------------------------------------------------------------------------------------


def _by_weights(
    model: Backbone, task: evaluate.RankTask, path: Path, pack: Change, unpack: Change
) -> NDArray[np.float64]:
    """Ranks of a model whose weights went through a file."""
    save_file({name: tensor.contiguous() for name, tensor in pack(model.state_dict()).items()}, path)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        model.load_state_dict(unpack(load_file(path)))
        return evaluate.ranks(model, task)
    finally:
        model.load_state_dict(before)


def quantised(state: State) -> State:
    """Weights with tables of vectors as int8 and a float32 scale a row, whose largest number is 127 steps.

    Tables are those of entities, relations and times; all else, such as an LSTM, stays as it is.
    """
    quantised: State = {}
    for name, tensor in state.items():
        if tensor.dim() != 2 or not name.endswith(".weight"):
            quantised[name] = tensor
            continue
        scale = tensor.abs().amax(1).clamp_min(1e-12) / 127
        quantised[name] = (tensor / scale[:, None]).round().to(torch.int8)
        quantised[f"{name}{SCALE}"] = scale.float()
    return quantised


def restored(state: State) -> State:
    """Weights in float32 from what ``quantised`` made of them."""
    return {
        name: state[f"{name}{SCALE}"][:, None] * tensor.float() if f"{name}{SCALE}" in state else tensor
        for name, tensor in state.items()
        if not name.endswith(SCALE)
    }


# ---- graphs --------------------------------------------------------------------------------------------------------


class Graph(nn.Module):
    """A student as one function of subject [B], relation [B] and time [B, L]: scores [B, E] of all entities."""

    def __init__(self, model: Backbone) -> None:
        super().__init__()
        self.model = model

    def forward(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        model = self.model
        table = model.entity_table()
        # not ``encode``, which looks for equal queries of a batch: a graph has no step whose size depends on values
        query = model.encode_vectors(table[subject], model.relation_table()[relation], time)
        return scores(query, table, model.kernel, model.scale())


def _traced(example: QueryTensors) -> dict[str, Any]:
    """What both exporters take besides the graph: arguments to trace it with, and their dimension that may vary."""
    batch = {0: torch.export.Dim("batch", min=1)}
    arguments = (example.subject, example.relation, example.time)
    return {"args": arguments, "dynamic_shapes": (batch, batch, batch)}


def program(model: Backbone, path: Path, example: QueryTensors) -> Scorer:
    """Export with ``torch.export``, traced with some queries, and load back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(Graph(model).eval(), **_traced(example)), path)
        loaded = torch.export.load(path).module()
    return lambda batch: loaded(batch.subject, batch.relation, batch.time)


def onnx(model: Backbone, path: Path, example: QueryTensors) -> Scorer:
    """Export as ONNX, traced with some queries, and open with onnxruntime."""
    runtime = importlib.import_module("onnxruntime")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of packages that nothing here needs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.onnx.export(
            Graph(model).eval(), **_traced(example), dynamo=True, verbose=False, external_data=False
        )
    assert made is not None  # as it is with dynamo
    made.save(path)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def score(batch: QueryTensors) -> Tensor:
        asked = (batch.subject, batch.relation, batch.time)
        return torch.from_numpy(session.run(None, {n: a.numpy() for n, a in zip(names, asked, strict=True)})[0])

    return score


@torch.no_grad()
def ranks_of(score: Scorer, task: evaluate.RankTask) -> NDArray[np.float64]:
    """Exact ranks [Q] of whatever scores all entities; see ``harness.evaluate.ranks``.

    Raises:
        ValueError: a score is not finite.
    """
    starts = torch.arange(0, len(task.queries) + BATCH, BATCH)
    bounds = torch.searchsorted(task.row, starts).tolist()
    batches = []
    for k, start in enumerate(range(0, len(task.queries), BATCH)):
        batch = task.queries[slice(start, start + BATCH)]
        z, known = score(batch), slice(bounds[k], bounds[k + 1])
        if not z.isfinite().all():
            raise ValueError("the exported student's scores are not finite")
        batches.append(evaluate.rank_of(z, batch.answer, task.row[known] - start, task.entity[known]))
    per_answer = torch.cat(batches).numpy()
    if task.owner is None:
        return per_answer
    total = np.bincount(task.owner, weights=per_answer, minlength=task.size)
    return total / np.bincount(task.owner, minlength=task.size)
