"""Examples loaded in the test's own process, and forgotten afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import plugins, vocabulary
from harness.registry import Registry


@contextmanager
def loaded(path: Path) -> Iterator[None]:
    """With a plugin registered."""
    plugin = plugins.read(path)
    tables = (vocabulary.LOSSES, vocabulary.BACKBONES, vocabulary.STAGES)
    before = [dict(table) for table in tables]
    plugins.load([plugin])
    try:
        yield
    finally:
        for table, terms in zip(tables, before, strict=True):
            table.clear()
            table.update(terms)
        for registry in Registry.every:
            registry.remove_of(plugin)
        plugins._loaded.pop(plugin.name)
