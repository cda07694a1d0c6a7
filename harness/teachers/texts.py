"""What a language model reads: a text for every entity and relation, and training facts as sentences."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from harness.data import UNKNOWN, Facts, TemporalGraph
from harness.data.dates import show

#: statements that describe an entity without a label
_STATEMENTS = 3


def _clean(label: str) -> str:
    """YAGO's resource names and stray markup as plain words."""
    return " ".join(label.strip("<>").replace("_", " ").split())


def _label(names: tuple[str, ...], labels: tuple[str | None, ...], k: int) -> str:
    label = labels[k]
    return _clean(names[k]) if label is None else _clean(label)


def relation_label(graph: TemporalGraph, relation: int) -> str:
    """The relation in words, without its direction."""
    return _label(graph.relations.names, graph.relations.labels, relation)


def relation_texts(graph: TemporalGraph) -> list[str]:
    """Texts of the R relations, then of their reciprocals; 2R of them."""
    forward = [relation_label(graph, k) for k in range(len(graph.relations))]
    return forward + [f"inverse of {text}" for text in forward]


def entity_texts(graph: TemporalGraph) -> list[str]:
    """A text for every entity: its label, else what the *training* facts say of it.

    An entity without a label is described by its most telling statements, those about labelled entities, the most frequent
    first, such as
    "country of citizenship, France; position held, mayor" (where it is the head) or "Nanjing, capital of" (the tail). An entity that no
    training fact names either has only its name.
    """
    entities = graph.entities
    said: dict[int, list[str]] = defaultdict(list)
    facts = graph.train
    for head, relation, tail in zip(facts.head.tolist(), facts.relation.tolist(), facts.tail.tolist(), strict=True):
        for own, other in ((head, tail), (tail, head)):
            if entities.labels[own] is None and entities.labels[other] is not None:
                words = relation_label(graph, relation), _label(entities.names, entities.labels, other)
                said[own].append(", ".join(words if own == head else words[::-1]))
    texts = []
    for k, (name, label) in enumerate(zip(entities.names, entities.labels, strict=True)):
        if label is not None:
            texts.append(_clean(label))
        elif said[k]:
            counts = Counter(said[k])
            telling = sorted(counts, key=lambda text: (-counts[text], text))[:_STATEMENTS]
            texts.append("; ".join(telling))
        else:
            texts.append(_clean(name))
    return texts


def verbalise(graph: TemporalGraph, facts: Facts, rows: np.ndarray | None = None) -> list[str]:
    """Facts as sentences: "Edmonton, twinned with Nashville, from 1990 to 2001."

    Args:
        graph: names and labels, and the texts of entities without a label (from training facts).
        facts: the facts to put into words.
        rows: which of them, all if None.
    """
    texts = entity_texts(graph)
    chosen = range(len(facts)) if rows is None else rows.tolist()
    sentences = []
    for k in chosen:
        start, end = int(facts.start[k]), int(facts.end[k])
        first, last = show(start, graph.granularity), show(end, graph.granularity)
        if start == UNKNOWN and end == UNKNOWN:
            time = ""
        elif start == end:
            time = f", in {first}"
        elif end == UNKNOWN:
            time = f", from {first}"
        else:
            time = f", until {last}" if start == UNKNOWN else f", from {first} to {last}"
        relation = relation_label(graph, int(facts.relation[k]))
        sentences.append(f"{texts[facts.head[k]]}, {relation} {texts[facts.tail[k]]}{time}.")
    return sentences
