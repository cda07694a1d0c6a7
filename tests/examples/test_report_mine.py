"""The example of a report kind: a study file of one's own asks for it, and any finished study can have it."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typst
import yaml
from matplotlib.image import imread
from pypdf import PdfReader

from harness import report
from harness.errors import UserError
from tests.examples.conftest import EXAMPLES, Desk
from tests.examples.plugin import loaded
from tests.reporting.conftest import make_frames

FILE = EXAMPLES / "report_mine.py"
STUDY = {
    "name": "mine",
    "title": "Which relations a student learns",
    "about": "A study that takes seconds.",
    "report": "mine",
    "arms": ["none", "L1"],
    "backbone": "ttranse",
    "presets": {
        "default": {
            "about": "tiny",
            "seeds": 1,
            "settings": {
                "time": {"size": 40},
                "student": {"dim": 8, "epochs": 2, "stage1_epochs": 1},
                "teacher": {"dim": 16, "epochs": 1},
                "loss": {"targets": 16},
            },
        }
    },
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A study file that asks for the report."""
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    return path


@pytest.fixture
def plugin() -> Iterator[None]:
    with loaded(FILE):
        yield


def ended(monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    """Give ``python -m harness.report`` some words in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["harness.report", *words])
    with pytest.raises(SystemExit) as end:
        report.main()
    return end.value.code


def test_from_a_study_file_to_the_report_and_again_from_the_store(desk: Desk, file: Path) -> None:
    words = ("run", file.name, "--dataset", "./toy", "--plugin", str(FILE))
    pdf = desk.folder / desk.run(*words, "--jobs", "1").stdout.splitlines()[-1]
    text = " ".join(page.extract_text() for page in PdfReader(pdf).pages)
    for expected in ("Which relations a student learns", "Test MRR by relation", "rel 3", "no distillation"):
        assert expected in text
    rows = pd.read_csv(pdf.parent / "mine_relations.csv")
    assert set(rows["arm"]) == {"none", "L1"}
    assert rows.groupby("arm")["facts"].sum().eq(24).all()
    assert rows["mrr"].between(0, 1).all()
    first = pdf.read_bytes()
    again = desk.run(*words, module="harness.report").stdout.splitlines()[-1]
    assert (desk.folder / again).read_bytes() == first


@pytest.mark.usefixtures("plugin")
def test_its_numbers_and_its_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    study = make_frames(seeds=2, facts=80)
    monkeypatch.setattr(report, "_load", lambda *_: (study.trials, study.curves, study.load_ranks))
    monkeypatch.setattr(typst, "Compiler", Pages)
    report.make("ablation", "wiki", "sqlite://", tmp_path, kind="mine")
    rows = pd.read_csv(tmp_path / "ablation_relations.csv").query("arm == 'L1+L2'").set_index("relation")
    ranks = pd.concat([study.ranks[label] for label in study.trials.index[study.trials["arm"] == "L1+L2"]])
    by_hand = (1 / ranks["rank"]).groupby(ranks["relation"]).mean()
    assert rows["mrr"].to_dict() == pytest.approx(by_hand.to_dict())
    page = imread(io.BytesIO(Pages.first))[:, :, :3].mean(axis=2)
    assert 0.01 < (page < 0.6).mean() < 0.4  # of ink


class Pages:
    """Typst's compiler, which keeps the first page as PNG as well."""

    first = b""

    def __init__(self, main: Path, real: Any = typst.Compiler, **options: Any) -> None:
        self.compiler = real(main, **options)

    def compile(self, **options: Any) -> bytes:
        pages = self.compiler.compile(format="png", ppi=40)
        type(self).first = pages[0] if isinstance(pages, list) else pages
        pdf = self.compiler.compile(**options)
        assert isinstance(pdf, bytes)
        return pdf


def test_without_the_plugin_the_kind_is_unknown(file: Path) -> None:
    with pytest.raises(
        UserError, match=r"study file .*mine.yaml: report: unknown kind 'mine': .*one of: capacity, comparison"
    ):
        report.layout_of(file)


@pytest.mark.usefixtures("plugin")
def test_a_kind_that_no_study_is_named_after_has_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not ended(monkeypatch, "--plugin", str(FILE), "--help")
    assert "studies with 'report: mine'" in " ".join(capsys.readouterr().out.replace("│", " ").split())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("report_kind('cost', label='mine')(print)", "registered already by the package"),
        ("report_kind('m ine', label='mine')(print)", "has up to 40 letters"),
        ("1 / 0", "line 2"),
        (None, "cannot be read"),
    ],
)
def test_a_bad_plugin_ends_with_one_line(
    tmp_path: Path,
    source: str | None,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = tmp_path / "bad.py"
    if source is not None:
        bad.write_text(f"from harness.reporting.kinds import report_kind\n{source}\n")
    assert ended(monkeypatch, "all", f"--plugin={bad}") == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert message in errors[0]


def test_a_kind_named_like_a_command_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("from harness.reporting.kinds import report_kind\nreport_kind('claims', label='mine')(print)\n")
    with loaded(bad):
        assert ended(monkeypatch, "claims") == 2
    assert "is a command of harness.report; choose another name" in capsys.readouterr().err
