"""Encoding: each text has its vector, whatever its neighbours, the batches and the order."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.data import TemporalGraph
from harness.errors import UserError
from harness.teachers.language import lora
from harness.teachers.language.encode import encode, encode_texts
from harness.teachers.language.language_model import LanguageModel, LanguageModelConfig, load, mean_pool
from harness.teachers.language.texts import statements
from tests.teachers.conftest import HIDDEN, LAYERS

TEXTS = ["London", "a much longer text about residence in London", "Ada Lovelace", "London", "P1", "inverse of P1"]


def config(folder: Path | str, batch_tokens: int = 64) -> LanguageModelConfig:
    return LanguageModelConfig(model=str(folder), finetune="none", batch_tokens=batch_tokens, max_length=48)


def one_by_one(model: LanguageModel, texts: list[str]) -> torch.Tensor:
    """No batches, no padding."""
    vectors = []
    for text in texts:
        ids, mask = model.pad(model.tokens([text], 48))
        vectors.append(mean_pool(model.hidden(ids, mask), mask)[0])
    return torch.stack(vectors)


@pytest.mark.parametrize("batch_tokens", [64, 100, 10_000])
def test_vectors_do_not_depend_on_neighbours_or_order(model: LanguageModel, folder: Path, batch_tokens: int) -> None:
    actual = encode_texts(model, TEXTS, config(folder, batch_tokens))
    assert actual.shape == (len(TEXTS), HIDDEN)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, one_by_one(model, TEXTS), rtol=1e-5, atol=1e-5)
    backwards = encode_texts(model, TEXTS[::-1], config(folder, batch_tokens)).flip(0)
    torch.testing.assert_close(actual, backwards, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(actual[0], actual[1], atol=1e-2)


def test_in_bfloat16_up_to_its_rounding(folder: Path) -> None:
    model, exact = (load(str(folder), dtype) for dtype in (torch.bfloat16, torch.float32))
    actual, wanted = encode_texts(model, TEXTS, config(folder)), one_by_one(exact, TEXTS)
    assert (actual - wanted).norm() < 0.03 * wanted.norm()


@pytest.mark.parametrize(("layer", "depth"), [("static", 0), (1, 1), ("middle", LAYERS // 2), ("last", LAYERS)])
def test_layers(model: LanguageModel, folder: Path, layer: str | int, depth: int) -> None:
    vectors = encode_texts(model, TEXTS[:1], config(folder).model_copy(update={"layer": layer}))
    ids, mask = model.pad(model.tokens(TEXTS[:1], 48))
    states = model.base(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[depth]
    if depth == 0:  # without positions, which an encoder has added there
        states = model.base.get_input_embeddings().weight[ids]
    torch.testing.assert_close(vectors, mean_pool(states, mask))


def test_layers_that_cannot_be_read(graph: TemporalGraph, model: LanguageModel, folder: Path) -> None:
    with pytest.raises(UserError, match=f"has {LAYERS} layers"):
        encode_texts(model, TEXTS, config(folder).model_copy(update={"layer": LAYERS + 1}))
    with pytest.raises(UserError, match=r"llm.layer=middle: .*llm.finetune=none"):
        lora.finetune(graph, config(folder).model_copy(update={"layer": "middle", "lora_layers": 2}))


def test_equal_texts_have_equal_vectors(model: LanguageModel, folder: Path) -> None:
    actual = encode_texts(model, TEXTS, config(folder))
    assert torch.equal(actual[0], actual[3])


def test_encoding_a_graph(graph: TemporalGraph, folder: Path) -> None:
    seen: list[float] = []
    first, meta = encode(graph, config(folder), progress=seen.append)
    second, _ = encode(graph, config(folder))
    assert first["entities"].shape == (len(graph.entities), HIDDEN)
    assert first["relations"].shape == (2 * len(graph.relations), HIDDEN)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert meta["texts"] == len(graph.entities)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_an_adapter_changes_the_vectors(graph: TemporalGraph, folder: Path) -> None:
    settings = config(folder).model_copy(update={"lora_layers": 2, "learning_rate": 0.02})
    adapter, _ = lora.finetune(graph, settings)
    plain, _ = encode(graph, settings)
    adapted, _ = encode(graph, settings, adapter)
    assert not torch.allclose(plain["entities"], adapted["entities"], atol=1e-2)


def test_neighbourhood_texts_have_vectors_of_their_own(
    graph: TemporalGraph, model: LanguageModel, folder: Path
) -> None:
    seen: list[float] = []
    settings = config(folder).model_copy(update={"texts": "neighbourhood"})
    vectors, meta = encode(graph, settings, progress=seen.append)
    texts = statements(graph)[0]
    torch.testing.assert_close(vectors["statements"], one_by_one(model, texts), rtol=1e-5, atol=1e-5)
    assert torch.equal(vectors["entities"], encode(graph, config(folder))[0]["entities"])
    assert meta["texts"] == len(graph.entities) + len(texts)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smollm2", "minilm"])
def test_installed_weights(name: str) -> None:
    model = load(name, torch.bfloat16)
    texts = ["Paris", "Paris, the capital of France, on the Seine", "Bob Dylan", "Nobel Prize in Literature"] * 3
    actual = encode_texts(model, texts, config(name, 96))
    wanted = one_by_one(model, texts)
    assert (actual - wanted).norm() < 0.02 * wanted.norm()
    assert torch.equal(actual[:4], actual[4:8])
    assert torch.equal(actual, encode_texts(model, texts, config(name, 96)))
