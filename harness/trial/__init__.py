"""One trial: what it is, the stages that it shares with others, and running it. Importing this registers the stages."""

from __future__ import annotations

from importlib import import_module

# in the order in which people see them
for _name in ("teacher", "language", "rerank", "lookup", "student"):
    import_module(f"harness.trial.shared.{_name}")
