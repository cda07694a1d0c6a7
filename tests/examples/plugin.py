"""Examples loaded in the test's own process, and forgotten afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import plugins
from harness.registry import Registry


@contextmanager
def loaded(path: Path) -> Iterator[None]:
    """With a plugin registered."""
    plugin = plugins.read(path)
    plugins.load([plugin])
    try:
        yield
    finally:
        for registry in Registry.every:
            registry.remove_of(plugin)
        plugins._loaded.pop(plugin.name)
