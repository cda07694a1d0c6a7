"""The test queries of a data set, and what reports may split them by: relation, labels, and degree in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.data import TemporalGraph, Timeline, both_directions, expand_by_class


def rows_of_test(graph: TemporalGraph, timeline: Timeline) -> pd.DataFrame:
    """One row a time class of a test query, in the order in which protocol ``expanded`` ranks them.

    As `of_test`, with the query that a row asks as ``asked`` (int32), and its own number as ``query``.
    """
    _, _, asked = expand_by_class(both_directions(graph.test, len(graph.relations)), timeline)
    rows = np.arange(len(asked), dtype=np.int32)
    return of_test(graph).iloc[asked].reset_index(drop=True).assign(asked=asked.astype(np.int32), query=rows)


def of_test(graph: TemporalGraph) -> pd.DataFrame:
    """One row a test query, in the order of the ranks: the N tails asked for, then the N heads.

    Columns: query (int32), direction ("tail" or "head"), relation (its label), and of subject and answer ``_degree``
    (training facts that name it, int32) and ``_labelled`` (bool).
    """
    size = len(graph.entities)
    degree = np.bincount(graph.train.head, minlength=size) + np.bincount(graph.train.tail, minlength=size)
    labelled = np.array([bool(label) for label in graph.entities.labels])
    head, tail = graph.test.head, graph.test.tail
    ends = {"subject": np.concatenate([head, tail]), "answer": np.concatenate([tail, head])}
    frame = pd.DataFrame({"query": np.arange(2 * len(head), dtype=np.int32)})
    frame["direction"] = np.repeat(["tail", "head"], len(head))
    names = [label or name for name, label in zip(graph.relations.names, graph.relations.labels, strict=True)]
    frame["relation"] = np.tile(np.array(distinct(names))[graph.test.relation], 2)
    for name, entity in ends.items():
        frame[f"{name}_degree"] = degree[entity].astype(np.int32)
        frame[f"{name}_labelled"] = labelled[entity]
    return frame


def distinct(labels: Sequence[str]) -> list[str]:
    """Labels with a number appended where one occurs again."""
    seen: dict[str, int] = {}
    result = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        result.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return result
