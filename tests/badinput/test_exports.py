"""What a spreadsheet opens holds no formulas: names of relations come from the data."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from harness.design import cells
from harness.design import files as designs
from harness.store.store import Store
from tests.store.test_store import result

FORMULAS = ["=1+1", "+1", "-1", "@SUM(1)", "\N{FULLWIDTH EQUALS SIGN}1", "=cmd|' /C calc'!A0"]


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_relation_that_is_a_formula_is_text_in_the_stores_tables(tmp_path: Path, formula: str) -> None:
    run = cells.plan(designs.load("ablation"), dataset="lahman", data_digest="0", backbones=["ttranse"], preset="quick")
    store = Store(f"sqlite:///{tmp_path}/store.db")
    study = store.open(run, "command", {})
    study.finish(study.begin(run.cells[0], {}), result(), [formula, "manages"])
    store.close()
    tables = [
        path.read_text("utf-8") for path in store.artifacts.iterdir() if path.read_bytes().startswith(b"relation")
    ]
    rows = list(csv.reader(tables[0].splitlines()))
    assert [row[0] for row in rows] == ["relation", f"'{formula}", "manages"]
