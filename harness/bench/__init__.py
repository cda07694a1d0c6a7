"""Benchmarks: ``python -m harness.bench COMMAND``. Each compares two ways within one run: machines vary.

A new one is a module with an ``@app.command()`` and its name in the line below.
"""

from harness.bench import rank, scale, step, teacher, train  # noqa: F401  each registers its command
from harness.bench.common import app

__all__ = ["app"]
