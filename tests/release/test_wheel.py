"""The wheel in an environment of its own, away from the checkout: a study, a report, a student that answers."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.place import SETTINGS
from tests.toy import write_dataset

ROOT = Path(__file__).parent.parent.parent


def done(*command: str | Path, cwd: Path) -> str:
    """The standard output of a command that sees nothing of this checkout and must succeed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HARNESS_"))}
    run = subprocess.run(command, cwd=cwd, env=clean, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    return run.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with the wheel; dependencies come from this environment."""
    home = tmp_path_factory.mktemp("clean")
    done(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    interpreter = home / "bin" / "python"
    done(sys.executable, "-m", "pip", "--python", interpreter, "install", "--no-deps", "--no-index", wheel, cwd=home)
    (packages,) = home.glob("lib/python*/site-packages")
    # a .pth file in there is not read, so that an editable install of the checkout stays unseen
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return interpreter


@pytest.mark.slow
def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split(
        "\n"
    )
    expected = {name for name in listed if name.startswith("harness/")}
    expected |= {f"harness/_{name}" for name in listed if name.startswith("studies/") and name.endswith(".yaml")}
    templates = ("reports/*.typ", "reports/published_figures.csv")
    expected |= {f"harness/_templates/{path.name}" for pattern in templates for path in ROOT.glob(pattern)}
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert {"harness/data/sources.toml", "harness/_studies/ablation.yaml", "harness/_templates/style.typ"} < names


@pytest.mark.slow
def test_installed_package_runs_a_study_and_keeps_a_student(python: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "toy")
    settings = {**SETTINGS, "llm.model": str(tiny_encoder)}
    options = ["--dataset", "./toy", *(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))]

    def module(name: str, *words: str) -> str:
        return done(python, "-m", f"harness.{name}", *words, cwd=tmp_path)

    where = done(python, "-c", "import harness, torch; print(harness.__file__, torch.__file__)", cwd=tmp_path).split()
    assert [Path(file).is_relative_to(python.parent.parent) for file in where] == [True, False]

    for script in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"].get("scripts", {}):
        assert "Usage" in done(python.parent / script, "--help", cwd=tmp_path)

    report = tmp_path / module("study", "ablation", "--preset", "quick", "--jobs", "2", *options).splitlines()[-1]
    assert report.read_bytes().startswith(b"%PDF")
    again = tmp_path / module("report", "ablation", "--dataset", "./toy", "--output", "again").splitlines()[-1]
    assert again.read_bytes().startswith(b"%PDF")
    assert again != report

    module("student", "export", "--arm", "L1", "-o", "toy.student", *options)
    asked = module("student", "ask", "toy.student", "person 03", "rel 1", "--at", "1931", "-k", "3")
    assert asked.count("person") == 3
