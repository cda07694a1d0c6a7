"""A student that looks facts up: its own scores and those of gaps in time, weighted as validation answers ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from harness.data import Timeline
from harness.distill.gaps import MIX, WEIGHTS
from harness.evaluate import RankTask
from harness.models import Backbone
from harness.teachers.ensemble import Ensemble, fit_weights
from harness.teachers.gaps import Gaps

#: the student's tensors, which keep their names in the state, and those of gaps, by their names as members
_STUDENT, _RENAMED = "members.0.", {"members.1.weights": WEIGHTS, "weights": MIX}


class BesideGaps(Ensemble):
    """Scores a · student + b · gaps. Its state is the student's, with ``gaps.weights`` and ``gaps.mix`` (a, b)."""

    def __init__(self, student: Backbone, gaps: Gaps, timeline: Timeline) -> None:
        super().__init__([student, gaps], timeline)
        self.register_state_dict_post_hook(_as_a_student)  # type: ignore[no-untyped-call]  # of PyTorch
        self.register_load_state_dict_pre_hook(_as_members)  # type: ignore[no-untyped-call]  # of PyTorch

    def fit(self, task: RankTask) -> Tensor:
        """Fit how much each counts on validation answers; the two weights."""
        fit_weights(self, task)
        return self.weights.clone()


def _as_a_student(model: Any, state: dict[str, Tensor], *others: Any) -> None:
    _rename(state, lambda name: _RENAMED.get(name) or name.removeprefix(_STUDENT))


def _as_members(model: Any, state: dict[str, Tensor], *others: Any) -> None:
    members = {name: member for member, name in _RENAMED.items()}
    _rename(state, lambda name: members.get(name) or _STUDENT + name)


def _rename(state: dict[str, Tensor], new: Callable[[str], str]) -> None:
    renamed = {new(name): tensor for name, tensor in state.items()}
    state.clear()
    state |= renamed
