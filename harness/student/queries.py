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


@formula("tcomplex")
def tcomplex(tensors: Tensors, subject: Floats, relation: NDArray[np.int64], time: NDArray[np.int64]) -> Floats:
    """h ∘ r ∘ τ over complex numbers."""
    return _product(subject, _product(tensors["relation.weight"][relation], tensors["time.weight"][time].mean(1)))


@formula("lifted")
def lifted(tensors: Tensors, subject: Floats, relation: NDArray[np.int64], time: NDArray[np.int64]) -> Floats:
    """(h W ∘ r ∘ τ) Wᵀ over complex numbers: all that is wide is done once a query."""
    lift = tensors["lift"]
    return np.asarray(tcomplex(tensors, subject @ lift, relation, time) @ lift.T, np.float32)


@formula("tntcomplex")
def tntcomplex(tensors: Tensors, subject: Floats, relation: NDArray[np.int64], time: NDArray[np.int64]) -> Floats:
    """h ∘ (r ∘ τ + r') over complex numbers."""
    changing, lasting = np.split(tensors["relation.weight"][relation], 2, axis=-1)
    return _product(subject, _product(changing, tensors["time.weight"][time].mean(1)) + lasting)


@formula("timeplex")
def timeplex(tensors: Tensors, subject: Floats, relation: NDArray[np.int64], time: NDArray[np.int64]) -> Floats:
    """h ∘ (r + γ τ) + β τ ∘ r_ot over complex numbers."""
    moment = tensors["time.weight"][time].mean(1)
    of_both, of_object = np.split(tensors["relation.weight"][relation], 2, axis=-1)
    object_time, subject_object_time = tensors["weights"]
    of_subject = _product(subject, of_both + subject_object_time * moment)
    return np.asarray(of_subject + object_time * _product(moment, of_object), np.float32)


@formula("telm")
def telm(tensors: Tensors, subject: Floats, relation: NDArray[np.int64], time: NDArray[np.int64]) -> Floats:
    """h ⊗ r ⊗ τ over multivectors, signs as for the product with an answer's conjugate."""
    moment = tensors["time.weight"][time].mean(1)
    product = _geometric(_geometric(subject, tensors["relation.weight"][relation]), moment)
    return product * np.repeat(np.array([1, -1, -1, 1], np.float32), subject.shape[1] // 4)


@formula("rotate-translate")
def rotate_translate(tensors: Tensors, subject: Floats, relation: NDArray[np.int64], time: NDArray[np.int64]) -> Floats:
    """Rot(r)·h + r + τ, and 0 in the coordinate of the bias."""
    translation, angle = np.split(tensors["relation.weight"][relation], [subject.shape[1]], axis=1)
    half = angle.shape[1]
    x, y, cos, sin = subject[:, :half], subject[:, half : 2 * half], np.cos(angle), np.sin(angle)
    turned = np.concatenate([cos * x - sin * y, sin * x + cos * y, subject[:, 2 * half :]], 1)
    moved = turned + translation + tensors["time.weight"][time].mean(1)
    moved[:, -1] = 0
    return np.asarray(moved, np.float32)


def _product(a: Floats, b: Floats) -> Floats:
    """a ∘ b of complex numbers, real parts first."""
    (a_re, a_im), (b_re, b_im) = np.split(a, 2, axis=-1), np.split(b, 2, axis=-1)
    return np.concatenate([a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re], -1)


def _geometric(a: Floats, b: Floats) -> Floats:
    """a ⊗ b of multivectors of the plane: parts for 1, e₁, e₂ and e₁e₂."""
    (a0, a1, a2, a3), (b0, b1, b2, b3) = np.split(a, 4, axis=-1), np.split(b, 4, axis=-1)
    one, first = a0 * b0 + a1 * b1 + a2 * b2 - a3 * b3, a0 * b1 + a1 * b0 - a2 * b3 + a3 * b2
    second, both = a0 * b2 + a2 * b0 + a1 * b3 - a3 * b1, a0 * b3 + a3 * b0 + a1 * b2 - a2 * b1
    return np.concatenate([one, first, second, both], -1)


def _sigmoid(x: Any) -> Any:
    return 0.5 * (1 + np.tanh(0.5 * x))
