"""What a store has as files: ranks of each query, learning curves, metrics by relation; what test queries are about.

A file's name follows from its trial, or from its content if it belongs to a study. So what a coordinator that was
killed left behind is found again: that of a trial is removed with it, and that of a study written over. Where a store
is read, names and files may be others' work.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import re
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from optuna.artifacts import ArtifactMeta, FileSystemArtifactStore
from optuna.study import Study
from optuna.trial import Trial

from harness.console import spreadsheet_cell
from harness.errors import UserError
from harness.evaluate import metrics_by_relation
from harness.trial.cache import replacing
from harness.trial.run import TrialResult

#: how Optuna's attributes of a trial or study begin that name an artifact
ARTIFACT = "artifacts:"
#: the files of a trial; inside a search it has the first one only
CURVE, RANKS, RELATIONS = "curve.csv", "ranks.parquet", "relations.csv"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
#: rows and bytes of a table, unpacked; the largest data sets have a million test queries
_MOST_ROWS, _MOST_BYTES = 4_000_000, 2**29


def write(folder: Path, result: TrialResult, relations: Sequence[str]) -> list[Path]:
    """Write the files of a result into a folder."""
    paths = [folder / name for name in (CURVE, RANKS, RELATIONS)]
    pd.DataFrame(result.curve).to_csv(paths[0], index=False)
    if not result.ranks:  # inside a search
        return paths[:1]
    ranks = pd.DataFrame(
        {
            "query": result.ranks["query"].astype("int32"),
            "direction": np.array(["tail", "head"])[result.ranks["direction"]],
            "relation": np.array(relations)[result.ranks["relation"]],
            "rank": result.ranks["rank"],
        }
    )
    ranks.to_parquet(
        paths[1],
        compression="zstd",
        index=False,
        use_dictionary=["direction", "relation", "rank"],
        column_encoding={"query": "DELTA_BINARY_PACKED"},  # numbers that count up take no room
    )
    by_relation = metrics_by_relation(result.ranks["rank"], result.ranks["relation"], relations)
    shown = {str(spreadsheet_cell(name)): metrics for name, metrics in by_relation.items()}
    pd.DataFrame.from_dict(shown, orient="index").rename_axis("relation").to_csv(paths[2])
    return paths


class Artifacts:
    """A folder of artifacts: a trial has its own, and studies with equal content share theirs.

    Args:
        folder: where they are.
        store: the URL of the store that names them, without a password.
    """

    def __init__(self, folder: Path, store: str) -> None:
        self.folder, self.store = folder, store

    def keep(self, trial: Trial, files: Sequence[Path]) -> None:
        """Store the files of a trial."""
        for path in files:
            name = self._name(trial, path.name)
            trial.storage.set_trial_system_attr(trial._trial_id, ARTIFACT + name, _about(name, path))
            self._write(name, path)

    def drop(self, trial: Trial) -> None:
        """Remove the files of a trial that did not become complete."""
        for name in (CURVE, RANKS, RELATIONS):
            (self.folder / self._name(trial, name)).unlink(missing_ok=True)

    def keep_of_study(self, study: Study, path: Path) -> str:
        """Store a file of a study; return the artifact's name."""
        name = _uuid(hashlib.sha256(path.read_bytes()).hexdigest())
        study._storage.set_study_system_attr(study._study_id, ARTIFACT + name, _about(name, path))
        there = self.folder / name
        if not there.exists() or there.read_bytes() != path.read_bytes():
            self._write(name, path)
        return name

    def _name(self, trial: Trial, file: str) -> str:
        """No other trial's: stores that share a folder may have the same study, and one may be a copy of the other."""
        assert trial.datetime_start is not None
        start = trial.datetime_start.isoformat()
        return _uuid(f"{self.store}/{trial.study.study_name}/{trial.number}/{start}/{file}")

    def _write(self, name: str, path: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as file:
            FileSystemArtifactStore(self.folder).write(name, file)


def _uuid(text: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, text))


def _about(name: str, path: Path) -> str:
    """What Optuna tells of an artifact."""
    kind, encoding = mimetypes.guess_type(path.name)
    return json.dumps(asdict(ArtifactMeta(name, path.name, kind or "application/octet-stream", encoding)))


def path_of(folder: Path, name: object) -> Path:
    """The file of an artifact.

    Raises:
        UserError: its name is not one that Optuna gives, such as a path out of the folder.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(
            f"artifact {str(name)[:100]!r}: is no name of an artifact; was this store written by the harness?"
        )
    return folder / name


def read_table(path: Path) -> pd.DataFrame:
    """A parquet file; one that would take all memory when it is unpacked is not.

    Raises:
        OSError, ValueError: it cannot be read, or is too large.
    """
    try:
        about = pq.read_metadata(path)
        size = sum(about.row_group(k).total_byte_size for k in range(about.num_row_groups))
        if about.num_rows > _MOST_ROWS or size > _MOST_BYTES:
            raise ValueError("too large")
        return pd.read_parquet(path)
    except (pa.ArrowException, TypeError) as error:
        raise ValueError(str(error)) from None


def read_csv(path: Path) -> pd.DataFrame:
    """A small CSV file.

    Raises:
        OSError, ValueError: it cannot be read, or is too large.
    """
    if path.stat().st_size > _MOST_BYTES // 16:
        raise ValueError("too large")
    return pd.read_csv(path)


def copy_to(source: Path, target: Path) -> None:
    """Copy a file, which appears as a whole or not at all.

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
