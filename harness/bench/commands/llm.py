"""``llm``: what encoding and fine-tuning the language model cost, and what the choices behind that are worth."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.bench.common import Changes, DataDir, Dataset, JsonFile, Rounds, Threads, app, save, settled, show
from harness.errors import UserError
from harness.measurements.timer import alternate, rate

if TYPE_CHECKING:
    import torch

    from harness.data import TemporalGraph
    from harness.teachers.language_model import LanguageModel, LanguageModelConfig
    from harness.teachers.lora import Activations, Rows
    from harness.trial.spec import TrialSpec

Row = dict[str, Any]

#: the stages that run the language model
STAGES = ("finetune", "encode")


@app.command()
def llm(
    dataset: Dataset = "lahman",
    model: Annotated[str, typer.Option(help="smollm2, minilm, a folder, a .gguf file or a hub id.")] = "smollm2",
    data_dir: DataDir = None,
    texts: Annotated[int, typer.Option(min=1, help="Texts of entities encoded, a measurement, about.")] = 400,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of facts fine-tuned on, a measurement.")] = 500,
    memory: Annotated[bool, typer.Option("--memory", help="Memory of both stages, too, which takes minutes.")] = False,
    changes: Changes = None,
    threads: Threads = 1,
    rounds: Rounds = 3,
    file: JsonFile = None,
) -> None:
    """What encoding and fine-tuning the language model cost, and what batches, layers and number format change of it.

    Encoding: batches of similar lengths, against batches in the data's order with as many tokens, padding included. Of
    the batches of all texts some are measured, at equal distances.

    Fine-tuning: the frozen layers once and a step of the adapted ones over what they said, as the stage has it; against
    a step that runs all layers, of which the same are adapted, and against one in which all are.

    Number format of what is frozen: forward and backward pass of the adapted layers. A causal model's forward pass has
    the gradient of its output layer in it.

    Memory: the most that a process of its own held after each stage, with all data.
    """
    import torch

    from harness.teachers.language_model import load
    from harness.trial.cache import default_root
    from harness.trial.stages import Context, Stages

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    spec = settled(dataset, "ttranse", "llm-teacher", [f"llm.model={model}", *(changes or [])])
    config, stages = spec.llm, Stages(spec, Context(default_root(), data_dir))
    dtype = str(config.torch_dtype).removeprefix("torch.")
    about = f"{config.model} on {dataset}, {threads} thread(s)"

    loaded = load(config.model, config.torch_dtype)
    batches = _batches(stages.graph, loaded, config, tokens)  # first, since it may refuse the settings
    encoding = _encoding(stages.graph, loaded, config, texts, rounds)
    columns = {"what": "batches of", "batches": "batches", "padding": "share of padding", "measured": "measured"}
    columns |= {"tokens_per_second": "tokens/s", "ratio": "ratio"}
    show(f"encoding: {about}, {dtype}", columns, encoding)

    finetuning = _finetuning(loaded, batches, config, rounds)
    show(f"fine-tuning: {about}, {dtype}", {"what": "what", "ms": "ms a batch", "ratio": "ratio"}, finetuning)

    formats = _formats(loaded, batches, config, rounds)
    columns = {"what": "pass", "bfloat16_ms": "bfloat16, ms a batch", "float32_ms": "float32, ms a batch"}
    show(f"number formats: {about}", columns | {"ratio": "ratio"}, formats)

    figures = {"encoding": encoding, "finetuning": finetuning, "formats": formats}
    if memory:
        figures["memory"] = [
            {"stage": stage, "peak_mib": peak} for stage, peak in peaks(spec, data_dir, threads).items()
        ]
        show(f"memory: {about}, {dtype}", {"stage": "after", "peak_mib": "peak, MiB"}, figures["memory"])
    save(file, "llm", stages, threads, model=config.model, dtype=dtype, **figures)


# ---- encoding ------------------------------------------------------------------------------------------------------


def _encoding(
    graph: TemporalGraph, model: LanguageModel, config: LanguageModelConfig, texts: int, rounds: int
) -> list[Row]:
    """A row for each order; ``batches`` and ``padding`` (a share of the tokens) are those of all texts."""
    from harness.teachers.encode import encode_rows
    from harness.teachers.language_model import batches
    from harness.teachers.texts import entity_texts

    rows = model.tokens(list(dict.fromkeys(entity_texts(graph))), config.max_length)  # a text is encoded once
    lengths = [len(row) for row in rows]
    orders: list[Row] = []
    ways = {}
    for what, by_length in (("texts as they come", False), ("similar lengths", True)):
        groups = list(batches(lengths, config.batch_tokens, by_length=by_length))
        some = _spread(groups, round(len(groups) * texts / len(rows)))
        ways[what] = rate(sum(lengths[k] for group in some for k in group), partial(encode_rows, model, rows, some))
        padded = sum(len(group) * max(lengths[k] for k in group) for group in groups)
        orders.append(
            {"what": what, "batches": len(groups), "measured": len(some), "padding": 1 - sum(lengths) / padded}
        )
    measured = alternate(ways, rounds)
    slower = measured["texts as they come"].value
    return [
        row | {"tokens_per_second": measured[row["what"]].value, "ratio": measured[row["what"]].value / slower}
        for row in orders
    ]


def _spread(groups: list[list[int]], count: int) -> list[list[int]]:
    """About ``count`` batches at equal distances: short texts and long ones, whatever the order."""
    count = min(max(count, 1), len(groups))
    return [groups[int((k + 0.5) * len(groups) / count)] for k in range(count)]


# ---- fine-tuning ---------------------------------------------------------------------------------------------------


def _batches(graph: TemporalGraph, model: LanguageModel, config: LanguageModelConfig, tokens: int) -> list[list[Rows]]:
    """Batches of facts as fine-tuning makes them, of at most ``tokens`` tokens together."""
    import numpy as np

    from harness.teachers.lora import training_batches

    few = config.model_copy(update={"token_budget": tokens})
    return training_batches(graph, model, few, np.random.default_rng(0))


@dataclass(frozen=True, eq=False)
class _Training:
    """A model that is fine-tuned on some batches; each function returns milliseconds a batch."""

    model: LanguageModel
    optimizer: torch.optim.Optimizer
    batches: list[list[Activations]]

    @classmethod
    def of(cls, model: LanguageModel, batches: list[list[Rows]], config: LanguageModelConfig, first: int) -> _Training:
        """Fine-tune ``model``, which is changed: the layers below ``first`` have run and are dropped."""
        from harness.teachers import lora

        ready = [[lora.activations(model, rows, first) for rows in batch] for batch in batches]
        lora.cut(model, first)
        return cls(model, lora.make_optimizer(lora.attach(model, config), config), ready)

    def forward(self) -> float:
        from harness.teachers.lora import training_loss

        started = time.perf_counter()
        for batch in self.batches:
            training_loss(self.model, batch)
        return self._ms(time.perf_counter() - started)

    def backward(self) -> float:
        from harness.teachers.lora import training_loss

        seconds = 0.0
        for batch in self.batches:
            loss = training_loss(self.model, batch)
            started = time.perf_counter()
            loss.backward()
            seconds += time.perf_counter() - started
        self.optimizer.zero_grad()
        return self._ms(seconds)

    def step(self) -> float:
        from harness.teachers.lora import train_step

        started = time.perf_counter()
        for batch in self.batches:
            train_step(self.model, batch, self.optimizer)
        return self._ms(time.perf_counter() - started)

    def _ms(self, seconds: float) -> float:
        return 1e3 * seconds / len(self.batches)


def _finetuning(model: LanguageModel, batches: list[list[Rows]], config: LanguageModelConfig, rounds: int) -> list[Row]:
    """A row for each way; ratios are to what the stage does with a batch, which sees each sentence once."""
    from harness.teachers import lora

    first = lora.first_adapted(model, config)
    every = config.model_copy(update={"lora_layers": len(model.layers)})
    kept = _Training.of(copy.deepcopy(model), batches, config, first)
    stage = _Training.of(copy.deepcopy(model), batches, config, 0)
    adapted = _Training.of(copy.deepcopy(model), batches, every, 0)

    def frozen() -> float:
        started = time.perf_counter()
        for batch in batches:
            for rows in batch:
                lora.activations(model, rows, first)
        return 1e3 * (time.perf_counter() - started) / len(batches)

    ways = {"frozen": frozen, "adapted": kept.step, "whole": stage.step, "all-adapted": adapted.step}
    ms = {way: figure.value for way, figure in alternate(ways, rounds).items()}
    ms = {"stage": ms["frozen"] + ms["adapted"], **ms}
    what = {
        "stage": "the stage, of which",
        "frozen": f"· frozen layers, once ({first} of {len(model.layers)})",
        "adapted": "· a step of the adapted layers",
        "whole": "a step through all layers",
        "all-adapted": "a step with all layers adapted",
    }
    return [{"way": way, "what": what[way], "ms": value, "ratio": value / ms["stage"]} for way, value in ms.items()]


def _formats(model: LanguageModel, batches: list[list[Rows]], config: LanguageModelConfig, rounds: int) -> list[Row]:
    """A row for each pass of the adapted layers; ``model`` is changed."""
    import torch

    from harness.teachers.language_model import load
    from harness.teachers.lora import first_adapted

    first = first_adapted(model, config)
    ways: dict[tuple[str, str], Callable[[], float]] = {}
    for name, dtype in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        read = model if dtype == config.torch_dtype else load(config.model, dtype)
        training = _Training.of(read, batches, config, first)
        ways |= {("forward", name): training.forward, ("backward", name): training.backward}
    ms = {way: figure.value for way, figure in alternate(ways, rounds).items()}
    return [
        {
            "what": what,
            "bfloat16_ms": ms[what, "bfloat16"],
            "float32_ms": ms[what, "float32"],
            "ratio": ms[what, "float32"] / ms[what, "bfloat16"],
        }
        for what in ("forward", "backward")
    ]


# ---- memory --------------------------------------------------------------------------------------------------------


def peaks(spec: TrialSpec, data_dir: Path | None = None, threads: int = 1) -> dict[str, float]:
    """The most memory (MiB) that a fresh process with an empty cache held after each stage of the language model.

    Raises:
        UserError: if the process was killed, as for lack of memory.
    """
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            return process.submit(_peaks, spec, data_dir, threads).result()
    except BrokenProcessPool:
        raise UserError("the process whose memory was measured was killed (out of memory?)") from None


def _peaks(spec: TrialSpec, data_dir: Path | None, threads: int) -> dict[str, float]:
    import torch

    from harness.trial.run import peak_memory
    from harness.trial.stages import Context, Stages

    torch.set_num_threads(threads)
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        stages = Stages(spec, Context(Path(folder), data_dir))
        for stage in STAGES:
            if stage in stages.plan.keys:
                stages.entry(stage)
                peaks[stage] = peak_memory()
    return peaks
