"""The file of a student: one safetensors file with tables in few bits, names, time classes, known facts and provenance.

Tensors: of each tensor NAME of the student's state ``NAME.values``, or ``NAME.codes`` and ``NAME.scale`` (see
`harness.distill.rounding`); ``times`` int64, the last time of each class; ``entities`` and ``relations`` uint8, names
and labels as UTF-8; ``facts`` uint8, what is known. A student with ``gaps.weights`` has the training facts in
``gaps.facts`` uint8 (`harness.distill.packing`), and ``facts`` has the others. The header has ``about``, a JSON object
(`About`). Nothing in a file is ever executed, and every size is checked before it is used.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from harness.data.dates import show
from harness.data.graph import Facts, Granularity, Vocabulary
from harness.distill import gaps
from harness.distill.packing import pack, unpack
from harness.distill.rounding import Bits, Floats, as_table, bits_of, decode, encode
from harness.errors import UserError
from harness.registry import Frozen, Grown

FORMAT = "tkg-student"
#: the newest version that this program reads; 2: of students that look facts up, for which older ones lack the code
VERSION = 2
#: columns of ``facts`` after head and relation, which are sorted
_COLUMNS = ("head", "relation", "tail", "start", "end")
_LOOKED_UP = "gaps.facts"
#: bytes of facts that a stored byte may stand for: different facts do not compress as far
_MOST_PACKED = 200


class TensorAbout(Frozen):
    """Shape and bits of a tensor of the state."""

    shape: tuple[int, ...] = Field(max_length=4)
    bits: Bits


class About(Grown):
    """What a file states of its student."""

    later = frozenset({"n_looked_up"})
    format: Literal["tkg-student"] = "tkg-student"
    version: int = 1
    backbone: str
    kernel: Literal["dot", "l2", "l1"]
    time_input: Literal["classes", "tokens"]
    granularity: Granularity
    dim: int = Field(ge=1, le=10_000)
    bits: Bits
    tensors: dict[str, TensorAbout]
    n_facts: int = Field(ge=0, default=0)
    n_looked_up: int | None = Field(ge=0, default=None, description="facts that gaps are looked up in")
    first_time: int | None = Field(default=None, description="of the training facts")
    last_time: int | None = None
    temperature: float = Field(
        default=1.0, ge=1e-3, le=1e3, description="of the scores, for probabilities; fitted on validation"
    )
    dataset: str = ""
    data_digest: str = ""
    spec: dict[str, Any] = Field(default={})
    metrics: dict[str, float] = Field(default={}, description="on test facts")
    intervals: dict[str, tuple[float, float]] = Field(default={}, description="95 %, over test facts")
    provenance: dict[str, Any] = Field(default={})


@dataclass(frozen=True, eq=False)
class StudentFile:
    """The content of a file, with its tables as numbers again.

    Args:
        about: what the file states.
        tensors: the state of the student by name, float32.
        times: last time of each class int64 [K].
        entities: names and labels.
        relations: names and labels; the tables have 2R rows.
        facts: what is known beside these; empty where the file has none.
        looked_up: training facts that gaps are looked up in; None: the student has no gaps.
        sizes: bytes of the file's parts.
        raw: the file itself.
    """

    about: About
    tensors: dict[str, Floats]
    times: NDArray[np.int64]
    entities: Vocabulary
    relations: Vocabulary
    facts: Facts
    looked_up: Facts | None
    sizes: Mapping[str, int]
    raw: bytes

    @property
    def known(self) -> Facts:
        """All facts of the file."""
        parts = [self.facts.columns, *([] if self.looked_up is None else [self.looked_up.columns])]
        return Facts(*(np.concatenate([part[name] for part in parts]) for name in _COLUMNS))


def write(
    about: About,
    state: Mapping[str, NDArray[Any]],
    times: NDArray[np.int64],
    entities: Vocabulary,
    relations: Vocabulary,
    facts: Facts | None,
    looked_up: Facts | None = None,
) -> bytes:
    """The bytes of a student's file; ``state`` is stored with the bits that ``about`` names.

    ``looked_up``: the training facts of a student with gaps, which are then no part of ``facts``.

    Raises:
        ValueError: the state cannot be rounded.
    """
    arrays: dict[str, NDArray[Any]] = {"times": times.astype(np.int64)}
    described: dict[str, TensorAbout] = {}
    for name, tensor in state.items():
        bits = bits_of(name, tensor.shape, about.bits)
        described[name] = TensorAbout(shape=tensor.shape, bits=bits)
        arrays |= {f"{name}.{part}": array for part, array in encode(as_table(tensor), bits).items()}
    arrays |= {"entities": _named(entities), "relations": _named(relations)}
    if facts is not None:
        arrays["facts"] = _packed_facts(facts)
    stated = {"tensors": described, "n_facts": 0 if facts is None else len(facts)}
    if looked_up is not None:
        arrays[_LOOKED_UP] = pack(looked_up)
        stated |= {"n_looked_up": len(looked_up), "version": 2}
    return save(arrays, {"about": about.model_copy(update=stated).model_dump_json()})


def check_output(path: Path) -> None:
    """Refuse a file that cannot be written, before anything is trained for it.

    Raises:
        UserError: its folder is not there, or it is one itself.
    """
    if not path.absolute().parent.is_dir():
        raise UserError(f"output {path}: folder {path.parent} is not there; make it first")
    if path.is_dir():
        raise UserError(f"output {path}: is a folder; name a file")


def read(path: Path) -> StudentFile:
    """Read and check a student's file.

    Raises:
        UserError: it is not there, cut, changed, of another kind or of a newer version, or its sizes do not fit.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        hint = "make one with: python -m harness.student export"
        raise UserError(f"student {path}: cannot be read ({error.strerror}); {hint}") from None
    return parsed(content, f"student {path}")


def parsed(content: bytes, where: str = "student") -> StudentFile:
    """The student in the bytes of a file.

    Raises:
        UserError: as `read`; ``where`` begins its text.
    """
    try:
        arrays = load(content)  # which checks the header and that it covers the file
        (size,) = struct.unpack("<Q", content[:8])
        metadata = json.loads(content[8 : 8 + size]).get("__metadata__") or {}
    except (SafetensorError, ValueError, TypeError, KeyError, struct.error, RecursionError):
        raise UserError(f"{where}: is no student's file, or cut off; export it again") from None
    if "about" not in metadata:
        raise UserError(f"{where}: is a safetensors file of something else; it has no 'about'")
    about = _about(metadata["about"], where)
    try:
        return _content(about, arrays, content)
    except (KeyError, ValueError, IndexError, TypeError, OverflowError, zlib.error) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{where}: is damaged ({reason}); export it again") from None


def _about(header: str, where: str) -> About:
    try:
        content = json.loads(header)
        if content.get("format") != FORMAT:
            raise UserError(f"{where}: is a file of another format ({str(content.get('format'))[:40]!r})")
        if not isinstance(content.get("version"), int) or content["version"] > VERSION:
            raise UserError(f"{where}: has version {content.get('version')}, newer than {VERSION}; update")
        return About.model_validate(content)
    except (ValidationError, ValueError, AttributeError, RecursionError):
        raise UserError(f"{where}: what it states of itself cannot be read; export it again") from None


def _content(about: About, arrays: Mapping[str, NDArray[Any]], raw: bytes) -> StudentFile:
    tensors, sizes = {}, {"entities": 0, "gaps": 0, "all else": arrays["times"].nbytes}
    for name, tensor in about.tensors.items():
        parts = {p: arrays[f"{name}.{p}"] for p in ("values", "codes", "scale") if f"{name}.{p}" in arrays}
        size = int(np.prod(tensor.shape[1:])) if len(tensor.shape) > 1 else int(np.prod(tensor.shape))
        table = decode(parts, tensor.bits, size)
        if table.size != np.prod(tensor.shape, dtype=np.int64) or not np.isfinite(table).all():
            raise ValueError(f"{name} does not have the shape {tensor.shape}, or numbers that are none")
        tensors[name] = table.reshape(tensor.shape)
        part = "entities" if name == "entity.weight" else "gaps" if name in gaps.NAMES else "all else"
        sizes[part] += sum(array.nbytes for array in parts.values())
    vocabularies = []
    for name, kind, rows in (("entity.weight", "entities", 1), ("relation.weight", "relations", 2)):
        count = rows * (1 + np.count_nonzero(arrays[kind] == ord("\n")))  # before memory is spent on names
        if tensors[name].ndim != 2 or len(tensors[name]) != count:
            raise ValueError(f"{name} has the shape {tensors[name].shape}, and there are names for {count} rows")
        vocabularies.append(_names(arrays[kind]))
    entities, relations = vocabularies
    if tensors["entity.weight"].shape[1] != about.dim:
        raise ValueError(f"entities have {tensors['entity.weight'].shape[1]} numbers and not {about.dim}")
    for time in (about.first_time, about.last_time):
        if time is not None:
            show(time, about.granularity)  # refuses what is no day
    times = arrays["times"]
    if times.dtype != np.int64 or times.ndim != 1 or (np.diff(times) <= 0).any():
        raise ValueError("time classes are not in order")
    facts = _within(_facts(arrays, about.n_facts), len(entities), len(relations))
    looked_up = None
    if (about.n_looked_up is None) != (gaps.WEIGHTS not in tensors):
        raise ValueError("gaps have no weights, or no facts")
    if about.n_looked_up is not None:
        looked_up = _within(unpack(arrays[_LOOKED_UP], about.n_looked_up), len(entities), len(relations))
        sizes["gaps"] += arrays[_LOOKED_UP].nbytes
        if tensors[gaps.WEIGHTS].shape != gaps.weights_shape(2 * len(relations)) or tensors[gaps.MIX].shape != (2,):
            raise ValueError("the weights of gaps are not those of so many relations")
    sizes |= {"known facts": arrays["facts"].nbytes if "facts" in arrays else 0}
    sizes |= {"names": arrays["entities"].nbytes + arrays["relations"].nbytes}
    return StudentFile(about, tensors, times, entities, relations, facts, looked_up, sizes, raw)


# ---- names ---------------------------------------------------------------------------------------------------------


def _named(vocabulary: Vocabulary) -> NDArray[np.uint8]:
    """A line a name: name, and after a tab its label if it has one; reading refuses tabs and line ends in both."""
    lines = (name if label is None else f"{name}\t{label}" for name, label in zip(*_columns(vocabulary), strict=True))
    return np.frombuffer("\n".join(lines).encode(), np.uint8)


def _columns(vocabulary: Vocabulary) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    for text in (*vocabulary.names, *filter(None, vocabulary.labels)):
        if "\t" in text or "\n" in text:
            raise ValueError(f"name {text[:40]!r} has a tab or a line end")
    return vocabulary.names, vocabulary.labels


def _names(content: NDArray[Any]) -> Vocabulary:
    if content.dtype != np.uint8:
        raise ValueError("names are not bytes")
    lines = [line.split("\t") for line in content.tobytes().decode("utf-8").split("\n")]
    if any(len(line) > 2 for line in lines):
        raise ValueError("a name has two labels")
    return Vocabulary(tuple(line[0] for line in lines), tuple(line[1] if len(line) == 2 else None for line in lines))


# ---- known facts ---------------------------------------------------------------------------------------------------


def _packed_facts(facts: Facts) -> NDArray[np.uint8]:
    """The five columns in the order of head, relation and tail, the heads as differences, compressed."""
    order = np.lexsort([facts.tail, facts.relation, facts.head])
    columns = {name: column[order] for name, column in facts.columns.items()}
    columns["head"] = np.diff(columns["head"], prepend=0)
    return np.frombuffer(zlib.compress(b"".join(columns[n].astype("<i8").tobytes() for n in _COLUMNS), 9), np.uint8)


def _facts(arrays: Mapping[str, NDArray[Any]], n: int) -> Facts:
    if "facts" not in arrays:
        return Facts(*(np.zeros(0, np.int64) for _ in _COLUMNS))
    size, packed = 8 * n * len(_COLUMNS), arrays["facts"].tobytes()
    if size > _MOST_PACKED * len(packed):
        raise ValueError(f"the known facts are not {n}")
    content = zlib.decompressobj().decompress(packed, size + 1)  # no more, whatever it unpacks to
    if len(content) != size:
        raise ValueError(f"the known facts are not {n}")
    columns = np.frombuffer(content, "<i8").reshape(len(_COLUMNS), n).astype(np.int64)
    head, relation, tail, start, end = columns
    return Facts(np.cumsum(head), relation, tail, start, end)


def _within(facts: Facts, n_entities: int, n_relations: int) -> Facts:
    """The facts, if they are of entities and relations that are there."""
    for ids, count in ((facts.head, n_entities), (facts.relation, n_relations), (facts.tail, n_entities)):
        if len(facts) and not 0 <= int(ids.min()) <= int(ids.max()) < count:
            raise ValueError("a known fact names what is not there")
    return facts
