"""A cache whose files are broken, or made to break whoever reads them, is built again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from harness.trial.cache import Cache
from tests.badinput.caches import CHECKSUMS, CONTENTS


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stored result lies."""
    monkeypatch.chdir(tmp_path)
    file = Cache(tmp_path / "cache").path("teacher", "key")
    file.parent.mkdir(parents=True)
    return file


def rebuilt(path: Path) -> None:
    cache = Cache(path.parent.parent)
    with pytest.warns(UserWarning, match="it is rebuilt"):
        entry = cache.get_or_build("teacher", "key", lambda: ({"x": torch.ones(2)}, {"epochs": 3}))
    assert not entry.cached
    again = cache.get_or_build("teacher", "key", pytest.fail)
    assert again.tensors["x"].tolist() == [1, 1]
    assert again.meta["epochs"] == 3
    assert not Path("executed").exists()


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_that_is_no_result_is_built_again(path: Path, name: str) -> None:
    path.write_bytes(CONTENTS[name])
    path.with_suffix(".sha256").write_text(hashlib.sha256(CONTENTS[name]).hexdigest())
    assert Cache(path.parent.parent).meta("teacher", "key") == {}
    rebuilt(path)


@pytest.mark.parametrize("name", CHECKSUMS)
def test_a_checksum_that_is_none_has_the_file_built_again(path: Path, name: str) -> None:
    Cache(path.parent.parent).get_or_build("teacher", "key", lambda: ({"x": torch.zeros(2)}, {}))
    path.with_suffix(".sha256").write_bytes(CHECKSUMS[name])
    rebuilt(path)
