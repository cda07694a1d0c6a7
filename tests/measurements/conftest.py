"""A small data set, a student with all losses, and a cache with its teachers."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.teachers.language.language_model import LanguageModelConfig
from harness.trial.spec import LossSpec, SemanticSpec, StudentSpec, TeacherSpec, TimeSpec, TrialSpec
from harness.trial.stages import Context
from tests.toy import write_dataset


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return Context(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def spec(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> TrialSpec:
    return TrialSpec(
        dataset=str(write_dataset(tmp_path_factory.mktemp("costs") / "toy")),
        arm="L1+L2+L3",
        time=TimeSpec(size=40),
        student=StudentSpec(dim=8, epochs=4, stage1_epochs=2, batch_size=64, candidates=16, hard_candidates=8),
        teacher=TeacherSpec(dim=16, epochs=2, batch_size=64),
        llm=LanguageModelConfig(model=str(tiny_encoder), finetune="none"),
        semantic=SemanticSpec(dim=8, components=8, epochs=2, batch_size=64),
        loss=LossSpec(targets=40),
    )


def change(spec: TrialSpec, part: str = "", **values: object) -> TrialSpec:
    """The spec with other values, or with other values of one of its parts."""
    changed = {part: {**getattr(spec, part).model_dump(), **values}} if part else values
    return TrialSpec.model_validate({**spec.model_dump(), **changed})
