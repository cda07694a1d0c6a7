"""Real data in other sizes: cut, and repeated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.data import Facts, Ints, TemporalGraph, Vocabulary


def pick(facts: Facts, at: Ints) -> Facts:
    """The facts at the positions ``at``."""
    return Facts(**{name: column[at] for name, column in facts.columns.items()})


def spread(facts: Facts, count: int) -> Facts:
    """``count`` of the facts, or all if there are fewer, evenly spaced: from all times, since these order them."""
    return pick(facts, np.linspace(0, len(facts) - 1, min(count, len(facts))).astype(np.int64))


def cut(graph: TemporalGraph, count: int) -> TemporalGraph:
    """The first ``count`` facts of the training split and the entities that they name, renumbered; no other split."""
    first = pick(graph.train, np.arange(min(count, len(graph.train))))
    used, ids = np.unique(np.concatenate([first.head, first.tail]), return_inverse=True)
    head, tail = np.split(ids.astype(np.int64), 2)
    names, labels = ([column[e] for e in used] for column in (graph.entities.names, graph.entities.labels))
    return _of_train(graph, replace(first, head=head, tail=tail), Vocabulary(tuple(names), tuple(labels)))


def repeat(graph: TemporalGraph, copies: int) -> TemporalGraph:
    """``copies`` of the training split in a row, each about other entities, at the same times; no other split."""
    n, train = len(graph.entities), graph.train
    columns = {name: np.tile(column, copies) for name, column in train.columns.items()}
    shift = n * np.repeat(np.arange(copies), len(train))
    columns["head"], columns["tail"] = columns["head"] + shift, columns["tail"] + shift
    names = tuple(f"{name} ({k + 1})" for k in range(copies) for name in graph.entities.names)
    return _of_train(graph, Facts(**columns), Vocabulary(names, graph.entities.labels * copies))


def _of_train(graph: TemporalGraph, train: Facts, entities: Vocabulary) -> TemporalGraph:
    none = pick(train, np.zeros(0, np.int64))
    # neither is stored under its digest
    return replace(graph, train=train, valid=none, test=none, entities=entities, digest="", counts={})
