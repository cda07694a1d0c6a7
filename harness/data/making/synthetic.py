"""Synthetic temporal graphs of any size, to measure how costs grow: random, with the shape of ``tkgl-wikidata``.

What is taken from ``tkgl-wikidata`` of TGB 2.0 (Gastinger et al., 2024, https://arxiv.org/abs/2406.09639; figures of
https://tgb.complexdatalab.com/docs/tkg): 1,226,440 entities, 9,856,203 facts and 2,025 years (the default span), which
some relations give as points and some as intervals. What is chosen here: exponents, shares and lengths, below.

Each relation has its share of the facts by Zipf's law, and a domain and a range: windows of the entities, laid end to
end in an order of each, as wide as the share. Within a window entities are drawn by a power law. Every second relation
has intervals. Nothing but these can be learnt, so quality on such data says nothing about methods.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from harness.data.dates import parse, show
from harness.data.graph import SPLITS, UNKNOWN, Granularity, Ints
from harness.data.making.preparing import declaration, new_folder
from harness.data.reading import DECLARED
from harness.errors import UserError

#: the density of degrees d falls as d ** -DEGREE_EXPONENT: an entity's rank is drawn as u ** 3, u uniform
DEGREE_EXPONENT = 2.5
#: of valid and of test, each
SHARE = 0.1
#: entities of a domain or range, at least (if there are as many)
_NARROWEST = 16
#: the longest interval, as a part of the span
_LONGEST = 20
_ROWS, _ROUNDS = 1 << 20, 60


@dataclass(frozen=True)
class Shape:
    """What is to be made: counts, all exact; ``first`` and ``last``: both years or both days, as text.

    ``recurrence``: the share of facts whose head, relation and tail another fact has, at another time and earlier in
    the order of making: 1 - distinct triples / facts.
    """

    entities: int
    facts: int
    relations: int
    seed: int = 0
    first: str = "1"
    last: str = "2025"
    recurrence: float = 0.6


def synthesise(folder: Path, shape: Shape) -> str:
    """Write a new folder with files train, valid and test (80/10/10 at random); return the SHA-256 (hex) of the three.

    All facts are distinct. The first fact of each entity and relation is in train, the others are split at random.
    The same shape gives the same bytes. Memory: about 100 bytes a fact and 100 an entity.

    Raises:
        UserError: the folder exists, or there can be no such graph.
    """
    if folder.exists():
        raise UserError(f"{folder}: exists; remove it, or name another folder")
    granularity, first, last = _span(shape)
    rng = np.random.default_rng(shape.seed)
    heads, relations, tails, kept = _triples(shape, rng)
    triple, start = _facts(shape, len(heads), last - first + 1, 4 if granularity == "year" else 1, rng)
    length = _power(rng.random(shape.facts), 2) * ((last - first) // _LONGEST + 1)
    end = np.minimum(start + np.where(relations[triple] % 2, length.astype(np.int64), 0), last - first)
    split = _splits(shape.facts, kept, rng)
    names = [
        pa.array([f"{letter}{k}" for k in range(n)]) for letter, n in (("e", shape.entities), ("r", shape.relations))
    ]
    times = pa.array([show(time, granularity) for time in range(first, last + 1)])
    made: dict[str, str | int | float] = {"by": "synthesise", **vars(shape)}
    with new_folder(folder) as new:
        digest = hashlib.sha256()
        for k, name in enumerate(SPLITS):
            path = new / f"{name}.txt"
            rows = np.flatnonzero(split == k)
            with csv.CSVWriter(path, _SCHEMA, write_options=_OPTIONS) as writer:
                for low in range(0, len(rows), _ROWS):
                    row = rows[low : low + _ROWS]
                    one = triple[row]
                    texts = names[0], names[1], names[0], times, times
                    ids = heads[one], relations[one], tails[one], start[row], end[row]
                    columns = [text.take(pa.array(of_text)) for text, of_text in zip(texts, ids, strict=True)]
                    writer.write_table(pa.table(columns, _SCHEMA))
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        (new / DECLARED).write_text(declaration(granularity, made | {"sha256": digest.hexdigest()}), "utf-8")
    return digest.hexdigest()


_SCHEMA = pa.schema([(name, pa.string()) for name in ("head", "relation", "tail", "start", "end")])
_OPTIONS = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")


def _span(shape: Shape) -> tuple[Granularity, int, int]:
    given = {"--from": shape.first, "--to": shape.last}
    try:
        days = [parse(text, "day") for text in given.values()]
        granularity: Granularity = "year" if UNKNOWN in days else "day"
        first, last = (parse(text, granularity) for text in given.values())
    except ValueError as error:
        raise UserError(f"--from, --to: {error}") from None
    if UNKNOWN in (first, last) or len({UNKNOWN in (day,) for day in days}) > 1 or first > last:
        wanted = "give two years or two days, the earlier one first"
        raise UserError(f"--from {shape.first[:40]} --to {shape.last[:40]}: {wanted}")
    return granularity, first, last


def _power(u: NDArray[np.float64], exponent: int) -> NDArray[np.float64]:
    """Products alone, which are the same on every machine."""
    power = u
    for _ in range(exponent - 1):
        power = power * u
    return power


def _triples(shape: Shape, rng: np.random.Generator) -> tuple[Ints, Ints, Ints, int]:
    """Distinct heads, relations and tails; the first ``kept`` of them name every entity and every relation."""
    n, n_relations = shape.entities, shape.relations
    wanted = shape.facts - round(shape.recurrence * shape.facts)
    zipf = 1 / np.arange(1, n_relations + 1)
    cumulated = np.cumsum(zipf) / zipf.sum()
    edges = np.append(0, np.rint(n * cumulated)).astype(np.int64)
    own = np.diff(edges)
    width = np.maximum(own, min(n, _NARROWEST))
    too_many = f"--facts {shape.facts}: too many for {n} entities; give more entities, or a larger --recurrence"
    if 2 * wanted > int((width * (width - 1)).sum()):
        raise UserError(too_many)
    order = np.argsort(rng.random(n_relations), kind="stable")
    ranges = np.empty(n_relations, np.int64)
    ranges[order] = np.cumsum(own[order]) - own[order]

    def within(relation: Ints, windows: Ints) -> Ints:
        drawn = _power(rng.random(len(relation)), 3) * width[relation]
        return np.asarray((windows[relation] + drawn.astype(np.int64)) % n)

    def keys(relation: Ints, head: Ints) -> Ints:
        tail = within(relation, ranges)
        return np.asarray((relation * n + head) * n + np.where(tail == head, (tail + 1) % n, tail))

    without = np.flatnonzero(own == 0)  # relations whose share is less than one entity
    relation = np.concatenate([np.repeat(np.arange(n_relations), own), without])
    first = keys(relation, np.concatenate([np.arange(n), within(without, edges[:-1])]))
    if len(first) > min(wanted, shape.facts - 2 * round(SHARE * shape.facts)):
        raise UserError(
            f"--facts {shape.facts}: {wanted} distinct triples cannot put each of {n} entities and {n_relations} "
            "relations into the training facts; give more facts, or a smaller --recurrence"
        )
    more = np.zeros(0, np.int64)
    for _ in range(_ROUNDS):
        if len(more) >= wanted - len(first):
            break
        drawn = rng.random(int(1.2 * (wanted - len(first) - len(more))) + 100)
        relation = np.minimum(np.searchsorted(cumulated, drawn, side="right"), n_relations - 1).astype(np.int64)
        new = np.unique(keys(relation, within(relation, edges[:-1])))
        more = np.union1d(more, new[~np.isin(new, first)])
    else:
        raise UserError(too_many)
    chosen = np.argsort(rng.random(len(more)), kind="stable")[: wanted - len(first)]
    key = np.concatenate([first, more[chosen]])
    pair, tail = np.divmod(key, n)
    relation, head = np.divmod(pair, n)
    return head, relation, tail, len(first)


def _facts(shape: Shape, n_triples: int, span: int, exponent: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Triples and starts (from 0) of all facts, distinct: each triple once, in order, and repeats drawn at random.

    Years are drawn the more densely the later they are, as the fourth power of what is left of the span.
    """
    n = shape.facts
    triple, start = np.arange(n), np.zeros(n, np.int64)
    redrawn = np.arange(n)
    for _ in range(_ROUNDS):
        repeats = redrawn[redrawn >= n_triples]
        triple[repeats] = (rng.random(len(repeats)) * n_triples).astype(np.int64)
        start[redrawn] = span - 1 - (_power(rng.random(len(redrawn)), exponent) * span).astype(np.int64)
        key = triple * span + start
        order = np.argsort(key, kind="stable")
        redrawn = np.sort(order[1:][np.diff(key[order]) == 0])
        if not len(redrawn):
            return triple, start
    raise UserError(
        f"--recurrence {shape.recurrence}: too large for {span} times; give a longer span, or a smaller share"
    )


def _splits(n: int, kept: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """The number of each fact's split; the first ``kept`` are in train."""
    order = kept + np.argsort(rng.random(n - kept), kind="stable")
    each = round(SHARE * n)
    split = np.zeros(n, np.int8)
    split[order[:each]], split[order[each : 2 * each]] = 1, 2
    return split
