"""What a store knows of a run's trials, read without a write."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import SQLAlchemyError

from harness.design.cells import Run
from harness.design.schema import Point
from harness.store.configurations import NUMBER, key_of_configuration
from harness.store.database.urls import sqlite_file
from harness.store.reuse import adoptable
from harness.store.store import Store, reading
from harness.store.study import known_as, measured, parts_of


@dataclass
class Known:
    """The complete trials of a run, those that it would take over included; and of a search what it has tried.

    Stands in a search's store for `harness.store.study.StudyStore`, and for its configurations.
    """

    complete: dict[str, float] = field(default_factory=dict)
    tried: list[FrozenTrial] = field(default_factory=list)
    given_up: set[tuple[str, int]] = field(default_factory=set)
    #: names of what was measured beside the trials
    measured: dict[str, dict[str, object]] = field(default_factory=dict)

    @property
    def configurations(self) -> Known:
        return self

    def values(self) -> dict[str, float]:
        """Validation MRR of complete trials, by key."""
        return dict(self.complete)

    def searched(self) -> list[FrozenTrial]:
        """The trials inside a search."""
        return self.tried

    def pruned(self) -> set[tuple[str, int]]:
        """The configurations that the search gave up."""
        return self.given_up

    def put(self, backbone: str, number: int, point: Point, values: dict[int, float], state: str) -> None:
        """Nothing is written."""


def known_of(url: str, artifacts: Path | None, run: Run, here: Mapping[str, object]) -> Known:
    """What a store knows of a run; nothing if there is no store yet. ``here`` is as of `harness.store.reuse.adopt`.

    Raises:
        UserError: the store cannot be opened or read, or is of another version.
    """
    if not _is_there(url):
        return Known()
    with reading(url), closing(Store(url, artifacts, create=False)) as store:
        run = known_as(store, run)
        known = Known()
        if (study := store.studies().get(run.study_name)) is not None:
            trials = [trial for part in parts_of(store.storage, run.study_name) for trial in part.get_trials()]
            cells = [trial for trial in trials if "cell" in trial.user_attrs]
            done = [trial for trial in cells if trial.state == TrialState.COMPLETE and trial.value is not None]
            known.complete = {trial.user_attrs["cell"]: float(trial.value or 0) for trial in done}
            known.tried = [trial for trial in cells if trial.user_attrs.get("role") == "search"]
            pruned = (trial for trial in trials if trial.state == TrialState.PRUNED and NUMBER in trial.user_attrs)
            known.given_up = {key_of_configuration(trial) for trial in pruned if "cell" not in trial.user_attrs}
            known.measured = measured(study.user_attrs)
        search = run.search if not known.tried else None
        known.complete = adoptable(store, replace(run, search=search), here) | known.complete
        return known


def _is_there(url: str) -> bool:
    """Whether there is a store at all: to open one makes it."""
    if (file := sqlite_file(url)) is not None:
        return file.exists()
    try:
        engine = create_engine(url)
        try:
            return inspect(engine).has_table("studies")
        finally:
            engine.dispose()
    except (SQLAlchemyError, ImportError):
        return True  # which `Store` has words for
