"""What benchmarks print, read back."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from typer.testing import CliRunner

from harness.bench import app


def figures(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """What a command wrote as JSON."""
    file = tmp_path / "figures.json"
    done = CliRunner().invoke(app, [*arguments, "--json", str(file)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    written: dict[str, Any] = json.loads(file.read_text("utf-8"))
    assert written["command"] == arguments[0]
    assert written["threads"] == 1
    assert written["provenance"]["torch"] == torch.__version__
    return written


def assert_positive(row: dict[str, Any], *keys: str) -> None:
    for key in keys:
        assert math.isfinite(row[key]), key
        assert row[key] > 0, key
