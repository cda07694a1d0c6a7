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
    example = task.queries[:2]
    trained_ranks = evaluate.ranks(model, task)
    formats: dict[str, Callable[[Path], NDArray[np.float64]]] = {
        "as trained": lambda path: trained_ranks,
        "safetensors": lambda path: _by_weights(model, task, path, model.state_dict()),
        "int8": lambda path: _by_weights(model, task, path, quantised(model.state_dict())),
    }
    if missing():
        formats["torch.export"] = lambda path: ranks_of(program(model, path, example), task)
    else:
        formats["ONNX"] = lambda path: ranks_of(onnx(model, path, example), task)
    rows: Rows = []
    for name, ranks_in in formats.items():
        row: dict[str, Any] = {"format": name, "size_mb": None, "reason": None}
        with tempfile.TemporaryDirectory() as folder:
            try:
                ranks = ranks_in(Path(folder) / "student")
            except Exception as error:  # exporters raise whatever they like; the other formats are there all the same
                row["reason"] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
            else:
                sizes = [path.stat().st_size for path in Path(folder).iterdir()]
                off = np.abs(ranks - trained_ranks)
                row |= {"size_mb": sum(sizes) / 1e6 if sizes else None, **evaluate.metrics(ranks)}
                row |= {"moved": float((off > 0).mean()), "largest": float(off.max(initial=0))}
        rows.append(row)
    return rows


def missing() -> list[str]:
    """The optional packages that ONNX needs and that are not installed."""
    return [name for name in ONNX if importlib.util.find_spec(name) is None]


# ---- weights -------------------------------------------------------------------------------------------------------


def _by_weights(model: Backbone, task: evaluate.RankTask, path: Path, state: State) -> NDArray[np.float64]:
    """Ranks of a model whose weights, quantised or not, went through a file."""
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    loaded = copy.deepcopy(model)
    loaded.load_state_dict(restored(load_file(path)))
    return evaluate.ranks(loaded, task)


def quantised(state: State) -> State:
    """Weights with the tables of entities, relations and times as int8, and a float32 scale a row (its largest: 127).

    All else, such as an LSTM, stays as it is.
    """
    packed = dict(state)
    for name, tensor in state.items():
        if tensor.dim() == 2 and name.endswith(".weight"):
            scale = tensor.abs().amax(1).clamp_min(1e-12) / 127
            packed |= {name: (tensor / scale[:, None]).round().to(torch.int8), f"{name}{SCALE}": scale.float()}
    return packed


def restored(state: State) -> State:
    """Weights in float32 from those that ``quantised`` packed; others stay as they are."""
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
        if not model.has_vectors:
            raise ValueError("it looks training facts up, which a graph cannot")
        self.model = model

    def forward(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        model = self.model
        table = model.entity_table()
        # not ``encode``, which looks for equal queries of a batch: a graph has no step whose size depends on values
        query = model.encode_vectors(table[subject], model.relation_table()[relation], time)
        return scores(query, table, model.kernel, model.scale())


def _traced(example: QueryTensors) -> dict[str, Any]:
    """Arguments of both exporters: queries to trace the graph with, whose number may vary."""
    batch = {0: torch.export.Dim("batch", min=1)}
    queries = (example.subject, example.relation, example.time)
    return {"args": queries, "dynamic_shapes": (batch, batch, batch)}


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
        inputs = (batch.subject, batch.relation, batch.time)
        return torch.from_numpy(session.run(None, {n: a.numpy() for n, a in zip(names, inputs, strict=True)})[0])

    return score


@torch.no_grad()
def ranks_of(score: Scorer, task: evaluate.RankTask) -> NDArray[np.float64]:
    """Exact ranks [Q] of whatever scores all entities; see ``harness.evaluate.ranks``.

    Raises:
        ValueError: a score is not finite.
    """
    batches = []
    for start in range(0, len(task.queries), BATCH):
        batch = task.queries[slice(start, start + BATCH)]
        z, known = score(batch), (task.row >= start) & (task.row < start + BATCH)
        if not z.isfinite().all():
            raise ValueError("the exported student's scores are not finite")
        batches.append(evaluate.rank_of(z, batch.answer, *task.left_out(start, known)))
    per_answer = torch.cat(batches).numpy()
    if task.owner is None:
        return per_answer
    total = np.bincount(task.owner, weights=per_answer, minlength=task.size)
    return total / np.bincount(task.owner, minlength=task.size)
