"""Which trial a student's file is made of: one of the store, or one that settings describe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from harness.console import printable
from harness.design import files
from harness.design.settings import parse_changes, settle
from harness.errors import UserError, nearest
from harness.models import BACKBONES
from harness.store import frames
from harness.store.database.urls import safe
from harness.trial.arms import check_arm
from harness.trial.spec import TrialSpec
from harness.vocabulary import REFERENCES

#: the study whose settings describe a student of no study
STUDY = "ablation"


def wanted(dataset: str, arm: str, backbone: str, seed: int, preset: str, changes: Sequence[str]) -> TrialSpec:
    """The trial of an arm with the settings of study ``ablation``.

    Raises:
        UserError: an arm, backbone, preset or setting that is not there.
    """
    if backbone not in BACKBONES:
        raise UserError(f"unknown backbone {backbone!r}: {nearest(backbone, BACKBONES)}")
    design = files.load(STUDY)
    spec = settle(design, design.preset(preset), parse_changes(changes), dataset=dataset, backbone=backbone)
    return spec.model_copy(
        update={"dataset": dataset, "backbone": backbone, "arm": check_arm(arm), "seed": seed}
    ).acting()


def stored(
    storage: str, study: str, dataset: str, trial: int | None, artifacts: Path | None
) -> tuple[TrialSpec, NDArray[np.float64]]:
    """A trial of the store and its test ranks.

    Args:
        storage: URL of the store.
        study: name of a study.
        dataset: its data set.
        trial: its number in reports; None: of the students of the latest design the one with the best validation MRR.
        artifacts: folder of the ranks; None: beside the store.

    Raises:
        UserError: there is no such study or trial, or no student in it.
    """
    trials, _, load_ranks = frames.load(storage, study, dataset, artifacts)
    latest = trials.sort_values("started")["study_name"].iloc[-1]
    trials = trials[trials["study_name"] == latest]
    students = trials[(trials["state"] == "complete") & ~trials["losses"].isin(REFERENCES) & trials["test_mrr"].notna()]
    if trial is not None:
        students = students[students["trial"] == trial]
    if not len(students):
        which = "complete student" if trial is None else f"complete student of number {trial}"
        raise UserError(f"storage {safe(storage)}: study {study!r} on {dataset!r} has no {which}; see its report")
    label = students["valid_mrr"].astype(float).idxmax()
    try:
        spec = TrialSpec.model_validate(json.loads(str(students.loc[label, "spec"])))
    except (ValidationError, ValueError) as error:
        number, reason = students.loc[label, "trial"], printable(str(error))[:200]
        raise UserError(f"storage {safe(storage)}: the settings of trial {number} cannot be read ({reason})") from None
    return spec, load_ranks(label)["rank"].to_numpy(float)


def compared(ranks: NDArray[np.float64], there: NDArray[np.float64]) -> str:
    """Whether ranks are those of the store, for people.

    Raises:
        UserError: they are of other queries.
    """
    if len(ranks) != len(there):
        raise UserError(f"the store has {len(there)} test ranks and the data {len(ranks)}; is it other data?")
    moved = float(np.mean(~np.isclose(ranks, there, rtol=1e-6)))  # means over times are stored in single precision
    if not moved:
        return ", the ranks are those of the store"
    difference = float(np.mean(1 / ranks) - np.mean(1 / there))
    return f", {100 * moved:.1f} % of its ranks are not those of the store (MRR {difference:+.4f})"
