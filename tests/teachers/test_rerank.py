"""A teacher whose uncertain answers a language model reranks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.data import Queries, TemporalGraph, both_directions
from harness.errors import UserError
from harness.evaluate import ranks
from harness.teachers import rerank
from harness.teachers.language.language_model import LanguageModel, load
from harness.teachers.language.texts import questions
from harness.teachers.rerank import Reranked, likelihoods, log_likelihoods
from harness.trial.run import run_trial, scored_model
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages
from tests.teachers.conftest import facts, small_graph
from tests.toy import context, dataset, spec

__all__ = ["context", "dataset", "spec"]


def asked(graph: TemporalGraph, split: str) -> Queries:
    return both_directions(graph.splits[split], len(graph.relations))


@pytest.fixture(scope="module")
def causal(causal_folder: Path) -> LanguageModel:
    return load(str(causal_folder), torch.float32)


def reads(spec: TrialSpec, folder: Path, arm: str = "teacher", **options: object) -> TrialSpec:
    """A trial whose teacher the causal model reranks."""
    llm = {**spec.llm.model_dump(), "model": str(folder)}
    teacher = {**spec.teacher.model_dump(), "source": "reranked", "reranked": options}
    return TrialSpec.model_validate({**spec.model_dump(), "arm": arm, "teacher": teacher, "llm": llm}).acting()


# ---- prompts -------------------------------------------------------------------------------------------------------


def test_a_question_has_the_nearest_facts_of_its_subject() -> None:
    graph = small_graph()
    tail, head = (list(questions(graph, replace(asked(graph, "valid"), answer=np.full(2, -1)), n)) for n in (1, 0))
    assert tail[0] == "Ada Lovelace, P1 Charles Babbage, in 1833. Ada Lovelace, P1 X, in 1840. X is"
    assert head[1] == "X, P1 Charles Babbage, in 1840. X is"


def test_a_training_query_does_not_read_its_own_fact() -> None:
    graph = small_graph()
    queries = asked(graph, "train")
    for k, text in enumerate(questions(graph, queries, 32)):
        row = k % len(graph.train)
        without = TemporalGraph(**{**vars(graph), "train": facts(*np.delete(
            np.stack(list(graph.train.columns.values()), 1), row, 0))})  # fmt: skip
        one = Queries(*(column[k : k + 1] for column in vars(queries).values()))
        # texts of entities without a label are of all training facts, so only labelled ends are compared
        if {int(queries.subject[k]), int(queries.answer[k])} <= {0, 1, 6}:
            assert text == next(questions(without, replace(one, answer=np.array([-1])), 32))


def test_nothing_of_validation_and_test_is_read(causal: LanguageModel) -> None:
    """Other facts there change no prompt and no likelihood of the same queries."""
    graph, other = small_graph(), small_graph(valid=facts((0, 1, 1, 1, 1)), test=facts((1, 1, 6, 1842, 1842)))
    queries = replace(asked(graph, "test"), answer=np.full(2, -1))
    ids = torch.tensor([[0, 1, 2], [6, 3, 4]])
    ours, theirs = (likelihoods(causal, of, queries, ids, 4, 16) for of in (graph, other))
    assert torch.equal(ours, theirs)


# ---- likelihoods ---------------------------------------------------------------------------------------------------


def test_likelihoods_are_those_of_whole_texts(causal: LanguageModel) -> None:
    """Read in one go, without a prompt that is kept."""
    prompt, labels = [5, 9, 3, 7], [[4, 8, 2], [11], [4, 6]]
    ours = log_likelihoods(causal, prompt, labels)
    for label, log_p in zip(labels, ours, strict=True):
        ids = torch.tensor([prompt + label])
        assert causal.head is not None
        every = causal.head(causal.hidden(ids, torch.ones_like(ids))).log_softmax(-1)[0]
        expected = sum(every[len(prompt) - 1 + k, token] for k, token in enumerate(label))
        torch.testing.assert_close(log_p, expected)


def test_an_encoder_cannot_rerank(encoder_folder: Path) -> None:
    graph, encoder = small_graph(), load(str(encoder_folder), torch.float32)
    queries = replace(asked(graph, "test"), answer=np.full(2, -1))
    with pytest.raises(UserError, match="predicts no next token"):
        likelihoods(encoder, graph, queries, torch.zeros(2, 1).long(), 0, 16)


# ---- the teacher ---------------------------------------------------------------------------------------------------


def test_a_weight_of_zero_is_the_structural_teacher(spec: TrialSpec, context: Context, causal_folder: Path) -> None:
    """With others ten scores are dealt out anew: as many better ones, on other entities."""
    one = reads(spec, causal_folder, share=0.5)
    model = scored_model(one, context)
    assert isinstance(model, Reranked)
    base = scored_model(one.members[0], context)
    task = Stages(one, context).inputs.task("valid", model.time_input)
    model.weight.fill_(0.0)
    assert np.array_equal(ranks(model, task), ranks(base, task))
    model.weight.fill_(100.0)
    queries = task.queries
    with torch.no_grad():
        ours = model.direct_scores(queries.subject, queries.relation, queries.time)
        before = rerank.scores_of(base, queries.subject, queries.relation, queries.time, None)
    torch.testing.assert_close(ours.sort(1).values, before.sort(1).values)
    moved = (ours != before).any(1)
    assert 0 < int(moved.sum()) < len(queries)
    assert int((ours != before).sum(1).max()) <= rerank.CANDIDATES


def test_the_weight_is_the_best_of_validation(spec: TrialSpec, context: Context, causal_folder: Path) -> None:
    one = reads(spec, causal_folder, share=1.0)
    model, inputs = scored_model(one, context), Stages(one, context).inputs
    assert isinstance(model, Reranked)
    fitted, task = float(model.weight), inputs.task("valid", model.time_input)

    def mrr(weight: float) -> float:
        model.weight.fill_(weight)
        return float((1 / ranks(model, task)).mean())

    assert mrr(fitted) == max(map(mrr, rerank.WEIGHTS))


def test_what_it_read_is_paid_for_once(
    spec: TrialSpec, context: Context, causal_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the trial's row, of a student, and again; another share is another stage."""
    calls: list[int] = []
    table = rerank.table

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        return table(*arguments)

    monkeypatch.setattr(rerank, "table", counted)
    row = run_trial(reads(spec, causal_folder, share=0.5, training=True), context)
    student = run_trial(reads(spec, causal_folder, "L1", share=0.5, training=True), context)
    again = run_trial(reads(spec, causal_folder, share=0.5, training=True), context)
    assert len(calls) == 1
    assert np.array_equal(row.ranks["rank"], again.ranks["rank"])
    assert "rerank" in student.built_seconds
    others = [reads(spec, causal_folder, share=0.5, training=True, facts=1), reads(spec, causal_folder, share=0.25)]
    keys = {Stages(one, context).plan.keys["rerank"] for one in (*others, reads(spec, causal_folder, share=0.5))}
    assert len(keys) == 3


def test_a_share_bounds_what_is_read(spec: TrialSpec, context: Context, causal_folder: Path) -> None:
    sizes = [len(Stages(reads(spec, causal_folder, share=share), context).entry("rerank").tensors["asked"])
             for share in (0.0, 0.25, 1.0)]  # fmt: skip
    graph = Stages(spec, context).graph
    assert sizes[0] == 0 < sizes[1] < sizes[2] <= 2 * (len(graph.valid) + len(graph.test))


def test_students_need_training_queries(spec: TrialSpec, causal_folder: Path) -> None:
    with pytest.raises(UserError, match="set it true"):
        reads(spec, causal_folder, "L1")
