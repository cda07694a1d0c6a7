"""Training the top layers over kept activations is training them in the whole model; merging changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import set_peft_model_state_dict
from torch import Tensor, nn

from harness.data import TemporalGraph
from harness.errors import UserError
from harness.teachers.language import language_model, lora
from harness.teachers.language.language_model import LanguageModel, LanguageModelConfig, load, mean_pool
from tests.teachers.conftest import LAYERS, small_graph

TEXTS = ["London", "Ada Lovelace, residence London, from 1815 to 1852.", "Charles Babbage, P1"]
ANSWERS = ["Ada Lovelace", "London", "Ada Lovelace"]


def config(folder: Path | str, **changes: Any) -> LanguageModelConfig:
    given = {"model": str(folder), "lora_layers": 2, "lora_rank": 2, "token_budget": 120, "batch_tokens": 64} | changes
    return LanguageModelConfig.model_validate(given)


def perturb(wrapper: Any) -> None:
    """LoRA weights that are not zero, the same for the same names."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for _, p in sorted((n, p) for n, p in wrapper.named_parameters() if p.requires_grad):
            p.copy_(0.3 * torch.randn(p.shape, generator=generator))


def gradients(wrapper: Any) -> dict[str, Tensor]:
    return {name: p.grad for name, p in wrapper.named_parameters() if p.requires_grad}


def whole_model_loss(model: LanguageModel, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The textbook loss: all layers, labels as transformers counts them, pairs one by one."""
    ids, mask = parts[0]
    if model.head is not None:
        logits = model.head(model.base(input_ids=ids, attention_mask=mask).last_hidden_state)
        labels = ids.masked_fill(mask == 0, -100)
        return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    vectors = [
        nn.functional.normalize(mean_pool(model.base(input_ids=i, attention_mask=m).last_hidden_state, m), dim=1)
        for i, m in parts
    ]
    losses = []
    for k, answer in enumerate(ANSWERS):
        others = [j for j, text in enumerate(ANSWERS) if text != answer]
        z = torch.stack([vectors[0][k] @ vectors[1][j] for j in [k, *others]]) / 0.05
        losses.append(-torch.log_softmax(z, 0)[0])
    return torch.stack(losses).mean()


@pytest.mark.parametrize("lora_layers", [1, 2, LAYERS, LAYERS + 5])
def test_the_same_loss_and_gradients_as_the_whole_model(folder: Path, lora_layers: int) -> None:
    settings = config(folder, lora_layers=lora_layers)
    full, top = load(str(folder), torch.float32), load(str(folder), torch.float32)
    rows = [full.tokens(texts, 48) for texts in (TEXTS, ANSWERS)]

    wrapper = lora.attach(full, settings)
    perturb(wrapper)
    expected = whole_model_loss(full, [full.pad(part) for part in rows])
    expected.backward()
    wanted = gradients(wrapper)

    first = lora.first_adapted(top, settings)
    assert first == max(LAYERS - lora_layers, 0)
    parts = [lora.activations(top, part, first) for part in rows]
    lora.cut(top, first)
    wrapper = lora.attach(top, settings)
    perturb(wrapper)
    loss = lora.next_token_loss(top, parts[0]) if top.head is not None else lora.contrastive_loss(top, *parts)
    loss.backward()
    actual = gradients(wrapper)

    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    assert actual.keys() == wanted.keys()
    linear_maps = 7 if top.head is not None else 6  # in each layer
    assert len(actual) == 2 * linear_maps * min(lora_layers, LAYERS)
    for name, grad in wanted.items():
        assert grad.abs().max() > 0
        torch.testing.assert_close(actual[name], grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("positions", [1, 3, 7, 100])
@pytest.mark.parametrize("bias", [False, True])
def test_cross_entropy_in_blocks(positions: int, bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "_POSITIONS", positions)
    torch.manual_seed(0)
    head, targets = nn.Linear(5, 11, bias).requires_grad_(False), torch.randint(11, (7,))
    states = (30 * torch.randn(7, 5)).requires_grad_()  # logits far apart: probabilities that are 0 and 1
    expected = nn.functional.cross_entropy(head(states), targets)
    (wanted,) = torch.autograd.grad(3 * expected, states)
    loss = lora._CrossEntropy.apply(states, targets, head)
    (actual,) = torch.autograd.grad(3 * loss, states)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(actual, wanted)


def test_gradients_in_bfloat16_up_to_its_rounding(folder: Path) -> None:
    actual = []
    for dtype in (torch.float32, torch.bfloat16):
        model = load(str(folder), dtype)
        rows = [model.tokens(texts, 48) for texts in (TEXTS, ANSWERS)]
        parts = [lora.activations(model, part, 2) for part in rows]
        lora.cut(model, 2)
        wrapper = lora.attach(model, config(folder))
        perturb(wrapper)
        loss = lora.next_token_loss(model, parts[0]) if model.head is not None else lora.contrastive_loss(model, *parts)
        loss.backward()
        assert all(p.dtype == torch.float32 for p in wrapper.parameters() if p.requires_grad)
        actual.append(torch.cat([grad.flatten() for grad in gradients(wrapper).values()]))
    exact, rounded = actual
    assert (rounded - exact).norm() < 0.1 * exact.norm()
    assert not torch.equal(rounded, exact)


def test_fresh_weights_change_nothing(model: LanguageModel, folder: Path) -> None:
    ids, mask = model.pad(model.tokens(TEXTS, 48))
    before = model.hidden(ids, mask)
    lora.attach(model, config(folder))
    torch.testing.assert_close(model.hidden(ids, mask), before)


def test_merged_equals_unmerged(folder: Path) -> None:
    settings = config(folder)
    adapter, _ = lora.finetune(small_graph(), settings)
    generator = torch.Generator().manual_seed(0)
    adapter = {name: 0.3 * torch.randn(value.shape, generator=generator) for name, value in adapter.items()}
    unmerged, merged, plain = (load(str(folder), torch.float32) for _ in range(3))
    wrapper = lora.attach(unmerged, settings)
    set_peft_model_state_dict(wrapper, adapter)
    lora.merge(merged, adapter, settings)
    ids, mask = merged.pad(merged.tokens(TEXTS, 48))
    real = mask.bool()
    torch.testing.assert_close(merged.hidden(ids, mask)[real], unmerged.hidden(ids, mask)[real], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(merged.hidden(ids, mask)[real], plain.hidden(ids, mask)[real], atol=1e-2)


def test_finetuning_learns_and_is_repeatable(folder: Path) -> None:
    graph, seen = small_graph(), list[float]()
    settings = config(folder, learning_rate=0.02, token_budget=100_000, batch_tokens=64)
    adapter, meta = lora.finetune(graph, settings, seen.append)
    again, _ = lora.finetune(graph, settings)
    assert adapter.keys() == again.keys()
    assert all(torch.equal(adapter[name], again[name]) for name in adapter)
    assert any(value.abs().max() > 0 for name, value in adapter.items() if "lora_B" in name)
    assert meta["loss_last"] < meta["loss_first"]
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_another_seed_gives_other_weights(folder: Path) -> None:
    first, _ = lora.finetune(small_graph(), config(folder))
    second, _ = lora.finetune(small_graph(), config(folder, seed=1))
    assert any(not torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("budget", [40, 100, 100_000])
def test_the_budget_is_kept(folder: Path, budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0
    inner = lora.activations

    def counting(model: LanguageModel, rows: list[list[int]], first: int) -> lora.Activations:
        nonlocal read
        read += sum(map(len, rows))
        return inner(model, rows, first)

    monkeypatch.setattr(lora, "activations", counting)
    _, meta = lora.finetune(small_graph(), config(folder, token_budget=budget))
    assert meta["tokens"] == read
    assert 0 < read <= budget


def test_validation_and_test_facts_are_not_learnt(folder: Path) -> None:
    other = small_graph().train
    adapter, _ = lora.finetune(small_graph(), config(folder))
    changed, _ = lora.finetune(small_graph(valid=other, test=other), config(folder))
    assert all(torch.equal(adapter[name], changed[name]) for name in adapter)


def test_a_causal_model_can_learn_by_contrast(causal_folder: Path) -> None:
    _, meta = lora.finetune(small_graph(), config(causal_folder, objective="contrastive"))
    assert meta["loss_first"] >= 0


def test_an_encoder_predicts_no_tokens(encoder_folder: Path) -> None:
    with pytest.raises(UserError, match=r"llm\.objective=contrastive"):
        lora.finetune(small_graph(), config(encoder_folder, objective="next-token"))


def test_layers_that_are_run_more_than_once(encoder_folder: Path, model: LanguageModel) -> None:
    model.base.config.num_hidden_layers = 12  # as in ALBERT, which shares one layer
    with pytest.raises(UserError, match=r"llm\.finetune=none"):
        lora.first_adapted(model, config(encoder_folder))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smollm2", "minilm"])
def test_installed_weights(name: str, graph: TemporalGraph) -> None:
    settings = config(name, batch_tokens=128)
    adapter, meta = lora.finetune(graph, settings)
    assert all(value.isfinite().all() for value in adapter.values())
    assert 0 < meta["tokens"] <= 120
    model = language_model.load(name, settings.torch_dtype)
    ids, mask = model.pad(model.tokens(TEXTS, 48))
    before = model.hidden(ids, mask)
    lora.merge(model, adapter, settings)
    assert not torch.equal(model.hidden(ids, mask), before)
