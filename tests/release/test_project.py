"""The files that a forge, a citation manager and pre-commit read."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema.validators import validator_for

import harness

ROOT = Path(__file__).parent.parent.parent
SCHEMAS = {
    ".github/workflows/ci.yaml": "github-workflows",
    ".github/ISSUE_TEMPLATE/bug.yml": "github-issue-forms",
    ".github/ISSUE_TEMPLATE/method.yml": "github-issue-forms",
    ".github/ISSUE_TEMPLATE/config.yml": "github-issue-config",
    "CITATION.cff": "citation-file-format",
    "docker/compose.yaml": "compose-spec",
}
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.M))


def read(name: str) -> Any:
    # values as text: neither a date nor 'on' of a workflow is what YAML 1.1 makes of it
    return yaml.load((ROOT / name).read_text("utf-8"), Loader=yaml.BaseLoader)


@pytest.mark.parametrize("name", SCHEMAS)
def test_files_fit_their_schemas(name: str) -> None:
    schema = get_builtin_schema(f"vendor.{SCHEMAS[name]}")
    content = yaml.safe_load((ROOT / name).read_text("utf-8"))
    if True in content:  # YAML 1.1 takes 'on' for a truth value
        content["on"] = content.pop(True)
    validator_for(schema)(schema).validate(content)


def test_citation_is_of_this_version() -> None:
    citation = read("CITATION.cff")
    assert citation["version"] == harness.__version__
    assert "arxiv.org/abs/2601.00202" in citation["references"][0]["url"]


def test_hooks_have_the_versions_that_lint_has() -> None:
    for package in ("ruff", "check-jsonschema"):
        (rev,) = (repo["rev"] for repo in read(".pre-commit-config.yaml")["repos"] if package in repo["repo"])
        assert rev.removeprefix("v") == PINS[package]


def test_workflow_runs_targets_that_exist_from_the_oldest_python_on() -> None:
    jobs = read(".github/workflows/ci.yaml")["jobs"]
    runs = " ".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    called = set(re.findall(r"make ([\w-]+)", runs))
    assert {"lint", "test"} <= called <= targets
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    versions = jobs["test"]["strategy"]["matrix"]["python-version"]
    assert f">={versions[0]}" == project["requires-python"]


def test_templates_ask_for_the_doctor() -> None:
    bug = read(".github/ISSUE_TEMPLATE/bug.yml")["body"]
    (asked,) = (part for part in bug if "harness.doctor" in part["attributes"].get("description", ""))
    assert asked["validations"]["required"] == "true"
