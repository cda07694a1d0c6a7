"""A small graph, and tiny random language models in transformers' own files: no weights are needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from harness.data import UNKNOWN, Facts, TemporalGraph, Vocabulary
from harness.teachers.language.language_model import LanguageModel, load
from harness.teachers.language.texts import entity_texts, relation_texts, verbalise

LAYERS, HIDDEN = 4, 16


def facts(*rows: tuple[int, int, int, int, int]) -> Facts:
    """Facts of rows (head, relation, tail, start, end)."""
    return Facts(*np.array(rows, np.int64).reshape(-1, 5).T)


#: entity: 0 Ada Lovelace, 1 London, 2 (none), 3 (none), 4 (none), 5 (none, in no training fact), 6 Charles Babbage
def small_graph(valid: Facts | None = None, test: Facts | None = None) -> TemporalGraph:
    names = ("Q7259", "Q84", "Q100", "Q101", "Q102", "Q103", "Q46633")
    labels = ("Ada_Lovelace", "<London>", None, None, None, None, "Charles  Babbage")
    train = facts(
        (0, 0, 1, 1815, 1852),
        (2, 0, 1, 1900, UNKNOWN),
        (2, 0, 1, 1950, UNKNOWN),
        (2, 1, 6, UNKNOWN, 1850),
        (3, 1, 2, UNKNOWN, UNKNOWN),
        (4, 1, 3, 1901, 1901),
        (0, 1, 6, 1833, 1833),
        (6, 0, 1, 1791, 1871),
    )
    return TemporalGraph(
        name="small",
        granularity="year",
        entities=Vocabulary(names, labels),
        relations=Vocabulary(("P551", "P1"), ("residence", None)),
        train=train,
        valid=facts((0, 1, 6, 1840, 1840)) if valid is None else valid,
        test=facts((6, 1, 0, 1842, 1842)) if test is None else test,
        digest="0" * 64,
    )


@pytest.fixture
def graph() -> TemporalGraph:
    return small_graph()


def _tokenizer() -> PreTrainedTokenizerFast:
    graph = small_graph()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = entity_texts(graph) + relation_texts(graph) + verbalise(graph, graph.train)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


#: what both tiny models have in common
SHAPE = {
    "hidden_size": HIDDEN,
    "intermediate_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
}


def write_causal(folder: Path) -> Path:
    """Save a random Llama-like causal model with a tokenizer."""
    tokenizer = _tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPE, vocab_size=len(tokenizer), num_key_value_heads=2, tie_word_embeddings=True)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def causal_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_causal(tmp_path_factory.mktemp("causal"))


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT encoder with a tokenizer, saved."""
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = _tokenizer()
    torch.manual_seed(1)
    config = BertConfig(**SHAPE, vocab_size=len(tokenizer))
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(params=["causal", "encoder"])
def folder(request: pytest.FixtureRequest) -> Path:
    """The folder of each of the two models in turn."""
    actual: Path = request.getfixturevalue(f"{request.param}_folder")
    return actual


@pytest.fixture
def model(folder: Path) -> LanguageModel:
    """Each of the two models in turn, in float32."""
    return load(str(folder), torch.float32)
