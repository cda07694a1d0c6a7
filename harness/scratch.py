"""Files and folders that no kill leaves half done.

Files are written under another name and renamed. Temporary folders are removed even if their process is killed: by the
next one that makes such a folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal


@contextmanager
def scratch(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """A temporary folder, locked while it is in use; those of the same prefix that nobody has locked are removed.

    The system frees the lock of a process that dies, however it dies. Where folders cannot be locked, as on some
    network file systems, only this folder is removed. ``parent`` None: the system's folder for temporary files.
    """
    where = Path(tempfile.gettempdir()) if parent is None else parent
    for left in where.glob(f"{prefix}*"):
        with _opened(left) as handle:
            if handle is not None and _lock(handle) == "locked":
                shutil.rmtree(left, ignore_errors=True)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=where))
        with _opened(folder) as handle:
            if handle is None or _lock(handle) == "another's" or not folder.exists():
                continue  # another process took it for one that is left, before it was locked
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


@contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """A handle of a folder, None if there is no such folder or none that this user may read."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def _lock(handle: int) -> Literal["locked", "another's", "cannot"]:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "another's"
    except OSError:
        return "cannot"
    return "locked"


@contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Write a file so that its name holds the old content or all of the new; ``sync``: also after a power cut."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write a file so that its name holds the old content or all of the new; see ``replacing``."""
    with replacing(path, sync=sync) as file:
        file.write(content)
