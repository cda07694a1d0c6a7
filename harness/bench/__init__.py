"""Benchmarks: ``python -m harness.bench COMMAND``. Each compares two ways within one run: machines vary.

A command is a class of options in ``options.py`` and a module of its name in ``commands/``, whose ``run`` gets them.
"""

from harness.bench.options import app

__all__ = ["app"]
