"""The report of settings that work on all data sets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pypdf import PdfReader

from harness import report
from harness.errors import UserError
from harness.reporting.data.results import Frames as Given
from harness.reporting.kinds import ReportKind
from harness.reporting.output.typst import write
from harness.reporting.sensitivity.across import across_content
from harness.store import frames as stored
from harness.vocabulary import FRESH_SEEDS
from tests.reporting.conftest import Frames
from tests.reporting.grid import LAYOUT, make_grid


def grid_of(dataset: str, gains: tuple[float, ...], **options: Any) -> Frames:
    """α alone decides what a point gains."""
    return make_grid(lambda *place: gains[place[0]], dataset=dataset, noise=0.0001, seeds=2, facts=30, **options)


def grids(*, backbones: tuple[str, ...] = ("ttranse",)) -> list[Given]:
    """What is best on one data set is worst on the other; the middle is good on both."""
    made = {
        "wiki": grid_of("wiki", (0.001, 0.003, 0.005), backbones=backbones),
        "yago": grid_of("yago", (0.005, 0.003, 0.001), backbones=backbones),
    }
    return [study.of(LAYOUT, {"command": f"study grid --dataset {name}"}) for name, study in made.items()]


def across(frames: list[Given], output: Path) -> Path:
    document = across_content(frames)
    assert document is not None
    return write(document, output)


def test_the_default_is_the_best_in_the_worst_situation(tmp_path: Path) -> None:
    pdf = across(grids(backbones=("ttranse", "ta-distmult")), tmp_path)
    region = pd.read_csv(tmp_path / "across_region.csv")
    first = region[region["default"]]
    assert first["alpha"].tolist() == [0.5]
    assert first["least"].iloc[0] == pytest.approx(0.003, abs=2e-4)
    assert region.sort_values("least")["alpha"].iloc[0] in (0.1, 1.0)
    tested = pd.read_csv(tmp_path / "across_default.csv")
    assert tested["backbone"].unique().tolist() == [
        f"{backbone}, {dataset}" for dataset in ("Wikidata12k", "YAGO11k") for backbone in ("TTransE", "TA-DistMult")
    ]
    text = "".join(page.extract_text() for page in PdfReader(pdf).pages)
    assert "α = 0.5" in text.split("Recommended default")[1][:60]
    assert "study grid --dataset yago" in text
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"region.pdf", "region.png"}


def test_points_trained_anew_change_nothing_across(tmp_path: Path) -> None:
    item = grids()
    before = across(item, tmp_path / "before")
    mine = item[0].trials
    fresh = mine[mine["arm"] == mine["arm"].iloc[5]].assign(role="confirm", valid_mrr=0.9)
    fresh["arm"] += FRESH_SEEDS
    fresh["seed"] += 1000
    fresh["trial"] += 1000
    more = replace(item[0], trials=pd.concat([mine, fresh], ignore_index=True))
    after = across([more, item[1]], tmp_path / "after")
    assert before.read_bytes() == after.read_bytes()


def test_points_that_a_data_set_lacks_are_not_recommended(tmp_path: Path) -> None:
    full = grids()[0]
    part = grid_of("yago", (0.005, 0.003, 0.001), missing=[(1, j, k) for j in range(3) for k in range(3)])
    across([full, part.of(LAYOUT)], tmp_path)
    assert 0.5 not in set(pd.read_csv(tmp_path / "across_region.csv")["alpha"])


def test_grids_of_other_factors_cannot_be_compared(tmp_path: Path) -> None:
    other = make_grid(factors={"alpha": (0.1, 1.0), "temperature": (1.0, 7.0)}, dataset="yago")
    with pytest.raises(UserError, match="vary other factors"):
        across([grids()[0], other.of(LAYOUT)], tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_command_makes_a_report_a_design_and_one_across_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = dict(zip(("wiki", "yago"), grids(), strict=True))
    monkeypatch.setattr(stored, "held", lambda storage: [("grid", name) for name in made] + [("ablation", "wiki")])

    def load(storage: str, study: str, dataset: str) -> tuple[pd.DataFrame, pd.DataFrame, Any]:
        return made[dataset].trials.assign(preset="first"), pd.DataFrame(), made[dataset].load_ranks

    monkeypatch.setattr(report, "_load", load)
    monkeypatch.setattr(report, "importance", None)  # evaluators are slow
    kind = report.KINDS["sensitivity"]
    actual = list(report.reports_of(kind, [], "sqlite://", tmp_path))
    assert [str(path.relative_to(tmp_path)) for path in actual] == [
        "grid-wiki-first/grid.pdf",
        "grid-yago-first/grid.pdf",
        "grid-across/across.pdf",
    ]
    assert all(path.is_file() for path in actual)
    assert len(list(report.reports_of(kind, ["wiki"], "sqlite://", tmp_path / "one"))) == 1
    with pytest.raises(
        UserError,
        match="no study with 'report: sensitivity' on icews14; run one, such as",
    ):
        list(report.reports_of(kind, ["icews14"], "sqlite://", tmp_path))


def test_of_two_designs_of_one_preset_both_have_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = grids()[0].trials.assign(preset="default")
    older = one.assign(study_name="grid-wiki-default-0ld", started="2025-01-01T00:00:00+00:00")
    newer = one.assign(study_name="grid-wiki-default-new", started="2026-01-01T00:00:00+00:00")
    both = pd.concat([newer, older], ignore_index=True)
    monkeypatch.setattr(stored, "held", lambda storage: [("grid", "wiki")])
    monkeypatch.setattr(report, "_load", lambda *_: (both, pd.DataFrame(), None))
    monkeypatch.setattr(ReportKind, "report", lambda kind, frames, folder: folder)
    kind = report.KINDS["sensitivity"]
    actual = list(report.reports_of(kind, [], "sqlite://", tmp_path))
    assert [path.name for path in actual] == ["grid-wiki-0ld", "grid-wiki"]
