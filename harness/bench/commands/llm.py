"""``llm``: what encoding and fine-tuning the language model cost, and what the choices behind that are worth."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from harness.bench.common import context_of, settled, show
from harness.bench.options import Llm
from harness.data import TemporalGraph
from harness.engine.local_workers import in_a_fresh_process
from harness.errors import UserError
from harness.measurements.timer import alternate, rate
from harness.teachers.language import lora
from harness.teachers.language.encode import encode_rows
from harness.teachers.language.language_model import LanguageModel, LanguageModelConfig, batches, load
from harness.teachers.language.texts import entity_texts
from harness.trial.run import peak_memory
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages

T = TypeVar("T")
Row = dict[str, Any]

#: the stages that run the language model
STAGES = ("finetune", "encode")


def run(options: Llm) -> dict[str, Any]:
    rounds = options.rounds
    changes = [f"llm.model={options.model}", *(options.changes or [])]
    spec = settled(options.dataset, "ttranse", "llm-teacher", changes)
    config, graph = spec.llm, Stages(spec, context_of(options)).graph
    dtype = str(config.torch_dtype).removeprefix("torch.")
    about = f"{config.model} on {options.dataset}, {options.threads} thread(s)"

    model = load(config.model, config.torch_dtype)
    few = config.model_copy(update={"token_budget": options.tokens})
    facts = lora.training_batches(graph, model, few, np.random.default_rng(0))  # first: it may refuse the settings
    encoding = _encoding(graph, model, config, options)
    columns = {"what": "batches of", "batches": "batches", "padding": "share of padding", "measured": "measured"}
    columns |= {"tokens_per_second": "tokens/s", "ratio": "ratio"}
    show(f"encoding: {about}, {dtype}", columns, encoding)

    finetuning = _finetuning(model, facts, config, rounds)
    show(f"fine-tuning: {about}, {dtype}", {"what": "what", "ms": "ms a batch", "ratio": "ratio"}, finetuning)

    formats = _formats(model, facts, config, rounds)
    columns = {"what": "pass", "bfloat16_ms": "bfloat16, ms a batch", "float32_ms": "float32, ms a batch"}
    show(f"number formats: {about}", columns | {"ratio": "ratio"}, formats)

    figures: dict[str, Any] = {"model": config.model, "dtype": dtype}
    figures |= {"encoding": encoding, "finetuning": finetuning, "formats": formats}
    if options.memory:
        after = peaks(spec, options.data_dir, options.threads)
        figures["memory"] = [{"stage": stage, "peak_mib": peak} for stage, peak in after.items()]
        show(f"memory: {about}, {dtype}", {"stage": "after", "peak_mib": "peak, MiB"}, figures["memory"])
    return figures


# ---- encoding ------------------------------------------------------------------------------------------------------


def _encoding(graph: TemporalGraph, model: LanguageModel, config: LanguageModelConfig, options: Llm) -> list[Row]:
    """A row for each order; ``batches`` and ``padding`` (a share of the tokens) are those of all texts."""
    texts = model.tokens(list(dict.fromkeys(entity_texts(graph))), config.max_length)  # a text is encoded once
    lengths = [len(text) for text in texts]
    rows: list[Row] = []
    ways = {}
    for what, by_length in (("texts as they come", False), ("similar lengths", True)):
        groups = list(batches(lengths, config.batch_tokens, by_length=by_length))
        some = _spread(groups, round(len(groups) * options.texts / len(texts)))
        ways[what] = rate(sum(lengths[k] for group in some for k in group), partial(encode_rows, model, texts, some))
        padded = sum(len(group) * max(lengths[k] for k in group) for group in groups)
        row = {"what": what, "batches": len(groups), "measured": len(some), "padding": 1 - sum(lengths) / padded}
        rows.append(row)
    speed = [figure.value for figure in alternate(ways, options.rounds).values()]
    return [row | {"tokens_per_second": s, "ratio": s / speed[0]} for row, s in zip(rows, speed, strict=True)]


def _spread(groups: list[list[int]], count: int) -> list[list[int]]:
    """About ``count`` batches at equal distances: short texts and long ones, whatever the order."""
    count = min(max(count, 1), len(groups))
    return [groups[int((k + 0.5) * len(groups) / count)] for k in range(count)]


# ---- fine-tuning ---------------------------------------------------------------------------------------------------


class _Training:
    """A model that is fine-tuned on some batches; its functions return milliseconds a batch.

    ``model`` is changed: its layers below ``first`` run here and are dropped.
    """

    def __init__(
        self, model: LanguageModel, batches: list[list[lora.Rows]], config: LanguageModelConfig, first: int
    ) -> None:
        self.model = model
        self.batches = [[lora.activations(model, rows, first) for rows in batch] for batch in batches]
        lora.cut(model, first)
        self.optimizer = lora.make_optimizer(lora.attach(model, config), config)

    def forward(self) -> float:
        return _ms(self.batches, lambda batch: lora.training_loss(self.model, batch))

    def backward(self) -> float:
        seconds = 0.0
        for batch in self.batches:
            loss = lora.training_loss(self.model, batch)
            started = time.perf_counter()
            loss.backward()
            seconds += time.perf_counter() - started
        self.optimizer.zero_grad()
        return 1e3 * seconds / len(self.batches)

    def step(self) -> float:
        return _ms(self.batches, lambda batch: lora.train_step(self.model, batch, self.optimizer))


def _ms(batches: Sequence[T], work: Callable[[T], object]) -> float:
    """Milliseconds a batch."""
    started = time.perf_counter()
    for batch in batches:
        work(batch)
    return 1e3 * (time.perf_counter() - started) / len(batches)


def _finetuning(
    model: LanguageModel, batches: list[list[lora.Rows]], config: LanguageModelConfig, rounds: int
) -> list[Row]:
    """A row for each way; ratios are to what the stage does with a batch, which sees each sentence once."""
    first = lora.first_adapted(model, config)
    every = config.model_copy(update={"lora_layers": len(model.layers)})
    kept = _Training(copy.deepcopy(model), batches, config, first)
    stage = _Training(copy.deepcopy(model), batches, config, 0)
    adapted = _Training(copy.deepcopy(model), batches, every, 0)

    def frozen() -> float:
        return _ms(batches, lambda batch: [lora.activations(model, rows, first) for rows in batch])

    ways = {"frozen": frozen, "adapted": kept.step, "all-layers": stage.step, "all-adapted": adapted.step}
    ms = {way: figure.value for way, figure in alternate(ways, rounds).items()}
    ms = {"stage": ms["frozen"] + ms["adapted"], **ms}
    what = {
        "stage": "the stage, of which",
        "frozen": f"· frozen layers, once ({first} of {len(model.layers)})",
        "adapted": "· a step of the adapted layers",
        "all-layers": "a step through all layers",
        "all-adapted": "a step with all layers adapted",
    }
    return [{"way": way, "what": what[way], "ms": value, "ratio": value / ms["stage"]} for way, value in ms.items()]


def _formats(
    model: LanguageModel, batches: list[list[lora.Rows]], config: LanguageModelConfig, rounds: int
) -> list[Row]:
    """A row for each pass of the adapted layers; ``model`` is changed."""
    first = lora.first_adapted(model, config)
    ways: dict[tuple[str, str], Callable[[], float]] = {}
    for name, dtype in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        read = model if dtype == config.torch_dtype else load(config.model, dtype)
        training = _Training(read, batches, config, first)
        ways |= {("forward", name): training.forward, ("backward", name): training.backward}
    ms = {way: figure.value for way, figure in alternate(ways, rounds).items()}
    rows: list[Row] = []
    for what in ("forward", "backward"):
        half, single = ms[what, "bfloat16"], ms[what, "float32"]
        rows.append({"what": what, "bfloat16_ms": half, "float32_ms": single, "ratio": single / half})
    return rows


# ---- memory --------------------------------------------------------------------------------------------------------


def peaks(spec: TrialSpec, data_dir: Path | None = None, threads: int = 1) -> dict[str, float]:
    """The most memory (MiB) that a fresh process with an empty cache held after each stage of the language model.

    Raises:
        UserError: if the process was killed, as for lack of memory.
    """
    try:
        return in_a_fresh_process(_peaks, spec, data_dir, threads)
    except MemoryError as error:
        raise UserError(f"memory: {error}") from None


def _peaks(spec: TrialSpec, data_dir: Path | None, threads: int) -> dict[str, float]:
    torch.set_num_threads(threads)
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        stages = Stages(spec, Context(Path(folder), data_dir))
        for stage in STAGES:
            if stage in stages.plan.keys:
                stages.entry(stage)
                peaks[stage] = peak_memory()
    return peaks
