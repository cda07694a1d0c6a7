"""Vectors of complex numbers as real ones: the first half of a row are real parts, the second imaginary parts."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.errors import UserError


def refuse_odd(backbone: str, dim: int) -> None:
    """Refuse a dimension that cannot hold complex numbers.

    Raises:
        UserError: ``dim`` is odd.
    """
    if dim % 2:
        raise UserError(f"backbone {backbone}: dim={dim} is odd, and complex vectors have two reals a number")


def product(a: Tensor, b: Tensor) -> Tensor:
    """a ∘ b [B, d], number by number."""
    (a_re, a_im), (b_re, b_im) = a.chunk(2, -1), b.chunk(2, -1)
    return torch.cat([a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re], -1)


def conjugate(a: Tensor) -> Tensor:
    """ā [B, d]."""
    re, im = a.chunk(2, -1)
    return torch.cat([re, -im], -1)


def cubed(a: Tensor) -> Tensor:
    """Σ|a|³ over all complex numbers, a scalar: the part of a factor in the N3 penalty (Lacroix et al., 2018)."""
    re, im = a.chunk(2, -1)
    # 1e-12: a root has no slope at 0
    return (re.square() + im.square() + 1e-12).pow(1.5).sum()
