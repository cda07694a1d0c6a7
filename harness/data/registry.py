"""Data sets by name: where their files are looked for, and where they are downloaded from."""

from __future__ import annotations

import hashlib
import os
import sys
import tomllib
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import BinaryIO

import pooch

from harness.data import checks, lahman
from harness.data.graph import SPLITS, TemporalGraph
from harness.data.reading import read_folder
from harness.errors import UserError, is_readable, nearest

#: the largest file that is downloaded; public data sets are far smaller
MAX_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Source:
    """A public data set, as ``sources.toml`` describes it; every split has one of the two kinds of digest."""

    folder: str
    title: str
    url: str
    sha256: dict[str, str]
    sorted_sha256: dict[str, str] = field(default_factory=dict)
    #: where names are listed by id, with the SHA-256 of these, and what labels are made of; see `harness.data.labels`
    names: dict[str, str] = field(default_factory=dict)


SOURCES = {
    name: Source(**entry)
    for name, entry in tomllib.loads(resources.files(__package__).joinpath("sources.toml").read_text("utf-8")).items()
}


def names() -> list[str]:
    """All data sets that have a name."""
    return ["lahman", *SOURCES]


def search_path(data_dir: Path | None = None) -> list[Path]:
    """The folders in which data sets are looked for, first one first: ``data_dir`` alone, if it is given."""
    if data_dir is not None:
        return [data_dir]
    configured = [Path(folder)] if (folder := os.environ.get("HARNESS_DATA")) else []
    return [*configured, Path("data"), Path("..", "shared", "data")]


def find(name: str, data_dir: Path | None = None) -> Path | None:
    """The folder that holds the files of a named data set, or None."""
    places = [root / folder for root in search_path(data_dir) for folder in (SOURCES[name].folder, name)]
    return next((place for place in places if place.is_dir()), None)


def download_folder(name: str) -> Path:
    """The folder that downloaded files of a named data set go to, in the user's cache."""
    return Path(pooch.os_cache("tkg-distill-harness")) / SOURCES[name].folder


def load(name: str, data_dir: Path | None = None) -> TemporalGraph:
    """Read a data set by name, or any folder with train, valid and test files by its path.

    Args:
        name: one of ``names()``, or the path of a folder (of two that fit, the name counts; ``./wiki`` is a path).
        data_dir: the only place to look for the files of a named one, instead of ``search_path()``.

    Returns:
        The graph. Its name says what the data are, wherever they lie: that of the data set, also if a folder has the
        files of a public one, else the folder's name and the first digits of the digest, as in ``my-graph@1a2b3c4d``.
        Such a name is looked for where named data sets are.

    Raises:
        UserError: if there is no such data set, its files are not to be had, or a line is malformed.
    """
    if not is_readable(name):
        raise UserError(f"data set {name[:200]!r}: the name holds control characters; rename the folder")
    if name == "lahman":
        return checks.build(name, lahman.read())
    if name in SOURCES:
        return checks.build(name, read_folder(find(name, data_dir) or download(name, data_dir)))
    if os.path.isdir(name):
        return _of_folder(Path(name).resolve())
    label, at, _ = name.rpartition("@")
    if at and not os.path.exists(name):
        places = [root / label for root in search_path(data_dir)] if os.sep not in label else []
        graphs = (_of_folder(place) for place in places if place.is_dir())
        if (graph := next((graph for graph in graphs if graph.name == name), None)) is not None:
            return graph
        raise UserError(f"data set {name[:200]!r}: is in none of the usual places; give its folder, such as ./{label}")
    if os.path.exists(name) or os.sep in name:
        wrong = "is not a folder" if os.path.exists(name) else "no such folder"
        raise UserError(f"data set {name[:200]!r}: {wrong}; give a folder with train, valid and test files, or a name")
    raise UserError(
        f"unknown data set {name[:200]!r}: {nearest(name, names())}; or give a folder, such as ./{name[:200]}"
    )


def _of_folder(folder: Path) -> TemporalGraph:
    if not is_readable(folder.name):
        raise UserError(f"data set {str(folder)[:200]!r}: the name holds control characters; rename the folder")
    graph = checks.build("", read_folder(folder))
    return replace(graph, name=_public(folder) or f"{folder.name or 'data'}@{graph.digest[:8]}")


def _public(folder: Path) -> str | None:
    """The name of the public data set whose files a folder has."""
    paths = {split: folder / f"{split}.txt" for split in SPLITS}
    if not all(path.is_file() for path in paths.values()):
        return None
    digests = {split: hashlib.sha256(path.read_bytes()).hexdigest() for split, path in paths.items()}
    for name, source in SOURCES.items():
        if all(digests[split] == digest for split, digest in source.sha256.items()) and all(
            _sorted_sha256(paths[split]) == digest for split, digest in source.sorted_sha256.items()
        ):
            return name
    return None


def identify(given: str, known: Collection[str]) -> str:
    """Which of the ``known`` names of data is meant by a name, a folder, or the name of a folder.

    Raises:
        UserError: a folder's name stands for several data, or a folder cannot be read.
    """
    if given in known or given in names():
        return given
    label, digest = (Path(given).name, "") if not os.path.isdir(given) else load(given).name.rpartition("@")[::2]
    fitting = [name for name in known if name.rpartition("@")[2 if digest else 0] == (digest or label)]
    if len(fitting) > 1 and not digest:
        raise UserError(f"data set {given[:200]!r}: there are several of that name; give one of {', '.join(fitting)}")
    return fitting[0] if fitting else given


def download(name: str, data_dir: Path | None = None) -> Path:
    """Fetch what of the files is not in the user's cache yet; every file's digest is checked, each time."""
    source, folder = SOURCES[name], download_folder(name)
    pooch.get_logger().setLevel("WARNING")
    if not folder.is_dir():
        print(f"downloading {name} from {source.url.format(split='*')} to {folder}", file=sys.stderr)
    try:
        for split in SPLITS:
            known, url = source.sha256.get(split), source.url.format(split=split)
            path = Path(pooch.retrieve(url, known and f"sha256:{known}", f"{split}.txt", folder, downloader=fetch_file))
            if known is None and _sorted_sha256(path) != source.sorted_sha256[split]:
                path.unlink()
                raise ValueError(f"the lines of {url} are not those with the known SHA-256")
    except (OSError, ValueError) as error:  # requests raises kinds of OSError, pooch ValueError for a wrong digest
        reasons = {"ConnectionError": "no connection", "ValueError": f"a file is not the published one: {error}"}
        reason = reasons.get(type(error).__name__, str(error))
        places = ", ".join(str(root / source.folder) for root in search_path(data_dir))
        raise UserError(
            f"data set {name!r}: not found in {places}, and the download failed ({reason}); "
            f"put its files into one of these folders, name the folder above it with --data-dir or HARNESS_DATA, "
            f"or use the data set 'lahman', which needs no download"
        ) from None
    return folder


class Bounded:
    """A file that takes ``MAX_BYTES`` at most, so that neither a wrong server nor a bomb fills the disk."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size = file, 0

    def write(self, content: bytes) -> int:
        self.size += len(content)
        if self.size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES >> 20} MiB")
        return self.file.write(content)

    def flush(self) -> None:
        self.file.flush()


def fetch_file(url: str, path: str, _: object) -> None:
    """Download a file for pooch, which checks its digest."""
    # as it is: what is packed on the way is unpacked in memory, whatever it becomes
    download = pooch.HTTPDownloader(chunk_size=1 << 16, headers={"Accept-Encoding": "identity"})
    with open(path, "wb") as file:
        download(url, Bounded(file), None)


def _sorted_sha256(path: Path) -> str:
    return hashlib.sha256(b"".join(sorted(path.read_bytes().splitlines(keepends=True)))).hexdigest()
