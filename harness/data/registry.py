"""Data sets by name: where their files are looked for, and where they are downloaded from."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import pooch

from harness.data import checks, lahman
from harness.data.graph import TemporalGraph
from harness.data.reading import SPLITS, read_folder
from harness.errors import UserError, nearest

_ATISE = "https://raw.githubusercontent.com/soledad921/ATISE/711e2136e10b54acbdd7a69ad7822837ce5c44c8/"
_MMKB = "https://raw.githubusercontent.com/nle-ml/mmkb/dc1c89cac110ddbb9944d6ed5ab2b3c2339d320c/TemporalKGs/"


@dataclass(frozen=True)
class Source:
    """A public data set: its folder's name, and for each file its address and SHA-256.

    ``sorted_digest`` is the SHA-256 of the sorted lines of files whose order differs between copies.
    """

    folder: str
    title: str
    files: dict[str, tuple[str, str]]
    sorted_digest: dict[str, str] = field(default_factory=dict)


SOURCES = {
    "yago": Source(
        "yago11k",
        "YAGO11k (HyTE): people, intervals in years",
        {
            "train": (
                _ATISE + "yago/train.txt",
                "e709ff0e8eced3ec9332dba5c5da95c0db403f8eddda52f3b100486b63c4e580",
            ),
            "valid": (
                _ATISE + "yago/valid.txt",
                "f3a3946235b078070e6bac0cd2bf6f51bd9cedc394c406873a21141a447730c7",
            ),
            "test": (
                _ATISE + "yago/test.txt",
                "cc94fd96f8fbacb97cb3e75e3aa8cf2c753acd0ee4e2ae56632f7495278f1b7f",
            ),
        },
    ),
    "wiki": Source(
        "wikidata12k",
        "Wikidata12k (HyTE): intervals in years",
        {
            "train": (
                _ATISE + "wikidata/train.txt",
                "90b42097c9741fada0f81fc5f1be1cb3c0eb0f8bfcf3f5de833dd252b98d069b",
            ),
            "valid": (
                _ATISE + "wikidata/valid.txt",
                "ade5b9c50b985fcf4948b7edde69c65ff8b7c993ea545cd40dc62fc70b5e2e52",
            ),
            "test": (
                _ATISE + "wikidata/test.txt",
                "f9d6b1bbeba58e94298a5655485b7ca3d1d449ba310b8755b32abafc5ec1da6f",
            ),
        },
    ),
    "icews14": Source(
        "icews14",
        "ICEWS 2014: political events, days",
        {
            "train": (
                _MMKB + "icews14/icews_2014_train.txt",
                "a6c7922dcbe406b3e292a313b4eab191e2399c3bc4810f662bb4363043a93df6",
            ),
            "valid": (
                _MMKB + "icews14/icews_2014_valid.txt",
                "23dfa5cd6f3bb5421efcc30fc03bed0e8de4c2cf251d1765ff722d6f8b15dbe3",
            ),
            "test": (
                _MMKB + "icews14/icews_2014_test.txt",
                "50d53602409a3dbaca2f13d9c7e30bf7311d8c1868fac890dc0c2836118b4cb4",
            ),
        },
    ),
    "icews05-15": Source(
        "icews05-15",
        "ICEWS 2005-2015: political events, days",
        {
            "train": (
                _MMKB + "icews05-15/icews_2005-2015_train.txt",
                "52486d82023268dd3924a75621415cc5701f55d55e3e0cdb032aba91b28d3e82",
            ),
            "valid": (
                _MMKB + "icews05-15/icews_2005-2015_valid.txt",
                "404516f2da966c563ab6d81f1355ec5c67a9aa77c111bf712429e65136162b23",
            ),
            "test": (
                _MMKB + "icews05-15/icews_2005-2015_test.txt",
                "d034cd94ace08279639526cbe2ce34829562941ddd1301e6afa9e0ffa7a5b160",
            ),
        },
        {"train": "96b45f8e49a80142c16da7e93dc3da60268a47b09f8c4164e4d48932969e46d1"},
    ),
}


def names() -> list[str]:
    """All data sets that have a name."""
    return ["lahman", *SOURCES]


def search_path(data_dir: Path | None = None) -> list[Path]:
    """The folders in which data sets are looked for, first one first."""
    if data_dir is not None:
        return [data_dir]
    configured = os.environ.get("HARNESS_DATA")
    return [*([Path(configured)] if configured else []), Path("data"), Path("..", "shared", "data")]


def find(name: str, data_dir: Path | None = None) -> Path | None:
    """The folder that holds the files of a named data set, or None."""
    folder = SOURCES[name].folder
    for root in search_path(data_dir):
        for candidate in (root / folder, root / name):
            if candidate.is_dir():
                return candidate
    return None


def load(name: str, data_dir: Path | None = None) -> TemporalGraph:
    """Read a data set by name, or any folder with train, valid and test files by its path.

    Args:
        name: one of ``names()``, or the path of a folder (recognised by a slash or by existing).
        data_dir: the only place to look for the files of a named one, instead of ``search_path()``.

    Raises:
        UserError: if there is no such data set, its files are not to be had, or a line is malformed.
    """
    if name == "lahman":
        return checks.build(name, lahman.read())
    if name in SOURCES:
        folder = find(name, data_dir) or _download(name, data_dir)
        return checks.build(name, read_folder(folder, sort_lines=bool(SOURCES[name].sorted_digest)))
    path = Path(name)
    if path.is_dir():
        return checks.build(path.resolve().name, read_folder(path))
    if os.sep in name:
        raise UserError(f"data set {name!r}: no such folder; give a folder with train, valid and test files, or a name")
    raise UserError(f"unknown data set {name!r}: {nearest(name, names())}; or give a folder, such as ./{name}")


def _download(name: str, data_dir: Path | None) -> Path:
    source = SOURCES[name]
    cache = Path(pooch.os_cache("tkg-distill-harness")) / source.folder
    try:
        for split in SPLITS:
            url, digest = source.files[split]
            wanted = None if split in source.sorted_digest else f"sha256:{digest}"
            path = Path(pooch.retrieve(url, wanted, fname=f"{split}.txt", path=cache, progressbar=False))
            if wanted is None and _sorted_digest(path) != source.sorted_digest[split]:
                path.unlink()
                raise ValueError(f"{path.name} from {url} does not have the known digest")
    except Exception as error:  # pooch and requests raise many kinds; all mean the same to the user
        places = ", ".join(str(root / source.folder) for root in search_path(data_dir))
        raise UserError(
            f"data set {name!r}: not found in {places}, and the download failed ({type(error).__name__}); put its files "
            f"there, name their folder with --data-dir or HARNESS_DATA, or use the data set 'lahman', which needs none"
        ) from None
    return cache


def _sorted_digest(path: Path) -> str:
    return hashlib.sha256(b"".join(sorted(path.read_bytes().splitlines(keepends=True)))).hexdigest()
