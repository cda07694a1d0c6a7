"""The specification of one trial: every option of the engine, typed, with its default and its unit.

Every choice that may change a number is a field here, and nothing else is; what leaves no choice is code. Unknown keys
and wrong types are refused.
A spec is frozen, hashable by content (``key``) and round-trips through JSON.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from harness.distill.sampler import Sampling
from harness.frozen import Frozen
from harness.teachers.language_model import LanguageModelConfig

Arm = Literal[
    "none", "L1", "L1+L2", "L1+L3", "L1+L2+L3", "L2+L3", "L1+FitNet", "L1+RKD-D", "L1+RKD-A", "teacher", "llm-teacher"
]
AlignmentName = Literal["huber", "mse", "kl", "cosine"]
#: losses that compare the student with the structural teacher's vectors; they act from the first epoch on
STRUCTURAL = ("FitNet", "RKD-D", "RKD-A")
#: losses that need the language model
LANGUAGE = ("L2", "L3")
Protocol = Literal["time-aware", "static", "raw", "timeplex", "same-interval"]


def option_names(model: type[BaseModel]) -> list[str]:
    """The dotted names of all fields of a spec, parts of parts included."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += [f"{name}.{key}" for key in option_names(inner)]
        else:
            found.append(name)
    return found


class TimeSpec(Frozen):
    """How times become classes."""

    classes: Literal["frequency", "width"] = Field(default="frequency", description="what all classes have in common")
    size: int = Field(default=600, ge=1, description="frequency: train starts and ends a class; width: years or days")


class SampledSpec(Frozen):
    """Which entities a training step scores; see ``harness.distill.sampler``."""

    candidates: int = Field(
        default=256, ge=0, le=1_000_000, description="random entities that a step scores; 0: all entities"
    )
    hard_candidates: int = Field(
        default=64, ge=0, le=10_000, description="listed entities a query, without a teacher's list"
    )
    hard_every: int = Field(default=4, ge=1, description="epochs between new lists of hard candidates")
    exact_epochs: int = Field(default=1, ge=0, description="first epochs, in which a step scores all entities")

    def sampling(self, *, listed: bool = False) -> Sampling:
        """The same for the training loop; ``listed``: a teacher names each query's hard candidates."""
        hard = 0 if listed else self.hard_candidates
        return Sampling(self.candidates, hard, self.hard_every, self.exact_epochs)


class TrainingSpec(SampledSpec):
    """How a structural model is trained. None means: the backbone's own recipe decides."""

    dim: int = Field(default=25, ge=1, le=10_000, description="dimension of entities and relations")
    norm: Literal["l2", "l1"] = Field(default="l2", description="norm of the distance; of TTransE alone")
    epochs: int = Field(default=12, ge=1, description="passes over both directions of the training facts")
    batch_size: int = Field(default=512, ge=1, le=10**6, description="queries a step")
    optimizer: Literal["adam", "adagrad"] | None = Field(default=None, description="adam or adagrad")
    learning_rate: float | None = Field(default=None, gt=0, description="at the start; falls linearly to a tenth")
    regularization: float | None = Field(default=None, ge=0, description="weight of the backbone's penalty")
    validate_every: int = Field(default=1, ge=1, description="epochs between validations")


class StudentSpec(TrainingSpec):
    """How a student is trained: both stages have a fixed number of epochs, so that all arms get equal updates.

    Validation selects among the epochs of stage 2 (of stage 1, if there is no stage 2).
    """

    epochs: int = Field(default=16, ge=1, description="epochs of both stages together")
    stage1_epochs: int = Field(default=8, ge=0, description="epochs of L1 alone before the other losses join")
    order: Literal["structure-first", "language-first"] = Field(
        default="structure-first", description="language-first: stage 1 has L2 and L3, and L1 joins in stage 2"
    )

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        if self.stage1_epochs > self.epochs:
            raise ValueError(f"stage1_epochs ({self.stage1_epochs}) must not exceed epochs ({self.epochs})")
        return self


class TeacherSpec(TrainingSpec):
    """The structural teacher."""

    backbone: str | None = Field(default=None, description="None: the student's own")
    dim: int = Field(default=400, ge=1, le=10_000, description="dimension of entities and relations")
    epochs: int = Field(default=12, ge=1, description="passes over both directions of the training facts, at most")
    patience: int = Field(default=2, ge=1, description="validations without a better MRR before stopping")
    seed: int = Field(default=0, ge=0, description="of initial values and batches")


class SemanticSpec(SampledSpec):
    """The LLM teacher's head: E(p) = σ(w·LLM(p) + b) and f_LLM, trained on the graph."""

    vectors: Literal["model", "shuffled", "random"] = Field(
        default="model", description="LLM(p); or controls: given to other names at random, or random ones as long"
    )
    candidates: int = Field(
        default=0, ge=0, le=1_000_000, description="random entities that a step scores; 0: all entities"
    )
    dim: int = Field(default=128, ge=1, le=10_000, description="dimension of E(p)")
    components: int = Field(default=256, ge=1, le=10_000, description="principal components of LLM(p) that E(p) reads")
    epochs: int = Field(default=8, ge=1, description="passes over both directions of the training facts, at most")
    batch_size: int = Field(default=512, ge=1, le=10**6, description="queries a step")
    learning_rate: float = Field(default=0.003, gt=0, description="of Adam, at the start; falls linearly to a tenth")
    patience: int = Field(default=2, ge=1, description="validations without a better MRR before stopping")
    seed: int = Field(default=0, ge=0, description="of initial values and batches")


class LossSpec(Frozen):
    """The weights of L = hard·CE + soft·T²·KL + α·L2 + β·L3 (our reading; see docs/method.md), and of baselines."""

    alpha: float = Field(default=3.0, ge=0, le=1000, description="weight of L2, the Huber loss to the LLM teacher")
    beta: float = Field(default=0.3, ge=0, le=1000, description="weight of L3, supervised on LLM encodings")
    delta: float = Field(default=1.0, ge=1e-4, le=1e4, description="threshold of L2, in standard deviations")
    temperature: float = Field(default=7.0, ge=0.01, le=1000, description="T of the soft targets")
    hard_weight: float = Field(default=1.0, ge=0, le=1000, description="weight of the cross-entropy in L1")
    soft_weight: float = Field(default=1.0, ge=0, le=1000, description="weight of T²·KL(teacher ‖ student) in L1")
    semantic_share: float = Field(default=0.25, gt=0, le=1, description="share of each batch that L3 is taken over")
    targets: int = Field(default=128, ge=2, le=10_000, description="stored teacher candidates a query")
    others: Literal["estimated", "merged"] = Field(
        default="estimated", description="L1 over entities not stored: from random ones, or as one outcome"
    )
    alignment: AlignmentName = Field(default="huber", description="how L2 compares standardised scores")
    outliers: float = Field(default=0.0, ge=0, le=1, description="share of the LLM teacher's scores made outliers")
    outlier_size: float = Field(default=10.0, ge=0, le=1e6, description="their size, in standard deviations")
    fusion: float = Field(default=0.0, ge=0, le=1, description="share of the structural teacher in L2's targets")
    fitnet: float = Field(default=1.0, ge=0, le=1000, description="weight of FitNet's hint loss")
    rkd_distance: float = Field(default=25.0, ge=0, le=10_000, description="weight of RKD-D, of pairwise distances")
    rkd_angle: float = Field(default=50.0, ge=0, le=10_000, description="weight of RKD-A, of angles of triplets")
    relational_entities: int = Field(
        default=64, ge=3, le=10_000, description="entities a step that RKD compares, at most"
    )


def parts_of(arm: str) -> tuple[str, ...]:
    """The losses of a distilled student's arm; none of the undistilled one and of reference rows."""
    return () if arm in ("none", "teacher", "llm-teacher") else tuple(arm.split("+"))


class TrialSpec(Frozen):
    """One trial: a pure function of this and the data gives the numbers."""

    dataset: str = "lahman"
    backbone: str = "ttranse"
    arm: Arm = "none"
    seed: int = Field(default=0, ge=0)
    protocol: Protocol = Field(default="time-aware", description="which other known answers a ranking leaves out")
    time: TimeSpec = TimeSpec()
    student: StudentSpec = StudentSpec()
    loss: LossSpec = LossSpec()
    teacher: TeacherSpec = TeacherSpec()
    llm: LanguageModelConfig = LanguageModelConfig()
    semantic: SemanticSpec = SemanticSpec()

    @property
    def teacher_backbone(self) -> str:
        """The structural teacher's backbone: the student's own unless the spec names another."""
        return self.teacher.backbone or self.backbone

    @property
    def parts(self) -> tuple[str, ...]:
        """The losses of the arm, see ``parts_of``."""
        return parts_of(self.arm)

    @property
    def is_joint(self) -> bool:
        """Whether all losses act from the first epoch on: then no stage 1 is shared with other arms."""
        return any(part in STRUCTURAL for part in self.parts)

    @property
    def is_reversed(self) -> bool:
        """Whether the language model's losses come first, and L1 later."""
        both = "L1" in self.parts and any(part in LANGUAGE for part in self.parts)
        return both and self.student.order == "language-first" and self.student.stage1_epochs > 0

    @property
    def is_fused(self) -> bool:
        """Whether L2's targets have a share of the structural teacher's scores."""
        return "L2" in self.parts and self.loss.fusion > 0

    @property
    def shares_stage1(self) -> bool:
        """Whether this is a student with a stage 1 that other arms have as well: of L1 alone, or without teachers."""
        is_student = self.arm not in ("teacher", "llm-teacher")
        return is_student and self.student.stage1_epochs > 0 and not self.is_joint and not self.is_reversed

    def acting(self) -> Self:
        """This trial with all settings at their defaults that do not act in its arm: one spec for equal trials."""
        parts, loss = self.parts, self.loss
        speaks = self.arm == "llm-teacher" or any(part in LANGUAGE for part in parts)
        kept: set[str] = set()
        if parts:
            kept |= {"hard_weight"}
        if "L1" in parts:
            kept |= {"temperature", "soft_weight", "targets", "others"}
        if "L2" in parts:
            kept |= {"alpha", "alignment", "outliers", "fusion", "targets"}
            kept |= {"delta"} if loss.alignment == "huber" else set()
            kept |= {"outlier_size"} if loss.outliers else set()
        if "L3" in parts:
            kept |= {"beta", "semantic_share"}
        kept |= {"fitnet"} if "FitNet" in parts else set()
        kept |= {"rkd_distance"} if "RKD-D" in parts else set()
        kept |= {"rkd_angle"} if "RKD-A" in parts else set()
        kept |= {"relational_entities"} if {"RKD-D", "RKD-A"} & set(parts) else set()
        student = StudentSpec() if self.arm in ("teacher", "llm-teacher") else self.student
        if not self.is_reversed:
            student = student.model_copy(update={"order": "structure-first"})
        return self.model_copy(
            update={
                "student": student,
                "loss": LossSpec(**loss.model_dump(include=kept)),
                "teacher": self.teacher if self.arm == "teacher" or "L1" in parts or self.is_fused else TeacherSpec(),
                "llm": self.llm if speaks else LanguageModelConfig(),
                "semantic": self.semantic if speaks else SemanticSpec(),
            }
        )
