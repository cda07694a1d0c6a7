"""What a store has as files: ranks and learning curves, and what test queries are about.

A trial's result is a small file first. When a study begins or ends, these are folded into two files of the study, one
with all ranks and one with all curves, and removed. A file is written under another name and renamed, so a process that
is killed leaves the old or the new one; readers look for a trial in its file, and then in its study's. Files are named
by the trial's key and the moment it began, so a copy of a trial in another study or store has the same name, and files
can be merged in any order. Names and files that are read may be others' work.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from optuna.trial import FrozenTrial, Trial

from harness.errors import UserError
from harness.scratch import replacing
from harness.store.files.rank_file import (
    BYTES,
    Doubled,
    doubled_of,
    doubled_ranks,
    places_of,
    reading_file,
    trial_of,
    write_ranks,
)
from harness.trial.cache import digest
from harness.trial.run import TrialResult

#: the files of a study
RANKS, CURVES, QUERIES = "ranks.parquet", "curves.parquet", "queries.parquet"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
#: the file of a trial: its name, and which store wrote it
_TRIAL_FILE = re.compile(r"([0-9a-f]{24})-[0-9a-f]{8}")
#: rows and bytes of a table, unpacked; the largest data sets have a million test queries
_MOST_ROWS, _MOST_BYTES = 4_000_000, 2**29
_CURVE = b"curve"


def key_of(trial: Trial | FrozenTrial) -> str:
    """The name of a trial among those of all stores, by its key and when it began."""
    assert trial.datetime_start is not None
    return digest(trial.user_attrs.get("cell"), trial.datetime_start.isoformat())


def has_curve(attributes: Mapping[str, Any]) -> bool:
    """Whether a complete trial has a learning curve; a teacher that is made of trained models has none."""
    return bool(attributes.get("updates", 1))


def study_file(study: str, file: str) -> str:
    """The name of an artifact of a study."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{study}/{file}"))


class Artifacts:
    """A folder of artifacts; stores (URLs without a password) that share one leave the files of others alone."""

    def __init__(self, folder: Path, store: str) -> None:
        self.folder, self._writer = folder, digest(store)[:8]

    def keep(self, key: str, result: TrialResult) -> None:
        """Write the file of a trial.

        Raises:
            UserError: it cannot be written.
        """
        ranks = np.zeros(0, np.int32)
        if result.ranks:
            ranks = doubled_ranks(result.ranks["rank"][np.argsort(result.ranks["query"], kind="stable")])
        with self._replacing(self.folder / f"{key}-{self._writer}") as file:
            curve = json.dumps(result.curve, default=lambda number: number.item())  # of NumPy
            table = pa.table({"doubled_rank": ranks}).replace_schema_metadata({_CURVE: curve})
            encoding = {"doubled_rank": BYTES}
            pq.write_table(table, file, compression="zstd", use_dictionary=False, column_encoding=encoding)

    def drop(self, key: str) -> None:
        """Remove the file of a trial that did not become complete."""
        (self.folder / f"{key}-{self._writer}").unlink(missing_ok=True)

    def keep_queries(self, name: str, queries: pd.DataFrame) -> None:
        """Write what a study's test queries are about."""
        with self._replacing(self.folder / name) as file:
            queries.to_parquet(file, compression="zstd", index=False)

    def has_loose(self) -> bool:
        """Whether a trial has a file that is not folded yet."""
        return bool(_loose(self.folder))

    def fold(self, study: str, keys: Collection[str]) -> None:
        """Move ranks and curves of complete trials from their files into those of their study.

        Raises:
            UserError: a file cannot be read or written; nothing is lost then.
        """
        if _loose(self.folder).keys() & set(keys):
            with self._locked():
                there = _loose(self.folder)
                loose = {key: there[key] for key in keys if key in there}
                if not loose:  # another coordinator has folded them
                    return
                ranks, curves = {}, list[dict[str, Any]]()
                for key, paths in loose.items():
                    ranks[key], curve = _read_trial(paths[0], key)
                    curves += curve
                self._merge(study, ranks, pd.DataFrame(curves, columns=None if curves else ["trial"]))
                for path in chain(*loose.values()):
                    path.unlink(missing_ok=True)

    def take(self, study: str, source: Evidence, trials: Collection[FrozenTrial]) -> None:
        """Add ranks and curves of trials of another study, perhaps in another folder.

        Raises:
            UserError: they cannot be read there, or not written here.
        """
        if trials:
            with self._locked():
                ranks = {key: source.doubled(key) for key in map(key_of, trials)}
                trained = [key_of(trial) for trial in trials if has_curve(trial.user_attrs)]
                self._merge(study, ranks, source.curves(trained) if trained else pd.DataFrame(columns=["trial"]))

    def _merge(self, study: str, ranks: Mapping[str, Doubled], curves: pd.DataFrame) -> None:
        """Write both files of a study again, with more trials."""
        path = self.folder / study_file(study, CURVES)
        if path.exists():
            known = _read_curves(path)
            curves = pd.concat([known[~known["trial"].isin(curves["trial"].unique())], curves], ignore_index=True)
        table = pa.Table.from_pandas(curves, preserve_index=False)
        floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
        with self._replacing(path) as file:
            encoding = dict.fromkeys(floats, BYTES)
            pq.write_table(
                table, file, compression="zstd", compression_level=9, use_dictionary=["trial"], column_encoding=encoding
            )
        path = self.folder / study_file(study, RANKS)
        if ranked := {key: doubled for key, doubled in ranks.items() if len(doubled)}:
            with self._replacing(path) as file:
                write_ranks(file, path, ranked)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time merge, also where stores or machines share a folder."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.folder / ".lock")
            lock.acquire()
        except (OSError, NotImplementedError) as error:  # the second: filelock 3, on file systems without locks
            raise UserError(f"artifacts {self.folder}: cannot be written ({error})") from None
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _replacing(self, path: Path) -> Iterator[Any]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                yield file
        except OSError as error:
            raise UserError(
                f"artifact {path}: cannot be written ({error.strerror or error}); what is complete is kept"
            ) from None


class Evidence:
    """Ranks and curves of the trials of one study, to be read."""

    def __init__(self, folder: Path, study: str) -> None:
        self._ranks, self._curves = (folder / study_file(study, name) for name in (RANKS, CURVES))
        self._loose = _loose(folder)
        self._places: dict[str, tuple[int, int]] | None = None

    def doubled(self, key: str) -> Doubled:
        """The doubled ranks of a trial; none of one inside a search.

        Raises:
            UserError: they cannot be read.
        """
        try:
            return _read_trial(self._loose[key][0], key)[0]
        except (KeyError, FileNotFoundError):  # folded already, or while this was read
            pass
        if self._places is None:
            self._places = places_of(self._ranks)
        ranks = trial_of(self._ranks, self._places, key)
        return np.zeros(0, np.int32) if ranks is None else ranks

    def curves(self, keys: Collection[str]) -> pd.DataFrame:
        """The learning curves of trials: a row an epoch, with the trial's key as ``trial``.

        Raises:
            UserError: one of them cannot be read or is not there.
        """
        rows = {}
        for key in self._loose.keys() & set(keys):
            with suppress(FileNotFoundError):
                rows[key] = _read_trial(self._loose[key][0], key)[1]
        frames = [pd.DataFrame([*chain(*rows.values())])] if rows else []
        if folded := set(keys) - rows.keys():
            if not self._curves.exists():
                raise UserError(f"learning curves {self._curves}: cannot be read (no such file); restore it")
            curves = _read_curves(self._curves)
            frames.append(curves[curves["trial"].isin(folded)])
            if lost := folded - set(frames[-1]["trial"]):
                raise UserError(f"learning curves {self._curves}: lack those of {len(lost)} trials; restore it")
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _loose(folder: Path) -> dict[str, list[Path]]:
    """The files of single trials, by the trial."""
    paths: dict[str, list[Path]] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := _TRIAL_FILE.fullmatch(path.name):
            paths.setdefault(match[1], []).append(path)
    return paths


def _read_trial(path: Path, key: str) -> tuple[Doubled, list[dict[str, Any]]]:
    """Ranks and curve of the file of a trial; the curve as rows with the trial's key."""
    with reading_file(path):
        if path.stat().st_size > _MOST_BYTES // 8:
            raise ValueError("too large")
        with _opened(path) as file:
            ranks, metadata = file.read().column("doubled_rank").to_pandas(), file.schema_arrow.metadata or {}
        return doubled_of(ranks), [{**row, "trial": key} for row in json.loads(metadata[_CURVE])]


def _read_curves(path: Path) -> pd.DataFrame:
    with reading_file(path, "learning curves"):
        frame = read_table(path)
        if "trial" not in frame:
            raise ValueError("no trials")
        return frame


def path_of(folder: Path, name: object) -> Path:
    """The file of an artifact.

    Raises:
        UserError: its name is none that Optuna gives, such as a path out of the folder.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(
            f"artifact {str(name)[:100]!r}: is no name of an artifact; was this store written by the harness?"
        )
    return folder / name


def read_table(path: Path) -> pd.DataFrame:
    """A parquet file, unless it would take all memory when it is unpacked.

    Raises:
        OSError, ValueError: it cannot be read, or is too large.
    """
    try:
        with _opened(path) as file:
            frame: pd.DataFrame = file.read().to_pandas()
            return frame
    except (pa.ArrowException, TypeError) as error:
        raise ValueError(str(error)) from None


def _opened(path: Path) -> pq.ParquetFile:
    """A parquet file to be read; errors as of `read_table`, and those of pyarrow."""
    file = pq.ParquetFile(path)
    about = file.metadata
    size = sum(about.row_group(k).total_byte_size for k in range(about.num_row_groups))
    if about.num_rows > _MOST_ROWS or size > _MOST_BYTES:
        file.close()
        raise ValueError("too large")
    return file


def copy_to(source: Path, target: Path) -> None:
    """Copy a file; no incomplete copy appears.

    Raises:
        UserError: one of the two cannot be read or written.
    """
    try:
        with source.open("rb") as content:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with replacing(target) as file:
                    shutil.copyfileobj(content, file, 1 << 20)
            except OSError as error:
                raise UserError(f"artifact {target}: cannot be written ({error.strerror})") from None
    except OSError as error:
        raise UserError(
            f"artifact {source}: cannot be read ({error.strerror}); name its folder with --artifacts"
        ) from None
