"""What a task costs by its settings and the size of the data: the unit in which rates are measured.

The work of a training or a ranking is its number of multiply-adds: queries times what a query is scored against times
the dimension. The constants make it the seconds of a core of a usual machine. They need not be right: what a machine
was seen to take, over what stands here, is its rate (`harness.engine.rates`), and the nearest rate counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.data import TemporalGraph
from harness.engine.task import Task
from harness.trial.arms import REFERENCES
from harness.trial.shared.stage import STAGES
from harness.trial.spec import SampledSpec, TrialSpec

#: multiply-adds a second of a core
SPEED = 2e10
#: multiply-adds that take as long as all else of a query in a step, of a step, of a fact's ranking against an entity,
#: of a task, and of a token that the language model reads; smaller models read faster
QUERY, STEP, ENTITY, TASK, TOKEN = 2e5, 2e7, 10, 1e10, 2e7
FASTER = {"minilm": 0.2}
#: multiply-adds of a pass back through a model, over those of the pass forward
BACKWARD = 3
#: tokens of a name and of a question with its candidates, and numbers of a language model's vector
NAME, PROMPT, VECTOR = 6, 130, 576
#: stages in which the language model reads
READING = ("finetune", "encode", "rerank")
#: the process of a worker with its libraries, and with a language model, MiB
WORKER, WITH_LANGUAGE_MODEL = 700, 1300
#: MiB that a trial leaves in the store, without ranks
ROW = 0.025
_MIB = 2**20


@dataclass(frozen=True)
class Sizes:
    """The size of a data set: numbers of entities, relations and facts, and a few letters of its digest."""

    entities: int
    relations: int
    train: int
    valid: int
    test: int
    data: str

    @classmethod
    def of(cls, graph: TemporalGraph) -> Sizes:
        entities, relations = len(graph.entities), len(graph.relations)
        return cls(entities, relations, len(graph.train), len(graph.valid), len(graph.test), graph.digest[:8])


@dataclass(frozen=True)
class Cost:
    """What a task is, and what it costs: ``seconds`` of one core, ``mib`` of a worker at most, and ``cache`` and
    ``store``, MiB that stay on the disk. ``kind`` is a stage or "trial", ``method`` a backbone or language model,
    ``parts`` the losses that act, and ``data`` as of `Sizes`."""

    kind: str
    method: str
    parts: tuple[str, ...]
    data: str
    seconds: float
    mib: float = 0.0
    cache: float = 0.0
    store: float = 0.0


def cost_of(task: Task, sizes: Sizes) -> Cost:
    """What a task costs by its settings."""
    kind, spec = task.stage or "trial", task.spec
    parts = spec.first_parts if kind == "stage1" else spec.parts if kind == "trial" else ()
    work = TASK + (_trial(spec, sizes, task.scored) if task.stage is None else _stage(task.stage, spec, sizes))
    cache, reads = _stored(kind, spec, sizes), sum(_stored(name, spec, sizes) for name, _ in task.reads)
    base = WITH_LANGUAGE_MODEL if kind in READING else WORKER
    store = ROW + 2 * sizes.test / _MIB if task.stage is None else 0.0
    return Cost(kind, _method(kind, spec), parts, sizes.data, work / SPEED, base + 3 * (reads + cache), cache, store)


def _method(kind: str, spec: TrialSpec) -> str:
    if kind in READING:
        return spec.llm.model
    if kind in ("stage1", "trial"):
        return spec.arm if spec.arm in REFERENCES else spec.backbone
    if kind in ("teacher", "targets", "teacher-vectors"):
        return spec.teacher_backbone if spec.teacher.source == "structural" else spec.teacher.source
    return ""


def _trial(spec: TrialSpec, sizes: Sizes, scored: bool) -> float:
    """The training of a student after the stage that it shares, and ranks of its best state, on test four times."""
    ranked = _ranking(2 * (sizes.valid + 4 * sizes.test * scored), _width(spec), sizes)
    if spec.arm in REFERENCES:
        return ranked
    first = spec.student.stage1_epochs if spec.shares_stage1 else 0
    return ranked + _student(spec, sizes, first, spec.student.epochs)


def _student(spec: TrialSpec, sizes: Sizes, first: int, last: int) -> float:
    student, listed = spec.student, "L1" in spec.parts
    return _training(sizes, student, student.dim, student.batch_size, first, last, listed, student.validate_every)


def _stage(name: str, spec: TrialSpec, sizes: Sizes) -> float:
    queries, teacher, head, width = 2 * sizes.train, spec.teacher, spec.semantic, _width(spec, "teacher")
    if name == "teacher" and spec.members:
        return sum(_alone(member, sizes) for member in spec.members)
    if name == "teacher":
        return _training(sizes, teacher, teacher.dim, teacher.batch_size, 0, teacher.epochs)
    if name == "stage1":
        return _student(spec, sizes, 0, spec.student.stage1_epochs)
    if name == "finetune":
        return 2 * TOKEN * spec.llm.token_budget
    if name == "encode":
        return FASTER.get(spec.llm.model, 1.0) * TOKEN * NAME * (sizes.entities + 2 * sizes.relations)
    if name == "rerank":
        options = spec.teacher.method("reranked")
        read = sizes.valid + sizes.test + sizes.train * bool(options["training"])
        return TOKEN * PROMPT * float(options["share"]) * 2 * read
    if name == "semantic":
        sampled = SampledSpec(candidates=head.candidates + head.frequent, hard_candidates=0, exact_epochs=0)
        settings = sampled if head.frequent else head
        return _training(sizes, settings, head.dim, head.batch_size, 0, head.epochs)
    if name == "teacher-vectors":
        return queries * (QUERY + width)
    return _ranking(queries, head.dim if name == "llm-targets" else width, sizes)  # and the stages of plugins


def _alone(spec: TrialSpec, sizes: Sizes) -> float:
    """A trial with all of its stages."""
    return _trial(spec, sizes, scored=False) + sum(
        _stage(name, spec, sizes) for name, stage in STAGES.items() if stage.wanted(spec)
    )


def _training(
    sizes: Sizes,
    settings: SampledSpec,
    dim: int,
    batch_size: int,
    first: int,
    last: int,
    listed: bool = False,
    validate_every: int = 1,
) -> float:
    """Epochs ``first`` to ``last`` (excluded), of which the run's first ones score all entities."""
    queries, epochs, scored = 2 * sizes.train, max(last - first, 0), settings.candidates + settings.hard_candidates
    is_sampled = 0 < settings.candidates < sizes.entities
    exact = min(epochs, max(settings.exact_epochs - first, 0)) if is_sampled else epochs
    lists = 0 if listed or not settings.hard_candidates else -(-(epochs - exact) // settings.hard_every)
    return (
        BACKWARD * exact * _ranking(queries, dim, sizes)
        + BACKWARD * (epochs - exact) * queries * scored * dim
        + epochs * queries * (QUERY + STEP / batch_size)
        + _ranking(lists * queries + 2 * sizes.valid * epochs / validate_every, dim, sizes)
    )


def _ranking(queries: float, dim: int, sizes: Sizes) -> float:
    return queries * sizes.entities * (dim + ENTITY)


def _width(spec: TrialSpec, arm: str | None = None) -> int:
    """The numbers of an entity that a model's scores read."""
    arm = arm or spec.arm
    if arm == "teacher":
        return sum(map(_width, spec.members)) or spec.teacher.dim
    if arm in REFERENCES:
        return spec.semantic.dim if arm == "llm-teacher" else ENTITY
    return spec.student.dim


def _stored(kind: str, spec: TrialSpec, sizes: Sizes) -> float:
    """MiB of a stage's result in the cache, and of a student's state."""
    queries, entities, listed = 2 * sizes.train, sizes.entities + 2 * sizes.relations, 8 * spec.loss.targets
    width, head, dim = _width(spec, "teacher"), spec.semantic.dim, spec.student.dim
    by_kind = {
        "teacher": 4 * entities * width,
        "targets": queries * listed,
        "teacher-vectors": 2 * (queries + entities) * width,
        "encode": 4 * entities * VECTOR,
        "llm-targets": queries * listed + 4 * entities * head,
        "stage1": 16 * entities * dim,
        "trial": 0 if spec.arm in REFERENCES else 4 * entities * dim,
    }
    return by_kind.get(kind, _MIB) / _MIB
