"""A plugin that registers its version, and what a worker says of it."""

from __future__ import annotations

from pathlib import Path

from harness import plugins
from harness.registry import Plugin, Registry


def plugin(folder: Path, version: int) -> Plugin:
    """A plugin of always the same name."""
    path = folder / "mine.py"
    path.write_text(f"from harness.registry import Registry\nRegistry('fruit').add('version', {version})\n")
    return plugins.read(path)


def registered() -> dict[str, int]:
    """What the plugin has registered in this process."""
    return {name: thing for registry in Registry.every if registry.kind == "fruit" for name, thing in registry.items()}
