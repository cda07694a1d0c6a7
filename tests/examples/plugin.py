"""Examples loaded in the test's own process, and forgotten afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import plugins
from tests.inside import plugins_forgotten


@contextmanager
def loaded(path: Path) -> Iterator[None]:
    """With a plugin registered."""
    with plugins_forgotten():
        plugins.load([plugins.read(path)])
        yield
