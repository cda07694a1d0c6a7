"""The layout of code and tests: rooms that stay small, and tests that mirror them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: folders of tests that are about no single room of the package
ACROSS = {"badinput", "containers", "examples", "faults", "golden", "evaluate", "release"}
FOLDERS = sorted({path.parent for path in (ROOT / "harness").rglob("*.py")})


def test_tests_mirror_the_package() -> None:
    rooms = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("**/*.py"))}
    assert rooms - ACROSS <= {path.name for path in (ROOT / "harness").iterdir() if path.is_dir()}


def test_tests_import_no_helpers_from_tests() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        assert not re.search(r"^ *(?:from|import) tests\.(?:\w+\.)*test_", path.read_text("utf-8"), re.M), path


@pytest.mark.parametrize("folder", FOLDERS, ids=[str(folder.relative_to(ROOT)) for folder in FOLDERS])
def test_rooms_and_files_stay_small(folder: Path) -> None:
    """About a dozen files a folder and 400 lines a file."""
    files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(files) <= 13, [path.name for path in files]
    for path in files:
        assert len(path.read_text("utf-8").splitlines()) <= 440, path
