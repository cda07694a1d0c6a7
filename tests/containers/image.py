"""The image, built by Debian's tools, which need neither a daemon nor namespaces: mmdebstrap and buildah as root.

A minimal Debian of the same Python takes the place of the base image, so that no registry of images is needed.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from tests.containers.services import DOCKER, ROOT

DEBIAN = "bookworm"
PACKAGES = "python3,python3-venv,python-is-python3,ca-certificates"
#: bytes on disk while the image is built: without layers that are shared, each stage is a copy
SPACE = 15e9


def missing() -> str:
    """Why no image can be built here; empty if one can."""
    if absent := [tool for tool in ("buildah", "mmdebstrap") if shutil.which(tool) is None]:
        return f"not installed: {', '.join(absent)}"
    if os.getuid() != 0:
        return "only root can build an image without namespaces"
    if shutil.disk_usage(tempfile.gettempdir()).free < SPACE:
        return f"building takes {SPACE / 1e9:.0f} GB of disk"
    return ""


def _torch(folder: Path) -> list[str]:
    """Options by which pip takes PyTorch's CPU build from PIP_FIND_LINKS if it is there, and from its index if not."""
    for place in map(Path, os.environ.get("PIP_FIND_LINKS", "").split()):
        for wheel in place.glob(f"torch-{version('torch').split('+')[0]}+cpu-cp311-*_{platform.machine()}.whl"):
            page = folder / "index" / "torch" / "index.html"
            page.parent.mkdir(parents=True)
            page.write_text(f'<a href="file:///wheels/{wheel.name.replace("+", "%2B")}">{wheel.name}</a>')
            mounts = [f"--volume={folder / 'index'}:/index:ro", f"--volume={place}:/wheels:ro"]
            return [*mounts, "--build-arg=TORCH_INDEX=file:///index"]
    return []


def _pip(folder: Path) -> list[str]:
    """Options by which pip asks this machine's index, with this machine's certificates."""
    settings = {
        name: os.environ[f"PIP_{name.upper()}"] for name in ("cert", "index_url") if f"PIP_{name.upper()}" in os.environ
    }
    file = folder / "pip.conf"
    file.write_text("[global]\n" + "".join(f"{name.replace('_', '-')} = {value}\n" for name, value in settings.items()))
    mounts = [f"--volume={settings['cert']}:{settings['cert']}:ro"] if "cert" in settings else []
    return [*mounts, f"--secret=id=pip.conf,src={file}"]


class Image:
    """A container of the image, in a store of its own below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, [f"--root={folder / 'store'}", f"--runroot={folder / 'run'}"]
        # where layers cannot lie over each other, as inside a container, they are copies
        probe = ["buildah", *self.store, "--storage-driver=overlay", "info"]
        overlay = subprocess.run(probe, check=False, capture_output=True).returncode == 0
        self.store.append(f"--storage-driver={'overlay' if overlay else 'vfs'}")

    def build(self) -> None:
        self._base()
        dockerfile = (f"--file={DOCKER / 'Dockerfile'}", f"--ignorefile={DOCKER / 'Dockerfile.dockerignore'}")
        sources = (*_torch(self.folder), *_pip(self.folder))
        options = (*dockerfile, *sources, "--from=localhost/base", "--tag=localhost/harness")
        begin = time.monotonic()
        self.buildah("build", "--isolation=chroot", *options, str(ROOT))
        self.seconds = time.monotonic() - begin
        self.container = self.buildah("from", "localhost/harness")

    def _base(self) -> None:
        """Debian with its Python and, like the images called slim, without manuals and translations."""
        file = self.folder / "base.tar"
        thin = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")]
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", *thin, DEBIAN, str(file)]
        subprocess.run(command, check=True)
        empty = self.buildah("from", "scratch")
        self.buildah("add", "--quiet", empty, str(file), "/")
        self.buildah("commit", "--rm", "--quiet", empty, "localhost/base")
        file.unlink()

    def close(self) -> None:
        """Remove its containers and layers, and what is mounted for them."""
        self.buildah("rm", "--all")
        self.buildah("rmi", "--all", "--force")
        if (layers := self.folder / "store" / "overlay").is_mount():
            subprocess.run(["umount", layers], check=True)

    def buildah(self, *words: str) -> str:
        environment = {**os.environ, "TMPDIR": str(self.folder)}  # where caches of pip stay
        done = subprocess.run(
            ["buildah", *self.store, *words], check=False, capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout.strip()

    def command(self, *words: str, volumes: dict[Path, str] | None = None) -> list[str]:
        """The command line that runs a container's one, with the environment that compose.yaml gives."""
        mounts = [f"--volume={source}:{target}" for source, target in (volumes or {}).items()]
        password = f"--env=PGPASSWORD={os.environ.get('PGPASSWORD', '')}"
        options = ("--isolation=chroot", password, *mounts)
        return ["buildah", *self.store, "run", *options, self.container, "--", *words]

    def size(self) -> int:
        """Bytes of all files."""
        command = ["du", "--summarize", "--bytes", self.buildah("mount", self.container)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0])


@contextmanager
def built() -> Iterator[Image]:
    folder = Path(tempfile.mkdtemp(prefix="harness-image-"))
    image = Image(folder)
    try:
        image.build()
        yield image
    finally:
        image.close()
        shutil.rmtree(folder)
