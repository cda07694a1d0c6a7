"""Costly results, stored by the content that determines them: safetensors, atomic, checksummed, never pickle."""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable
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
        #: files that were found sound, with time and size: many cells ask for the same large file
        self._sound: dict[Path, tuple[int, int]] = {}

    def path(self, stage: str, key: str) -> Path:
        return self.root / stage / f"{key}.safetensors"

    def has(self, stage: str, key: str) -> bool:
        """Whether a result is stored and sound, so that nobody who asks for it has to build it."""
        path = self.path(stage, key)
        try:
            about = path.stat()
        except OSError:
            return False
        seen = about.st_mtime_ns, about.st_size
        if self._sound.get(path) != seen and _flaw(path) is None:
            self._sound[path] = seen
        return self._sound.get(path) == seen

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
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(path.with_suffix(".lock")):
                if (entry := self._read(path)) is not None:
                    return entry
                _clear(path)
                started = time.perf_counter()
                tensors, meta = build()
                # of what a stack made, ``meta`` tells its share of the stack's
                meta = {"build_seconds": time.perf_counter() - started, **meta}
                self._write(path, tensors, meta)
                return Entry(tensors, meta, cached=False)
        except OSError as error:
            raise self._unwritable(error) from None

    def keep_newest(self, stage: str, count: int) -> None:
        """Remove all but the newest results of a stage."""
        files = [(path.stat().st_mtime_ns, path) for path in (self.root / stage).glob("*.safetensors") if path.exists()]
        for _, path in sorted(files, reverse=True)[count:]:
            for suffix in (".safetensors", ".sha256", ".lock"):
                path.with_suffix(suffix).unlink(missing_ok=True)

    def pack(self, stage: str, key: str) -> Packed | None:
        """The file of a stored result; None, with a warning, if it is damaged: whoever needs it builds it."""
        path = self.path(stage, key)
        try:
            content, wanted = path.read_bytes(), path.with_suffix(".sha256").read_text().strip()
            if hashlib.sha256(content).hexdigest() == wanted:
                return Packed(stage, key, content, wanted)
            reason = "does not match its checksum"
        except OSError as error:
            reason = f"cannot be read ({type(error).__name__})"
        warnings.warn(f"cache file {path} {reason}; it is rebuilt", stacklevel=2)
        return None

    def unpack(self, packed: Packed) -> None:
        """Store what another machine packed, unless it is there.

        Raises:
            UserError: it came damaged, or the folder cannot be written.
        """
        if self.has(packed.stage, packed.key):
            return
        path = self.path(packed.stage, packed.key)
        if hashlib.sha256(packed.content).hexdigest() != packed.checksum:
            raise UserError(f"{packed.stage} {packed.key}: came damaged; run the same command again")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(path.with_suffix(".lock")):
                _clear(path)
                write_atomically(path.with_suffix(".sha256"), packed.checksum.encode())
                write_atomically(path, packed.content)
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"cache {self.root}: cannot be written ({error.strerror or error}); "
            "free some space there or name another folder with --cache-dir or HARNESS_CACHE"
        )

    def _read(self, path: Path) -> Entry | None:
        if not path.exists():
            return None
        if (flaw := _flaw(path)) is None:
            with safe_open(path, framework="pt") as file:
                names = file.keys()
                meta = json.loads(file.metadata()["meta"])
                return Entry({name: file.get_tensor(name) for name in names}, meta, cached=True)
        warnings.warn(f"cache file {path} {flaw}; it is rebuilt", stacklevel=3)
        return None

    def _write(self, path: Path, tensors: dict[str, Tensor], meta: Meta) -> None:
        content = save(
            {k: v.contiguous() for k, v in tensors.items()}, {"meta": json.dumps(meta), "result": _name(path)}
        )
        # the checksum first: a file without one, or with an old one, counts as damaged and never as good
        write_atomically(path.with_suffix(".sha256"), hashlib.sha256(content).hexdigest().encode())
        write_atomically(path, content)


def _flaw(path: Path) -> str | None:
    """What is wrong with a file; None if it is sound."""
    try:
        wanted = path.with_suffix(".sha256").read_text().strip()
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != wanted:
                return "does not match its checksum"
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
            json.loads(about["meta"])
        return None if about.get("result", _name(path)) == _name(path) else "is that of another result"
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        return f"cannot be read ({type(error).__name__})"


def _name(path: Path) -> str:
    """What a file says it is, so that one with another's name is noticed; those of earlier versions do not say."""
    return f"{path.parent.name}/{path.stem}"


def _clear(path: Path) -> None:
    """Remove what a process that was killed left of writing a result; whoever writes it now has its lock."""
    for left in path.parent.glob(f".{path.stem}.*.tmp"):
        left.unlink(missing_ok=True)


def default_root() -> Path:
    """``HARNESS_CACHE``, else ``runs/cache``."""
    return Path(os.environ.get("HARNESS_CACHE") or Path("runs", "cache"))
