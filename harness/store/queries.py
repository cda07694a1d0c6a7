"""What reports may split the test queries by: whether an entity has a label, and how often training facts name it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.data import TemporalGraph


def of_test(graph: TemporalGraph) -> pd.DataFrame:
    """One row a test query, in the order of the ranks: the N tails asked for, then the N heads.

    Columns: query (int32), and of subject and answer ``_degree`` (training facts that name it, int32) and
    ``_labelled`` (bool).
    """
    size = len(graph.entities)
    degree = np.bincount(graph.train.head, minlength=size) + np.bincount(graph.train.tail, minlength=size)
    labelled = np.array([bool(label) for label in graph.entities.labels])
    head, tail = graph.test.head, graph.test.tail
    ends = {"subject": np.concatenate([head, tail]), "answer": np.concatenate([tail, head])}
    frame = pd.DataFrame({"query": np.arange(2 * len(head), dtype=np.int32)})
    for name, entity in ends.items():
        frame[f"{name}_degree"] = degree[entity].astype(np.int32)
        frame[f"{name}_labelled"] = labelled[entity]
    return frame
