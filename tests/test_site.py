"""The site: it builds without a warning, and the tutorial runs from facts to a report."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.slow
def test_the_site_builds_and_its_tutorial_runs(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="the site needs the group docs: make docs")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(tmp_path / "trees")]
    built = subprocess.run([*command, str(DOCS), str(tmp_path / "site")], capture_output=True, text=True, timeout=900)
    assert built.returncode == 0, built.stderr
    tutorial = (tmp_path / "site" / "tutorial.html").read_text(encoding="utf-8")
    assert "ablation.pdf" in tutorial
    settings = (tmp_path / "site" / "reference" / "settings.html").read_text(encoding="utf-8")
    assert "student.dim" in settings
    assert "<math" in (tmp_path / "site" / "method.html").read_text(encoding="utf-8")
