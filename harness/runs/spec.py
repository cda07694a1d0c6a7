"""The specification of one trial: every option of the engine, typed, with its default and its unit.

Everything that may change a number is a field here, and nothing else is. Unknown keys and wrong types are refused.
A spec is frozen, hashable by content (``key``) and round-trips through JSON.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.teachers.language_model import LanguageModelConfig

Arm = Literal["none", "L1", "L1+L2", "L1+L3", "L1+L2+L3", "teacher", "llm-teacher"]
Protocol = Literal["time-aware", "static", "raw", "timeplex", "same-interval"]


class Frozen(BaseModel):
    """Base of all parts of a spec: immutable, unknown keys refused, NaN and infinity refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def key(self) -> str:
        """A hex digest of the content, the same in every process."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:20]


class TimeSpec(Frozen):
    """How times become classes."""

    classes: Literal["frequency", "width"] = "frequency"
    #: frequency: a class closes once it holds more than this many train starts and ends; width: years or days
    size: int = Field(default=600, ge=1)


class TrainingSpec(Frozen):
    """How a structural model is trained. None means: the backbone's own recipe decides."""

    epochs: int = Field(default=12, ge=1, description="passes over both directions of the training facts")
    batch_size: int = Field(default=512, ge=1, description="queries a step")
    optimizer: Literal["adam", "adagrad"] | None = None
    learning_rate: float | None = Field(default=None, gt=0)
    regularization: float | None = Field(default=None, ge=0, description="weight of the backbone's penalty (N3)")
    validate_every: int = Field(default=1, ge=1, description="epochs between validations")
    patience: int = Field(default=3, ge=1, description="validations without a better MRR before stopping")


class StudentSpec(TrainingSpec):
    """How a student is trained: stage 1 and stage 2 each have a fixed number of epochs."""

    dim: int = Field(default=25, ge=1)
    epochs: int = Field(default=12, ge=1, description="epochs of both stages together")
    stage1_epochs: int = Field(default=6, ge=0, description="epochs of L1 alone before the other losses join")


class TeacherSpec(TrainingSpec):
    """The structural teacher."""

    backbone: str | None = Field(default=None, description="None: the student's own")
    dim: int = Field(default=400, ge=1)
    epochs: int = Field(default=8, ge=1)
    seed: int = Field(default=0, ge=0)


class SemanticSpec(Frozen):
    """The LLM teacher's head: E(p) = σ(w·LLM(p) + b) and f_LLM, trained on the graph."""

    dim: int = Field(default=128, ge=1, description="dimension of E(p)")
    epochs: int = Field(default=8, ge=1)
    batch_size: int = Field(default=512, ge=1)
    learning_rate: float = Field(default=0.003, gt=0)
    patience: int = Field(default=2, ge=1)
    seed: int = Field(default=0, ge=0)


class LossSpec(Frozen):
    """The weights of L = hard·CE + soft·T²·KL + α·L2 + β·L3 (our reading; see docs/method.md)."""

    alpha: float = Field(default=0.1, ge=0, description="weight of L2, the Huber loss to the LLM teacher")
    beta: float = Field(default=0.1, ge=0, description="weight of L3, supervised on LLM encodings")
    delta: float = Field(default=1.0, gt=0, description="threshold of the Huber loss, in standard deviations of scores")
    temperature: float = Field(default=7.0, gt=0, description="T of the soft targets")
    hard_weight: float = Field(default=1.0, ge=0, description="weight of the cross-entropy on the true entity in L1")
    soft_weight: float = Field(default=1.0, ge=0, description="weight of T²·KL(teacher ‖ student) in L1")
    targets: int = Field(default=128, ge=2, description="stored teacher candidates a query")


class TrialSpec(Frozen):
    """One trial: a pure function of this and the data gives the numbers."""

    dataset: str = "lahman"
    backbone: str = "ttranse"
    arm: Arm = "none"
    seed: int = Field(default=0, ge=0)
    protocol: Protocol = "time-aware"
    time: TimeSpec = TimeSpec()
    student: StudentSpec = StudentSpec()
    loss: LossSpec = LossSpec()
    teacher: TeacherSpec = TeacherSpec()
    llm: LanguageModelConfig = LanguageModelConfig()
    semantic: SemanticSpec = SemanticSpec()
