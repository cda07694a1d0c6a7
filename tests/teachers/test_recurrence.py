"""The recurrence baseline against its formula, fact by fact, and as a row beside students."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.data import UNKNOWN
from harness.evaluate import PROTOCOLS, metrics, ranks
from harness.teachers.recurrence import HALF_LIVES, SHARES, Recurrence, fit
from harness.trial.run import run_trial
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages
from tests.toy import context, dataset, spec

__all__ = ["context", "dataset", "spec"]


def test_scores_are_those_of_the_formula(spec: TrialSpec, context: Context) -> None:
    graph = Stages(spec, context).graph
    start, end = graph.train.start.copy(), graph.train.end.copy()
    end[::3], start[::9] = UNKNOWN, UNKNOWN  # every ninth fact has no time at all
    graph = replace(graph, train=replace(graph.train, start=start, end=end))
    model = Recurrence(graph)
    model.half_life[:], model.share[:] = 4.0, 0.7
    model.half_life[0] = torch.inf
    facts = [(h, r, t, s, e) for h, r, t, s, e in zip(*graph.train.columns.values(), strict=True)]
    facts += [(t, r + 4, h, s, e) for h, r, t, s, e in facts]

    def parts(kept: list[tuple[int, ...]], life: float, first: int, last: int) -> np.ndarray:
        total = np.zeros(40)
        for _, _, answer, s, e in kept:
            s, e = (e if s == UNKNOWN else s), (s if e == UNKNOWN else e)
            gap = 0 if UNKNOWN in (s, first) else max(s - last, first - e, 0)
            total[answer] += 2.0 ** (-gap / life)
        return total / max(total.sum(), 1e-30)

    asked = [(3, 0, 1931, 1934), (3, 5, 1900, 1900), (7, 2, 1990, 1995), (0, 7, UNKNOWN, UNKNOWN)]
    for subject, relation, first, last in asked:
        life = float("inf") if relation == 0 else 4.0
        both = parts([f for f in facts if f[:2] == (subject, relation)], life, first, last)
        expected = 0.7 * both + 0.3 * parts([f for f in facts if f[1] == relation], life, first, last)
        z = model.direct_scores(torch.tensor([subject]), torch.tensor([relation]), torch.tensor([[first, last]]))
        assert z[0].numpy() == pytest.approx(expected, rel=1e-5)


def test_validation_chooses_for_each_relation(spec: TrialSpec, context: Context) -> None:
    stages = Stages(spec, context)
    model, task = Recurrence(stages.graph), stages.inputs.task("valid", "points")
    chosen = fit(model, task)
    assert chosen == pytest.approx(metrics(ranks(model, task))["mrr"])
    lives, shares = model.half_life.clone(), model.share.clone()
    for life in HALF_LIVES:
        for share in SHARES:
            for relation in range(8):  # one relation's numbers changed, the others as chosen
                model.half_life.copy_(lives)
                model.share.copy_(shares)
                model.half_life[relation], model.share[relation] = life, share
                assert metrics(ranks(model, task))["mrr"] <= chosen + 1e-6


def test_it_is_a_row_of_every_protocol(spec: TrialSpec, context: Context) -> None:
    result = run_trial(spec.model_copy(update={"arm": "recurrence"}).acting(), context)
    assert {spec.protocol, *result.by_protocol} == set(PROTOCOLS)
    assert result.updates == 0
    assert result.metrics["test_mrr"] > 0.5  # the toy's facts recur
