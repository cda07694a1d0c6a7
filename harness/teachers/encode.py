"""LLM(p): the vectors of all entities and relations."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from harness.data import TemporalGraph
from harness.teachers.language_model import LanguageModel, LanguageModelConfig, batches, load, mean_pool
from harness.teachers.lora import merge
from harness.teachers.texts import entity_texts, relation_texts


@torch.inference_mode()
def encode_texts(
    model: LanguageModel, texts: list[str], config: LanguageModelConfig, progress: Callable[[float], None] | None = None
) -> Tensor:
    """Mean-pooled last hidden states, float32 [N, d], in the order of ``texts``; equal texts are encoded once."""
    distinct = sorted(set(texts))
    rows = model.tokens(distinct, config.max_length)
    lengths = [len(row) for row in rows]
    parts, order, done = [], [], 0
    for batch in batches(lengths, config.batch_tokens):
        ids, mask = model.pad([rows[k] for k in batch])
        parts.append(mean_pool(model.hidden(ids, mask), mask))
        order += batch
        done += sum(lengths[k] for k in batch)
        if progress is not None:
            progress(done / sum(lengths))
    position = {distinct[k]: place for place, k in enumerate(order)}
    return torch.cat(parts)[[position[text] for text in texts]]


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
        ``entities`` float32 [E, d] and ``relations`` float32 [2R, d]; and ``texts`` and ``seconds``.
    """
    started = time.perf_counter()
    model = load(config.model, config.torch_dtype)
    if adapter:
        merge(model, adapter, config)
    relations = encode_texts(model, relation_texts(graph), config)
    texts = entity_texts(graph)
    entities = encode_texts(model, texts, config, progress)
    meta = {"texts": float(len(texts)), "seconds": time.perf_counter() - started}
    return {"entities": entities, "relations": relations}, meta
