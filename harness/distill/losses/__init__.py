"""Losses: one file each. Importing this package registers every file in it; a plugin registers its own."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from harness.distill.losses.base import LOSSES, Acts, Given, Loss, loss, register
from harness.distill.passes.step import Outcomes, Step, Term
from harness.registry import MethodOptions, option

# the first in the order in which arms name them, then whatever other file there is
_FIRST = ("l1", "l2", "l3", "fitnet", "rkd")
for _name in dict.fromkeys([*_FIRST, *sorted(module.name for module in iter_modules(__path__))]):
    import_module(f"harness.distill.losses.{_name}")

__all__ = [
    "LOSSES",
    "Acts",
    "Given",
    "Loss",
    "MethodOptions",
    "Outcomes",
    "Step",
    "Term",
    "loss",
    "option",
    "register",
]
