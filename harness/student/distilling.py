"""``distil(data, bytes_per_entity=100)``: from a folder of facts to a student, in one call."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from harness.data import suspicions
from harness.distill.gaps import bytes_an_entity
from harness.distill.rounding import BITS, Bits, row_bytes
from harness.errors import UserError
from harness.student.choosing import wanted
from harness.student.export import export
from harness.student.fileformat import check_output
from harness.student.student import Student
from harness.trial.cache import default_root
from harness.trial.inputs import graph_of, named
from harness.trial.provenance import device_of
from harness.trial.stages import Context

#: bits of a number of the entity table: at equal bytes two bits and twice the width beat four (docs/measurements.md)
BITS_BY_DEFAULT: Bits = 2
BACKBONE = "tcomplex"
#: as in study ``compact``
SETTINGS = {
    "student.epochs": 32,
    "student.stage1_epochs": 16,
    "student.times": "random-point",
    "teacher.epochs": 20,
    "teacher.patience": 3,
    "loss.temperature": 2,
}


def distil(
    data: str | Path,
    *,
    bytes_per_entity: int = 100,
    bits: Bits = BITS_BY_DEFAULT,
    backbone: str = BACKBONE,
    arm: str = "L1",
    gaps: bool = False,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
    device: str = "auto",
    accept: Collection[str] = (),
) -> Student:
    """Distil a student from a graph.

    Args:
        data: name of a data set, or a folder with train, valid and test files.
        bytes_per_entity: size of a row of the entity table, its scale included; decides the dimension. With ``gaps`` an
            entity's share of the facts and weights that these need is part of it.
        bits: of a number of the entity table.
        backbone: name of a backbone.
        arm: losses of the distillation; ``L1`` has a structural teacher alone, ``L1+L2+L3`` a language model as well,
            which reads the labels of entities and takes longer.
        gaps: whether the student looks training facts up as well (``student.gaps``).
        seed: of initial values and batches.
        settings: others by their dotted names, as ``--set`` takes them: ``{"teacher.dim": 200}``.
        output: file that gets the student; None: none is written.
        data_dir: folder of named data sets.
        cache_dir: folder of teachers and targets; None: ``HARNESS_CACHE``, else runs/cache.
        device: cpu, cuda or auto.
        accept: what looks odd about the data and is meant so, by the names of ``python -m harness.data check``.

    Raises:
        UserError: the data cannot be read, too few bytes, a setting that is not there, or an output that cannot be
            written.
        TrialError: training fails.
    """
    if "student.gaps" in (settings or {}):  # without it no room would be left for what gaps need
        raise UserError("settings: student.gaps: give gaps=True instead")
    if output is not None:
        check_output(Path(output))
    name, folder = named(str(data), data_dir)
    looked_up = bytes_an_entity(graph_of(str(data), data_dir), bits) if gaps else 0
    changes = [f"student.dim={dimension(bytes_per_entity, bits, looked_up)}", f"student.bits={bits}"]
    changes += ["student.gaps=true"] if gaps else []
    changes += [f"{key}={value}" for key, value in {**SETTINGS, **(settings or {})}.items()]
    spec = wanted(name, arm, backbone, seed, "default", changes)
    suspicions.refuse(graph_of(str(data), data_dir), accept, language=spec.reads_names)
    cache = (cache_dir or default_root()).resolve()
    context = Context(cache, data_dir and data_dir.resolve(), device_of(device), folder=folder)
    student = Student.from_bytes(export(spec, context).content)
    if output is not None:
        student.save(output)
    return student


def dimension(bytes_per_entity: int, bits: Bits, looked_up: int = 0) -> int:
    """The largest dimension, an even one, whose row takes at most so many bytes, ``looked_up`` bytes beside it.

    Raises:
        UserError: there is none, or ``bits`` is no number of bits that rows can have.
    """
    if bits not in BITS:
        raise UserError(f"bits={bits!r}: choose one of {', '.join(map(str, BITS))}")
    dim = 2
    while row_bytes(dim + 2, bits) + looked_up <= bytes_per_entity and dim < 10_000:
        dim += 2
    if row_bytes(dim, bits) + looked_up > bytes_per_entity:
        beside = f", and what gaps need {looked_up}" if looked_up else ""
        raise UserError(
            f"bytes_per_entity={bytes_per_entity}: a row of two numbers has {row_bytes(2, bits)} bytes{beside}"
        )
    return dim
