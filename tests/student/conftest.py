"""A student's file on the small data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.student.export import Exported, export
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context
from tests.toy import context, dataset, spec

__all__ = ["context", "dataset", "spec"]


@pytest.fixture
def exported(spec: TrialSpec, context: Context) -> Exported:
    return export(spec, context)


@pytest.fixture
def file(exported: Exported, tmp_path: Path) -> Path:
    path = tmp_path / "toy.student"
    path.write_bytes(exported.content)
    return path
