"""A small data set and a spec that trains on it in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.teachers.language.language_model import LanguageModelConfig
from harness.trial.spec import LossSpec, SemanticSpec, StudentSpec, TeacherSpec, TimeSpec, TrialSpec
from harness.trial.stages import Context


def write_dataset(folder: Path, facts: int = 240, seed: int = 0) -> Path:
    """A folder of facts with structure: entity e is related to e + relation + 1 (mod 40), in the decade of e."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for _ in range(facts):
        head, relation = int(rng.integers(40)), int(rng.integers(4))
        start = 1900 + 10 * (head % 8) + int(rng.integers(5))
        rows.append(f"person {head:02d}\trel {relation}\tperson {(head + relation + 1) % 40:02d}\t{start}\t{start + 3}")
    cut = int(0.8 * facts), int(0.9 * facts)
    for split, part in zip(("train", "valid", "test"), np.split(np.array(rows), cut), strict=True):
        (folder / f"{split}.txt").write_text("\n".join(part) + "\n", encoding="utf-8")
    return folder


def small(encoder: Path) -> dict[str, Any]:
    """Settings of a study whose cells train in a second; its language model is a tiny sentence encoder."""
    return {
        "time": {"size": 40},
        "student": {"dim": 8, "epochs": 3, "stage1_epochs": 1, "batch_size": 64},
        "teacher": {"dim": 16, "epochs": 1, "batch_size": 64},
        "llm": {"model": str(encoder), "finetune": "none"},
        "semantic": {"dim": 8, "components": 8, "epochs": 1, "batch_size": 64},
        "loss": {"targets": 16},
    }


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "toy")


def make_spec(dataset: Path, encoder: Path) -> TrialSpec:
    """A trial on a small data set; its language model is a tiny sentence encoder, not fine-tuned."""
    return TrialSpec(
        dataset=str(dataset),
        arm="L1",
        time=TimeSpec(size=40),
        student=StudentSpec(dim=8, epochs=4, stage1_epochs=2, batch_size=64),
        teacher=TeacherSpec(dim=16, epochs=2, batch_size=64),
        llm=LanguageModelConfig(model=str(encoder), finetune="none"),
        semantic=SemanticSpec(dim=8, components=8, epochs=2, batch_size=64),
        loss=LossSpec(targets=16),
    )


@pytest.fixture
def spec(dataset: Path, tiny_encoder: Path) -> TrialSpec:
    """A trial on the small data set; see `make_spec`."""
    return make_spec(dataset, tiny_encoder)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(cache_dir=tmp_path / "cache")


def taught_by(spec: TrialSpec, source: str, arm: str = "L1", **options: object) -> TrialSpec:
    teacher = {**spec.teacher.model_dump(), "source": source, **({source: options} if options else {})}
    return TrialSpec.model_validate({**spec.model_dump(), "arm": arm, "teacher": teacher}).acting()
