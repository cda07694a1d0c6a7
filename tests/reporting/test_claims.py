"""The claims report: verdicts from several studies and data sets, and what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness import report
from harness.errors import UserError
from harness.reporting.capacity import report as capacity
from harness.reporting.claims import RULES
from harness.reporting.comparison import report as comparison
from harness.reporting.cost import report as cost
from harness.reporting.data.layout import Meta
from harness.reporting.data.text import percent
from harness.reporting.output.document import Command, Section
from harness.reporting.output.tables import Table
from harness.reporting.overview import StudyEvidence, claims_document, claims_report, overall
from harness.reporting.search import report as searching
from harness.reporting.sensitivity import report as sensitivity
from harness.vocabulary import CLAIMS
from tests.reporting import costs, grid, searches
from tests.reporting.conftest import LAYOUT

Make = Callable[..., Any]
META = {"command": "python -m harness.study ablation --dataset wiki", "data": {"training facts": 32497}}


def actual(study: Any, dataset: str = "wiki") -> StudyEvidence:
    frames = study.of(LAYOUT, META)
    return StudyEvidence(LAYOUT, dataset, frames.meta, comparison.evidence_of(frames))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "not tested"),
        (["not tested"], "not tested"),
        (["supported", "supported"], "supported"),
        (["supported", "undecided"], "undecided"),
        (["supported", "partly supported", "undecided"], "partly supported"),
        (["equivalent", "equivalent"], "equivalent"),
        (["equivalent", "undecided"], "undecided"),
        (["partly supported", "contradicted"], "mixed"),
        (["contradicted", "undecided"], "contradicted"),
        (["supported", "contradicted", "undecided"], "mixed"),
        (["supported", "not tested"], "supported"),
        (["not reproduced", "not reproduced"], "not reproduced"),
        (["not reproduced", "supported", "not reproduced"], "supported"),
        (["not reproduced", "undecided"], "undecided"),
    ],
)
def test_a_claim_is_about_all_of_its_tests(words: list[str], expected: str) -> None:
    assert overall(words) == expected


def test_every_claim_has_its_rule() -> None:
    assert list(RULES) == list(CLAIMS)


def test_verdicts_have_their_numbers(frames: Make) -> None:
    study = actual(frames(facts=400, shift={"L1+L2": -0.6, "L1+L3": -0.6, "L1+L2+L3": -1.5}))
    document = claims_document([study], report._shipped())
    row = document.files["verdicts"][0].set_index("claim").loc["C2"]
    numbers = study.evidence["C2"].numbers
    assert (row["comparisons"], row["better"], row["margin"], row["seeds"]) == (4, 4, 0.01, 3)
    assert (row["effect"], row["low"]) == (numbers["relative"].iloc[0], numbers["relative_low"].iloc[0])
    matrix = next(block for block in document.blocks if isinstance(block, Table))
    cells = next(line.cells for line in matrix.rows if line.cells[0].text == "C2")
    assert (cells[2].text, cells[2].extra) == ("supported", f"4 of 4, {percent(row['effect'])}")


def test_evidence_has_the_comparisons_of_its_claim(frames: Make) -> None:
    study = frames(facts=400, backbones=("ttranse", "ta-distmult"), shift={"L1+L2": -0.6, "L1+L3": 0.6})
    evidence = actual(study).evidence
    assert list(evidence) == ["C2", "C6"]
    numbers = evidence["C2"].numbers
    assert numbers["step"].tolist()[:2] == ["L2 added to L1", "L3 added to L1"]
    assert numbers.set_index(["backbone", "step"]).loc[("ttranse", "L2 added to L1"), "verdict"] == "better"
    assert [verdict.verdict for verdict in evidence["C2"].verdicts] == ["contradicted"] * 2
    assert set(evidence["C6"].numbers["metric"]) == {"mr", "hits1", "hits3", "hits10"}
    assert len(evidence["C2"].table.rows) == len(numbers)


def test_metrics_beside_are_shown_and_not_counted(frames: Make) -> None:
    layout = replace(LAYOUT, claims=("C1",), compare={"L1": ("L1+L2+L3",)})
    evidence = comparison.evidence_of(frames(facts=400, shift={"L1+L2+L3": -1.5}).of(layout, META))
    study = StudyEvidence(layout, "wiki", Meta(), evidence)
    assert evidence["C1"].table.header[2:] == ("Δ MRR", "Δ MR", "Δ Hits@1", "Δ Hits@3", "Δ Hits@10")
    row = claims_document([study], {}).files["verdicts"][0].set_index("claim").loc["C1"]
    assert (row["comparisons"], row["better"]) == (4, 4)


def test_data_sets_share_a_table_and_claims_without_results_a_list(frames: Make) -> None:
    study = frames(facts=60)
    document = claims_document([actual(study), actual(study, "yago")], report._shipped())
    sections = {block.title.split(" ")[0]: block for block in document.blocks if isinstance(block, Section)}
    (table,) = (block for block in sections["C2"].blocks if isinstance(block, Table))
    names = [row.cells[0].text for row in table.rows if row.cells[0].strong]
    assert names == ["YAGO11k", "Wikidata12k"]
    rows = actual(study).evidence["C2"].table.rows
    assert [row for row in table.rows if not row.cells[0].strong] == [*rows, *rows]
    (listed,) = (block for block in sections["Not"].blocks if isinstance(block, Table))
    assert [row.cells[0].text for row in listed.rows] == [claim for claim in CLAIMS if claim not in ("C2", "C6")]
    (command,) = (block for block in sections["Not"].blocks if isinstance(block, Command))
    assert "python -m harness.study losses --dataset wiki" in command.line


def test_a_claim_without_its_arms_is_not_tested(frames: Make) -> None:
    layout = replace(LAYOUT, claims=("C2", "C17"))
    evidence = comparison.evidence_of(frames(facts=60).of(layout, META))
    assert evidence["C17"].numbers.empty
    verdicts = claims_document([StudyEvidence(layout, "wiki", Meta(), evidence)], {}).files["verdicts"][0]
    assert verdicts.set_index("claim")["verdict"]["C17"] == "not tested"


def test_evidence_of_ranks_has_a_column_a_metric(frames: Make) -> None:
    evidence = actual(frames(facts=200)).evidence
    assert evidence["C6"].table.header[2:] == ("Δ MR", "Δ Hits@1", "Δ Hits@3", "Δ Hits@10")
    assert 4 * len(evidence["C6"].table.rows) == len(evidence["C6"].numbers)


def test_evidence_of_dimensions_has_a_row_and_a_figure_a_backbone(sizes: Make, tmp_path: Path) -> None:
    study = sizes()
    layout = replace(LAYOUT, name="capacity", claims=("C9", "C10"), report="capacity")
    evidence = capacity.evidence_of(study.of(layout, META))
    assert list(evidence) == ["C9", "C10"]
    assert [one.id for one in evidence["C10"].verdicts] == ["C10"] * len(set(study.trials["backbone"]))
    assert len(evidence["C9"].table.rows) == len(evidence["C9"].numbers) > 1
    claims_report([StudyEvidence(layout, "wiki", Meta(), evidence)], {"capacity": layout}, tmp_path)
    assert (tmp_path / "figures" / "C9_capacity-wiki_0.pdf").is_file()
    assert not (tmp_path / "figures" / "C10_capacity-wiki_0.pdf").exists()  # the same figure, which is shown once


def test_evidence_of_a_search_a_grid_and_costs(tmp_path: Path) -> None:
    search, about = searches.make_search(trials=60)
    tested = searching.evidence_of(search.of(searches.LAYOUT, about))
    assert [one.verdict for one in tested["C8"].verdicts] == ["supported"]
    assert len(tested["C8"].table.rows) == len(tested["C8"].numbers)

    study, layout = grid.make_grid(), replace(LAYOUT, name="grid", claims=("C7",), report="sensitivity")
    planted = sensitivity.evidence_of(study.of(layout, META))
    assert list(planted) == ["C7"]
    assert 1 < len(planted["C7"].table.rows) <= sensitivity.MOST_IN_EVIDENCE

    spent = costs.usual()
    meta = META | {"measured": costs.records(spent)}
    priced = cost.evidence_of(spent.of(costs.LAYOUT, meta))
    assert list(priced) == ["C11", "C12", "C14"]
    assert all(evidence.verdicts and evidence.table.rows for evidence in priced.values())

    actual = [StudyEvidence(searches.LAYOUT, "wiki", Meta(), tested), StudyEvidence(layout, "wiki", Meta(), planted)]
    actual.append(StudyEvidence(costs.LAYOUT, "wiki", Meta(), priced))
    claims_report(actual, {"sweep": searches.LAYOUT, "grid": layout, "cost": costs.LAYOUT}, tmp_path)
    drawn = {path.name for path in (tmp_path / "figures").glob("*.pdf")}
    assert {"C7_grid-wiki.pdf", "C11_cost-wiki_0.pdf"} <= drawn


def test_every_claim_has_a_page_and_a_verdict(frames: Make, tmp_path: Path) -> None:
    first = actual(frames(facts=200, backbones=("ttranse", "ta-distmult")))
    broken = StudyEvidence(replace(LAYOUT, name="ablation"), "yago", Meta(), {}, "ranks: cannot be read")
    pdf = claims_report([first, broken], {"ablation": LAYOUT}, tmp_path / "a")
    assert pdf.read_bytes().startswith(b"%PDF-")
    table = pd.read_csv(tmp_path / "a" / "claims.csv", keep_default_na=False)
    assert list(dict.fromkeys(table["claim"])) == list(CLAIMS)
    assert set(table.loc[table["claim"] == "C2", "backbone"]) == {"TTransE", "TA-DistMult"}
    assert (table.loc[~table["claim"].isin(["C2", "C6"]), "verdict"] == "not tested").all()
    for suffix in ("csv", "parquet", "tex"):
        assert (tmp_path / "a" / f"C2_ablation-wiki.{suffix}").is_file()
    assert (tmp_path / "a" / "figures" / "C2_ablation-wiki.png").is_file()
    assert claims_report([first, broken], {"ablation": LAYOUT}, tmp_path / "b").read_bytes() == pdf.read_bytes()


def test_a_store_without_studies_says_what_to_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from harness.store import frames

    monkeypatch.setattr(frames, "held", lambda storage: [("ablation", "wiki")])
    with pytest.raises(UserError, match=r"no study on yago; run: python -m harness.study ablation"):
        report.verdicts(["yago"], "sqlite:///x.db", tmp_path)


def test_what_one_study_lacks_does_not_silence_the_others(
    frames: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from harness.store import frames as door

    study = frames(facts=60)

    def load(storage: str, name: str, dataset: str) -> Any:
        if dataset == "yago":
            raise UserError("storage x: has no finished trial yet")
        return study.trials, study.curves, study.load_ranks

    monkeypatch.setattr(door, "held", lambda storage: [("ablation", "wiki"), ("ablation", "yago")])
    monkeypatch.setattr(report, "_load", load)
    assert report.verdicts([], "sqlite:///x.db", tmp_path).is_file()
    assert set(pd.read_csv(tmp_path / "claims.csv").query("claim == 'C2'")["dataset"]) == {"wiki"}
