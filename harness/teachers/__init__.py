"""Teachers. Importing this registers those of the package."""

from __future__ import annotations

from importlib import import_module

from harness.teachers.sources import TEACHERS

for _name in ("ensemble", "distilled", "rerank"):
    import_module(f"harness.teachers.{_name}")

__all__ = ["TEACHERS"]
