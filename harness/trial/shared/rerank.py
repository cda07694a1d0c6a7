"""The stage in which a language model reads a teacher's uncertain queries, paid once for all that use its answers."""

from __future__ import annotations

from typing import Any

from harness.teachers import rerank
from harness.teachers.language import lora
from harness.teachers.language.language_model import load
from harness.trial.cache import Built
from harness.trial.run import scored_model
from harness.trial.shared.language import weights_version
from harness.trial.shared.stage import Planned, Stage, register
from harness.trial.spec import TrialSpec
from harness.trial.stages import Stages


def _options(spec: TrialSpec) -> rerank.RerankOptions:
    return rerank.RerankOptions.model_validate(spec.teacher.method("reranked"))


def _content(spec: TrialSpec, planned: Planned) -> list[Any]:
    (member,), llm = spec.members, spec.llm
    read = [weights_version(llm.model), str(llm.torch_dtype), llm.max_length]
    return [planned.training(spec), planned.trial(member), read, _options(spec).model_dump()]


def _rerank(stages: Stages) -> Built:
    """The candidates of uncertain queries, and how much likelier the language model finds each for the question."""
    spec = stages.spec
    (base,) = (scored_model(member, stages.context) for member in spec.members)
    model = load(spec.llm.model, spec.llm.torch_dtype)
    if adapter := stages.adapter():
        lora.merge(model, adapter, spec.llm)
    read = stages.inputs.timeline, _options(spec), spec.llm.max_length, stages.fraction("rerank")
    return rerank.table(base, model, stages.graph, *read), {}


register(
    Stage(
        "rerank",
        wanted=lambda spec: spec.is_reranked,
        needs=lambda _: ("finetune",),
        content=_content,
        build=_rerank,
        whose=lambda spec: spec.llm.model,
    )
)
