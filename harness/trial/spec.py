"""The specification of one trial: every option of the engine, typed, with its default and its unit.

Every choice that may change a number is a field here, and nothing else is; what leaves no choice is code. Unknown keys
and wrong types are refused.
A spec is frozen, hashable by content (``key``) and round-trips through JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from harness.distill.losses import LOSSES
from harness.distill.losses.fitnet import FitNetOptions
from harness.distill.losses.l1 import L1Options, SoftOptions
from harness.distill.losses.l2 import L2Options
from harness.distill.losses.l3 import L3Options
from harness.distill.losses.rkd import AngleOptions, DistanceOptions
from harness.distill.rounding import Bits
from harness.distill.training.sampler import Sampling
from harness.models import BACKBONES
from harness.models.ttranse import TTransEOptions
from harness.registry import Frozen, Grown, MethodOptions, Plugin, Registry
from harness.teachers.language.language_model import LanguageModelConfig
from harness.teachers.sources import TEACHERS
from harness.trial.arms import REFERENCES, WITHOUT_VECTORS, Arm, check_arm, needs_of, parts_of
from harness.trial.options import WithMethods

Protocol = Literal["time-aware", "static", "raw", "timeplex", "same-interval", "expanded", "tkbi"]
#: the facts whose answers the ranking of a validation query leaves out
ValidationFilter = Literal["all", "train-valid"]
#: when a training fact is asked for
Times = Literal["interval", "random-point"]


class TimeSpec(Frozen):
    """How times become classes."""

    classes: Literal["frequency", "width"] = Field(
        default="frequency", description="classes of equally many times (frequency) or of equal length (width)"
    )
    size: int = Field(
        default=600, ge=1, description="times of training facts that fill a class; with width: its years or days"
    )


class SampledSpec(Frozen):
    """Which entities a training step scores; see ``harness.distill.training.sampler``."""

    candidates: int = Field(
        default=256, ge=0, le=1_000_000, description="random entities that a step scores; 0: all entities"
    )
    hard_candidates: int = Field(
        default=64, ge=0, le=10_000, description="entities on a query's list, where L1 has no teacher's list for it"
    )
    hard_every: int = Field(default=4, ge=1, description="epochs between new lists of hard candidates")
    exact_epochs: int = Field(default=1, ge=0, description="first epochs, in which a step scores all entities")

    def sampling(self, *, listed: bool = False) -> Sampling:
        """The same for the training loop; ``listed``: a teacher names each query's hard candidates."""
        hard = 0 if listed else self.hard_candidates
        return Sampling(self.candidates, hard, self.hard_every, self.exact_epochs)


class TrainingSpec(SampledSpec, TTransEOptions, WithMethods):
    """How a structural model is trained. None means: the backbone's own recipe decides."""

    later = frozenset({"times"})
    registries: ClassVar[tuple[Registry[Any], ...]] = (BACKBONES,)

    def options(self, backbone: str) -> dict[str, Any]:
        """The options of a backbone, all of them."""
        kind = BACKBONES[backbone]
        return {key: getattr(self, key) for key in kind.options.model_fields} if kind.flat else self.method(backbone)

    dim: int = Field(default=25, ge=1, le=10_000, description="dimension of entities and relations")
    epochs: int = Field(default=12, ge=1, description="passes over both directions of the training facts")
    batch_size: int = Field(default=512, ge=1, le=10**6, description="queries a step")
    optimizer: Literal["adam", "adagrad"] | None = Field(
        default=None, description="adam or adagrad. –: the backbone's recipe"
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description="at the start; falls linearly to a tenth. –: the recipe's"
    )
    regularization: float | None = Field(
        default=None, ge=0, description="weight of the backbone's penalty. –: the recipe's"
    )
    validate_every: int = Field(default=1, ge=1, description="epochs between validations")
    times: Times = Field(
        default="interval",
        description="interval, or random-point: a training fact has one time of its interval, drawn in every epoch",
    )


class StudentSpec(TrainingSpec):
    """How a student is trained: both stages have a fixed number of epochs, so that all arms get equal updates.

    Validation selects among the epochs of stage 2 (of stage 1, if there is no stage 2).
    """

    epochs: int = Field(default=16, ge=1, description="epochs of both stages together")
    later = TrainingSpec.later | {"bits", "rounded_epochs", "codes", "gaps"}
    stage1_epochs: int = Field(
        default=8, ge=0, description="epochs of stage 1, which has only losses that act from the start, such as L1"
    )
    order: Literal["structure-first", "language-first"] = Field(
        default="structure-first",
        description="which losses come first; language-first: L2 and L3, and L1 joins in stage 2",
    )
    bits: Bits = Field(
        default=32, description="bits of a number of the entity table as it is stored, scored and exported"
    )
    rounded_epochs: int = Field(
        default=4, ge=0, description="last epochs that train through the rounding; with 3 bits or fewer"
    )
    codes: Literal["trained", "random"] = Field(
        default="trained", description="random: a control; entities keep random vectors, and all else is trained"
    )
    gaps: bool = Field(
        default=False, description="look training facts up: gaps in time add to the scores, and facts to the file"
    )

    @property
    def rounded_from(self) -> int | None:
        """The epoch from which on training goes through the rounding, counted from 0; None: it never does."""
        few = self.bits == "ternary" or self.bits <= 3
        start = max(self.epochs - self.rounded_epochs, self.stage1_epochs)  # stage 1 is shared by students of all bits
        return start if few and start < self.epochs else None

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        if self.stage1_epochs > self.epochs:
            raise ValueError(f"stage1_epochs ({self.stage1_epochs}) must not exceed epochs ({self.epochs})")
        return self


class TeacherSpec(TrainingSpec):
    """The structural teacher, or another that stands in its place."""

    registries = (BACKBONES, TEACHERS)
    later = TrainingSpec.later | {"seeds"}
    source: str = Field(default="structural", description="structural, ensemble, distilled, or a teacher of a plugin")
    backbone: str | None = Field(default=None, description="–: the student's; of lifted students tcomplex")
    dim: int = Field(default=400, ge=1, le=10_000, description="dimension of entities and relations")
    epochs: int = Field(default=12, ge=1, description="passes over both directions of the training facts, at most")
    patience: int = Field(default=2, ge=1, description="validations without a better MRR before stopping")
    seed: int = Field(default=0, ge=0, description="of initial values and batches")
    seeds: Literal["one", "student"] = Field(
        default="one",
        description="one teacher for all seeds; or student: one for each, of that seed, trained and stored",
    )


class SemanticSpec(SampledSpec, Grown):
    """The LLM teacher's head: E(p) = σ(w·LLM(p) + b) and f_LLM, trained on the graph."""

    later = frozenset({"dropout", "regularization", "frequent"})
    vectors: Literal["model", "shuffled", "random"] = Field(
        default="model", description="LLM(p); or controls: shuffled among the names, or random ones as long"
    )
    candidates: int = Field(
        default=0, ge=0, le=1_000_000, description="random entities that a step scores; 0: all entities"
    )
    # studies set 1024 of both, and the learning rate (`harness.design.settings`); 0 is what results of before had
    frequent: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="most frequent answers, scored in every step; 0: hard candidates and exact epochs instead",
    )
    dim: int = Field(default=128, ge=1, le=10_000, description="dimension of E(p)")
    components: int = Field(default=256, ge=1, le=10_000, description="principal components of LLM(p) that E(p) reads")
    epochs: int = Field(default=8, ge=1, description="passes over both directions of the training facts, at most")
    batch_size: int = Field(default=512, ge=1, le=10**6, description="queries a step")
    learning_rate: float = Field(default=0.003, gt=0, description="of Adam, at the start; falls linearly to a tenth")
    patience: int = Field(default=2, ge=1, description="validations without a better MRR before stopping")
    seed: int = Field(default=0, ge=0, description="of initial values and batches")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share of what E(p) and f_LLM read that is dropped")
    regularization: float = Field(default=0.0, ge=0, description="weight of the penalty on f_LLM's query vectors")


class LossSpec(DistanceOptions, AngleOptions, FitNetOptions, L3Options, L2Options, L1Options, SoftOptions, WithMethods):
    """The weights of L = hard·CE + soft·T²·KL + α·L2 + β·L3 (our reading; see docs/method.md), and of other losses.

    Options of the paper's losses and baselines stand here directly, those of any other loss under its name.
    """

    registries = (LOSSES,)
    hard_weight: float = Field(
        default=1.0, ge=0, le=1000, description="weight of the cross-entropy on the true answer in all distilled arms"
    )

    def of(self, name: str) -> MethodOptions:
        """The options of a loss."""
        loss = LOSSES[name]
        values = {key: getattr(self, key) for key in loss.options.model_fields} if loss.flat else self.method(name)
        return loss.options.model_validate(values)


class TrialSpec(Frozen):
    """One trial: a pure function of this and the data gives the numbers."""

    #: name of a data set, `harness.data.TemporalGraph.name` of a folder, or the path of one
    dataset: str = "lahman"
    backbone: str = "ttranse"
    arm: Arm = "none"
    seed: int = Field(default=0, ge=0)
    protocol: Protocol = Field(default="time-aware", description="which other known answers a ranking leaves out")
    # studies set train-valid (`harness.design.settings.settle`); all is what results of before it was a setting had
    validation_filter: ValidationFilter = Field(
        default="all", description="whose answers validation leaves out: train-valid, or all (those of test, too)"
    )
    time: TimeSpec = TimeSpec()
    student: StudentSpec = StudentSpec()
    loss: LossSpec = LossSpec()
    teacher: TeacherSpec = TeacherSpec()
    llm: LanguageModelConfig = LanguageModelConfig()
    semantic: SemanticSpec = SemanticSpec()
    #: digests of plugins, and of files that they read, by method; filled in by ``acting``
    outside: dict[str, str] = Field(default={})

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        if self.validation_filter == "all":
            content.pop("validation_filter", None)
        return content

    def key(self) -> str:
        """A digest of the content; data of a folder count by their digest, whatever the folder is called."""
        _, at, digest = self.dataset.rpartition("@")
        return Frozen.key(self.model_copy(update={"dataset": f"@{digest}"}) if at else self)

    @property
    def teacher_backbone(self) -> str:
        """The structural teacher's backbone: the student's own unless the spec or that backbone names another."""
        usual = BACKBONES[self.backbone].taught_by if self.backbone in BACKBONES else None
        return self.teacher.backbone or usual or self.backbone

    @property
    def has_teacher_a_seed(self) -> bool:
        """Whether each seed has a teacher of its own, which is trained and stored, and a reference row, once a seed."""
        return self.teacher.seeds == "student" and TEACHERS.named(self.teacher.source).has_model

    @property
    def has_seed(self) -> bool:
        """Whether the arm's model depends on the trial's seed; that of a reference row has settings for its own."""
        return self.arm not in REFERENCES or (self.arm == "teacher" and self.has_teacher_a_seed)

    @property
    def settled_teacher(self) -> TeacherSpec:
        """The teacher of this trial's seed: the same for all trials that share it."""
        seed = self.seed if self.has_teacher_a_seed else self.teacher.seed
        return self.teacher.model_copy(update={"backbone": self.teacher_backbone, "seed": seed, "seeds": "one"})

    @property
    def members(self) -> tuple[TrialSpec, ...]:
        """The trials whose models the teacher is made of; empty where it is one of its own."""
        source = TEACHERS.named(self.teacher.source)
        if source.members is None:
            return ()
        settled = self.settled_teacher.model_copy(update={"backbone": self.teacher.backbone})
        of_one = self.model_copy(update={"teacher": settled})
        specs = source.members(of_one, source.options.model_validate(settled.method(source.name)))
        return tuple(spec.model_copy(update={"arm": check_arm(spec.arm)}).acting() for spec in specs)

    @property
    def family(self) -> tuple[TrialSpec, ...]:
        """The members, and those that their teachers are made of."""
        return tuple(spec for member in self.members for spec in (member, *member.family))

    @property
    def teacher_has_vectors(self) -> bool:
        """Whether the teacher's scores are those of vectors, which students may read."""
        if self.is_reranked or not TEACHERS.named(self.teacher.source).has_model:
            return False
        return not any(one.arm in WITHOUT_VECTORS or one.student.gaps for one in self.members)

    @property
    def has_teacher(self) -> bool:
        """Whether the trial stands on the structural teacher, or on what is in its place."""
        return self.arm == "teacher" or bool(self.needs & {"teacher", "entities"})

    @property
    def is_reranked(self) -> bool:
        """Whether a language model reranks for that teacher."""
        return self.has_teacher and bool(TEACHERS.named(self.teacher.source).reads)

    @property
    def has_language_model(self) -> bool:
        """Whether a language model reads for the trial itself."""
        return self.arm == "llm-teacher" or "llm" in self.needs or self.is_reranked

    @property
    def teacher_backbones(self) -> list[str]:
        """The backbones of the teacher, or of those that it is made of."""
        return _backbones((self, *self.family))

    @property
    def parts(self) -> tuple[str, ...]:
        """The losses of the arm, see ``parts_of``."""
        return parts_of(self.arm)

    @property
    def reads_names(self) -> bool:
        """Whether a language model reads the names of entities, for the trial or for one of its family."""
        return any(one.has_language_model for one in (self, *self.family))

    @property
    def has_reference(self) -> bool:
        """Whether the arm's model is there to be scored: that of a teacher from outside is not."""
        return self.arm != "teacher" or TEACHERS.named(self.teacher.source).has_model

    @property
    def needs(self) -> frozenset[str]:
        """What the losses of the arm need of teachers: ``teacher``, ``entities``, ``llm`` ..."""
        return needs_of(self.parts) | ({"entities"} if self.is_fused else set())

    @property
    def first_parts(self) -> tuple[str, ...]:
        """The losses that act in stage 1."""
        if self.is_reversed:
            return tuple(part for part in self.parts if part != "L1")
        return tuple(part for part in self.parts if LOSSES[part].acts == "from the start")

    @property
    def is_joint(self) -> bool:
        """Whether all losses act from the first epoch on: then there is one stage only."""
        return self.first_parts == self.parts and self.parts not in ((), ("L1",))

    @property
    def is_reversed(self) -> bool:
        """Whether the losses of stage 2 come first, and L1 later."""
        later = any(LOSSES[part].acts == "stage 2" for part in self.parts)
        is_asked = self.student.order == "language-first" and self.student.stage1_epochs > 0
        return "L1" in self.parts and later and is_asked

    @property
    def is_fused(self) -> bool:
        """Whether L2's targets have a share of the structural teacher's scores."""
        return "L2" in self.parts and self.loss.fusion > 0

    @property
    def shares_stage1(self) -> bool:
        """Whether this is a student with a stage 1 that other arms have as well: of L1 alone, or without teachers."""
        is_shared = self.first_parts in ((), ("L1",)) and not self.is_reversed
        return self.arm not in REFERENCES and self.student.stage1_epochs > 0 and is_shared

    @property
    def stage1_of_its_own(self) -> bool:
        """Whether stage 1 has some of the losses, and no other arm has the same."""
        return self.student.stage1_epochs > 0 and not self.shares_stage1 and not self.is_joint and bool(self.parts)

    def acting(self) -> Self:
        """This trial with all settings at their defaults that do not act in its arm: one spec for equal trials.

        What acts follows from the losses: their own options, but for those that are idle, and those of what they need.
        """
        parts, loss, needs = self.parts, self.loss, self.needs
        kept = {"hard_weight"} if parts else set()
        for part in parts:
            if LOSSES[part].flat:
                kept |= LOSSES[part].options.model_fields.keys() - loss.of(part).idle()
        if "teacher" in needs:
            kept |= SoftOptions.model_fields.keys()
        if "llm" in needs:
            kept |= {"targets"}
        plain = {key: getattr(loss, key) for key in kept}
        settled = LossSpec(**plain, methods=loss.stored(*parts))
        student = StudentSpec() if self.arm in REFERENCES else self.student.with_methods(self.backbone)
        if not self.is_reversed:
            student = student.model_copy(update={"order": "structure-first"})
        start = student.rounded_from
        rounded = StudentSpec.model_fields["rounded_epochs"].default if start is None else student.epochs - start
        student = student.model_copy(update={"rounded_epochs": rounded})
        teacher = self.teacher if self.has_teacher else TeacherSpec()
        if teacher.seeds == "student":
            teacher = teacher.model_copy(update={"seed": TeacherSpec.model_fields["seed"].default})
        source = TEACHERS.named(teacher.source)
        family = self.family if self.has_teacher else ()  # once: each of them has to find its own
        everybody: tuple[TrialSpec, ...] = (self, *family)
        if source.members is not None:
            everybody = (self, *family)
            teacher = teacher.with_methods(
                *sorted({*_backbones(everybody), *(one.teacher.source for one in everybody)})
            )
        elif source.has_model:
            teacher = teacher.with_methods(self.teacher_backbone)
        else:  # it is not trained here, and has no vectors
            teacher = TeacherSpec(source=teacher.source, methods=teacher.stored(teacher.source))
        if "teacher" in needs and not self.teacher_has_vectors:
            settled = settled.model_copy(update={"others": "merged"})
        language = any(one.has_language_model for one in everybody)
        return self.model_copy(
            update={
                "student": student,
                "loss": settled,
                "teacher": teacher,
                "llm": self.llm if language else LanguageModelConfig(),
                "semantic": self.semantic if language else SemanticSpec(),
                "outside": self._outside(family),
            }
        )

    def _outside(self, family: tuple[TrialSpec, ...]) -> dict[str, str]:
        """Digests of what the methods of this trial and its family have from outside the package, by method."""
        methods: list[tuple[Registry[Any], str]] = [(LOSSES, part) for part in self.parts]
        methods += [(BACKBONES, self.backbone)]
        if self.has_teacher and TEACHERS.named(self.teacher.source).has_model:
            methods += [(BACKBONES, name) for name in _backbones((self, *family))]
        origins: Iterator[tuple[str, Plugin | None]] = ((name, registry.origin(name)) for registry, name in methods)
        digests = {name: digest for one in family for name, digest in one.outside.items()}
        digests |= {name: plugin.digest for name, plugin in origins if plugin is not None}
        source = TEACHERS.named(self.teacher.source)
        if self.has_teacher and not source.has_model:
            plugin, options = TEACHERS.origin(source.name), self.teacher.method(source.name)
            content = source.content(source.options.model_validate(options))
            digests[source.name] = f"{'' if plugin is None else plugin.digest}-{content[:16]}"
        return digests


def _backbones(specs: tuple[TrialSpec, ...]) -> list[str]:
    """The backbones of the teachers of a trial and its family, and of the family."""
    trained = (one.teacher_backbone for one in specs if TEACHERS.named(one.teacher.source).members is None)
    return sorted({*trained, *(one.backbone for one in specs[1:])})
