"""The query vectors of backbones in NumPy, so that a student answers without PyTorch.

A formula takes the student's tensors by the names of its state, vectors of subjects [B, d], int64 relations [B] (those
from R on ask for the head) and int64 times [B, L], and returns query vectors [B, d]. It is the same formula as
``encode`` of the backbone in `harness.models`, to which tests compare it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.registry import Registry

Floats = NDArray[np.float32]
Tensors = Mapping[str, Floats]
Formula = Callable[[Tensors, Floats, NDArray[np.int64], NDArray[np.int64]], Floats]

#: the formulas by the backbone's name
FORMULAS: Registry[Formula] = Registry("student formula")


def formula(backbone: str) -> Callable[[Formula], Formula]:
    """Register the formula of a backbone.

    Raises:
        UserError: the backbone has one.
    """

    def decorate(function: Formula) -> Formula:
        FORMULAS.add(backbone, function)
        return function

    return decorate


@formula("ttranse")
def ttranse(tensors: Tensors, subject: Floats, relation: NDArray[np.int64], time: NDArray[np.int64]) -> Floats:
    """h + r + the mean of the vectors of start and end."""
    mean: Floats = tensors["time.weight"][time].mean(1)
    return subject + tensors["relation.weight"][relation] + mean


@formula("ta-distmult")
def ta_distmult(tensors: Tensors, subject: Floats, relation: NDArray[np.int64], time: NDArray[np.int64]) -> Floats:
    """h ∘ the last state of an LSTM that reads relation, start and end."""
    tokens = tensors["token.weight"]
    half = time.shape[1] // 2
    of_end = np.where(np.arange(time.shape[1]) >= half, len(tokens) // 2, 0)
    steps = [tensors["relation.weight"][relation], *np.moveaxis(tokens[time + of_end], 1, 0)]
    of_input, of_state = tensors["lstm.weight_ih_l0"].T, tensors["lstm.weight_hh_l0"].T
    bias = tensors["lstm.bias_ih_l0"] + tensors["lstm.bias_hh_l0"]
    h = c = np.zeros_like(steps[0])
    for x in steps:
        into, keep, new, out = np.split(x @ of_input + h @ of_state + bias, 4, axis=1)
        c = _sigmoid(keep) * c + _sigmoid(into) * np.tanh(new)
        h = _sigmoid(out) * np.tanh(c)
    product: Floats = subject * h
    return product


def _sigmoid(x: Any) -> Any:
    return 0.5 * (1 + np.tanh(0.5 * x))
