"""The whole report: one call, one folder, all or nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pypdf import PdfReader

import harness
from harness import report
from harness.errors import UserError
from harness.report import main
from harness.reporting.comparison import report as comparison
from harness.reporting.data.layout import Meta
from harness.reporting.designs import one_design
from harness.reporting.output.document import Document, Findings, Verdicts
from harness.reporting.output.typst import templates, write
from tests.reporting.conftest import LAYOUT, written

Make = Callable[..., Any]
META = {"command": "python -m harness.study ablation --dataset wiki", "data": {"training facts": 32497}}
TABLES = ("table", "paired", "costs", "relations", "splits", "protocols")
FILES = {
    "ablation.pdf",
    "report.html",
    *(f"ablation_{t}.{s}" for t in TABLES for s in ("csv", "parquet", "tex")),
    *(f"figures/ttranse_{f}.{s}" for f in ("differences", "curves", "relations", "costs") for s in ("pdf", "png")),
}


def make(study: Any, output: Path, **meta: Any) -> Path:
    return write(comparison.content(study.of(LAYOUT, meta or META)), output)


def test_a_report_is_complete_and_repeatable(frames: Make, tmp_path: Path) -> None:
    study = frames(facts=60, failed=(("L1+L3", 1),))
    pdf = make(study, tmp_path / "a")
    assert pdf == tmp_path / "a" / "ablation.pdf"
    assert pdf.read_bytes().startswith(b"%PDF-")
    assert written(tmp_path / "a") == FILES
    first = pdf.read_bytes()
    # over the older report
    assert make(study, tmp_path / "a").read_bytes() == first
    assert {path.name for path in (tmp_path / "a").iterdir()} == {name.split("/")[0] for name in FILES}


def test_one_seed_several_backbones_and_no_curves_make_a_report(frames: Make, tmp_path: Path) -> None:
    study = frames(facts=60, seeds=1, backbones=("ttranse", "ta-distmult", "New/../Model"), dataset="lahman")
    study.curves = study.curves.iloc[:0]
    make(study, tmp_path)
    names = written(tmp_path)
    assert "figures/ta-distmult_differences.pdf" in names
    assert "figures/new-model_costs.png" in names
    assert not any("curves" in name for name in names)
    table = pd.read_csv(tmp_path / "ablation_table.csv", keep_default_na=False)
    assert table["backbone"].unique().tolist() == ["ttranse", "ta-distmult", "New/../Model"]
    assert (table["interval"] == "facts").all()


def test_students_alone_make_a_report(frames: Make, tmp_path: Path) -> None:
    make(frames(facts=60, arms=("L1",), seeds=2), tmp_path)
    assert pd.read_parquet(tmp_path / "ablation_paired.parquet").empty
    assert (tmp_path / "ablation.pdf").exists()


def test_a_report_warns_of_a_weak_teacher(frames: Make, tmp_path: Path) -> None:
    strong, weak = (frames(facts=60, seeds=1, shift={"teacher": shift}) for shift in (-0.5, 0.9))
    texts = [
        " ".join(" ".join(page.extract_text() for page in PdfReader(make(study, tmp_path / name)).pages).split())
        for name, study in (("strong", strong), ("weak", weak))
    ]
    assert ["distillation from it cannot be expected to help." in text for text in texts] == [False, True]


@pytest.mark.draws
def test_no_text_acts_as_markup(frames: Make, tmp_path: Path) -> None:
    attack = '#panic("read") *b* $x$ \\ ] } "quote" @ref <label> ' + '#read("/etc/hostname")'
    study = frames(facts=60, seeds=1, failed=(("L1+L3", 0),), relations={attack: 0.5, "=cmd": 0.5}, dataset=attack)
    study.trials["reason"] = study.trials["reason"].where(study.trials["reason"].isna(), attack)
    study.trials["machine"] = attack
    make(study, tmp_path, command=attack, notes=[attack], data={attack: 3})
    assert (tmp_path / "ablation.pdf").stat().st_size > 10_000
    assert "'=cmd" in (tmp_path / "ablation_relations.csv").read_text()


@pytest.mark.usefixtures("full_disk")
def test_after_an_error_the_folder_is_as_before(frames: Make, tmp_path: Path) -> None:
    (tmp_path / "ablation.pdf").write_text("older")
    with pytest.raises(UserError, match=r"cannot write the report to .*: No space left on device; name another folder"):
        make(frames(facts=60, arms=("L1",), seeds=1), tmp_path)
    assert written(tmp_path) == {"ablation.pdf"}
    assert (tmp_path / "ablation.pdf").read_text() == "older"
    assert list(tmp_path.iterdir()) == [tmp_path / "ablation.pdf"]


def test_an_output_that_is_a_file_is_refused(frames: Make, tmp_path: Path) -> None:
    place = tmp_path / "report"
    place.write_text("mine")
    with pytest.raises(UserError, match="File exists; name another folder"):
        make(frames(facts=60, arms=("L1",), seeds=1), place)
    assert place.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write read-only folders")
def test_a_read_only_output_is_refused(frames: Make, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied; name another folder"):
        make(frames(facts=60), tmp_path / "report")


def test_ranks_that_cannot_be_right_stop_the_report(frames: Make, tmp_path: Path) -> None:
    study = frames(facts=60)
    study.ranks[3] = study.ranks[3].assign(rank=study.ranks[3]["rank"] * 2)
    with pytest.raises(UserError, match="its ranks give"):
        make(study, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_unknown_meta_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        Meta.model_validate({"comand": "typo"})


def test_templates_are_found_in_a_checkout_and_in_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (templates() / "published_figures.csv").is_file()
    installed = tmp_path / "harness" / "_templates"
    installed.mkdir(parents=True)
    monkeypatch.setattr(harness, "__file__", str(tmp_path / "harness" / "__init__.py"))
    with pytest.raises(UserError, match="templates are missing"):
        templates()
    (installed / "style.typ").touch()
    assert templates() == installed


def test_one_design_is_the_latest_or_the_one_named(frames: Make) -> None:
    older, newer = frames(facts=20), frames(facts=20)
    newer.trials["study_name"] = newer.curves["study_name"] = "ablation-wiki-newer"
    newer.trials["started"] = "2027-01-01T00:00:00+00:00"
    trials = pd.concat([newer.trials, older.trials], ignore_index=True)
    curves = pd.concat([newer.curves, older.curves], ignore_index=True)
    chosen, its_curves = one_design(trials, curves, None)
    assert set(chosen["study_name"]) == set(its_curves["study_name"]) == {"ablation-wiki-newer"}
    assert set(one_design(trials, curves, "ablation-wiki-3f2a91")[0]["study_name"]) == {"ablation-wiki-3f2a91"}
    with pytest.raises(UserError, match=r"did you mean 'ablation-wiki-newer'"):
        one_design(trials, curves, "ablation-wiki-newe")


def test_the_command_prints_the_path_last(
    frames: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = frames(facts=60)
    asked: list[tuple[str, str, str]] = []

    def load(*where: str) -> tuple[pd.DataFrame, pd.DataFrame, Callable[[Any], pd.DataFrame]]:
        asked.append(where)
        return study.trials, study.curves, study.load_ranks

    monkeypatch.setattr(report, "_load", load)
    options = ["ablation", "--dataset", "wiki", "--storage", "sqlite:///x.db", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["harness.report", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "ablation.pdf")
    assert asked == [("sqlite:///x.db", "ablation", "wiki")]


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [(("supported", "not tested"), "C1 supported on wiki"), (("not tested", "not tested"), "L1 is better.")],
)
def test_a_study_ends_with_what_was_tested(verdicts: tuple[str, str], expected: str) -> None:
    lines = [{"case": case, "verdict": word} for case, word in zip(("wiki", "yago"), verdicts, strict=True)]
    blocks = [Findings(["L1 is better."]), Verdicts([{"id": "C1", "text": "", "lines": lines}])]
    assert report._verdict(Document("x", "", "", blocks, pd.DataFrame())) == expected


def test_an_unknown_report_ends_with_code_2_and_without_what_takes_long_to_import() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "harness.report", "nosuch"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nosuch" in done.stderr
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "harness.reporting.output.typst" in imported
    assert not [name for name in imported if name.startswith(("scipy.stats.", "statsmodels", "torch", "optuna"))]
