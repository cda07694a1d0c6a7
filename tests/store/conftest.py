"""Fixtures that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.design import cells
from harness.design import files as designs
from harness.design.cells import Run
from tests.toy import context, dataset, spec

__all__ = ["context", "dataset", "spec"]


@pytest.fixture
def run() -> Run:
    design = designs.load("ablation")
    return cells.plan(design, dataset="lahman", data_digest="d", backbones=["ttranse"], preset="quick")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/runs/harness.db"
