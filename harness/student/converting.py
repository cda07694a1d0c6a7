"""A student in other forms: with fewer bits, and as an ONNX graph."""

from __future__ import annotations

from pathlib import Path

import torch

from harness import evaluate
from harness.distill.rounding import BITS, Bits
from harness.errors import UserError
from harness.scratch import scratch
from harness.student.export import evaluated, inputs_of, model_of
from harness.student.fileformat import StudentFile, parsed, write
from harness.trial.stages import Context


def bits_named(text: str) -> Bits:
    """The number of bits that a text names.

    Raises:
        UserError: rows cannot have that many.
    """
    named = {str(bits): bits for bits in BITS}
    if text not in named:
        raise UserError(f"--bits {text}: choose one of {', '.join(named)}")
    return named[text]


def converted(content: StudentFile, bits: str, data: tuple[str, Context] | None) -> bytes:
    """The file of the same student with fewer bits.

    Args:
        content: the student.
        bits: of a number of the entity table.
        data: data set and where it is, to score the new file on; None: it states no metrics, since the old ones are not
            its own.

    Raises:
        UserError: as many bits as it has, or more, or no number of bits; or other data.
    """
    wanted, now = bits_named(bits), content.about.bits
    if BITS.index(wanted) <= BITS.index(now):
        raise UserError(f"--bits {bits}: the student has {now} already; choose fewer")
    about = content.about.model_copy(update={"bits": wanted, "metrics": {}, "intervals": {}})
    facts = content.facts if content.about.n_facts else None
    parts = content.tensors, content.times, content.entities, content.relations, facts, content.looked_up
    made = write(about, *parts)
    if data is None:
        return made
    ranks = evaluated(parsed(made), inputs_of(about, *data))
    return write(about.model_copy(update={"metrics": evaluate.metrics(ranks)}), *parts)


def graph(content: StudentFile, path: Path) -> None:
    """Write the student as an ONNX graph: (subject int64 [B], relation int64 [B], time int64 [B, L]) to scores [B, E].

    Raises:
        UserError: packages are missing, the student looks facts up, or the backbone's operations have no counterpart in
            ONNX.
    """
    from harness.measurements.export import missing, onnx
    from harness.models.batch import QueryTensors

    if content.looked_up is not None:
        raise UserError("--onnx: the student looks facts up (student.gaps), which a graph cannot; export one without")
    if lacking := missing():
        raise UserError(f"--onnx: needs {', '.join(lacking)}; install tkg-distill-harness[export]")
    # each a tensor of its own: an exporter takes one that comes twice for one input
    example = QueryTensors(*(torch.zeros(shape, dtype=torch.long) for shape in ((2,), (2,), (2, 2), (2,))))
    with scratch("student-", path.absolute().parent) as folder:
        onnx(model_of(content), folder / "student.onnx", example)
        (folder / "student.onnx").replace(path)
