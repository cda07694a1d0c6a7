"""A student's file on the small data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.student.export import Exported, export
from harness.trial.stages import Context
from tests.toy import context, dataset, make_spec, spec

__all__ = ["context", "dataset", "spec"]


@pytest.fixture(scope="session")
def exported(dataset: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(make_spec(dataset, tiny_encoder), Context(tmp_path_factory.mktemp("exported") / "cache"))


@pytest.fixture
def file(exported: Exported, tmp_path: Path) -> Path:
    path = tmp_path / "toy.student"
    path.write_bytes(exported.content)
    return path
