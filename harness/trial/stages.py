"""What a trial is made of: models, objectives and schedules from its spec, and shared stages from the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from harness.distill.losses import LOSSES
from harness.distill.losses.l2 import with_outliers
from harness.distill.seeds import derive_seed
from harness.distill.targets import ScoreTargets, SoftTargets, TeacherVectors
from harness.distill.training.loop import Report, Schedule, Trained, train
from harness.distill.training.objective import Distillation
from harness.distill.training.stacks import Student
from harness.evaluate import RankTask
from harness.models import BACKBONES, Backbone, Recipe
from harness.registry import Plugin
from harness.teachers import TEACHERS
from harness.teachers.gaps import BesideGaps, Gaps
from harness.teachers.language.neighbourhood import Neighbourhood
from harness.teachers.recurrence import Recurrence
from harness.teachers.semantic import SemanticScorer, control, whiten
from harness.trial.arms import REFERENCES
from harness.trial.cache import Cache, Entry, digest
from harness.trial.inputs import inputs
from harness.trial.keys import Plan
from harness.trial.shared.stage import ENGINE, STAGES, backbone_version
from harness.trial.spec import TeacherSpec, TrainingSpec, TrialSpec

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Context:
    """Where a trial runs; nothing in here but ``device`` may change a number, and ``stack`` may change its rounding.

    ``stack``: how many students of equal shape a worker trains side by side, at most. ``plugins``: what a worker loads
    before it reads a spec. ``folder``: where the data lie, unless they are found by their name. ``report`` is called
    with a stage's name, the fraction of it that is done, and the latest validation MRR or None.
    """

    cache_dir: Path
    data_dir: Path | None = None
    device: str = "cpu"
    stack: int = 1
    plugins: tuple[Plugin, ...] = ()
    folder: Path | None = None
    report: Callable[[str, float, float | None], None] = field(default=lambda stage, done, metric: None, compare=False)

    def source(self, dataset: str) -> str:
        """What `harness.data.load` gets for a trial's data set."""
        return str(self.folder) if self.folder is not None and self.folder.is_dir() else dataset


class Stages:
    """The shared stages of one trial, and what is made of them. Each is read from the cache, or built into it.

    ``stacked``: the student of stage 1, if it was trained in a stack.
    """

    def __init__(self, spec: TrialSpec, context: Context, stacked: Trained | None = None) -> None:
        self.spec, self.context, self.stacked = spec, context, stacked
        self.cache = Cache(context.cache_dir)
        source = context.source(spec.dataset)
        self.inputs = inputs(source, context.data_dir, spec.time, spec.protocol, context.device, spec.validation_filter)
        self.graph = self.inputs.graph
        self.plan = Plan.of(spec, self.graph.digest, context.device)
        #: the stages that were looked up, by name
        self.entries: dict[str, Entry] = {}

    def entry(self, name: str) -> Entry:
        """The content of a shared stage, built if the cache lacks it."""
        if name not in self.entries:
            build = partial(STAGES[name].build, self)
            self.entries[name] = self.cache.get_or_build(name, self.plan.keys[name], build)
        return self.entries[name]

    def is_cached(self, name: str) -> bool:
        """Whether the shared stage lies in the cache; its content is checked when it is read."""
        return self.cache.has(name, self.plan.keys[name])

    def build_seconds(self, name: str) -> float:
        """What the shared stage cost when it was built."""
        entry = self.entries.get(name)
        meta = entry.meta if entry is not None else self.cache.meta(name, self.plan.keys[name])
        return float(meta.get("build_seconds", float("nan")))

    def student_key(self) -> str:
        """What identifies the state of the trained student."""
        parts = [LOSSES[part].version for part in self.spec.parts]
        code = [ENGINE, backbone_version(self.spec.backbone), parts, self.spec.outside]
        code += [TEACHERS["ensemble"].version] if self.spec.student.gaps else []  # which weighs gaps
        return digest(self.spec.key(), self.graph.digest, self.context.device, list(self.plan.keys.values()), code)

    def report(self, stage: str) -> Report:
        """A function that reports the progress of a training."""
        return lambda done, metric: self.context.report(stage, done, metric)

    def fraction(self, stage: str) -> Callable[[float], None]:
        """A function that reports the fraction of a stage that is done."""
        return lambda done: self.context.report(stage, done, None)

    # ---- training --------------------------------------------------------------------------------------------------

    def new_model(self, backbone: str, training: TrainingSpec, seed: int) -> Backbone:
        """A fresh model; its initial values depend on data, backbone, dimension and seed, not on the arm."""
        kind = BACKBONES[backbone]
        sizes = len(self.graph.entities), len(self.graph.relations), self.inputs.n_times(kind.time_input)
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed("init", self.graph.digest, backbone, training.dim, seed))
            model = kind(*sizes, training.dim, **training.options(backbone))
        return model.to(self.context.device)

    def schedule(
        self,
        training: TrainingSpec,
        recipe: Recipe,
        seed: int,
        *,
        listed: bool = False,
        first: int = 0,
        last: int | None = None,
    ) -> Schedule:
        """Epochs ``first`` to ``last`` (excluded; None: all) of a training. Only teachers stop early: arms of a study
        get equal numbers of updates. ``listed``: a teacher names each query's hard candidates."""
        return Schedule(
            epochs=(training.epochs if last is None else last) - first,
            batch_size=training.batch_size,
            optimizer=training.optimizer or recipe.optimizer,
            learning_rate=training.learning_rate or recipe.learning_rate,
            seed=derive_seed("order", self.graph.digest, seed),
            first_epoch=first,
            total_epochs=training.epochs,
            sampling=training.sampling(listed=listed),
            validate_every=training.validate_every,
            patience=training.patience if isinstance(training, TeacherSpec) else None,
        )

    def distillation(self, model: Backbone, parts: Sequence[str]) -> Distillation:
        """The loss of a student with these parts; without any, the cross-entropy of the undistilled one."""
        spec, loss = self.spec.student, self.spec.loss
        penalty = model.student_recipe.regularization if spec.regularization is None else spec.regularization
        if not parts:
            return Distillation(regularization=penalty)
        given = _Given(self, model, parts)
        prepared = {part: LOSSES[part].prepare(given, loss.of(part)) for part in parts}
        fields: dict[str, Any] = {}
        for part_of_total in prepared.values():
            fields |= {} if callable(part_of_total) else part_of_total
        terms = {part: part_of_total for part, part_of_total in prepared.items() if callable(part_of_total)}
        if "soft" not in fields and any("teacher" in LOSSES[part].needs for part in parts):
            fields["distribution"] = self.soft_targets()
        return Distillation(hard_weight=loss.hard_weight, regularization=penalty, terms=terms, **fields)

    def seeded(self, what: str, dim: int, make: Callable[[], M]) -> M:
        """A module whose initial values depend on data, dimension and seed alone."""
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed(what, self.graph.digest, dim, self.spec.seed))
            return make().to(self.context.device)

    def student(
        self, parts: Sequence[str], *, first: int, last: int, resume: Trained | None = None, select_from: int = 0
    ) -> Student:
        """A student before epochs ``first`` to ``last`` (excluded) with these parts of the loss."""
        spec = self.spec.student
        model = self.new_model(self.spec.backbone, spec, self.spec.seed)
        if spec.codes == "random":
            self.fix_codes(model)
        elif resume is None and self.starts_from_teacher:
            model.start_from(self.teacher())
        span = {"first": first, "last": last}
        schedule = self.schedule(spec, model.student_recipe, self.spec.seed, listed="L1" in parts, **span)
        if last == spec.epochs and spec.rounded_from is not None:  # only states that know the rounding compete
            rounded_from = max(spec.rounded_from, first)
            select_from = max(select_from, rounded_from)
            schedule = replace(schedule, bits=spec.bits, rounded_from=rounded_from)
        return Student(model, self.distillation(model, parts), replace(schedule, select_from=select_from), resume)

    def fix_codes(self, model: Backbone) -> None:
        """Give entities random vectors of length about 1, which no training changes."""
        n, dim = model.entity.weight.shape
        codes = self.seeded("codes", dim, lambda: nn.Embedding(n, dim))
        with torch.no_grad():
            model.entity.weight.copy_(codes.weight / dim**0.5)
        model.entity.weight.requires_grad_(False)

    @property
    def starts_from_teacher(self) -> bool:
        """Whether the student's initial values are its teacher's: in arms whose first losses have one, since a stage 1
        without a teacher is the same for all that share it."""
        can = BACKBONES[self.spec.backbone].start_from is not Backbone.start_from
        has_model = TEACHERS[self.spec.teacher.source].has_model
        return can and has_model and any("teacher" in LOSSES[part].needs for part in self.spec.first_parts)

    def train(self, student: Student, stage: str) -> Trained:
        """Train a student alone.

        Raises:
            DivergedError: if its loss or validation MRR is not finite.
        """
        return train(
            student.model,
            self.inputs.training(student.model.time_input, self.spec.student.times),
            student.loss,
            student.schedule,
            self.inputs.validator(student.model.time_input),
            auxiliary=student.loss.auxiliary(),
            resume=student.resume,
            report=self.report(stage),
        )

    def stage1_student(self) -> Student:
        """The student before a stage 1 that arms share."""
        return self.student(self.spec.first_parts, first=0, last=self.spec.student.stage1_epochs)

    # ---- teachers --------------------------------------------------------------------------------------------------

    def new_teacher(self) -> Backbone:
        """The structural teacher before training, or what stands in its place without its weights."""
        source = TEACHERS[self.spec.teacher.source]
        if source.compose is None:
            return self.new_model(self.spec.teacher_backbone, self.spec.teacher, self.spec.settled_teacher.seed)
        return self.composed([Stages(one, self.context).new_scored() for one in self.spec.members], None)

    def composed(self, models: Sequence[Backbone], validation: RankTask | None) -> Backbone:
        """The teacher that is made of these models; ``validation`` are queries that weights are fitted on."""
        source = TEACHERS[self.spec.teacher.source]
        assert source.compose is not None
        options = source.options.model_validate(self.spec.teacher.method(source.name))
        read = [self.entry(source.reads).tensors] if source.reads else []
        return source.compose(models, options, validation, self.inputs.timeline, *read)

    def new_scored(self) -> Backbone:
        """The model that the trial's arm is scored with, before training."""
        references: dict[str, Callable[[], Backbone]] = {
            "teacher": self.new_teacher,
            "llm-teacher": self.new_semantic,
            "gaps": partial(Gaps.of, self.graph),
            "recurrence": partial(Recurrence, self.graph),
        }
        if self.spec.arm in references:
            return references[self.spec.arm]()
        model = self.new_model(self.spec.backbone, self.spec.student, self.spec.seed)
        return BesideGaps(model, Gaps.of(self.graph), self.inputs.timeline) if self.spec.student.gaps else model

    def teacher(self) -> Backbone:
        """The trained structural teacher."""
        model = self.new_teacher()
        model.load_state_dict(self.entry("teacher").tensors)
        return model.to(self.context.device).eval()

    def adapter(self) -> dict[str, Tensor] | None:
        """The language model's LoRA weights; None if it is not fine-tuned."""
        return self.entry("finetune").tensors if "finetune" in self.plan.keys else None

    def new_semantic(self) -> SemanticScorer:
        """f_LLM before training, over the language model's vectors, or over controls in their place."""
        spec, vectors = self.spec.semantic, self.entry("encode").tensors
        if spec.vectors != "model":
            vectors = {n: control(v, spec.vectors, derive_seed("control", n, spec.seed)) for n, v in vectors.items()}
        white = {name: whiten(part, spec.components) for name, part in vectors.items()}
        stated = Neighbourhood(self.graph, white["statements"]) if "statements" in white else None
        sizes = self.inputs.n_times("classes"), spec.dim
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed("semantic", self.graph.digest, spec.seed))
            scorer = SemanticScorer(white["entities"], white["relations"], *sizes, stated, spec.dropout)
        return scorer.to(self.context.device)

    def semantic(self) -> SemanticScorer:
        """f_LLM with its encodings E(p), trained on the graph."""
        model = self.new_semantic()
        model.load_state_dict(self.entry("semantic").tensors)
        return model.eval()

    def reference(self) -> Backbone:
        """The trained model of a reference row."""
        model = self.new_scored()
        model.load_state_dict(self.entry(REFERENCES[self.spec.arm]).tensors)
        return model.to(self.context.device).eval()

    # ---- targets ---------------------------------------------------------------------------------------------------

    def soft_targets(self) -> SoftTargets:
        """The teacher's distribution over entities at the spec's temperature."""
        tensors, device = self.entry("targets").tensors, self.context.device
        ids, log_p, log_rest = (tensors[name].to(device) for name in ("ids", "log_p", "log_rest"))
        vectors = self.teacher_vectors() if "teacher-vectors" in self.plan.keys else None
        return SoftTargets(ids, log_p, log_rest, self.spec.loss.temperature, vectors)

    def teacher_vectors(self) -> TeacherVectors:
        """What gives the structural teacher's score of any entity for a training query."""
        entry = self.entry("teacher-vectors")
        tensors = {name: tensor.to(self.context.device) for name, tensor in entry.tensors.items()}
        return TeacherVectors(**tensors, kernel=entry.meta["kernel"])

    def score_targets(self) -> ScoreTargets:
        """The LLM teacher's predictions P(p)."""
        tensors, device, loss = self.entry("llm-targets").tensors, self.context.device, self.spec.loss
        scored = ScoreTargets(tensors["ids"].to(device), tensors["scores"].to(device))
        if loss.outliers:
            seed = derive_seed("outliers", self.graph.digest, self.spec.seed)
            scored = with_outliers(scored, loss.outliers, loss.outlier_size, seed)
        return scored


class _Given:
    """What losses may ask for before training, see `harness.distill.losses.Given`."""

    def __init__(self, stages: Stages, model: Backbone, parts: Sequence[str]) -> None:
        self.stages, self.parts = stages, parts
        self.n_entities, self.dim = (int(size) for size in model.entity_table().shape)
        self.relation_dim = int(model.relation_table().shape[1])

    def soft_targets(self) -> SoftTargets:
        self._declared("teacher")
        return self.stages.soft_targets()

    def teacher_entities(self) -> Tensor:
        self._declared("entities")
        return self.stages.teacher().entity_table().detach()

    def score_targets(self) -> ScoreTargets:
        self._declared("llm")
        return self.stages.score_targets()

    def encodings(self) -> tuple[Tensor, Tensor]:
        self._declared("llm")
        tensors = self.stages.entry("llm-targets").tensors
        return tensors["entities"], tensors["relations"]

    def seeded(self, name: str, make: Callable[[], M]) -> M:
        return self.stages.seeded(name, self.dim, make)

    def _declared(self, need: str) -> None:
        if not any(need in LOSSES[part].needs for part in self.parts):
            raise LookupError(f"a loss of {'+'.join(self.parts)} asks for {need!r}, which none declares in needs")


def summary(trained: Trained) -> dict[str, object]:
    """What a cached training keeps besides its weights."""
    return {
        "best_mrr": trained.best_mrr,
        "best_epoch": trained.best_epoch,
        "updates": trained.updates,
        "curve": trained.curve,
    }
