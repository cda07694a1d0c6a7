"""Where a result came from: code, versions and machine."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch

import harness
from harness.errors import UserError, nearest
from harness.teachers.language.language_model import LanguageModelConfig
from harness.trial.stages import Context


@lru_cache(maxsize=1)
def provenance() -> dict[str, Any]:
    """Commit and dirty flag, versions, and the machine in words.

    An installed package has no commit, unless ``HARNESS_COMMIT`` names the one it was built from.
    """
    packages = ("torch", "transformers", "peft", "optuna", "numpy", "numba")
    status = _git("status", "--porcelain", "--untracked-files=no", "--", "harness", "studies")
    return {
        "harness": harness.__version__,
        "git_commit": os.environ.get("HARNESS_COMMIT") or _git("rev-parse", "HEAD"),
        "git_dirty": None if status is None else bool(status),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
        "machine": _machine(),
    }


def environment(context: Context) -> dict[str, Any]:
    """Where a trial ran: its provenance, and what can change numbers by more than rounding, such as the device."""
    where = {"device": context.device, "number_format": number_format(), "threads": 1, "stack": context.stack}
    return provenance() | where


def device_of(name: str) -> str:
    """The device that ``--device`` names: cpu or cuda; auto is a GPU when there is one.

    Raises:
        UserError: there is no such device.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"unknown device {name!r}: {nearest(name, ['auto', 'cpu', 'cuda'])}")
    if name == "cpu":
        return name
    if torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise UserError("device 'cuda': PyTorch finds no GPU; use --device cpu")
    return "cpu"


def number_format() -> str:
    """How this machine reads a language model's weights where settings leave it open."""
    return str(LanguageModelConfig().torch_dtype).removeprefix("torch.")


def _git(*arguments: str) -> str | None:
    root = Path(harness.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        # S603: the arguments are constants of this file, and git is wherever the user's PATH has it
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None


def _machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return f"{platform.system()} {platform.machine()}, {_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown processor"
