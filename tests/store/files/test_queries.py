from __future__ import annotations

from pathlib import Path

from harness.store import frames
from harness.store.files import queries
from harness.store.store import Store
from harness.store.study import open_study
from harness.trial.inputs import graph_of
from tests.store.samples import finished, planned


def test_degrees_and_labels_are_those_of_the_graph() -> None:
    graph = graph_of("lahman", None)
    frame = queries.of_test(graph)
    n = len(graph.test)
    assert frame["query"].tolist() == list(range(2 * n))
    for row in (0, 1, n - 1, n, n + 7, 2 * n - 1):
        fact = row % n
        ends = int(graph.test.head[fact]), int(graph.test.tail[fact])
        subject, answer = ends if row < n else ends[::-1]
        for name, entity in (("subject", subject), ("answer", answer)):
            times = int((graph.train.head == entity).sum() + (graph.train.tail == entity).sum())
            assert frame.loc[row, f"{name}_degree"] == times
            assert frame.loc[row, f"{name}_labelled"] == bool(graph.entities.labels[entity])


def test_a_study_keeps_them_once_and_ranks_come_with_them(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/runs/harness.db")
    facts = queries.of_test(graph_of("lahman", None)).iloc[:4]
    open_study(store, planned("ablation"), "command", {}).attach(facts)
    study = finished(store, planned("ablation"))
    kept = study.study.user_attrs["queries"]
    study.attach(facts.assign(answer_degree=0))
    assert study.study.user_attrs["queries"] == kept
    trials, _, load_ranks = frames.load(store.url, "ablation", "lahman")
    ranks = load_ranks(trials[trials["state"] == "complete"].index[0])
    assert ranks["answer_degree"].tolist() == facts["answer_degree"].tolist()
    assert ranks["rank"].notna().all()
