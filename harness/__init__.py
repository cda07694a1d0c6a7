"""Hyperparameter studies of knowledge distillation on temporal knowledge graphs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.student.distilling import distil

__version__ = "0.1.0"
__all__ = ["__version__", "distil"]


def __getattr__(name: str) -> Any:
    """``from harness import distil`` loads the engine; all else that imports this package does not."""
    if name == "distil":
        return import_module("harness.student.distilling").distil
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
