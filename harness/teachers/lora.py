"""LoRA fine-tuning (Hu et al., 2022) on verbalised training facts, affordable on two cores.

Only the top layers are adapted. The frozen layers below them see each sentence once, in bfloat16; their activations are
kept, and training runs the top layers alone. Forward and backward through the whole model would cost several times that.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from harness.data import TemporalGraph
from harness.distill.trainer import derive_seed
from harness.teachers.language_model import LanguageModel, LanguageModelConfig, batches, load, mean_pool
from harness.teachers.texts import entity_texts, relation_texts, verbalise

#: temperature of the contrastive loss of encoders, as in SimCSE (Gao et al., 2021)
_CONTRAST = 0.05


class _StopForward(Exception):
    """Ends a forward pass where the activations are taken."""


@dataclass(frozen=True, eq=False)
class Activations:
    """What enters the first adapted layer: states [B, L, d], the layer's other inputs, token ids and mask [B, L]."""

    states: Tensor
    inputs: dict[str, Any]
    ids: Tensor
    mask: Tensor


def attach(model: LanguageModel, config: LanguageModelConfig) -> Any:
    """Add fresh LoRA weights to the top layers, in place; returns the peft wrapper. B = 0: the function is unchanged."""
    first = max(len(model.layers) - config.lora_layers, 0)
    adapted = {id(m) for m in model.layers[first:].modules() if isinstance(m, nn.Linear)}
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for a name of its past
        torch.manual_seed(derive_seed("lora", config.seed))
        return get_peft_model(
            model.base,  # type: ignore[arg-type]
            LoraConfig(
                r=config.lora_rank,
                lora_alpha=2 * config.lora_rank,
                target_modules=[name for name, m in model.base.named_modules() if id(m) in adapted],
                task_type="FEATURE_EXTRACTION",
            ),
        )


def merge(model: LanguageModel, adapter: dict[str, Tensor], config: LanguageModelConfig) -> None:
    """Add trained LoRA weights to the model's own, in place."""
    wrapper = attach(model, config)
    set_peft_model_state_dict(wrapper, adapter)
    wrapper.merge_and_unload()


@torch.no_grad()
def activations(model: LanguageModel, rows: list[list[int]], first: int) -> Activations:
    """Run the layers below ``first`` on token rows and keep what enters it."""
    ids, mask = model.pad(rows)
    caught: dict[str, Any] = {}

    def catch(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        caught["states"] = args[0] if args else kwargs.pop("hidden_states")
        caught["inputs"] = {k: v for k, v in kwargs.items() if k != "past_key_values"}
        raise _StopForward

    handle = model.layers[first].register_forward_pre_hook(catch, with_kwargs=True)
    try:
        model.hidden(ids, mask)
    except _StopForward:
        pass
    finally:
        handle.remove()
    return Activations(caught["states"], caught["inputs"], ids, mask)


def top_states(model: LanguageModel, batch: Activations, first: int) -> Tensor:
    """The last hidden states [B, L, d], from the activations that enter layer ``first``; differentiable."""
    dtype = next(model.layers[first].parameters()).dtype
    states = batch.states.to(dtype)
    inputs = {k: _cast(v, dtype) for k, v in batch.inputs.items()}
    for layer in model.layers[first:]:
        out = layer(states, **inputs)
        states = out[0] if isinstance(out, tuple) else out
    norm = getattr(model.base, "norm", None)
    return norm(states) if norm is not None else states


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(dtype)
    return tuple(_cast(v, dtype) for v in value) if isinstance(value, tuple) else value


def next_token_loss(model: LanguageModel, batch: Activations, first: int) -> Tensor:
    """Mean cross-entropy of each real token given those before it."""
    assert model.head is not None
    states = top_states(model, batch, first)[:, :-1]
    real = batch.mask[:, 1:].bool()
    return nn.functional.cross_entropy(model.head(states[real]).float(), batch.ids[:, 1:][real])


def contrastive_loss(model: LanguageModel, asked: Activations, answer: Activations, first: int) -> Tensor:
    """InfoNCE: the text "head, relation" has to find its tail's text among those of the batch."""
    left, right = (
        nn.functional.normalize(mean_pool(top_states(model, part, first), part.mask)) for part in (asked, answer)
    )
    return nn.functional.cross_entropy(left @ right.T / _CONTRAST, torch.arange(len(left)))


def finetune(
    graph: TemporalGraph, config: LanguageModelConfig, progress: Callable[[float], None] | None = None
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Fine-tune on a sample of the training facts, once through ``config.token_budget`` tokens.

    Causal models learn the facts as sentences (next-token loss), encoders to match "head, relation" with the tail.

    Returns:
        The LoRA weights by name; and ``tokens``, ``seconds``, ``loss_first`` and ``loss_last`` (means of the first and
        last tenth of the batches).
    """
    started = time.perf_counter()
    model = load(config.model)
    first = max(len(model.layers) - config.lora_layers, 0)
    rng = np.random.default_rng(derive_seed("facts", config.seed))
    order = rng.permutation(len(graph.train))
    parts = [_sentences(graph, order)] if model.head is not None else _pairs(graph, order)
    # cut before tokenising: a token is a character at least, and most facts will not be needed
    limit = max(config.token_budget // 2, 1)
    length = 3 * config.max_length
    rows = [model.tokens(part[:limit], length) for part in parts]
    lengths = [max(len(row) for row in item) for item in zip(*rows, strict=True)]
    kept = max(int(np.searchsorted(np.cumsum(lengths), config.token_budget)), 1)
    groups = list(batches(lengths[:kept], config.batch_tokens))
    cached = []
    for done, group in enumerate(groups, 1):
        cached.append([activations(model, [part[k] for k in group], first) for part in rows])
        if progress is not None:
            progress(0.5 * done / len(groups))
    for layer in model.layers[first:]:
        layer.float()  # the backward pass is slow, and coarse, in bfloat16 on a CPU
    if (norm := getattr(model.base, "norm", None)) is not None:
        norm.float()
    if model.head is not None:
        model.head.float()
    wrapper = attach(model, config)
    optimizer = torch.optim.AdamW([p for p in wrapper.parameters() if p.requires_grad], lr=config.learning_rate)
    losses = []
    for done, k in enumerate(rng.permutation(len(cached)).tolist(), 1):
        part = cached[k]
        with torch.enable_grad():
            loss = (
                next_token_loss(model, part[0], first)
                if model.head is not None
                else contrastive_loss(model, part[0], part[1], first)
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
        if progress is not None:
            progress(0.5 + 0.5 * done / len(cached))
    tenth = max(len(losses) // 10, 1)
    meta = {
        "tokens": float(sum(lengths[:kept])),
        "seconds": time.perf_counter() - started,
        "loss_first": float(np.mean(losses[:tenth])),
        "loss_last": float(np.mean(losses[-tenth:])),
    }
    state = get_peft_model_state_dict(wrapper)
    return {name: value.detach().float().clone() for name, value in state.items()}, meta


def _sentences(graph: TemporalGraph, order: np.ndarray) -> list[str]:
    return verbalise(graph, graph.train, order)


def _pairs(graph: TemporalGraph, order: np.ndarray) -> list[list[str]]:
    entities, relations, facts = entity_texts(graph), relation_texts(graph), graph.train
    asked = [f"{entities[facts.head[k]]}, {relations[facts.relation[k]]}" for k in order]
    return [asked, [entities[facts.tail[k]] for k in order]]
