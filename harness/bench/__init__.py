"""Benchmarks: ``python -m harness.bench COMMAND``. Each compares two ways within one run: machines vary.

A new one is a module with an ``@app.command()``, which importing it registers, and its name in the lines below;
commands lie in `commands/`.
"""

from harness.bench.commands import estimator, llm, rank, scale, simulate, stack, step, student, teacher, train
from harness.bench.common import app

__all__ = ["app", "estimator", "llm", "rank", "scale", "simulate", "stack", "step", "student", "teacher", "train"]
