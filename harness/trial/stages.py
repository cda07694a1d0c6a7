"""The stages of a trial that others share, read from the cache or built into it: teachers, targets, stage 1 ..."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from harness.distill.alignment import Alignment, ScoreTargets, with_outliers
from harness.distill.hints import Hint
from harness.distill.objective import Distillation
from harness.distill.relational import Relations, angles, distances
from harness.distill.response import SoftTargets, TeacherVectors
from harness.distill.seeds import derive_seed
from harness.distill.semantic import SemanticAdapter
from harness.distill.stacked import Student
from harness.distill.step import Term
from harness.distill.trainer import Report, Schedule, Trained, train
from harness.models import BACKBONES, Backbone, Recipe
from harness.registry import Plugin
from harness.teachers import encode, lora, targets
from harness.teachers.semantic import SemanticScorer, control, whiten
from harness.trial.cache import Built, Cache, Entry
from harness.trial.inputs import inputs
from harness.trial.keys import Plan
from harness.trial.spec import STRUCTURAL, TeacherSpec, TrainingSpec, TrialSpec

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Context:
    """Where a trial runs; nothing in here but ``device`` may change a number, and ``stack`` may change its rounding.

    ``stack``: how many students of equal shape a worker trains side by side, at most. ``report`` is called with a
    stage's name, the fraction of it that is done, and the latest validation MRR or None. ``plugins`` are what a worker
    loads first.
    """

    cache_dir: Path
    data_dir: Path | None = None
    device: str = "cpu"
    stack: int = 1
    report: Callable[[str, float, float | None], None] = field(default=lambda stage, done, metric: None, compare=False)
    plugins: tuple[Plugin, ...] = ()


class Stages:
    """The shared stages of one trial. Each is made from the others on demand, whichever is asked for first."""

    def __init__(self, spec: TrialSpec, context: Context) -> None:
        self.spec, self.context = spec, context
        self.cache = Cache(context.cache_dir)
        self.inputs = inputs(spec.dataset, context.data_dir, spec.time, spec.protocol, context.device)
        self.graph = self.inputs.graph
        self.plan = Plan.of(spec, self.graph.digest, context.device)
        #: the stages that were looked up, by name
        self.entries: dict[str, Entry] = {}

    def build(self, name: str) -> None:
        """Make sure that the shared stage ``name`` is in the cache."""
        make: dict[str, Callable[[], object]] = {
            "teacher": self.teacher,
            "finetune": self.adapter,
            "encode": self.vectors,
            "semantic": self.semantic,
            "llm-targets": self.llm_targets,
            "targets": self.soft_targets,
            "teacher-vectors": self.teacher_vectors,
            "stage1": self.stage1,
        }
        make[name]()

    def is_cached(self, name: str) -> bool:
        """Whether the shared stage lies in the cache; its content is checked when it is read."""
        return self.cache.has(name, self.plan.keys[name])

    def build_seconds(self, name: str) -> float:
        """What the shared stage cost when it was built."""
        entry = self.entries.get(name)
        meta = entry.meta if entry is not None else self.cache.meta(name, self.plan.keys[name])
        return float(meta.get("build_seconds", float("nan")))

    def _get(self, name: str, build: Callable[[], Built]) -> Entry:
        if name not in self.entries:
            self.entries[name] = self.cache.get_or_build(name, self.plan.keys[name], build)
        return self.entries[name]

    def _report(self, stage: str) -> Report:
        return lambda done, metric: self.context.report(stage, done, metric)

    def _fraction(self, stage: str) -> Callable[[float], None]:
        return lambda done: self.context.report(stage, done, None)

    # ---- training --------------------------------------------------------------------------------------------------

    def new_model(self, backbone: str, training: TrainingSpec, seed: int) -> Backbone:
        """A fresh model; its initial values depend on data, backbone, dimension and seed, not on the arm."""
        kind = BACKBONES[backbone]
        options = {name: getattr(training, name) for name in kind.options}
        sizes = len(self.graph.entities), len(self.graph.relations), self.inputs.n_times(kind.time_input)
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed("init", self.graph.digest, backbone, training.dim, seed))
            model = kind(*sizes, training.dim, **options)
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
        fast = "L2" in parts and loss.alignment == "huber"
        return Distillation(
            hard_weight=loss.hard_weight,
            regularization=penalty,
            soft=self.soft_targets() if "L1" in parts else None,
            soft_weight=loss.soft_weight,
            aligned=self.score_targets() if fast else None,
            alpha=loss.alpha,
            delta=loss.delta,
            adapter=self.semantic_adapter(model) if "L3" in parts else None,
            beta=loss.beta,
            semantic_share=loss.semantic_share,
            extras={name: term for part in parts for name, term in self._extra(model, part).items()},
        )

    def _extra(self, model: Backbone, part: str) -> dict[str, tuple[float, Term]]:
        """The term of a part of the loss that the fast paths do not know, with its weight, by name."""
        loss, most = self.spec.loss, self.spec.loss.relational_entities
        if part == "L2" and loss.alignment != "huber":
            return {"l2": (loss.alpha, Alignment(self.score_targets(), loss.alignment))}
        if part not in STRUCTURAL:
            return {}
        vectors = self.teacher().entity_table().detach()
        if part == "FitNet":
            dim = model.entity_table().shape[1]
            return {"fitnet": (loss.fitnet, self._seeded("hint", dim, lambda: Hint(vectors, dim)))}
        if part == "RKD-D":
            return {"rkd_distance": (loss.rkd_distance, Relations(distances, vectors, most))}
        return {"rkd_angle": (loss.rkd_angle, Relations(angles, vectors, most))}

    def _seeded(self, what: str, dim: int, make: Callable[[], M]) -> M:
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
        span = {"first": first, "last": last}
        schedule = self.schedule(spec, model.student_recipe, self.spec.seed, listed="L1" in parts, **span)
        return Student(model, self.distillation(model, parts), replace(schedule, select_from=select_from), resume)

    def train(self, student: Student, stage: str) -> Trained:
        """Train a student alone.

        Raises:
            DivergedError: if its loss or validation MRR is not finite.
        """
        return train(
            student.model,
            self.inputs.training(student.model.time_input),
            student.loss,
            student.schedule,
            self.inputs.validator(student.model.time_input),
            auxiliary=student.loss.auxiliary(),
            resume=student.resume,
            report=self._report(stage),
        )

    # ---- teachers --------------------------------------------------------------------------------------------------

    def teacher(self) -> Backbone:
        """The structural teacher, trained with early stopping; its best state by validation MRR."""
        spec = self.spec.teacher
        model = self.new_model(self.spec.teacher_backbone, spec, spec.seed)

        def build() -> Built:
            recipe = model.teacher_recipe
            penalty = recipe.regularization if spec.regularization is None else spec.regularization
            trained = train(
                model,
                self.inputs.training(model.time_input),
                Distillation(regularization=penalty),
                self.schedule(spec, recipe, spec.seed),
                self.inputs.validator(model.time_input),
                report=self._report("teacher"),
            )
            return trained.best, summary(trained)

        model.load_state_dict(self._get("teacher", build).tensors)
        return model.eval()

    def adapter(self) -> dict[str, torch.Tensor] | None:
        """The language model's LoRA weights; None if it is not fine-tuned."""
        if self.spec.llm.finetune == "none":
            return None
        found = self._get("finetune", lambda: lora.finetune(self.graph, self.spec.llm, self._fraction("finetune")))
        return found.tensors

    def vectors(self) -> dict[str, torch.Tensor]:
        """LLM(p): ``entities`` [E, d] and ``relations`` [2R, d]."""
        adapter = None if self.is_cached("encode") else self.adapter()

        def build() -> Built:
            return encode.encode(self.graph, self.spec.llm, adapter, self._fraction("encode"))

        return self._get("encode", build).tensors

    def semantic(self) -> SemanticScorer:
        """f_LLM with its encodings E(p), trained on the graph with early stopping."""
        spec, vectors = self.spec.semantic, self.vectors()
        if spec.vectors != "model":
            vectors = {n: control(v, spec.vectors, derive_seed("control", n, spec.seed)) for n, v in vectors.items()}
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed("semantic", self.graph.digest, spec.seed))
            model = SemanticScorer(
                whiten(vectors["entities"], spec.components),
                whiten(vectors["relations"], spec.components),
                self.inputs.n_times("classes"),
                spec.dim,
            ).to(self.context.device)

        def build() -> Built:
            trained = train(
                model,
                self.inputs.training("classes"),
                Distillation(),
                Schedule(
                    epochs=spec.epochs,
                    batch_size=spec.batch_size,
                    optimizer="adam",
                    learning_rate=spec.learning_rate,
                    seed=derive_seed("order", self.graph.digest, spec.seed),
                    sampling=spec.sampling(),
                    patience=spec.patience,
                ),
                self.inputs.validator("classes"),
                report=self._report("semantic"),
            )
            return trained.best, summary(trained)

        model.load_state_dict(self._get("semantic", build).tensors)
        return model.eval()

    # ---- targets ---------------------------------------------------------------------------------------------------

    def soft_targets(self) -> SoftTargets:
        """The structural teacher's distribution at the spec's temperature."""
        loss = self.spec.loss

        def build() -> Built:
            teacher = self.teacher()
            found = targets.soft_targets(
                teacher,
                self.inputs.training(teacher.time_input),
                loss.temperature,
                loss.targets,
                self._fraction("targets"),
            )
            return {"ids": found.ids, "log_p": found.log_p, "log_rest": found.log_rest}, {}

        entry, device = self._get("targets", build).tensors, self.context.device
        ids, log_p, log_rest = (entry[name].to(device) for name in ("ids", "log_p", "log_rest"))
        vectors = self.teacher_vectors() if loss.others == "estimated" else None
        return SoftTargets(ids, log_p, log_rest, loss.temperature, vectors)

    def teacher_vectors(self) -> TeacherVectors:
        """What gives the structural teacher's score of any entity for a training query."""

        def build() -> Built:
            teacher = self.teacher()
            found = targets.teacher_vectors(teacher, self.inputs.training(teacher.time_input))
            tensors = {name: getattr(found, name) for name in ("query", "table", "scale", "gold")}
            return tensors, {"kernel": found.kernel}

        entry = self._get("teacher-vectors", build)
        tensors = {name: tensor.to(self.context.device) for name, tensor in entry.tensors.items()}
        return TeacherVectors(**tensors, kernel=entry.meta["kernel"])

    def llm_targets(self) -> dict[str, torch.Tensor]:
        """The LLM teacher's predictions (``ids``, ``scores``) and encodings (``entities``, ``relations``)."""

        def build() -> Built:
            scorer = self.semantic()
            found = targets.score_targets(
                scorer,
                self.inputs.training("classes"),
                self.spec.loss.targets,
                derive_seed("llm-targets", self.graph.digest),
                self._fraction("llm-targets"),
            )
            if self.plan.fused:
                teacher = self.teacher()
                asked = self.inputs.training(teacher.time_input)
                found = targets.fused(found, teacher, asked, self.spec.loss.fusion)
            with torch.no_grad():
                entities, relations = (part.cpu().clone() for part in scorer.encodings())
            return {"ids": found.ids, "scores": found.scores, "entities": entities, "relations": relations}, {}

        return self._get("llm-targets", build).tensors

    def score_targets(self) -> ScoreTargets:
        """The LLM teacher's predictions P(p)."""
        entry, device, loss = self.llm_targets(), self.context.device, self.spec.loss
        found = ScoreTargets(entry["ids"].to(device), entry["scores"].to(device))
        if loss.outliers:
            seed = derive_seed("outliers", self.graph.digest, self.spec.seed)
            found = with_outliers(found, loss.outliers, loss.outlier_size, seed)
        return found

    def semantic_adapter(self, student: Backbone) -> SemanticAdapter:
        """The encodings E(p) with fresh maps to the student's space, which depend on the seed alone."""
        entry = self.llm_targets()
        dim = student.entity_table().shape[1]
        return self._seeded("adapter", dim, lambda: SemanticAdapter(entry["entities"], entry["relations"], dim))

    # ---- stage 1 ---------------------------------------------------------------------------------------------------

    def stage1_student(self) -> Student:
        """The student before stage 1."""
        parts = [part for part in self.spec.parts if part == "L1"]
        return self.student(parts, first=0, last=self.spec.student.stage1_epochs)

    def stage1(self, stacked: Trained | None = None) -> Entry:
        """The student after stage 1; the same for all arms of a seed that have L1, or have not, and branch from it.

        ``stacked`` is that student if it was trained in a stack.
        """

        def build() -> Built:
            trained = stacked or self.train(self.stage1_student(), "stage1")
            parts = {"best": trained.best, "last": trained.last, "optimizer": trained.optimizer}
            cost = {"build_seconds": stacked.curve[-1]["seconds"]} if stacked else {}
            return {f"{k}/{n}": v for k, state in parts.items() for n, v in state.items()}, summary(trained) | cost

        return self._get("stage1", build)


def summary(trained: Trained) -> dict[str, object]:
    """What a cached training keeps besides its weights."""
    return {
        "best_mrr": trained.best_mrr,
        "best_epoch": trained.best_epoch,
        "updates": trained.updates,
        "curve": trained.curve,
    }
