"""Tables for people and for programs hold the same, and nothing in them acts as code."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.reporting.data.results import Results, costs_by_stage, means, paired, wide
from harness.reporting.output.tables import (
    Cell,
    Row,
    Table,
    costs_table,
    main_table,
    metrics_table,
    paired_table,
    to_latex,
    write,
)
from tests.reporting.conftest import LAYOUT

Make = Callable[..., Any]


def load(study: Any) -> Results:
    return Results.load(study.trials, study.load_ranks, LAYOUT)


def texts(table: Table) -> dict[str, list[str]]:
    return {row.cells[0].text: [cell.text for cell in row.cells[1:]] for row in table.rows}


def test_main_table_shows_means_and_marks_what_differs_from_l1(frames: Make) -> None:
    study = frames(facts=500, shift={"L1+L2": -0.5}, failed=(("L1+L3", 0),))
    results = load(study)
    table = main_table(means(results), paired(results), results.trials, "ttranse")
    mine = study.trials[study.trials["arm"] == "L1"]
    assert texts(table)["L1"][:2] == ["3", f"{mine['test_mrr'].mean():.4f}"]
    rows = {row.cells[0].text: row for row in table.rows}
    assert rows["L1 + L2"].cells[2].strong
    assert not rows["L1"].cells[2].strong
    assert rows["L1 + L3"].cells[1] == Cell("2", "1 failed")
    assert rows["structural teacher"].cells[0].extra == "400-d"
    assert [name for name, row in rows.items() if row.rule] == ["structural teacher"]
    assert "† One seed" in table.note


def test_paired_tables_have_a_row_for_each_comparison(frames: Make) -> None:
    results = load(frames(facts=100))
    compared = paired(results)
    table = paired_table(compared, "ttranse")
    assert len(table.rows) == 9
    assert [i for i, row in enumerate(table.rows) if row.rule] == [3, 7, 8]
    assert texts(table)["L1 + L2 against L1"][3] in {f"{n} of 3" for n in range(4)}
    others = metrics_table(compared, "ttranse")
    assert others.header == ("", "Δ MR", "Δ Hits@1", "Δ Hits@3", "Δ Hits@10")
    assert len(others.rows) == 3


def test_one_seed_is_said_in_the_note(frames: Make) -> None:
    table = paired_table(paired(load(frames(facts=100, seeds=1))), "ttranse")
    assert "95 % intervals over facts of this one seed" in table.note


def test_costs_table_sums_its_columns(frames: Make) -> None:
    actual = costs_by_stage(load(frames(facts=30)))
    table = costs_table(actual, "ttranse")
    column = table.header.index("no distillation")
    total = actual[actual["arm"] == "none"]["seconds"].sum()
    shown = {row.cells[0].text: row.cells[column].text.replace("\N{NO-BREAK SPACE}", " ") for row in table.rows}
    assert shown["from nothing"] == f"{total:.0f} s"
    assert shown["structural teacher"] == "–"
    assert shown["peak memory (MiB)"] == "546"


def test_every_row_has_as_many_cells_as_the_header(frames: Make) -> None:
    results = load(frames(facts=60))
    made = [
        main_table(means(results), paired(results), results.trials, "ttranse"),
        paired_table(paired(results), "ttranse"),
        metrics_table(paired(results), "ttranse"),
        costs_table(costs_by_stage(results), "ttranse"),
    ]
    for table in made:
        assert len(table.align) == len(table.header)
        assert all(len(row.cells) == len(table.header) for row in table.rows)


def test_files_hold_the_frame(frames: Make, tmp_path: Path) -> None:
    frame = wide(means(load(frames(facts=60))))
    write(tmp_path, "t", frame, [])
    csv = pd.read_csv(tmp_path / "t.csv", keep_default_na=False)
    parquet = pd.read_parquet(tmp_path / "t.parquet")
    assert csv["mrr_low"].tolist() == pytest.approx(frame["mrr_low"].tolist())
    assert csv["arm"].tolist() == ["none", "L1", "L1+L2", "L1+L3", "L1+L2+L3", "teacher", "llm-teacher"]
    pd.testing.assert_frame_equal(parquet, frame, check_dtype=False)


def test_csv_defuses_formulas_in_cells_and_headers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"=cmd": ["=1+1", "spouse"], "gain": [-0.5, 0.25]})
    write(tmp_path, "t", frame, [])
    assert (tmp_path / "t.csv").read_text().splitlines() == ["'=cmd,gain", "'=1+1,-0.5", "spouse,0.25"]


def test_latex_is_well_formed(frames: Make) -> None:
    results = load(frames(facts=60, backbones=("ttranse", "a_b%&")))
    table = {name: paired_table(paired(results), name) for name in results.backbones}
    lines = to_latex(list(table.items())).splitlines()
    assert any(r"\emph{a\_b\%\&}" in line for line in lines)
    body = [line for line in lines if line.endswith(r"\\") and "multicolumn" not in line]
    # unescaped ampersands separate the columns
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {7}
    assert len(body) == 1 + 2 * 9
    assert all(line.isascii() for line in lines)


def test_latex_marks_bold_and_small_print() -> None:
    table = Table("c", ("a", "b"), "lr", (Row((Cell("x"), Cell("−1", "±2", strong=True)), rule=True),))
    assert r"x & \textbf{$-$1} {\footnotesize $\pm$2} \\" in to_latex([("ttranse", table)]).splitlines()
