"""Costly results, stored by the content that determines them: safetensors, atomic, checksummed, never pickle."""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from harness.errors import UserError
from harness.scratch import write_atomically

Meta = dict[str, Any]
Built = tuple[dict[str, Tensor], Meta]


@dataclass(frozen=True, eq=False)
class Entry:
    """A result: its tensors, what is known about it, and whether it was there already."""

    tensors: dict[str, Tensor]
    meta: Meta
    cached: bool


@dataclass(frozen=True, eq=False)
class Packed:
    """A stored result on its way to another machine: its file and the file's SHA-256."""

    stage: str
    key: str
    content: bytes
    checksum: str


def digest(*parts: object) -> str:
    """A short hex digest of the JSON of ``parts``, the same in every process."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]


class Cache:
    """A folder of results: ``<root>/<stage>/<key>.safetensors`` with the file's SHA-256 beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        #: sound files, with time and size when they were checked: many trials ask for the same large file
        self._sound: dict[Path, tuple[int, int]] = {}

    def path(self, stage: str, key: str) -> Path:
        return self.root / stage / f"{key}.safetensors"

    def has(self, stage: str, key: str) -> bool:
        """Whether a result is stored and sound, so that nobody who asks for it has to build it."""
        path = self.path(stage, key)
        try:
            status = path.stat()
        except OSError:
            return False
        version = status.st_mtime_ns, status.st_size
        if self._sound.get(path) != version and _flaw(path) is None:
            self._sound[path] = version
        return self._sound.get(path) == version

    def meta(self, stage: str, key: str) -> Meta:
        """What is known about a stored result, without reading or checking its tensors; empty if it cannot be read."""
        try:
            with safe_open(self.path(stage, key), framework="pt") as file:
                return dict(json.loads(file.metadata()["meta"]))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError):
            return {}

    def get_or_build(self, stage: str, key: str, build: Callable[[], Built]) -> Entry:
        """Return the stored result, or build and store it.

        Processes that ask for the same result at once wait for the one that builds it. A file that does not match its
        checksum is rebuilt, with a warning.

        Raises:
            UserError: if the folder cannot be written.
        """
        path = self.path(stage, key)
        if (entry := self._read(path)) is not None:
            return entry
        with self._locked(path):
            if (entry := self._read(path)) is not None:
                return entry
            started = time.perf_counter()
            tensors, meta = build()
            # of what a stack made, ``meta`` has its share of the stack's
            meta = {"build_seconds": time.perf_counter() - started, **meta}
            contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
            content = save(contiguous, {"meta": json.dumps(meta), "result": _name(path)})
            _write(path, content, hashlib.sha256(content).hexdigest())
            return Entry(tensors, meta, cached=False)

    def keep_newest(self, stage: str, count: int) -> None:
        """Remove all but the newest results of a stage; other processes may write and remove some meanwhile."""
        files = []
        for path in (self.root / stage).glob("*.safetensors"):
            with suppress(FileNotFoundError):
                files.append((path.stat().st_mtime_ns, path))
        for _, path in sorted(files, reverse=True)[count:]:
            with suppress(filelock.Timeout), filelock.FileLock(path.with_suffix(".lock"), timeout=0):
                for suffix in (".safetensors", ".sha256", ".lock"):
                    path.with_suffix(suffix).unlink(missing_ok=True)

    def pack(self, stage: str, key: str) -> Packed | None:
        """The file of a stored result; None, with a warning, if it is damaged: whoever needs it builds it."""
        path = self.path(stage, key)
        if (flaw := _flaw(path)) is None:
            return Packed(stage, key, path.read_bytes(), _checksum(path))
        warnings.warn(f"cache file {path} {flaw}; it is rebuilt", stacklevel=2)
        return None

    def unpack(self, packed: Packed) -> None:
        """Store what another machine packed, unless it is there.

        Raises:
            UserError: it came damaged, or the folder cannot be written.
        """
        if self.has(packed.stage, packed.key):
            return
        if hashlib.sha256(packed.content).hexdigest() != packed.checksum:
            raise UserError(f"{packed.stage} {packed.key}: came damaged; run the same command again")
        path = self.path(packed.stage, packed.key)
        with self._locked(path):
            _write(path, packed.content, packed.checksum)

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        """Let one process at a time write a result, and remove what one that was killed left of writing it."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(path.with_suffix(".lock")):
                for left in path.parent.glob(f".{path.stem}.*.tmp"):
                    left.unlink(missing_ok=True)
                yield
        except OSError as error:
            raise UserError(
                f"cache {self.root}: cannot be written ({error.strerror or error}); "
                "free some space there or name another folder with --cache-dir or HARNESS_CACHE"
            ) from None

    def _read(self, path: Path) -> Entry | None:
        if not path.exists():
            return None
        if (flaw := _flaw(path)) is None:
            # RuntimeError is PyTorch's error for a file that is not there: another process removed it meanwhile
            with suppress(FileNotFoundError, RuntimeError), safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dict
                return Entry(tensors, json.loads(file.metadata()["meta"]), cached=True)
        elif path.exists():
            warnings.warn(f"cache file {path} {flaw}; it is rebuilt", stacklevel=3)
        return None


def _write(path: Path, content: bytes, checksum: str) -> None:
    # the checksum first: a file without one, or with an old one, counts as damaged and never as good
    write_atomically(path.with_suffix(".sha256"), checksum.encode())
    write_atomically(path, content)


def _checksum(path: Path) -> str:
    return path.with_suffix(".sha256").read_text().strip()


def _flaw(path: Path) -> str | None:
    """What is wrong with a file; None if it is sound."""
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != _checksum(path):
                return "does not match its checksum"
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            json.loads(metadata["meta"])
        return None if metadata.get("result", _name(path)) == _name(path) else "is that of another result"
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        return f"cannot be read ({type(error).__name__})"


def _name(path: Path) -> str:
    """What a file records that it is, so that one with another's name is noticed; those of earlier versions do not."""
    return f"{path.parent.name}/{path.stem}"


def default_root() -> Path:
    """``HARNESS_CACHE``, else ``runs/cache``."""
    return Path(os.environ.get("HARNESS_CACHE") or Path("runs", "cache"))
