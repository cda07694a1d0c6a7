"""The example of a backbone: its formula, and the way of a user from the command line to the report."""

from __future__ import annotations

import pytest
import torch

from harness.design.cells import plan
from harness.design.files import load
from harness.errors import UserError
from harness.models import BACKBONES, scores
from harness.store import frames
from tests.examples.conftest import EXAMPLES, Desk
from tests.examples.plugin import loaded

FILE = EXAMPLES / "backbone_tcomplex.py"


def test_it_is_the_formula_of_the_paper() -> None:
    """Eq. 3 in complex numbers."""
    torch.manual_seed(0)
    with loaded(FILE):
        model = BACKBONES["my-tcomplex"](6, 2, 3, 8)
        with pytest.raises(UserError, match="dim=7 is odd"):
            BACKBONES["my-tcomplex"](6, 2, 3, 7)
    subject, relation, time = torch.arange(4), torch.arange(4), torch.tensor([[0, 0], [1, 1], [2, 2], [0, 0]])
    query = model.encode(subject, relation, time)
    z = scores(query, model.entity_table(), model.kernel, model.scale())

    def of(table: torch.nn.Embedding) -> torch.Tensor:
        return torch.complex(*table.weight.detach().chunk(2, 1))

    entity = of(model.entity)
    product = entity[subject] * of(model.relation)[relation] * of(model.time)[time[:, 0]]
    torch.testing.assert_close(z, (product @ entity.conj().T).real)
    moduli = [x.abs().pow(3).sum() for x in (entity[subject], product, entity[subject + 1])]
    penalty = model.penalty(query, model.entity(subject), model.entity(subject + 1))
    torch.testing.assert_close(penalty, sum(moduli) / 4)


def test_from_the_command_line_to_the_report(desk: Desk) -> None:
    asked = ("--plugin", str(FILE), "--backbone", "my-tcomplex", "--arms", "none,L1")
    pdf = desk.study(*asked).stdout.splitlines()[-1]
    assert (desk.folder / pdf).is_file()
    trials, _, _ = frames.load(desk.url, "ablation", "./toy")
    assert set(trials["backbone"]) == {"my-tcomplex"}
    assert len(trials) == 2
    assert "complete already" in desk.study(*asked).stdout


def test_a_plugin_that_is_loaded_and_not_used_changes_no_study() -> None:
    def name() -> str:
        design = load("ablation")
        return plan(design, dataset="toy", data_digest="d", backbones=["ttranse"], preset="quick").study_name

    before = name()
    with loaded(FILE):
        assert name() == before
