"""Texts come from labels and training facts alone, and no opaque name is in them while anything else can be said."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from harness.data import UNKNOWN, TemporalGraph
from harness.teachers.language.texts import entity_texts, relation_texts, verbalise
from tests.teachers.conftest import facts, small_graph

OPAQUE = re.compile(r"\bQ\d+\b")


def test_entity_texts(graph: TemporalGraph) -> None:
    assert entity_texts(graph) == [
        "Ada Lovelace",
        "London",
        "residence London; P1 Charles Babbage",
        "P1 (residence London; P1 Charles Babbage)",  # its only neighbour has no label, but a description
        "P1",  # nor has the neighbour's neighbour
        "Q103",  # no training fact says anything
        "Charles Babbage",
    ]


def test_relations_without_a_label_keep_their_name(graph: TemporalGraph) -> None:
    assert relation_texts(graph) == ["residence", "P1", "inverse of residence", "inverse of P1"]


def test_a_tail_comes_before_its_relation() -> None:
    graph = small_graph()
    graph.train.head[:2], graph.train.tail[:2] = [6, 6], [5, 5]
    assert entity_texts(graph)[5] == "Charles Babbage, residence"


def test_frequent_statements_first_and_no_more_than_three_names(graph: TemporalGraph) -> None:
    n = 5
    labels = (*(f"place {k}" for k in range(n)), None)
    rows = [(n, 0, k, UNKNOWN, UNKNOWN) for k in range(n)] + [(n, 0, 4, 1, 1), (n, 1, 0, 2, 2)]
    vocabulary = type(graph.entities)(tuple(map(str, range(n + 1))), labels)
    changed = _replace(graph, entities=vocabulary, train=facts(*rows))
    assert entity_texts(changed)[n] == "residence place 4, place 0, place 1; P1 place 0"


def _replace(graph: TemporalGraph, **changes: object) -> TemporalGraph:
    return TemporalGraph(**({name: getattr(graph, name) for name in graph.__dataclass_fields__} | changes))


def test_validation_and_test_facts_leave_no_trace(graph: TemporalGraph) -> None:
    other = facts((5, 0, 1, 1900, 1900), (4, 1, 6, 1900, 1901), (3, 0, 1, 1700, 1800))
    changed = small_graph(valid=other, test=other)
    assert entity_texts(changed) == entity_texts(graph)
    assert verbalise(changed, changed.train) == verbalise(graph, graph.train)


def test_sentences(graph: TemporalGraph) -> None:
    assert verbalise(graph, graph.train) == [
        "Ada Lovelace, residence London, from 1815 to 1852.",
        "[residence London; P1 Charles Babbage], residence London, from 1900.",
        "[residence London; P1 Charles Babbage], residence London, from 1950.",
        "[residence London; P1 Charles Babbage], P1 Charles Babbage, until 1850.",
        "[P1 (residence London; P1 Charles Babbage)], P1 [residence London; P1 Charles Babbage].",
        "[P1], P1 [P1 (residence London; P1 Charles Babbage)], in 1901.",
        "Ada Lovelace, P1 Charles Babbage, in 1833.",
        "Charles Babbage, residence London, from 1791 to 1871.",
    ]


def test_chosen_sentences_in_the_order_asked_for(graph: TemporalGraph) -> None:
    everything = verbalise(graph, graph.train)
    assert verbalise(graph, graph.train, np.array([6, 0])) == [everything[6], everything[0]]


@pytest.mark.parametrize("name", ["wiki", "yago"])
def test_real_texts(name: str, real_data: Callable[[str], TemporalGraph]) -> None:
    graph = real_data(name)
    texts = entity_texts(graph)
    assert len(texts) == len(graph.entities)
    assert all(text and text == text.strip() and "_" not in text for text in texts)
    seen = set(graph.train.head.tolist()) | set(graph.train.tail.tolist())
    assert not [texts[k] for k in seen if OPAQUE.search(texts[k])]
    # the others have only their name: nothing is known of them
    others = {k for k, label in enumerate(graph.entities.labels) if label is None} - seen
    assert all(texts[k] == graph.entities.names[k] for k in others)
    assert len(others) == (3 if name == "wiki" else 0)
    assert not [text for text in relation_texts(graph) if re.search(r"\bP\d+\b", text)]
