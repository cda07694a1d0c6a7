"""LLM(p): the vectors of all entities and relations."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from harness.data import TemporalGraph
from harness.teachers.language.language_model import LanguageModel, LanguageModelConfig, batches, load, mean_pool
from harness.teachers.language.lora import merge
from harness.teachers.language.texts import entity_texts, relation_texts, statements


def encode_texts(
    model: LanguageModel, texts: list[str], config: LanguageModelConfig, progress: Callable[[float], None] | None = None
) -> Tensor:
    """Mean-pooled states of ``llm.layer``, float32 [N, d], in the order of ``texts``; equal texts are encoded once."""
    distinct = sorted(set(texts))
    rows = model.tokens(distinct, config.max_length)
    groups = list(batches([len(row) for row in rows], config.batch_tokens))
    vectors = encode_rows(model, rows, groups, progress, model.depth(config.layer))
    position = {text: k for k, text in enumerate(distinct)}
    return vectors[[position[text] for text in texts]]


@torch.inference_mode()
def encode_rows(
    model: LanguageModel,
    rows: list[list[int]],
    groups: list[list[int]],
    progress: Callable[[float], None] | None = None,
    depth: int | None = None,
) -> Tensor:
    """Mean-pooled hidden states, float32 [N, d], of the token rows that are in a batch, in the order of ``rows``.

    ``groups`` are the positions of the rows of each batch, none in two of them; ``depth`` is how many layers run, None:
    all.
    """
    depth = len(model.layers) if depth is None else depth
    parts, done, total = [], 0, sum(len(rows[k]) for group in groups for k in group)
    for group in groups:
        ids, mask = model.pad([rows[k] for k in group])
        parts.append(mean_pool(model.states(ids, mask, depth), mask))
        done += sum(len(rows[k]) for k in group)
        if progress is not None:
            progress(done / total)
    order = torch.tensor([k for group in groups for k in group])
    return torch.cat(parts)[order.argsort()]


def encode(
    graph: TemporalGraph,
    config: LanguageModelConfig,
    adapter: dict[str, Tensor] | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Encode the graph's names with the (adapted) language model.

    Args:
        graph: whose entities and relations.
        config: which model.
        adapter: LoRA weights from ``lora.finetune``, merged before encoding; None for the model as it is.
        progress: called with the fraction done.

    Returns:
        ``entities`` float32 [E, d] and ``relations`` float32 [2R, d], and with neighbourhood texts ``statements``
        float32 [S, d] (of `harness.teachers.language.texts.statements`); and ``texts`` and ``seconds``.
    """
    started = time.perf_counter()
    model = load(config.model, config.torch_dtype)
    if adapter:
        merge(model, adapter, config)
    vectors = {"relations": encode_texts(model, relation_texts(graph), config)}
    texts = {"entities": entity_texts(graph)}
    if config.texts == "neighbourhood":
        texts["statements"] = statements(graph)[0]
    total, done = sum(map(len, texts.values())), 0
    for name, group in texts.items():
        share = progress and partial(_share, progress, done, len(group), total)
        vectors[name] = encode_texts(model, group, config, share)
        done += len(group)
    meta = {"texts": float(total), "seconds": time.perf_counter() - started}
    return vectors, meta


def _share(progress: Callable[[float], None], done: int, size: int, total: int, fraction: float) -> None:
    """Report a fraction of the texts of one kind, ``size`` of ``total``, as one of all."""
    progress((done + fraction * size) / total)
