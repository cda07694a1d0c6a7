"""Raw and static ranks and metrics against PyKEEN's evaluator, which knows nothing of time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data import Facts, KnownAnswers, TemporalGraph, Timeline, both_directions
from harness.evaluate import RankTask, metrics_by_direction, ranks
from harness.models import Backbone, TTransE, scores


@pytest.fixture(scope="module")
def pykeen(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """PyKEEN, kept from making its folders in the home directory when it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSTOW_HOME", str(tmp_path_factory.mktemp("pystow")))
        import pykeen.evaluation
        import pykeen.models
        import pykeen.triples
    return SimpleNamespace(
        evaluator=pykeen.evaluation.RankBasedEvaluator,
        fixed_model=pykeen.models.FixedModel,
        triples_factory=pykeen.triples.CoreTriplesFactory,
    )


def pykeen_ranks(
    pykeen: SimpleNamespace, graph: TemporalGraph, all_scores: Callable[[Tensor, Tensor], Tensor], *, filtered: bool
) -> tuple[NDArray[np.float64], dict[str, float]]:
    """PyKEEN's ranks of the test triples, tails then heads, and its metrics, named as ours.

    ``all_scores`` gives [B, E] for subject and relation [B].
    """
    n_entities, n_relations = len(graph.entities), len(graph.relations)

    class Model(pykeen.fixed_model):
        def score_t(self, hr_batch: Tensor, **_: Any) -> Tensor:
            return all_scores(hr_batch[:, 0], hr_batch[:, 1])

        def score_h(self, rt_batch: Tensor, **_: Any) -> Tensor:
            return all_scores(rt_batch[:, 1], rt_batch[:, 0] + n_relations)

    def triples(facts: Facts) -> Tensor:
        return torch.from_numpy(np.stack([facts.head, facts.relation, facts.tail], axis=1))

    factory = pykeen.triples_factory(triples(graph.train), num_entities=n_entities, num_relations=n_relations)
    evaluator = pykeen.evaluator(filtered=filtered, clear_on_finalize=False)
    if filtered:
        others = [triples(graph.train), triples(graph.valid)]
        result = evaluator.evaluate(
            Model(triples_factory=factory),
            triples(graph.test),
            batch_size=64,
            additional_filter_triples=others,
            use_tqdm=False,
        )
    else:  # unfiltered, evaluate() of 1.11.1 forgets to pass the true scores on
        for side, subject, relation, answer in (("tail", 0, 0, 2), ("head", 2, n_relations, 0)):
            asked = triples(graph.test)
            z = all_scores(asked[:, subject], asked[:, 1] + relation)
            evaluator.process_scores_(asked, side, z, z.gather(1, asked[:, answer, None]))
        result = evaluator.finalize()
    one = np.concatenate([np.concatenate(evaluator.ranks[side, "realistic"]) for side in ("tail", "head")])
    names = {"mrr": "inverse_harmonic_mean_rank", "mr": "arithmetic_mean_rank"}
    names |= {f"hits{k}": f"hits_at_{k}" for k in (1, 3, 10)}
    sides = {"": "both", "tail_": "tail", "head_": "head"}
    return one, {
        prefix + ours: result.get_metric(f"{side}.realistic.{theirs}")
        for prefix, side in sides.items()
        for ours, theirs in names.items()
    }


def our_ranks(graph: TemporalGraph, model: Backbone, protocol: str) -> NDArray[np.float64]:
    queries = both_directions(graph.test, len(graph.relations))
    timeline = Timeline.build(graph)
    return ranks(model, RankTask.build(queries, KnownAnswers(graph), timeline, "classes", protocol))


def assert_equal(pykeen: SimpleNamespace, graph: TemporalGraph, model: Backbone, all_scores: Any) -> None:
    actual = {}
    for protocol in ("raw", "static"):
        actual[protocol] = our_ranks(graph, model, protocol)
        expected, metrics = pykeen_ranks(pykeen, graph, all_scores, filtered=protocol == "static")
        np.testing.assert_array_equal(actual[protocol], expected)
        assert metrics_by_direction(actual[protocol]) == pytest.approx(metrics, rel=1e-6)  # PyKEEN's are float32
    assert (actual["raw"] != actual["static"]).any()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("seed", range(5))
def test_small_graphs_with_ties(
    seed: int, pykeen: SimpleNamespace, table_model: Any, make_graph: Callable[..., TemporalGraph]
) -> None:
    random = np.random.default_rng(seed)

    def facts(n: int) -> list[list[int]]:
        rows = random.integers((0, 0, 0, 2000), (12, 3, 12, 2010), (n, 4))
        return np.column_stack([rows, rows[:, 3] + random.integers(0, 5, n)]).tolist()

    graph = make_graph(12, 3, facts(80), facts(20), facts(40))
    n = Timeline.build(graph).n_classes
    table = torch.from_numpy(random.integers(0, 5, (12, 6, 1, 1, 12))).float()
    model = table_model(table.expand(-1, -1, n, n, -1))
    assert_equal(pykeen, graph, model, lambda subject, relation: table[subject, relation, 0, 0])


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_real_facts(norm: Any, pykeen: SimpleNamespace, real_data: Callable[[str], TemporalGraph]) -> None:
    """A part of Wikidata12k's test facts, all of its other facts as filter, and a TTransE without time."""
    full = real_data("wiki")
    some = slice(0, None, 16)
    test = Facts(*(getattr(full.test, name)[some] for name in ("head", "relation", "tail", "start", "end")))
    graph = TemporalGraph(
        "part", full.granularity, full.entities, full.relations, full.train, full.valid, test, digest=""
    )
    torch.manual_seed(0)
    model = TTransE(len(graph.entities), len(graph.relations), Timeline.build(graph).n_classes, 8, norm)
    for part, width in ((model.entity, 3), (model.relation, 1), (model.time, 0)):
        part.weight.data.uniform_(-width, width).round_()  # distances of whole numbers are the same in any batch

    @torch.no_grad()
    def all_scores(subject: Tensor, relation: Tensor) -> Tensor:
        query = model.encode(subject, relation, torch.zeros(len(subject), 2, dtype=torch.long))
        return scores(query, model.entity_table(), model.kernel, model.scale())

    assert_equal(pykeen, graph, model, all_scores)
