"""A structural teacher whose uncertain answers a causal language model puts in order again.

Where the two best candidates of a query are close, the language model reads the ten best, as in KGR³ (Li et al., NAACL
2025): how much likelier does the question make a candidate's label than the beginning of an answer alone,

    l(e) = log P(label(e) | facts, question, opening) - log P(label(e) | opening),

so that labels which are likely anyway gain nothing (Holtzman et al., EMNLP 2021). The ten scores are then dealt out
anew, in the order of log softmax(z)(e) + w · l(e) among the ten; all other entities keep theirs. Validation answers
decide w; where none is better, it is 0: the structural teacher as it is. Training answers that are known at a query's
time are no candidates. The prompt of a training query lacks its own fact. Queries at other times, as some protocols ask
them, keep the structural order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from harness.data import KnownAnswers, Queries, TemporalGraph, Timeline, both_directions
from harness.errors import UserError
from harness.evaluate import RankTask, metrics, ranks, time_of
from harness.models import Backbone
from harness.models.base import scores
from harness.models.batch import QueryTensors
from harness.registry import MethodOptions, option
from harness.teachers.language.language_model import LanguageModel
from harness.teachers.language.texts import OPENING, entity_texts, questions
from harness.teachers.sources import Teacher, register

#: candidates of a query, tokens of a prompt at most (its last ones), labels read side by side
CANDIDATES, LONGEST, LABELS = 10, 128, 64
#: of the likelihoods; 0 first, which wins where none is better
WEIGHTS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
#: queries scored at a time
BLOCK = 256


class RerankOptions(MethodOptions):
    """Options of the reranked teacher."""

    of: Literal["structural", "ensemble"] = option("structural", "the teacher whose best candidates are reranked")
    share: float = option(0.1, "of validation queries that are reranked: those of the smallest margin", ge=0, le=1)
    facts: int = option(4, "training facts of the subject in a prompt, the nearest in time", ge=0, le=32)
    training: bool = option(False, "rerank training queries, too, as students need; there are many")


# ---- the model -----------------------------------------------------------------------------------------------------


class Reranked(Backbone):
    """A model whose ten best candidates of some queries are in another order.

    Args:
        base: the model.
        table: of these queries ``asked`` int64 [N, 3 + L] (subject, relation, the known training answer that is asked
            for or -1, and the time as the model reads it), ascending; ``ids`` int64 [N, K] of their candidates and
            ``likelihood`` float [N, K].
    """

    has_vectors = False
    n_entities = 0  # in the place of the property, so that an instance can set it
    weight: Tensor
    ids: Tensor
    likelihood: Tensor

    def __init__(self, base: Backbone, table: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.base, self.n_entities = base, base.n_entities
        self.time_input = base.time_input  # type: ignore[misc]  # of the instance
        self.rows = {tuple(row): k for k, row in enumerate(table["asked"].tolist())}
        self.register_buffer("ids", table["ids"], persistent=False)
        self.register_buffer("likelihood", table["likelihood"], persistent=False)
        self.register_buffer("weight", torch.zeros(()))

    def direct_scores(self, subject: Tensor, relation: Tensor, time: Tensor, own: Tensor | None = None) -> Tensor:
        z = scores_of(self.base, subject, relation, time, own)
        if not self.weight:
            return z
        answer = torch.full_like(subject, -1) if own is None else own
        asked = torch.cat([torch.stack([subject, relation, answer], 1), time], 1)
        at = torch.tensor([self.rows.get(tuple(row), -1) for row in asked.tolist()], device=z.device)
        read = at >= 0
        ids = self.ids[at[read]]
        old = z[read].gather(1, ids)
        mixed = old.log_softmax(1) + self.weight * self.likelihood[at[read]]
        order = mixed.argsort(dim=1, descending=True, stable=True)
        z[read] = z[read].scatter(1, ids.gather(1, order), old.sort(1, descending=True).values)
        return z

    @property
    def reads_facts(self) -> bool:
        return self.base.reads_facts

    def without(self, batch: QueryTensors) -> AbstractContextManager[None]:
        return self.base.without(batch)

    def fit(self, task: RankTask) -> None:
        """Give the likelihoods the weight that ranks validation answers best."""
        reached = -1.0
        for weight in WEIGHTS:
            before = self.weight.clone()
            self.weight.fill_(weight)
            if (mrr := metrics(ranks(self, task))["mrr"]) > reached:
                reached = mrr
            else:
                self.weight.copy_(before)


def scores_of(model: Backbone, subject: Tensor, relation: Tensor, time: Tensor, own: Tensor | None) -> Tensor:
    """Scores [B, E] of any model."""
    if not model.has_vectors:
        return model.direct_scores(subject, relation, time, own)
    return scores(model.encode(subject, relation, time), model.entity_table(), model.kernel, model.scale())


# ---- what the language model reads -----------------------------------------------------------------------------------


@torch.no_grad()
def candidates(model: Backbone, graph: TemporalGraph, timeline: Timeline, queries: Queries) -> tuple[Tensor, Tensor]:
    """The best ``CANDIDATES`` entities of each query int64 [Q, K], best first, and the margin [Q] of the first two.

    Known training answers at a query's time are no candidates, but for the one that a training query asks for;
    ``answer`` of other queries is -1.
    """
    task = RankTask.build(queries, KnownAnswers(graph, ("train",)), timeline, model.time_input)
    task, is_training = task.to(next(model.parameters()).device), bool((queries.answer >= 0).all())
    ids, margin = [], []
    for start in range(0, len(queries), BLOCK):
        batch = task.queries[slice(start, start + BLOCK)]
        with model.without(batch) if is_training else nullcontext():
            z = scores_of(model, batch.subject, batch.relation, batch.time, batch.answer if is_training else None)
        row, entity = task.left_out(start, (task.row >= start) & (task.row < start + BLOCK))
        z[row, entity] = -torch.inf
        best = z.topk(min(CANDIDATES, z.shape[1]), dim=1)
        ids.append(best.indices.cpu())
        margin.append((best.values[:, 0] - best.values[:, 1]).cpu())
    return torch.cat(ids), torch.cat(margin)


@torch.inference_mode()
def log_likelihoods(model: LanguageModel, prompt: list[int], labels: Sequence[list[int]]) -> Tensor:
    """log P(label | prompt) of token rows, float32 [K], in one pass: labels lie side by side after the prompt, and each
    sees the prompt and itself."""
    assert model.head is not None
    start, sizes = len(prompt), [len(label) for label in labels]
    ids = torch.tensor([*prompt, *(token for label in labels for token in label)])
    of = torch.tensor([*[-1] * start, *(k for k, size in enumerate(sizes) for _ in range(size))])
    place = torch.tensor([*range(start), *(start + k for size in sizes for k in range(size))])
    sees = ((of == of[:, None]) | (of == -1)) & (place <= place[:, None])
    hidden = torch.finfo(model.head.weight.dtype).min * (~sees).to(model.head.weight.dtype)
    states = model.base(input_ids=ids[None], attention_mask=hidden[None, None], position_ids=place[None])
    before = torch.where(place == start, start - 1, torch.arange(len(ids)) - 1)[start:]
    log_p: Tensor = model.head(states.last_hidden_state[0, before]).float().log_softmax(1)
    return torch.zeros(len(labels)).index_add(0, of[start:], log_p.gather(1, ids[start:, None])[:, 0])


def likelihoods(
    model: LanguageModel,
    graph: TemporalGraph,
    queries: Queries,
    ids: Tensor,
    facts: int,
    max_length: int,
    progress: Callable[[float], None] = lambda _: None,
) -> Tensor:
    """How much likelier each question makes the labels of its candidates ``ids`` [Q, K]: natural logarithms [Q, K].

    Raises:
        UserError: the model predicts no next token.
    """
    if model.head is None:
        raise UserError("llm.model: this one reads but predicts no next token; rerank with a causal one, as smollm2")
    if not len(ids):
        return torch.zeros(ids.shape)
    texts = entity_texts(graph)
    distinct, at = ids.unique(return_inverse=True)
    spoken = model.tokenizer([" " + texts[k] for k in distinct.tolist()], add_special_tokens=False)["input_ids"]
    labels = [tokens[:max_length] or [0] for tokens in spoken]
    alone = torch.empty(len(labels))
    (opening,) = model.tokens([OPENING], LONGEST)
    for part in _alike(labels):
        alone[part] = log_likelihoods(model, opening, [labels[k] for k in part])
    result = torch.empty(ids.shape)
    for k, text in enumerate(questions(graph, queries, facts)):
        prompt = model.tokenizer(text)["input_ids"][-LONGEST:]
        result[k] = log_likelihoods(model, prompt, [labels[j] for j in at[k].tolist()]) - alone[at[k]]
        progress((k + 1) / len(ids))
    return result


def _alike(labels: list[list[int]]) -> Iterator[list[int]]:
    """Positions of labels of about one length, ``LABELS`` at a time."""
    order = sorted(range(len(labels)), key=lambda k: len(labels[k]))
    yield from (order[start : start + LABELS] for start in range(0, len(order), LABELS))


def table(
    base: Backbone,
    model: LanguageModel,
    graph: TemporalGraph,
    timeline: Timeline,
    options: RerankOptions,
    max_length: int,
    progress: Callable[[float], None] = lambda _: None,
) -> dict[str, Tensor]:
    """What `Reranked` reads: the uncertain queries of the validation and test splits, and of training if asked for.

    A query is uncertain if its margin is among the ``share`` smallest of validation, in whichever split. Answers of
    validation and test are not looked at.

    Args:
        base: the model whose candidates they are.
        model: a causal language model.
        graph: whose queries.
        timeline: how times become classes.
        options: of the teacher.
        max_length: tokens of a label, at most.
        progress: called with the fraction done.

    Raises:
        UserError: the language model predicts no next token.
    """
    limit, asked, chosen, best = -np.inf, [], [], []
    for split in ("valid", "test", *(["train"] if options.training else [])):
        queries = both_directions(graph.splits[split], len(graph.relations))
        if split != "train":
            queries = replace(queries, answer=np.full_like(queries.answer, -1))
        ids, margin = candidates(base, graph, timeline, queries)
        if split == "valid" and (count := int(options.share * len(margin))):
            limit = float(margin.sort().values[count - 1])
        rows = np.flatnonzero(margin.numpy() <= limit)
        time = time_of(*queries.time_points(), timeline, base.time_input)
        asked.append(np.column_stack([queries.subject, queries.relation, queries.answer, time])[rows])
        chosen.append(np.stack(list(vars(queries).values()))[:, rows])
        best.append(ids.numpy()[rows])
    rows = np.unique(np.concatenate(asked), axis=0, return_index=True)[1]
    ids = torch.from_numpy(np.concatenate(best)[rows])
    read = likelihoods(
        model, graph, Queries(*np.concatenate(chosen, 1)[:, rows]), ids, options.facts, max_length, progress
    )
    return {"asked": torch.from_numpy(np.concatenate(asked)[rows]), "ids": ids, "likelihood": read}


def _members(spec: Any, options: RerankOptions) -> tuple[Any, ...]:
    """The trial whose model is reranked."""
    if "teacher" in spec.needs and not options.training:
        raise UserError(
            "teacher.reranked.training=false: students learn from training queries, which are not reranked; set it true"
        )
    teacher = spec.teacher.model_copy(update={"source": options.of})
    return (spec.model_copy(update={"arm": "teacher", "teacher": teacher, "seed": spec.teacher.seed}),)


def _compose(
    models: Sequence[Backbone],
    options: RerankOptions,
    validation: RankTask | None,
    timeline: Timeline,
    table: Mapping[str, Tensor],
) -> Backbone:
    model = Reranked(models[0], table).to(next(models[0].parameters()).device)
    if validation is not None:
        model.fit(validation)
    return model


register(
    Teacher("reranked", ("teacher", "entities"), RerankOptions, members=_members, compose=_compose, reads="rerank")
)
