"""Where tensors lie."""

from __future__ import annotations

import torch

from harness.errors import UserError, nearest


def device_of(name: str) -> str:
    """The device that ``--device`` names: cpu or cuda; auto is a GPU when there is one.

    Raises:
        UserError: there is no such device.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"unknown device {name!r}: {nearest(name, ['auto', 'cpu', 'cuda'])}")
    if name == "cpu":
        return name
    if torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise UserError("device 'cuda': PyTorch finds no GPU; use --device cpu")
    return "cpu"
