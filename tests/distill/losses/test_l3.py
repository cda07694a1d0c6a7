"""L3: cross-entropy of the LLM-encoded query against the student's entities."""

from __future__ import annotations

from typing import Any

import torch

from harness.distill.losses.l3 import SemanticAdapter, semantic_cross_entropy
from harness.distill.passes.step import Step
from harness.models import scores


def test_it_is_the_dense_cross_entropy_of_the_mapped_encodings(problem: Any) -> None:
    student, adapter, batch = problem.student, problem.adapter, problem.batch
    table = student.entity_table()
    # E(h) and E(r), centred, through the two linear maps
    h = adapter.entities[batch.subject] @ adapter.entity_map.weight.T + adapter.entity_map.bias
    r = adapter.relations[batch.relation] @ adapter.relation_map.weight.T + adapter.relation_map.bias
    z = scores(student.encode_vectors(h, r, batch.time), table, student.kernel, student.scale())
    expected = torch.nn.functional.cross_entropy(z, batch.answer)
    torch.testing.assert_close(semantic_cross_entropy(Step.of(student, batch, problem.index), adapter), expected)


def test_encodings_are_centred() -> None:
    encodings = torch.rand(7, 4), torch.rand(6, 4)
    adapter = SemanticAdapter(*encodings, dim=3)
    for given, kept in zip(encodings, (adapter.entities, adapter.relations), strict=True):
        torch.testing.assert_close(kept, given - given.mean(0))
    assert set(adapter.state_dict()) == {
        f"{part}_map.{n}" for part in ("entity", "relation") for n in ("weight", "bias")
    }


def test_gradient_reaches_all_that_it_should(problem: Any) -> None:
    step = Step.of(problem.student, problem.batch, problem.index)
    loss = semantic_cross_entropy(step, problem.adapter)
    gradients = problem.gradients(loss)
    assert (gradients.pop("student.relation.weight") == 0).all()  # the language model speaks in its place
    for name, gradient in gradients.items():
        assert gradient.abs().max() > 0, name
    # every entity is a candidate, not the subject alone
    assert (gradients["student.entity.weight"].abs().amax(1) > 0).all()
