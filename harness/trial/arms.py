"""Arms: which losses a student is trained with, written ``L1+L2``, and the reference rows beside the students."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from harness.distill.losses import LOSSES
from harness.errors import UserError, nearest
from harness.teachers.sources import TEACHERS

#: rows that are no students, the teachers themselves and a baseline, by the stage whose model they are
REFERENCES = {"teacher": "teacher", "llm-teacher": "semantic", "gaps": "gaps", "recurrence": "recurrence"}
#: those whose models have no vectors that students could read
WITHOUT_VECTORS = ("gaps", "recurrence")
#: the student without any teacher
UNDISTILLED = "none"
#: the cross-entropy on the true answer, which every arm has: ``CE+DKD`` is ``DKD``
CROSS_ENTROPY = "CE"


def check_arm(text: str) -> str:
    """An arm as the harness writes it: its losses in the order of their registration.

    Raises:
        UserError: an unknown loss, one that is there twice, or losses that exclude each other; names them and why.
    """
    if text in (UNDISTILLED, *REFERENCES):
        return text
    parts = [part.strip() for part in text.split("+")]
    if parts == [CROSS_ENTROPY]:
        return UNDISTILLED
    parts = parts[1:] if parts[0] == CROSS_ENTROPY else parts
    for part in parts:
        if part not in LOSSES:
            known = [*LOSSES, UNDISTILLED, *REFERENCES] if len(parts) == 1 else LOSSES
            raise UserError(
                f"arm {text!r}: there is no loss {part!r}: {nearest(part, known)}; a plugin's needs --plugin"
            )
        if parts.count(part) > 1:
            raise UserError(f"arm {text!r}: has {part} twice")
        if clash := [other for other in LOSSES[part].excludes if other in parts]:
            raise UserError(f"arm {text!r}: {part} and {clash[0]} exclude each other")
    for need in sorted(needs_of(parts)):
        if not any(need in teacher.yields for teacher in TEACHERS.values()):
            asking = next(part for part in parts if need in LOSSES[part].needs)
            known = sorted({name for teacher in TEACHERS.values() for name in teacher.yields})
            raise UserError(f"arm {text!r}: {asking} needs {need!r}, which no teacher yields ({', '.join(known)})")
    return "+".join(sorted(parts, key=list(LOSSES).index))


def _valid(text: str) -> str:
    try:
        return check_arm(text)
    except UserError as error:
        raise ValueError(str(error)) from None


#: an arm, checked and in canonical order
Arm = Annotated[str, AfterValidator(_valid)]


def parts_of(arm: str) -> tuple[str, ...]:
    """The losses of a distilled student's arm; none of the undistilled one and of reference rows."""
    return () if arm in (UNDISTILLED, *REFERENCES) else tuple(arm.split("+"))


def needs_of(parts: tuple[str, ...] | list[str]) -> frozenset[str]:
    """What losses need of teachers."""
    return frozenset(need for part in parts for need in LOSSES[part].needs)
