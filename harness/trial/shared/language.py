"""The stages of the language model: fine-tuned, its encodings, the head that scores with them, what students read."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from harness.distill.seeds import derive_seed
from harness.distill.training.loop import Schedule, train
from harness.distill.training.objective import Distillation, Objective
from harness.distill.training.sampler import Sampling
from harness.teachers import targets
from harness.teachers.language import encode, lora
from harness.teachers.language.language_model import locate
from harness.teachers.semantic import FrequentFirst, most_frequent
from harness.trial.cache import Built, digest
from harness.trial.shared.stage import Planned, Stage, register
from harness.trial.spec import TrialSpec
from harness.trial.stages import Stages, summary


def _has_head(spec: TrialSpec) -> bool:
    return spec.arm == "llm-teacher" or "llm" in spec.needs


def _whose(spec: TrialSpec) -> str:
    return spec.llm.model


@lru_cache(maxsize=8)
def weights_version(model: str) -> str:
    """A digest of a language model's files; of a hub id, its name.

    Raises:
        UserError: if the weights are not there.
    """
    where, gguf = locate(model)
    folder = Path(where)
    if not folder.is_dir():
        return where
    read = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json", ".txt"))
    sums = []
    for path in [folder / gguf] if gguf else read:
        with path.open("rb") as file:
            sums.append([path.name, hashlib.file_digest(file, "sha256").hexdigest()])
    return digest(sums)


# ---- fine-tuning ---------------------------------------------------------------------------------------------------


def _finetune_content(spec: TrialSpec, planned: Planned) -> list[Any]:
    # where a spec leaves the format of weights open, it is another one on another machine
    settings = spec.llm.model_dump() | {"dtype": str(spec.llm.torch_dtype)}
    settings = {name: value for name, value in settings.items() if name not in spec.llm.later}  # those of encoding
    return [planned.data_digest, settings, weights_version(spec.llm.model)]


register(
    Stage(
        "finetune",
        wanted=lambda spec: spec.has_language_model and spec.llm.finetune != "none",
        content=_finetune_content,
        build=lambda stages: lora.finetune(stages.graph, stages.spec.llm, stages.fraction("finetune")),
        whose=_whose,
    )
)

# ---- encodings -----------------------------------------------------------------------------------------------------


def _encode_content(spec: TrialSpec, planned: Planned) -> list[Any]:
    llm = spec.llm
    read = [weights_version(llm.model), str(llm.torch_dtype), llm.max_length, llm.batch_tokens]
    later = {name: value for name, value in llm.model_dump().items() if name in llm.later}
    return [planned.data_digest, read, *([later] if later else [])]


register(
    Stage(
        "encode",
        wanted=_has_head,
        needs=lambda _: ("finetune",),
        content=_encode_content,
        build=lambda stages: encode.encode(stages.graph, stages.spec.llm, stages.adapter(), stages.fraction("encode")),
        whose=_whose,
    )
)

# ---- the head ------------------------------------------------------------------------------------------------------


def _semantic(stages: Stages) -> Built:
    """f_LLM with its encodings E(p), trained on the graph with early stopping."""
    spec, model = stages.spec.semantic, stages.new_semantic()
    schedule = Schedule(
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        optimizer="adam",
        learning_rate=spec.learning_rate,
        seed=derive_seed("order", stages.graph.digest, spec.seed),
        sampling=Sampling(spec.candidates, exact_epochs=0) if spec.frequent else spec.sampling(),
        patience=spec.patience,
    )
    inputs, report = stages.inputs, stages.report("semantic")
    data, validate = inputs.training("classes"), inputs.validator("classes")
    objective: Objective = Distillation(regularization=spec.regularization)
    if spec.frequent:
        frequent = most_frequent(data.answer, model.n_entities, spec.frequent)
        objective = FrequentFirst(frequent, model.n_entities, spec.regularization)
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed("dropout", stages.graph.digest, spec.seed))
        trained = train(model, data, objective, schedule, validate, report=report)
    return trained.best, summary(trained)


register(
    Stage(
        "semantic",
        wanted=_has_head,
        needs=lambda _: ("encode",),
        content=lambda spec, planned: [planned.training(spec), spec.semantic.key()],
        build=_semantic,
        whose=_whose,
        version=2,
    )
)

# ---- what students read --------------------------------------------------------------------------------------------


def _llm_targets(stages: Stages) -> Built:
    """The LLM teacher's predictions (``ids``, ``scores``) and encodings (``entities``, ``relations``)."""
    scorer, loss = stages.semantic(), stages.spec.loss
    data, seed = stages.inputs.training("classes"), derive_seed("llm-targets", stages.graph.digest)
    scored = targets.score_targets(scorer, data, loss.targets, seed, stages.fraction("llm-targets"))
    if stages.spec.is_fused:
        teacher = stages.teacher()
        scored = targets.fused(scored, teacher, stages.inputs.training(teacher.time_input), loss.fusion)
    with torch.no_grad():
        entities, relations = (part.cpu().clone() for part in scorer.encodings())
    return {"ids": scored.ids, "scores": scored.scores, "entities": entities, "relations": relations}, {}


register(
    Stage(
        "llm-targets",
        wanted=lambda spec: "llm" in spec.needs,
        needs=lambda spec: ("semantic", "teacher") if spec.is_fused else ("semantic",),
        content=lambda spec, _: [spec.loss.targets, spec.loss.fusion if spec.is_fused else 0.0],
        build=_llm_targets,
        whose=_whose,
    )
)
