"""Students of equal shape trained side by side: one step for all of them, each on its own batch and candidates.

A student of 25 dimensions leaves nearly all of a GPU idle. Here a step of many is one: their parameters are stacked,
and ``torch.func.vmap`` makes of every operation of a student's step one over the stack. Batches and candidates follow
from each student's own seed as in ``loop.train``, optimisers work number by number, and the losses are added up, so
that each student gets the gradient that it would have alone. So it ends as it would alone, but for rounding, whichever
others share its stack. One that diverges leaves the stack at the end of its epoch and touches no other.

Students may differ in initial values, seed, learning rate, and all weights and targets of their losses. Those that
lack L2 or L3 while others of the stack have it compute it with weight 0: arithmetic is what a GPU has to spare. A
student without a structural teacher shares no stack with one that has it: their lists of entities differ in length.

Validations and the search for hard candidates, which fill a machine by themselves, go student by student.
"""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from harness.distill.passes.sampled import Candidates
from harness.distill.seeds import derive_seed
from harness.distill.targets import ScoreTargets, SoftTargets
from harness.distill.training import loop
from harness.distill.training.loop import Report, Schedule, Trained
from harness.distill.training.objective import Distillation
from harness.distill.training.sampler import Sampler
from harness.models.base import Backbone
from harness.models.batch import QueryTensors
from harness.models.scoring.vmapped import within_vmap

#: the numbers of a loss, in which students of a stack may differ
WEIGHTS = ("hard_weight", "soft_weight", "alpha", "delta", "beta", "regularization")
#: the tensors of soft targets
SOFT = ("ids", "log_p", "log_rest")
#: bytes that a step on a CPU may take for its gradient; on a GPU it is half of what is free
CPU_MEMORY = 2**30


@dataclass(frozen=True, eq=False)
class Student:
    """What ``loop.train`` takes of one student; the adapter of L3 is its only auxiliary module."""

    model: Backbone
    loss: Distillation
    schedule: Schedule
    resume: Trained | None = None


def train_stacked(
    students: Sequence[Student],
    data: QueryTensors,
    validate: Callable[[Backbone], float],
    *,
    report: Report | None = None,
) -> list[Trained | ArithmeticError]:
    """Train students together, as ``loop.train`` trains each of them.

    Args:
        students: equal in backbone, shape, kinds of targets and schedule, but for what the module's text allows. Their
            models and adapters are changed in place and end in their last states.
        data: training queries on the models' device.
        validate: a model's validation MRR, a fraction; an ArithmeticError where it has none.
        report: called after each epoch, and every second within one, with the mean of the latest validation MRRs.

    Returns:
        What each student's training yields, or why it yields nothing. Seconds in a curve are its share of the stack's.

    Raises:
        ValueError: if the students cannot share a stack.
    """
    lacking = [_lacking(student.loss) for student in students]
    students = _alike(students)
    schedule, memory = students[0].schedule, _memory(data.subject.device)
    begun = [loop.begin(s.model, s.schedule, s.loss.adapter, s.resume) for s in students]
    optimizer = _one_optimizer(students, [single for single, _, _ in begun])
    samplers = [Sampler(s.schedule.sampling, s.schedule.seed) for s in students]
    failures: dict[int, ArithmeticError] = {}
    steps = math.ceil(len(data) / schedule.batch_size)
    reported, latest = time.perf_counter(), None
    started = reported
    for epoch in range(schedule.first_epoch, schedule.first_epoch + schedule.epochs):
        going = [k for k in range(len(students)) if k not in failures]
        if not going:
            break
        at_once = _at_once(students[0], data, samplers[0].samples(students[0].model, epoch), memory)
        parts = [going[k : k + at_once] for k in range(0, len(going), at_once)]
        stacks = [_Stack([students[k] for k in part], [samplers[k] for k in part], data, epoch) for part in parts]
        for step in range(steps):
            fall = schedule.fall(epoch + step / steps)
            for group in optimizer.param_groups:
                group["lr"] = group["learning_rate"] * group["rate"] * fall
            optimizer.zero_grad(set_to_none=True)
            for stack in stacks:
                stack.backward(step)
            optimizer.step()
            if report is not None and time.perf_counter() - reported > 1:
                reported = time.perf_counter()
                report((epoch - schedule.first_epoch + (step + 1) / steps) / schedule.epochs, latest)
        validated = []
        for k, terms in zip(going, (means for stack in stacks for means in stack.means()), strict=True):
            model, means = students[k].model, {name: terms[name] for name in terms if name not in lacking[k]}
            validation = partial(validate, model) if schedule.validates(epoch) else None
            try:
                row = begun[k][2].close(epoch, means, steps, validation, model)
            except ArithmeticError as error:
                failures[k] = error
                continue
            row["seconds"] = (time.perf_counter() - started) / len(students)
            validated += [row["valid_mrr"]] if "valid_mrr" in row else []
        latest = statistics.fmean(validated) if validated else latest
        if report is not None:
            reported = time.perf_counter()
            report((epoch + 1 - schedule.first_epoch) / schedule.epochs, latest)
    for student, (optimizer_of_student, n_parameters, result) in zip(students, begun, strict=True):
        optimizer_of_student.state.update(
            {p: optimizer.state[p] for group in optimizer_of_student.param_groups for p in group["params"]}
        )
        result.last, result.optimizer = (
            loop.snapshot(student.model),
            loop.dump_optimizer(optimizer_of_student, n_parameters),
        )
    return [failures.get(k, result) for k, (_, _, result) in enumerate(begun)]


# ---- what students share -------------------------------------------------------------------------------------------


def _lacking(loss: Distillation) -> set[str]:
    """The terms that a loss does not have, and may get for its stack's sake."""
    return {name for name, part in (("loss_l2", loss.aligned), ("loss_l3", loss.adapter)) if part is None}


def _alike(students: Sequence[Student]) -> list[Student]:
    """The students, with L2 and L3 of weight 0 where others have it.

    Raises:
        ValueError: if they cannot share a stack.
    """
    aligned = next((s.loss.aligned for s in students if s.loss.aligned is not None), None)
    with_l3 = next((s.loss for s in students if s.loss.adapter is not None), None)
    alike = []
    for student in students:
        loss = student.loss
        if loss.aligned is None and aligned is not None:
            loss = replace(loss, aligned=aligned, alpha=0.0)
        if loss.adapter is None and with_l3 is not None:
            adapter, share = copy.deepcopy(with_l3.adapter), with_l3.semantic_share
            loss = replace(loss, adapter=adapter, beta=0.0, semantic_share=share)
        alike.append(replace(student, loss=loss))
    first = alike[0]
    if first.schedule.patience is not None:
        raise ValueError("students of a stack cannot stop early")
    for student in alike:
        for name, value in _shape(student).items():
            if value != _shape(first)[name]:
                raise ValueError(f"students of a stack cannot differ in their {name}")
        one, other = first.loss.adapter, student.loss.adapter
        if one is not None and other is not None and not torch.equal(one.entities, other.entities):
            raise ValueError("students of a stack cannot differ in their LLM teacher")
    return alike


def _shape(student: Student) -> dict[str, object]:
    """All that students of a stack have in common."""
    model, loss = student.model, student.loss
    modules = [module for module in (model, loss.adapter) if module is not None]
    teacher = None if loss.soft is None else loss.soft.teacher
    return {
        "backbone": (type(model), model.kernel),
        "sizes": [(name, p.shape, p.dtype) for module in modules for name, p in module.named_parameters()],
        "schedule": replace(student.schedule, learning_rate=1.0, seed=0),
        "soft targets": None if loss.soft is None else loss.soft.ids.shape,
        "structural teacher": None if teacher is None else id(teacher.table),
        "score targets": None if loss.aligned is None else loss.aligned.ids.shape,
        "share of L3": loss.semantic_share,
        "penalty": bool(loss.regularization),
    }


def _one_optimizer(students: Sequence[Student], optimizers: Sequence[torch.optim.Optimizer]) -> torch.optim.Optimizer:
    """One in the place of many, which would take as many calls a step: parameters of equal rate are a group."""
    by_rate: dict[tuple[float, float], list[nn.Parameter]] = {}
    for student, optimizer in zip(students, optimizers, strict=True):
        for group in optimizer.param_groups:
            by_rate.setdefault((student.schedule.learning_rate, group["rate"]), []).extend(group["params"])
    groups = [{"params": group, "learning_rate": both[0], "rate": both[1]} for both, group in by_rate.items()]
    one = loop.optimizer_of(groups, students[0].schedule.optimizer, students[0].schedule.learning_rate)
    for optimizer in optimizers:
        one.state.update(optimizer.state)
    return one


# ---- the step ------------------------------------------------------------------------------------------------------


class _Step(nn.Module):
    """The loss as a module, which has the parameters of student and adapter, for ``functional_call`` to replace."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.model, self.adapter = student.model, student.loss.adapter

    def forward(
        self, loss: Distillation, batch: QueryTensors, index: Tensor, candidates: Candidates | None
    ) -> dict[str, Tensor]:
        return loss(self.model, batch, index, candidates)


class _Rows:
    """Tables [Q, ...], one a student, of which equal ones are held once; ``[index]`` reads [S, B, ...] at [S, B]."""

    def __init__(self, tables: Sequence[Tensor]) -> None:
        distinct = {id(table): table for table in tables}
        self.rows = tables[0] if len(distinct) == 1 else torch.cat(list(distinct.values()))
        first = [[list(distinct).index(id(table)) * len(table)] for table in tables]
        self.first = torch.tensor(first, device=self.rows.device)

    def __getitem__(self, index: Tensor) -> Tensor:
        return self.rows[index + self.first]


class _Stack:
    """Some students in one epoch: what their steps read, with a leading dimension of students, and their sums."""

    def __init__(
        self, students: Sequence[Student], samplers: Sequence[Sampler], data: QueryTensors, epoch: int
    ) -> None:
        self.sums = dict[str, Tensor]()
        asked = [data.in_epoch(derive_seed("points", student.schedule.seed, epoch)) for student in students]
        self.data = asked[0]
        first, n, device = students[0], len(data), data.subject.device
        self.step, self.loss = _Step(first), first.loss
        self.parameters = [dict(_Step(student).named_parameters()) for student in students]
        order = torch.stack([next(loop.batches(n, n, student.schedule.seed, epoch)) for student in students])
        self.order = order.to(device).split(first.schedule.batch_size, dim=1)

        losses, dtype = [student.loss for student in students], first.model.entity_table().dtype
        soft = [loss.soft for loss in losses if loss.soft is not None]
        aligned = [loss.aligned for loss in losses if loss.aligned is not None]
        numbers: dict[str, list[Any]] = {name: [getattr(loss, name) for loss in losses] for name in WEIGHTS}
        numbers["temperature"] = [part.temperature for part in soft]
        if not first.loss.regularization:
            del numbers["regularization"]
        tables: dict[str, list[Tensor]] = {name: [getattr(t, name) for t in soft] for name in SOFT}
        tables |= {"aligned_ids": [part.ids for part in aligned], "aligned": [part.scores for part in aligned]}
        self.teacher = soft[0].teacher if soft else None
        teachers = [part.teacher for part in soft if part.teacher is not None]
        tables |= {"teacher": [part.query for part in teachers], "gold": [part.gold for part in teachers]}

        self.shared: Tensor | None = None
        self.exact = not samplers[0].samples(first.model, epoch)
        if samplers[0].draws_any(first.model):
            both = [(student.model, sampler) for student, sampler in zip(students, samplers, strict=True)]
            listing = [] if self.exact else zip(both, asked, strict=True)
            lists = [sampler.lists(model, queries, epoch) for (model, sampler), queries in listing]
            tables["lists"] = [part for part in lists if part is not None]
            drawn = [torch.stack(list(islice(s.draws(model, epoch), len(self.order)))) for model, s in both]
            self.shared = torch.stack(drawn).to(device)  # at once: many small copies would keep a GPU waiting
        if asked[0] is not data:  # each is asked at times of its own
            tables["time"] = [queries.time for queries in asked]
        self.tables = {name: _Rows(part) for name, part in tables.items() if part}
        self.numbers = {name: torch.tensor(part, dtype=dtype, device=device) for name, part in numbers.items() if part}

    def backward(self, step: int) -> None:
        """Add the gradients of a step to those of the students' parameters."""
        index = self.order[step]
        given = {**vars(self.data[index]), **{name: rows[index] for name, rows in self.tables.items()}, **self.numbers}
        if self.shared is not None:
            given["shared"] = self.shared[:, step]
        stacked = {name: torch.stack([of[name] for of in self.parameters]) for name in self.parameters[0]}
        with within_vmap():
            terms: dict[str, Tensor] = vmap(self._terms)(stacked, given)
        torch.stack(list(terms.values())).sum().backward()
        for name, term in terms.items():
            self.sums[name] = self.sums.get(name, 0) + term.detach() * index.shape[1]

    def _terms(self, parameters: dict[str, Tensor], given: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms of one student's loss, whose targets and lists are those of the batch alone."""
        batch = QueryTensors(**{name: given[name] for name in vars(self.data)})
        changes: dict[str, Any] = {name: given[name] for name in WEIGHTS if name in given}
        if "ids" in given:
            teacher = self.teacher and replace(self.teacher, query=given["teacher"], gold=given["gold"])
            ids, log_p, log_rest = (given[name] for name in SOFT)
            changes["soft"] = SoftTargets(ids, log_p, log_rest, given["temperature"], teacher)
        if "aligned" in given:
            changes["aligned"] = ScoreTargets(given["aligned_ids"], given["aligned"])
        loss = replace(self.loss, **changes)
        index = torch.arange(len(batch), device=batch.subject.device)
        candidates = Candidates(given["shared"], given.get("lists"), self.exact) if "shared" in given else None
        terms: dict[str, Tensor] = functional_call(self.step, parameters, (loss, batch, index, candidates))
        return terms

    def means(self) -> list[dict[str, float]]:
        """The terms of each student's loss, means over the epoch's queries."""
        columns = torch.stack(list(self.sums.values()), dim=1).tolist()
        return [{name: value / len(self.data) for name, value in zip(self.sums, row, strict=True)} for row in columns]


# ---- memory --------------------------------------------------------------------------------------------------------


def _memory(device: torch.device) -> float:
    """Bytes that a step may take."""
    return torch.cuda.mem_get_info(device)[0] / 2 if device.type == "cuda" else CPU_MEMORY


def _at_once(student: Student, data: QueryTensors, sampled: bool, memory: float) -> int:
    """How many students' steps fit into ``memory`` bytes by a generous estimate; at least one."""
    loss, (n_entities, dim) = student.loss, student.model.entity_table().shape
    share = 1.0 + (loss.semantic_share if loss.adapter is not None else 0.0)
    aligned = 0 if loss.aligned is None else loss.aligned.ids.shape[1]
    listed = student.schedule.sampling.hard if loss.soft is None else loss.soft.ids.shape[1]
    # a score and its gradient go through about ten operations, a listed entity's vector through about four
    gathered = 4 * dim * (share * (1 + listed if sampled else 1) + aligned)
    scored = 10 * share * (listed + student.schedule.sampling.shared if sampled else n_entities)
    return max(1, int(memory / (4 * student.schedule.batch_size * (gathered + scored))))
