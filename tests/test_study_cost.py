"""A small study on costs, generated here, from its file to its report: resumed, and made again from the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from pypdf import PdfReader

from harness import report, study
from harness.design import files
from harness.measurements import in_the_loop, inference, measure
from harness.study import Options
from tests.inside import no_workers
from tests.toy import write_dataset

STUDY = {
    "name": "price",
    "title": "What a small student costs",
    "about": "A study that takes seconds.",
    "report": "cost",
    "claims": ["C11", "C12", "C14"],
    "arms": ["none", "L1+L2+L3"],
    "references": ["teacher", "llm-teacher"],
    "grid": {"student.batch_size": [64, 128]},
    "measure": ["stages", "loop", "inference", "export"],
    "backbone": "ttranse",
    "presets": {
        "default": {
            "about": "tiny",
            "seeds": 1,
            "settings": {
                "time": {"size": 40},
                "student": {"dim": 8, "epochs": 2, "stage1_epochs": 1},
                "teacher": {"dim": 16, "epochs": 1},
                "semantic": {"dim": 8, "components": 8, "epochs": 1},
                "loss": {"targets": 16},
            },
        }
    },
}


@pytest.mark.usefixtures("blank_figures")
@pytest.mark.long
def test_from_its_file_to_its_report(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "price.yaml"
    file.write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    monkeypatch.setattr(files, "files", lambda: {"price": file})
    calls: list[str] = []

    def direct(call: Callable[..., Any], *arguments: Any) -> Any:
        """In this process: a test has no seconds for some twenty others."""
        calls.append(call.__name__)
        if call.__name__ == "export" and calls.count("export") == 1:
            raise RuntimeError("no room\non the disk")
        return call(*arguments)

    monkeypatch.setattr(measure, "in_a_fresh_process", direct)
    for module, name, value in (
        (in_the_loop, "TURNS", 1),
        (in_the_loop, "STEPS", 1),
        (inference, "TURNS", 3),
        (inference, "SINGLE", 2),
    ):
        monkeypatch.setattr(module, name, value)
    write_dataset(tmp_path / "toy")
    url = f"sqlite:///{tmp_path}/harness.db"

    def go() -> Path:
        options = Options(
            dataset=str(tmp_path / "toy"),
            jobs=1,
            storage=url,
            cache_dir=tmp_path / "cache",
            output=tmp_path / "report",
            changes=[f"llm.model={tiny_encoder}", "llm.finetune=none"],
            device="cpu",
        )
        with no_workers():
            return study.run_study("price", options, "python -m harness.study price")

    def text(pdf: Path) -> str:
        return " ".join(" ".join(page.extract_text() for page in PdfReader(pdf).pages).split())

    first = text(go())
    assert "no room on the disk" in first  # a failed measurement ends neither study nor report
    shown = capsys.readouterr().out
    assert "failed" in shown
    measured = len(calls)
    assert {"stage", "loop", "inference", "export"} <= set(calls)

    second = text(go())
    assert calls[measured:] == ["export"]
    assert "no room" not in second
    for said in ("int8", "Online teachers", "extrapolated", "Accuracy against cost", "measured", "language model"):
        assert said in second
    exported = pd.read_parquet(tmp_path / "report" / "price_export.parquet").set_index("format")
    mine = pd.read_parquet(tmp_path / "report" / "price_training.parquet").set_index(["arm", "batch_size"])
    # the exported student is that of the trial
    assert exported.loc["safetensors", "mrr"] == pytest.approx(mine.loc[("L1+L2+L3", 64), "mrr"], abs=1e-6)
    stages = pd.read_parquet(tmp_path / "report" / "price_memory.parquet")
    assert {"teacher", "encode", "semantic", "targets", "llm-targets", "stage1", "stage2", "loop"} <= set(
        stages["stage"]
    )

    before = (tmp_path / "report" / "price.pdf").read_bytes()
    again = report.make("price", str(tmp_path / "toy"), url, tmp_path / "again")
    assert again.read_bytes() == before
