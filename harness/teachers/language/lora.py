"""LoRA fine-tuning (Hu et al., 2022) on verbalised training facts, affordable on two cores.

Only the top layers are adapted, which spares the backward pass through the others. These see each sentence once, before
training; their output is kept, they are dropped from memory, and training runs the top layers alone. All that is
frozen is in ``llm.dtype``, in the backward pass too; the LoRA weights and their optimiser are in float32.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.data import TemporalGraph
from harness.distill.seeds import derive_seed
from harness.errors import UserError
from harness.teachers.language.language_model import (
    LanguageModel,
    LanguageModelConfig,
    batches,
    load,
    mean_pool,
    release,
)
from harness.teachers.language.texts import entity_texts, relation_texts, verbalise

#: temperature of the contrastive loss of encoders, as in SimCSE (Gao et al., 2021)
_CONTRAST = 0.05
#: positions whose logits are in memory at a time
_POSITIONS = 128

#: token ids of some texts
Rows = list[list[int]]


class _Replay(nn.Module):
    """Stands in for a frozen layer: whatever enters, the kept output of the last frozen layer comes out."""

    output: Any = None

    def forward(self, *_: object, **__: object) -> Any:
        return self.output


@dataclass(frozen=True, eq=False)
class Activations:
    """Token ids and mask, int64 [B, L] each, and what the last frozen layer made of them (None: no layer is frozen)."""

    ids: Tensor
    mask: Tensor
    output: Any


def first_adapted(model: LanguageModel, config: LanguageModelConfig) -> int:
    """Position of the lowest layer that LoRA adapts.

    Raises:
        UserError: if the model does not run through a plain list of layers.
    """
    count = getattr(model.base.config, "num_hidden_layers", None)
    if len(model.layers) != count:
        raise UserError(
            f"language model {config.model!r}: fine-tuning needs a plain stack of layers, which a model of type "
            f"{getattr(model.base.config, 'model_type', '?')!r} has not; set llm.finetune=none or use another model"
        )
    first = max(len(model.layers) - config.lora_layers, 0)
    if model.depth(config.layer) <= first:
        raise UserError(
            f"llm.layer={config.layer}: fine-tuning adapts layers above it alone; set llm.finetune=none, or "
            "llm.lora_layers to more"
        )
    return first


def attach(model: LanguageModel, config: LanguageModelConfig) -> Any:
    """Add fresh LoRA weights to the top layers, in place; returns the peft wrapper. B = 0: no output changes yet."""
    from peft import LoraConfig, get_peft_model  # seconds, in every worker, and few of them fine-tune
    from transformers.pytorch_utils import Conv1D

    top = model.layers[first_adapted(model, config) :]
    adapted = {id(m) for m in top.modules() if isinstance(m, nn.Linear | Conv1D)}
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for a name of its past
        torch.manual_seed(derive_seed("lora", config.seed))
        return get_peft_model(
            model.base,
            LoraConfig(
                r=config.lora_rank,
                lora_alpha=2 * config.lora_rank,
                target_modules=[name for name, m in model.base.named_modules() if id(m) in adapted],
                task_type="FEATURE_EXTRACTION",
            ),
        )


def make_optimizer(wrapper: Any, config: LanguageModelConfig) -> torch.optim.AdamW:
    """AdamW on the LoRA weights, which alone are trained."""
    return torch.optim.AdamW([p for p in wrapper.parameters() if p.requires_grad], lr=config.learning_rate)


def merge(model: LanguageModel, adapter: dict[str, Tensor], config: LanguageModelConfig) -> None:
    """Add trained LoRA weights to the model's own, in place."""
    from peft import set_peft_model_state_dict

    wrapper = attach(model, config)
    set_peft_model_state_dict(wrapper, adapter)
    wrapper.merge_and_unload()


@torch.no_grad()
def activations(model: LanguageModel, rows: list[list[int]], first: int) -> Activations:
    """Run the layers below ``first`` on token rows and keep their output."""
    ids, mask = model.pad(rows)
    return Activations(ids, mask, None if first == 0 else model.output_of(first - 1, ids, mask))


def cut(model: LanguageModel, first: int) -> None:
    """Drop the layers below ``first`` from memory, in place; ``top_states`` runs those that are left.

    Embeddings stay, since models make masks, positions and (in the output layer) predictions of them.
    """
    replay = _Replay()
    for k in range(first):
        model.layers[k] = replay
    release()


def top_states(model: LanguageModel, batch: Activations) -> Tensor:
    """The last hidden states [B, L, d] of a model that was ``cut``, from kept activations; differentiable."""
    if batch.output is not None:
        replay = model.layers[0]
        assert isinstance(replay, _Replay)
        replay.output = batch.output
    return model.hidden(batch.ids, batch.mask)


class _CrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of a frozen output layer, some positions at a time.

    The logits are the largest tensor of all, and log-probabilities and gradients are as large again. As nothing of the
    layer is trained, the gradient with respect to the states is taken at once. Two buffers serve all blocks: allocated
    again, tensors of their size fragment the heap, by hundreds of MiB within some batches.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, targets: Tensor, head: nn.Linear) -> Tensor:
        count, weight = len(targets), head.weight
        logits = states.new_empty(min(_POSITIONS, count), len(weight))
        p = torch.empty(logits.shape)
        gradient, loss = torch.empty_like(states), torch.zeros(())
        for k in range(0, count, _POSITIONS):
            part, target = states[k : k + _POSITIONS], targets[k : k + _POSITIONS, None]
            z, p = logits[: len(part)], p[: len(part)]
            torch.mm(part, weight.T, out=z)
            if head.bias is not None:
                z += head.bias
            p.copy_(z)
            p -= p.amax(1, keepdim=True)
            gold = p.gather(1, target)
            total = p.exp_().sum(1, keepdim=True)
            loss += (total.log() - gold).sum()
            p /= total
            p.scatter_add_(1, target, -torch.ones_like(gold))
            torch.mm(z.copy_(p), weight, out=gradient[k : k + _POSITIONS])
        ctx.save_for_backward(gradient / count)
        return loss / count

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0], None, None


def next_token_loss(model: LanguageModel, batch: Activations) -> Tensor:
    """Mean cross-entropy of each real token given those before it."""
    assert model.head is not None
    real = batch.mask[:, 1:].bool()
    apply: Callable[..., Tensor] = _CrossEntropy.apply  # which torch does not annotate
    return apply(top_states(model, batch)[:, :-1][real], batch.ids[:, 1:][real], model.head)


def contrastive_loss(model: LanguageModel, asked: Activations, answer: Activations) -> Tensor:
    """InfoNCE: the text "head, relation" has to find its tail's text among those of the batch.

    The same text in another row is neither the answer nor wrong: it is left out.
    """
    pooled = (mean_pool(top_states(model, part), part.mask) for part in (asked, answer))
    left, right = (nn.functional.normalize(vectors, dim=1) for vectors in pooled)
    same = (answer.ids[:, None] == answer.ids[None]).all(2).fill_diagonal_(False)
    logits = (left @ right.T / _CONTRAST).masked_fill(same, -torch.inf)
    return nn.functional.cross_entropy(logits, torch.arange(len(left)))


def training_loss(model: LanguageModel, parts: list[Activations]) -> Tensor:
    """The loss of a batch: next-token for sentences, contrastive for questions and answers."""
    return next_token_loss(model, *parts) if len(parts) == 1 else contrastive_loss(model, *parts)


def train_step(model: LanguageModel, parts: list[Activations], optimizer: torch.optim.Optimizer) -> float:
    """One update on a batch; returns its loss before that."""
    with torch.enable_grad():
        loss = training_loss(model, parts)
        optimizer.zero_grad()
        loss.backward()
    optimizer.step()
    release()  # batches differ in shape: freed memory is in pieces that the next one cannot use
    return float(loss.detach())


def training_batches(
    graph: TemporalGraph, model: LanguageModel, config: LanguageModelConfig, rng: np.random.Generator
) -> list[list[Rows]]:
    """Batches of training facts as token rows, ``config.token_budget`` tokens together at most (and a fact at least).

    A batch has one part (sentences, for the next-token loss) or two (questions, and an answer each).

    Raises:
        UserError: if the objective is not one of the model's.
    """
    causal = config.objective == "next-token" or (config.objective is None and model.head is not None)
    if causal and model.head is None:
        raise UserError(
            f"language model {config.model!r}: an encoder predicts no tokens; set llm.objective=contrastive"
        )
    order = rng.permutation(len(graph.train))
    parts = [verbalise(graph, graph.train, order)] if causal else _pairs(graph, order)
    # cut before tokenising: a text has two tokens at least, and most facts will not be needed
    limit = config.token_budget // 2 + 1
    rows = [model.tokens(part[:limit], 3 * config.max_length) for part in parts]
    lengths = [sum(len(row) for row in item) for item in zip(*rows, strict=True)]
    kept = max(int(np.searchsorted(np.cumsum(lengths), config.token_budget, side="right")), 1)
    return [[[part[k] for k in group] for part in rows] for group in batches(lengths[:kept], config.batch_tokens)]


def finetune(
    graph: TemporalGraph, config: LanguageModelConfig, progress: Callable[[float], None] | None = None
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Fine-tune on a sample of the training facts, once through at most ``config.token_budget`` tokens.

    Objective ``next-token``: the facts as sentences. Objective ``contrastive``: "head, relation" has to find the tail,
    or "tail, inverse of relation" the head.

    Args:
        graph: its training facts and labels are read, nothing else.
        config: model, objective, budget.
        progress: called with the fraction done.

    Returns:
        The LoRA weights by name; and ``tokens``, ``seconds``, ``loss_first`` and ``loss_last`` (means of the first and
        last tenth of the batches).

    Raises:
        UserError: if the model cannot be loaded or is not one that can be fine-tuned so.
    """
    from peft import get_peft_model_state_dict

    started = time.perf_counter()
    model = load(config.model, config.torch_dtype)
    first = first_adapted(model, config)
    rng = np.random.default_rng(derive_seed("facts", config.seed))
    batches = training_batches(graph, model, config, rng)
    report = progress or (lambda _: None)
    cached: list[list[Activations]] = []
    for batch in batches:
        cached.append([activations(model, rows, first) for rows in batch])
        report(len(cached) / len(batches) / 2)
    cut(model, first)
    wrapper = attach(model, config)
    optimizer = make_optimizer(wrapper, config)
    losses: list[float] = []
    for k in rng.permutation(len(cached)).tolist():
        losses.append(train_step(model, cached[k], optimizer))
        report((1 + len(losses) / len(batches)) / 2)
    tenth = max(len(losses) // 10, 1)
    meta = {
        "tokens": float(sum(len(row) for batch in batches for rows in batch for row in rows)),
        "seconds": time.perf_counter() - started,
        "loss_first": float(np.mean(losses[:tenth])),
        "loss_last": float(np.mean(losses[-tenth:])),
    }
    state = get_peft_model_state_dict(wrapper, save_embedding_layers=False)
    return {name: value.detach().float().clone() for name, value in state.items()}, meta


def _pairs(graph: TemporalGraph, order: NDArray[np.int64]) -> list[list[str]]:
    """Questions and answers; every other fact is asked for its head."""
    entities, relations, facts = entity_texts(graph), relation_texts(graph), graph.train
    asked, answers = [], []
    for place, k in enumerate(order.tolist()):
        head, relation, tail = int(facts.head[k]), int(facts.relation[k]), int(facts.tail[k])
        if place % 2:
            head, relation, tail = tail, relation + len(graph.relations), head
        asked.append(f"{entities[head]}, {relations[relation]}")
        answers.append(entities[tail])
    return [asked, answers]
