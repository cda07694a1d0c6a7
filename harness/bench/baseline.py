"""PyKEEN on the same facts: its training loops and its evaluator; see ``common.pykeen``.

PyKEEN knows no time, so TransE stands for TTransE and DistMult for TA-DistMult. Both come without what is no part of
scoring (regularisers, constraints), so that nothing is timed that could be left out.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pykeen.evaluation import RankBasedEvaluator
from pykeen.models import DistMult, FixedModel, Model, TransE
from pykeen.training import LCWATrainingLoop, SLCWATrainingLoop, TrainingCallback
from pykeen.triples import CoreTriplesFactory
from torch import Tensor

from harness.data import Facts, TemporalGraph
from harness.measurements.timer import Clock, TimeIsUpError

__all__ = ["NAMES", "Borrowed", "Model", "Ranking", "new_model", "training_rate", "triples"]

#: what stands for a backbone
NAMES = {"ttranse": "TransE", "ta-distmult": "DistMult"}

for _name in ("pykeen", "torch_max_mem"):  # which warn of models without a seed, and of every use on a CPU
    logging.getLogger(_name).setLevel(logging.ERROR)


def triples(facts: Facts) -> Tensor:
    """Facts [N] without their times: int64 [N, 3]."""
    return torch.from_numpy(np.stack([facts.head, facts.relation, facts.tail], axis=1))


def _factory(graph: TemporalGraph, inverse: bool) -> CoreTriplesFactory:
    return CoreTriplesFactory(
        triples(graph.train),
        num_entities=len(graph.entities),
        num_relations=len(graph.relations),
        create_inverse_triples=inverse,
    )


def new_model(backbone: str, factory: CoreTriplesFactory, dim: int) -> Model:
    """PyKEEN's counterpart of a backbone."""
    common: dict[str, Any] = {"triples_factory": factory, "embedding_dim": dim, "random_seed": 0}
    common |= {"loss": "crossentropy", "regularizer": None, "entity_constrainer": None}
    return TransE(scoring_fct_norm=2, **common) if backbone == "ttranse" else DistMult(**common)


def training_rate(
    graph: TemporalGraph,
    backbone: str,
    *,
    dim: int,
    negatives: int | None,
    batch_size: int,
    sub_batch_size: int,
    optimizer: str,
    learning_rate: float,
    seconds: float,
) -> float:
    """Queries a second of a training loop with softmax cross-entropy, both directions of every fact.

    Args:
        negatives: of each fact, drawn at random (sLCWA); None: all entities are scored (LCWA; a query is a distinct
            pair of entity and relation with all its answers).
        sub_batch_size: queries scored at a time; gradients are those of the batch.
    """
    factory, clock = _factory(graph, inverse=True), Clock(seconds)

    class Ticking(TrainingCallback):
        def post_batch(self, epoch: int, batch: Any, **_: Any) -> None:
            clock.tick(len(batch["pairs"] if "pairs" in batch else batch["positives"]))

    kind: Any = LCWATrainingLoop if negatives is None else SLCWATrainingLoop
    sampler = {} if negatives is None else {"negative_sampler_kwargs": {"num_negs_per_pos": negatives}}
    loop = kind(
        model=new_model(backbone, factory, dim),
        triples_factory=factory,
        optimizer=optimizer,
        optimizer_kwargs={"lr": learning_rate, "fused": True},
        automatic_memory_optimization=False,
        **sampler,
    )
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), suppress(TimeIsUpError):
        warnings.simplefilter("ignore", DeprecationWarning)  # PyKEEN warns of how it calls itself
        loop.train(
            factory,
            num_epochs=1_000_000,
            batch_size=batch_size,
            sub_batch_size=sub_batch_size,
            use_tqdm=False,
            callbacks=Ticking,
            checkpoint_directory=folder,
            pin_memory=False,
        )
    return clock.rate


class Borrowed(FixedModel):
    """Scores of another model: ``scores`` gives [B, E] for entity [B] and relation [B], R..2R-1 asking for heads."""

    def __init__(self, factory: CoreTriplesFactory, scores: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__(triples_factory=factory)
        self.scores = scores

    def score_t(self, hr_batch: Tensor, tails: Tensor | None = None, **_: Any) -> Tensor:
        return self.scores(hr_batch[:, 0], hr_batch[:, 1])

    def score_h(self, rt_batch: Tensor, heads: Tensor | None = None, **_: Any) -> Tensor:
        return self.scores(rt_batch[:, 1], rt_batch[:, 0] + self.num_relations)


class Ranking:
    """PyKEEN's rank-based evaluator on test facts [N], filtered by all splits."""

    def __init__(self, graph: TemporalGraph, facts: Facts) -> None:
        self.factory = _factory(graph, inverse=False)
        self.facts = triples(facts)
        self.known = [triples(split) for split in graph.splits.values()]
        # one a batch size, kept: PyKEEN remembers batch sizes by the address of the evaluator
        self._evaluators: dict[int, RankBasedEvaluator] = {}

    def evaluate(self, model: Model, batch_size: int) -> NDArray[np.float64]:
        """Ranks [2N], tails then heads."""
        if batch_size not in self._evaluators:
            # one of the 40 metrics that PyKEEN makes by default: they would be timed
            evaluator = RankBasedEvaluator(metrics=["mrr"], add_defaults=False, clear_on_finalize=False)
            self._evaluators[batch_size] = evaluator
        evaluator = self._evaluators[batch_size]
        evaluator.evaluate(
            model, self.facts, batch_size=batch_size, additional_filter_triples=self.known, use_tqdm=False
        )
        sides = [np.concatenate(evaluator.ranks[side, "realistic"]) for side in ("tail", "head")]
        return np.concatenate(sides).astype(np.float64)
