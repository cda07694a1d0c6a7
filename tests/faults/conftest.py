"""An undisturbed run, once for all tests, and a fresh place for each fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.places import Study


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Study:
    """A study that nothing happened to."""
    study = Study(tmp_path_factory.mktemp("undisturbed") / "study", tiny_encoder)
    study.complete()
    return study


@pytest.fixture
def study(tmp_path: Path, tiny_encoder: Path) -> Study:
    return Study(tmp_path / "study", tiny_encoder)
