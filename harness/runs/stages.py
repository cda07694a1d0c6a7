"""The stages of a trial that others share: teachers, vectors, targets and stage 1, each keyed by what determines it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor

from harness import evaluate
from harness.data import (
    KnownAnswers,
    Queries,
    TemporalGraph,
    Timeline,
    both_directions,
    dates,
    graph,
    known,
    load,
    timeline,
)
from harness.distill import alignment, objective, response, semantic, softmax, trainer
from harness.distill.alignment import ScoreTargets
from harness.distill.objective import Distillation
from harness.distill.response import SoftTargets
from harness.distill.trainer import Report, Schedule, Trained, derive_seed, train
from harness.models import BACKBONES, Backbone, Recipe, base, batch
from harness.models.batch import QueryTensors
from harness.runs.cache import Built, Cache, Entry, code_version, digest
from harness.runs.spec import StudentSpec, TeacherSpec, TrainingSpec, TrialSpec
from harness.teachers import encode, language_model, lora, targets, texts
from harness.teachers import semantic as semantic_teacher
from harness.teachers.semantic import SemanticScorer, whiten

#: components of the language model's vectors that f_LLM reads
_COMPONENTS = 256


@dataclass(frozen=True)
class Context:
    """Where a trial runs; nothing in here may change a number."""

    cache_dir: Path
    data_dir: Path | None = None
    device: str = "cpu"
    report: Callable[[str, float, float | None], None] = field(default=lambda stage, done, metric: None, compare=False)


@lru_cache(maxsize=2)
def load_graph(name: str, data_dir: Path | None, _working_directory: str) -> TemporalGraph:
    return load(name, data_dir)


@lru_cache(maxsize=1)
def _core_code() -> str:
    return code_version(base, batch, softmax, response, objective, trainer, evaluate, graph, dates, timeline, known)


class Stages:
    """The shared stages of one trial: each property is read from the cache or built into it."""

    def __init__(self, spec: TrialSpec, context: Context) -> None:
        self.spec, self.context = spec, context
        self.cache = Cache(context.cache_dir)
        self.graph = load_graph(spec.dataset, context.data_dir, os.getcwd())
        self.built: dict[str, Entry] = {}

    # ---- data as tensors -------------------------------------------------------------------------------------------

    @cached_property
    def timeline(self) -> Timeline:
        return Timeline.build(self.graph, self.spec.time.classes, self.spec.time.size)

    @cached_property
    def known(self) -> KnownAnswers:
        return KnownAnswers(self.graph)

    def queries(self, split: str) -> Queries:
        return both_directions(self.graph.splits[split], len(self.graph.relations))

    def training(self, time_input: str) -> QueryTensors:
        return evaluate.query_tensors(self.queries("train"), self.timeline, time_input).to(self.context.device)

    def task(self, split: str, time_input: str) -> evaluate.RankTask:
        built = evaluate.RankTask.build(self.queries(split), self.known, self.timeline, time_input, self.spec.protocol)
        return built.to(self.context.device)

    def validator(self, time_input: str) -> Callable[[Backbone], float]:
        task = self.task("valid", time_input)
        return lambda model: evaluate.metrics(evaluate.ranks(model, task))["mrr"]

    # ---- models ----------------------------------------------------------------------------------------------------

    def new_model(self, backbone: str, dim: int, seed: int) -> Backbone:
        """A fresh model; initialisation depends on data, backbone, dimension and seed, not on the arm."""
        kind = BACKBONES[backbone]
        n_times = self.timeline.n_classes if kind.time_input == "classes" else self.timeline.n_tokens
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed("init", self.graph.digest, backbone, dim, seed))
            model = kind(len(self.graph.entities), len(self.graph.relations), n_times, dim)
        return model.to(self.context.device)

    def schedule(self, training: TrainingSpec, recipe: Recipe, seed: int, **changes: object) -> Schedule:
        settings: dict[str, object] = {
            "epochs": training.epochs,
            "batch_size": training.batch_size,
            "optimizer": training.optimizer or recipe.optimizer,
            "learning_rate": training.learning_rate or recipe.learning_rate,
            "seed": derive_seed("order", self.graph.digest, seed),
            "validate_every": training.validate_every,
        }
        return Schedule(**{**settings, **changes})  # type: ignore[arg-type]

    def _base_key(self) -> list[object]:
        spec = self.spec
        return [self.graph.digest, spec.time.key(), spec.protocol, self.context.device, _core_code()]

    def _get(self, stage: str, key: str, build: Callable[[], Built]) -> Entry:
        if stage not in self.built:
            self.built[stage] = self.cache.get_or_build(stage, key, build)
        return self.built[stage]

    def _report(self, stage: str) -> Report:
        return lambda done, metric: self.context.report(stage, done, metric)

    # ---- the structural teacher ------------------------------------------------------------------------------------

    @property
    def teacher_spec(self) -> TeacherSpec:
        return self.spec.teacher.model_copy(update={"backbone": self.spec.teacher.backbone or self.spec.backbone})

    @cached_property
    def teacher_key(self) -> str:
        kind = BACKBONES[str(self.teacher_spec.backbone)]
        return digest("teacher", self._base_key(), self.teacher_spec.key(), code_version(_module_of(kind)))

    def teacher(self) -> Backbone:
        spec = self.teacher_spec
        model = self.new_model(str(spec.backbone), spec.dim, spec.seed)

        def build() -> Built:
            recipe = model.teacher_recipe
            penalty = recipe.regularization if spec.regularization is None else spec.regularization
            trained = train(
                model,
                self.training(model.time_input),
                Distillation(regularization=penalty),
                self.schedule(spec, recipe, spec.seed, patience=spec.patience),
                self.validator(model.time_input),
                report=self._report("teacher"),
            )
            return trained.best, summary(trained)

        model.load_state_dict(self._get("teacher", self.teacher_key, build).tensors)
        return model.eval()

    # ---- the LLM teacher -------------------------------------------------------------------------------------------

    @cached_property
    def finetune_key(self) -> str:
        llm = self.spec.llm
        return digest("finetune", self.graph.digest, llm.model_dump(), code_version(lora, language_model, texts))

    def adapter(self) -> dict[str, Tensor] | None:
        if self.spec.llm.finetune == "none":
            return None

        def build() -> Built:
            tensors, meta = lora.finetune(
                self.graph, self.spec.llm, lambda done: self.context.report("finetune", done, None)
            )
            return tensors, dict(meta)

        return self._get("finetune", self.finetune_key, build).tensors

    @cached_property
    def encode_key(self) -> str:
        tuned = self.finetune_key if self.spec.llm.finetune != "none" else "none"
        llm = self.spec.llm
        wanted = [llm.model, llm.max_length, llm.batch_tokens]
        return digest("encode", self.graph.digest, wanted, tuned, code_version(encode, language_model, texts))

    def vectors(self) -> dict[str, Tensor]:
        def build() -> Built:
            tensors, meta = encode.encode(
                self.graph, self.spec.llm, self.adapter(), lambda done: self.context.report("encode", done, None)
            )
            return tensors, dict(meta)

        return self._get("encode", self.encode_key, build).tensors

    @cached_property
    def semantic_key(self) -> str:
        return digest(
            "semantic", self._base_key(), self.encode_key, self.spec.semantic.key(), code_version(semantic_teacher)
        )

    def semantic(self) -> SemanticScorer:
        """f_LLM with its encodings, trained on the graph."""
        spec = self.spec.semantic
        vectors = self.vectors()
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed("semantic", self.graph.digest, spec.seed))
            model = SemanticScorer(
                whiten(vectors["entities"], _COMPONENTS),
                whiten(vectors["relations"], _COMPONENTS),
                self.timeline.n_classes,
                spec.dim,
            ).to(self.context.device)

        def build() -> Built:
            trained = train(
                model,
                self.training("classes"),
                Distillation(),
                Schedule(
                    epochs=spec.epochs,
                    batch_size=spec.batch_size,
                    optimizer="adam",
                    learning_rate=spec.learning_rate,
                    seed=derive_seed("order", self.graph.digest, spec.seed),
                    patience=spec.patience,
                ),
                self.validator("classes"),
                report=self._report("semantic"),
            )
            return trained.best, summary(trained)

        model.load_state_dict(self._get("semantic", self.semantic_key, build).tensors)
        return model.eval()

    # ---- targets ---------------------------------------------------------------------------------------------------

    def soft_targets(self) -> SoftTargets:
        """The structural teacher's distribution at the spec's temperature."""
        loss = self.spec.loss

        def build() -> Built:
            teacher = self.teacher()
            found = targets.soft_targets(
                teacher,
                self.training(teacher.time_input),
                loss.temperature,
                loss.targets,
                derive_seed("targets", self.graph.digest),
                lambda done: self.context.report("targets", done, None),
            )
            return {"ids": found.ids, "weights": found.weights, "entropy": found.entropy}, {}

        entry = self._get("targets", self.targets_key, build).tensors
        device = self.context.device
        parts = (entry[name].to(device) for name in ("ids", "weights", "entropy"))
        return SoftTargets(*parts, temperature=loss.temperature)

    @cached_property
    def targets_key(self) -> str:
        loss = self.spec.loss
        return digest("targets", self.teacher_key, loss.temperature, loss.targets, code_version(targets))

    @cached_property
    def llm_targets_key(self) -> str:
        return digest("llm-targets", self.semantic_key, self.spec.loss.targets, code_version(targets, alignment))

    def _llm_targets(self) -> dict[str, Tensor]:
        def build() -> Built:
            scorer = self.semantic()
            found = targets.score_targets(
                scorer,
                self.training("classes"),
                self.spec.loss.targets,
                derive_seed("llm-targets", self.graph.digest),
                lambda done: self.context.report("llm-targets", done, None),
            )
            with torch.no_grad():
                entities, relations = scorer.encodings()
            return {
                "ids": found.ids,
                "scores": found.scores,
                "entities": entities.cpu().clone(),
                "relations": relations.cpu().clone(),
            }, {}

        return self._get("llm-targets", self.llm_targets_key, build).tensors

    def score_targets(self) -> ScoreTargets:
        """The LLM teacher's predictions P(p)."""
        entry, device = self._llm_targets(), self.context.device
        return ScoreTargets(entry["ids"].to(device), entry["scores"].to(device))

    def semantic_adapter(self, student: Backbone) -> semantic.SemanticAdapter:
        """The encodings E(p) with fresh maps to the student's space, which depend on the seed alone."""
        entry, device = self._llm_targets(), self.context.device
        dim = student.entity_table().shape[1]
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed("adapter", self.graph.digest, dim, self.spec.seed))
            return semantic.SemanticAdapter(entry["entities"], entry["relations"], dim).to(device)

    # ---- stage 1 ---------------------------------------------------------------------------------------------------

    def distillation(self, model: Backbone, spec: StudentSpec, *, arm: str) -> Distillation:
        """The loss of an arm; stage 1 of every distilled arm is that of L1."""
        loss = self.spec.loss
        recipe = model.student_recipe
        penalty = recipe.regularization if spec.regularization is None else spec.regularization
        if arm == "none":
            return Distillation(regularization=penalty)
        parts = arm.split("+")
        return Distillation(
            hard_weight=loss.hard_weight,
            regularization=penalty,
            soft=self.soft_targets(),
            soft_weight=loss.soft_weight,
            aligned=self.score_targets() if "L2" in parts else None,
            alpha=loss.alpha,
            delta=loss.delta,
            adapter=self.semantic_adapter(model) if "L3" in parts else None,
            beta=loss.beta,
        )

    @cached_property
    def stage1_key(self) -> str:
        """Stage 1 depends on the arm only by being distilled or not."""
        spec, loss = self.spec, self.spec.loss
        distilled = [] if spec.arm == "none" else [self.targets_key, loss.hard_weight, loss.soft_weight]
        kind = code_version(_module_of(BACKBONES[spec.backbone]))
        return digest("stage1", self._base_key(), spec.backbone, spec.student.key(), spec.seed, distilled, kind)

    def stage1(self) -> Entry:
        spec = self.spec.student

        def build() -> Built:
            model = self.new_model(self.spec.backbone, spec.dim, self.spec.seed)
            trained = train(
                model,
                self.training(model.time_input),
                self.distillation(model, spec, arm="none" if self.spec.arm == "none" else "L1"),
                self.schedule(
                    spec, model.student_recipe, self.spec.seed, epochs=spec.stage1_epochs, total_epochs=spec.epochs
                ),
                self.validator(model.time_input),
                report=self._report("stage1"),
            )
            parts = {"best": trained.best, "last": trained.last, "optimizer": trained.optimizer}
            return {f"{k}/{n}": v for k, state in parts.items() for n, v in state.items()}, summary(trained)

        return self._get("stage1", self.stage1_key, build)

    def wanted(self) -> list[tuple[str, str]]:
        """The shared stages of this trial in the order in which they can be built: (name, key)."""
        arm = self.spec.arm
        found: list[tuple[str, str]] = []
        if arm not in ("none", "llm-teacher"):
            found.append(("teacher", self.teacher_key))
        if arm == "llm-teacher" or "L2" in arm or "L3" in arm:
            if self.spec.llm.finetune != "none":
                found.append(("finetune", self.finetune_key))
            found += [("encode", self.encode_key), ("semantic", self.semantic_key)]
            if arm != "llm-teacher":
                found.append(("llm-targets", self.llm_targets_key))
        if arm.startswith("L"):
            found.append(("targets", self.targets_key))
        if arm not in ("teacher", "llm-teacher") and self.spec.student.stage1_epochs:
            found.append(("stage1", self.stage1_key))
        return found

    def build(self, name: str) -> None:
        """Make one shared stage, reading those it needs from the cache."""
        make: dict[str, Callable[[], object]] = {
            "teacher": self.teacher,
            "finetune": self.adapter,
            "encode": self.vectors,
            "semantic": self.semantic,
            "llm-targets": self._llm_targets,
            "targets": self.soft_targets,
            "stage1": self.stage1,
        }
        make[name]()


def _module_of(kind: type) -> object:
    import sys

    return sys.modules[kind.__module__]


def summary(trained: Trained) -> dict[str, object]:
    """What a cached training keeps besides its weights."""
    return {
        "best_mrr": trained.best_mrr,
        "best_epoch": trained.best_epoch,
        "updates": trained.updates,
        "curve": trained.curve,
    }
