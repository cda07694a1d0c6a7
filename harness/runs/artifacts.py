"""What a store has as files: ranks of each query, learning curves, metrics by relation; what test queries are about.

A file's name follows from its trial, or from its content if it belongs to a study. So what a coordinator that was
killed left behind is found again: that of a trial is removed with it, and that of a study written over.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from optuna.artifacts import ArtifactMeta, FileSystemArtifactStore
from optuna.study import Study
from optuna.trial import Trial

from harness.evaluate import metrics_by_relation
from harness.runs.trial import TrialResult

#: how Optuna's attributes of a trial or study begin that name an artifact
ARTIFACT = "artifacts:"
#: the files of a trial; inside a search it has the first one only
CURVE, RANKS, RELATIONS = "curve.csv", "ranks.parquet", "relations.csv"


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
    pd.DataFrame.from_dict(by_relation, orient="index").rename_axis("relation").to_csv(paths[2])
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
