"""The services of compose.yaml, their addresses and folders replaced by a test's."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.postgresql import free_port

ROOT = Path(__file__).parent.parent.parent
DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]


def argv(service: str) -> list[str]:
    """The command line of a service, with Compose's variables at their defaults."""
    parts = [*SERVICES[service]["entrypoint"], *SERVICES[service]["command"]]
    return [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", part) for part in parts]


@dataclass
class Services:
    """``start`` makes a container's command one that runs on this machine, where ``places`` replace what they name."""

    start: Callable[[list[str]], list[str]]
    folder: Path
    places: dict[str, str]

    def __post_init__(self) -> None:
        self.scheduler, self.web = free_port(), free_port()
        self.places = {
            "scheduler:8786": f"127.0.0.1:{self.scheduler}",
            "('scheduler', 8786)": f"('127.0.0.1', {self.scheduler})",
            "8786": str(self.scheduler),
            "8080": str(self.web),
            "--host=0.0.0.0": "--host=127.0.0.1",
            **self.places,
        }

    def words(self, command: list[str]) -> list[str]:
        """A container's command line as one of this machine."""
        any_place = "|".join(map(re.escape, self.places))
        return self.start([re.sub(any_place, lambda match: self.places[match[0]], part) for part in command])

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.words(command), cwd=self.folder, check=False, capture_output=True, text=True)

    def output(self, command: list[str]) -> str:
        """What a command prints, which has to succeed."""
        done = self.run(command)
        assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
        return done.stdout

    @contextlib.contextmanager
    def running(self, service: str) -> Iterator[subprocess.Popen[bytes]]:
        """A lasting service, which answers its own health check; its words are in a file of its name."""
        log = self.folder / f"{service}.log"
        with (
            log.open("wb") as file,
            subprocess.Popen(self.words(argv(service)), cwd=self.folder, stdout=file, stderr=file) as process,
        ):
            try:
                deadline = time.monotonic() + 120
                while self.run(SERVICES[service]["healthcheck"]["test"][1:]).returncode != 0:
                    assert process.poll() is None, log.read_text("utf-8")[-2000:]
                    assert time.monotonic() < deadline, f"{service} is not healthy"
                    time.sleep(0.2)
                yield process
            finally:
                process.terminate()

    def json(self, path: str) -> Any:
        """What the dashboard answers."""
        return json.loads(self.page(path))

    def page(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.web}/{path}", timeout=30) as answer:
            assert answer.status == 200
            body: bytes = answer.read()
            return body
