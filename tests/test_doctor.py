"""What an issue needs to name: every line is there, whatever is broken."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

import harness
from harness.doctor import __main__ as doctor


def test_every_part_says_something(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HARNESS_STORAGE", "postgresql+psycopg://me:secret@127.0.0.1:1/none")
    monkeypatch.setenv("HARNESS_CACHE", str(Path.home() / "cache"))

    def broken(*_: object) -> None:
        raise ImportError("libcudart.so: not there")

    monkeypatch.setattr("torch.cuda.is_available", broken)
    doctor.doctor()
    lines = capsys.readouterr().out.splitlines()
    parts = {name: [line for line in lines if line.startswith(f"{name}:")] for name in doctor.PARTS}
    assert all(parts.values())
    assert harness.__version__ in parts["harness"][0]
    assert f"torch {importlib.metadata.version('torch')}" in parts["packages"][0]
    assert "unknown (ImportError: libcudart.so: not there)" in parts["GPU"][0]
    assert "secret" not in "".join(lines)
    assert "HARNESS_CACHE=~/cache" in parts["environment"][0]
