"""Whether a step runs for a stack of students at once, under ``torch.func.vmap``, which not every operation can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_vmapped: ContextVar[bool] = ContextVar("within vmap", default=False)


@contextmanager
def within_vmap() -> Iterator[None]:
    """Have models and losses use nothing but tensor operations that ``torch.func.vmap`` has a rule for."""
    token = _vmapped.set(True)
    try:
        yield
    finally:
        _vmapped.reset(token)


def is_vmapped() -> bool:
    """Whether what runs now has to be such operations."""
    return _vmapped.get()


def can_compile(tensor: Tensor) -> bool:
    """Whether compiled loops can read a tensor: single precision, on a CPU, and of one student."""
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32 and not is_vmapped()
