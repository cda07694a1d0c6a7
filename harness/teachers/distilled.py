"""A distilled student as the teacher of the next one: born-again networks (Furlanello et al., ICML 2018), and their
chain from large to small (IterDE, Liu et al., ISWC 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, field_validator

from harness.data import Timeline
from harness.errors import UserError
from harness.evaluate import RankTask
from harness.models import Backbone
from harness.registry import MethodOptions, option
from harness.teachers.sources import Teacher, register

#: teachers in a chain
LONGEST = 8


class DistilledOptions(MethodOptions):
    """Options of a chain of distilled teachers."""

    arm: str = option("L1", "losses that teachers are distilled with; none: undistilled, as a control")
    dims: Annotated[str, BeforeValidator(str)] = option("200", "dimensions of the chain, first to last, with commas")
    epochs: int = option(16, "epochs of each of them", ge=1, le=10_000)
    of: Literal["structural", "ensemble"] = option("structural", "the teacher of the first of them")

    @field_validator("dims")
    @classmethod
    def _without_spaces(cls, dims: str) -> str:
        return ",".join(str(int(part)) if part.isdecimal() else part for part in map(str.strip, dims.split(",")))

    @property
    def chain(self) -> list[int]:
        """The dimensions.

        Raises:
            UserError: one is no dimension.
        """
        parts = self.dims.split(",")
        if len(parts) > LONGEST or not all(part.isdecimal() and 0 < int(part) <= 10_000 for part in parts):
            raise UserError(f"teacher.distilled.dims={self.dims!r}: write up to {LONGEST} dimensions, such as 400,200")
        return [int(part) for part in parts]


def _members(spec: Any, options: DistilledOptions) -> tuple[Any, ...]:
    """The trial whose student is the teacher."""
    *before, dim = options.chain
    methods = {**spec.teacher.methods}
    if before:
        methods["distilled"] = {**options.model_dump(), "dims": ",".join(map(str, before))}
    source = "distilled" if before else options.of
    teacher = spec.teacher.model_copy(update={"source": source, "methods": methods})
    # its own settings, not those of the student that it teaches
    student = type(spec.student)(dim=dim, epochs=options.epochs, stage1_epochs=options.epochs // 2)
    axes = {"arm": options.arm, "backbone": spec.teacher_backbone, "seed": spec.teacher.seed}
    return (spec.model_copy(update={**axes, "teacher": teacher, "student": student, "loss": type(spec.loss)()}),)


def _compose(
    models: Sequence[Backbone], options: DistilledOptions, validation: RankTask | None, timeline: Timeline
) -> Backbone:
    return models[0]


register(Teacher("distilled", ("teacher", "entities"), DistilledOptions, members=_members, compose=_compose))
