"""What a language model reads: a text for every entity and relation, and training facts as sentences.

Only labels and training facts enter; nothing of the validation and test splits does.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from harness.data import UNKNOWN, Facts, Queries, TemporalGraph
from harness.data.dates import show

#: the most that the text of an entity without a label has: statements, and names in a statement
_STATEMENTS, _NAMES = 3, 3
#: what stands for the answer in a question, and how the answer begins
UNNAMED, OPENING = "X", "X is"

#: (relation, whether the entity is the head, the entity at the other end)
_Statement = tuple[int, bool, int]


def _clean(label: str) -> str:
    """YAGO's resource names and stray markup as plain words."""
    return " ".join(label.strip("<>").replace("_", " ").split())


def relation_label(graph: TemporalGraph, relation: int) -> str:
    """The relation in words, without its direction."""
    label = graph.relations.labels[relation]
    return _clean(graph.relations.names[relation] if label is None else label)


def relation_texts(graph: TemporalGraph) -> list[str]:
    """Texts of the R relations, then of their reciprocals; 2R of them."""
    forward = [relation_label(graph, k) for k in range(len(graph.relations))]
    return forward + [f"inverse of {text}" for text in forward]


def entity_texts(graph: TemporalGraph) -> list[str]:
    """A text for every entity: its label, else what the *training* facts state of it.

    An entity without a label is described by its relations to labelled entities, the most frequent first, as in
    "position held mayor; member of sports team Rangers F.C., Malmö FF" (it is the head) or "Meudon, head of government"
    (it is the tail). One whose neighbours have no label either is described by theirs, as in "member of sports team
    (Iraq, country)", and if they have none, by its relations alone. Only an entity that no training fact names keeps
    its own name.
    """
    entities = graph.entities
    stated = _statements(graph)
    names = {k: text for k, label in enumerate(entities.labels) if label is not None and (text := _clean(label))}
    near = {k: text for k, facts in stated.items() if (text := _describe(graph, facts, names))}
    in_brackets = {k: f"({text})" for k, text in near.items()}
    far = {k: _describe(graph, facts, in_brackets) for k, facts in stated.items() if k not in near}
    alone = {k: _relations_alone(graph, stated[k]) for k, text in far.items() if not text}
    texts = far | alone | near | names
    return [texts.get(k) or _clean(name) for k, name in enumerate(entities.names)]


def _statements(graph: TemporalGraph) -> dict[int, list[_Statement]]:
    """The training facts about each entity without a label."""
    statements: dict[int, list[_Statement]] = defaultdict(list)
    facts, labels = graph.train, graph.entities.labels
    for head, relation, tail in zip(facts.head.tolist(), facts.relation.tolist(), facts.tail.tolist(), strict=True):
        if labels[head] is None:
            statements[head].append((relation, True, tail))
        if labels[tail] is None:
            statements[tail].append((relation, False, head))
    return statements


def _describe(graph: TemporalGraph, statements: list[_Statement], names: dict[int, str]) -> str:
    """Statements about entities that have a name, grouped by relation; empty if there are none."""
    groups: dict[tuple[int, bool], Counter[str]] = defaultdict(Counter)
    for relation, is_head, other in statements:
        if other in names:
            groups[relation, is_head][names[other]] += 1
    parts = []
    by_frequency = sorted(groups.items(), key=lambda item: (-item[1].total(), item[0]))
    for (relation, is_head), counts in by_frequency[:_STATEMENTS]:
        listed = ", ".join(sorted(counts, key=lambda text: (-counts[text], text))[:_NAMES])
        label = relation_label(graph, relation)
        parts.append(f"{label} {listed}" if is_head else f"{listed}, {label}")
    return "; ".join(parts)


def _relations_alone(graph: TemporalGraph, statements: list[_Statement]) -> str:
    texts = relation_texts(graph)
    counts = Counter(relation if is_head else relation + len(graph.relations) for relation, is_head, _ in statements)
    return "; ".join(texts[k] for k in sorted(counts, key=lambda k: (-counts[k], k))[:_STATEMENTS])


def statements(graph: TemporalGraph) -> tuple[list[str], NDArray[np.int64]]:
    """What training facts say of an entity, as texts of their own: "twinned with Nashville", without the time.

    A fact says one thing of its head and one, with the reciprocal relation, of its tail; equal ones are there once. So
    an entity is described by the statements of its facts, and any of these can be left out.

    Returns:
        The texts, and the pairs (relation or reciprocal, entity at the other end) that they are of, int64 [S, 2],
        ascending.
    """
    facts, entities, relations = graph.train, entity_texts(graph), relation_texts(graph)
    of_heads = np.stack([facts.relation, facts.tail], 1)
    of_tails = np.stack([facts.relation + len(graph.relations), facts.head], 1)
    pairs: NDArray[np.int64] = np.unique(np.concatenate([of_heads, of_tails]), axis=0)
    return [f"{relations[relation]} {entities[other]}" for relation, other in pairs.tolist()], pairs


def verbalise(graph: TemporalGraph, facts: Facts, rows: NDArray[np.int64] | None = None) -> list[str]:
    """Facts as sentences: "Edmonton, twinned with Nashville, from 1990 to 2001."

    A description that stands in for a missing label is in brackets.

    Args:
        graph: names and labels, and the texts of entities without a label (from training facts).
        facts: the facts to put into words.
        rows: which of them, all if None.
    """
    return list(_sentences(graph, facts, range(len(facts)) if rows is None else rows.tolist(), _in_sentences(graph)))


def _in_sentences(graph: TemporalGraph) -> list[str]:
    labelled = zip(entity_texts(graph), graph.entities.labels, strict=True)
    return [f"[{text}]" if label is None else text for text, label in labelled]


def _sentences(graph: TemporalGraph, facts: Facts, rows: Iterable[int], texts: list[str]) -> Iterator[str]:
    for k in rows:
        relation = relation_label(graph, int(facts.relation[k]))
        time = _time(graph, int(facts.start[k]), int(facts.end[k]))
        yield f"{texts[facts.head[k]]}, {relation} {texts[facts.tail[k]]}{time}."


def questions(graph: TemporalGraph, queries: Queries, facts: int) -> Iterator[str]:
    """Prompts that the label of a query's answer goes on with: training facts of the subject, then what is asked.

    As in "Edmonton, twinned with Nashville, in 1990. Edmonton, twinned with X, in 1995. X is". The facts are those that
    begin nearest to the query; the fact that a query asks for is never among them.

    Args:
        graph: whose training facts.
        queries: what is asked; ``answer`` is that of a training query, -1 elsewhere.
        facts: how many of them, at most.
    """
    train, n, half = graph.train, len(graph.entities), len(graph.relations)
    texts, ends = [*_in_sentences(graph), UNNAMED], np.concatenate([train.head, train.tail])
    order = np.argsort(ends, kind="stable")
    first, last = (np.searchsorted(ends[order], queries.subject, side) for side in ("left", "right"))
    is_inverse, unnamed, relation = queries.relation >= half, np.full(len(queries), n), queries.relation % half
    begin, begun = queries.time_points()[0].astype(float), train.time_points()[0].astype(float)
    asked = Facts(
        np.where(is_inverse, unnamed, queries.subject), relation, np.where(is_inverse, queries.subject, unnamed),
        queries.start, queries.end,
    )  # fmt: skip
    for k, question in enumerate(_sentences(graph, asked, range(len(queries)), texts)):
        pair = queries.subject[k], queries.answer[k]
        head, tail = pair[::-1] if is_inverse[k] else pair
        near = np.unique(order[first[k] : last[k]] % len(train))
        own = (train.head[near] == head) & (train.relation[near] == relation[k]) & (train.tail[near] == tail)
        own &= (train.start[near] == queries.start[k]) & (train.end[near] == queries.end[k])
        near = near[~own]
        near = near[np.argsort(np.abs(begun[near] - begin[k]), kind="stable")[:facts]]
        yield " ".join([*_sentences(graph, train, np.sort(near), texts), question, OPENING])


def _time(graph: TemporalGraph, start: int, end: int) -> str:
    """When a fact held, in words; nothing if neither end is known."""
    first, last = show(start, graph.granularity), show(end, graph.granularity)
    if start == end:
        return "" if start == UNKNOWN else f", in {first}"
    if end == UNKNOWN:
        return f", from {first}"
    return f", until {last}" if start == UNKNOWN else f", from {first} to {last}"
