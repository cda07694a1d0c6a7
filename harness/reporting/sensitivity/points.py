"""The points of a study that varies factors: what was varied, and the validation MRR of each point beside L1's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from harness.errors import UserError
from harness.reporting.data.frames import where
from harness.reporting.data.results import CONFIRMATION, with_role
from harness.vocabulary import BACKBONES, REFERENCES, SYMBOLS, ordered, symbol_of

BASE = "L1"


@dataclass(frozen=True)
class Factor:
    """A setting that was varied, with its levels in ascending order."""

    key: str
    levels: tuple[float, ...]

    @property
    def symbol(self) -> str:
        """What it is called in formulas and figures."""
        return symbol_of(self.key)


def has_several(values: pd.Series[Any]) -> bool:
    """Whether a column has more than one value, gaps aside."""
    return len(values.dropna().unique()) > 1


@dataclass(frozen=True, eq=False)
class Grid:
    """The trials at points that differ in factors.

    ``frame`` has a row a trial: backbone, arm (the point's label), seed, state, the factors, mrr (of validation, a
    fraction; NaN if it failed), base (validation MRR of L1 with the same seed and the same levels of the factors that
    act in it; NaN without), base_arm (its label). ``losses`` is what the points are trained with.
    """

    losses: str
    factors: tuple[Factor, ...]
    frame: pd.DataFrame

    @property
    def backbones(self) -> list[str]:
        """The backbones with complete points, in order."""
        return ordered(self.complete()["backbone"], BACKBONES)

    @property
    def names(self) -> list[str]:
        """The columns of the factors."""
        return [factor.key for factor in self.factors]

    def pairs(self) -> Iterator[tuple[Factor, Factor]]:
        """All pairs of factors."""
        return combinations(self.factors, 2)

    def points(self) -> pd.DataFrame:
        """Means over seeds, one row a backbone and point all of whose seeds are complete.

        Columns: backbone, arm, the factors, mrr, base, difference (to L1), base_arm, seeds.
        """
        keys = ["backbone", "arm", *self.names]
        trials = self.complete().assign(difference=lambda f: f["mrr"] - f["base"])
        grouped = trials.groupby(keys, sort=False)
        means = grouped[["mrr", "base", "difference"]].mean()  # NaN where a seed of L1 failed are left out
        means["base_arm"] = grouped["base_arm"].first()
        means["seeds"] = grouped.size()
        place = means.index.get_level_values("backbone").map(self.backbones.index)
        return means.assign(_place=place).sort_values(["_place", *self.names]).drop(columns="_place").reset_index()

    def complete(self) -> pd.DataFrame:
        """The trials of the points that are complete with every seed that was tried: what seeds are missing would
        otherwise show as an effect of a factor."""
        done = self.frame["mrr"].notna().groupby([self.frame["backbone"], self.frame["arm"]]).transform("all")
        return self.frame[done]

    def missing(self, backbone: str) -> int:
        """How many combinations of levels have no complete point with a backbone."""
        present = where(self.complete(), backbone=backbone)[self.names].drop_duplicates()
        return math.prod(len(factor.levels) for factor in self.factors) - len(present)


def are_confirmation_runs(trials: pd.DataFrame) -> pd.Series[bool]:
    """Which trials of a grid are confirmation runs: its winners, and L1, with seeds that took no part in choosing."""
    return with_role(trials, CONFIRMATION)


def complete_confirmation_runs(trials: pd.DataFrame) -> pd.DataFrame:
    """Confirmation runs of the points that are complete with every seed that their backbone confirms with.

    A point that was among the winners of fewer seeds, and one whose runs have not all ended, do not count.
    """
    done = trials[are_confirmation_runs(trials) & (trials["state"] == "complete")]
    wanted = done.groupby("backbone")["seed"].transform("nunique")
    return done[done.groupby(["backbone", "arm"])["seed"].transform("nunique") == wanted]


def failed_confirmation_runs(trials: pd.DataFrame) -> pd.DataFrame:
    """Confirmation runs without a result, which were not tried again with one."""
    fresh = trials[are_confirmation_runs(trials)]
    keys = ["backbone", "arm", "seed"]
    done = fresh[fresh["state"] == "complete"].set_index(keys).index
    lost = fresh[fresh["state"] != "complete"].drop_duplicates(keys, keep="last")
    return lost[~lost.set_index(keys).index.isin(done)]


def grid_of(trials: pd.DataFrame) -> Grid:
    """The points among the trials of one design (`harness.reporting.data.frames.validate_trials`).

    The points are the trials of the arm with most labels; factors are the settings, as columns of
    numbers, with several values among them.

    Raises:
        UserError: nothing is varied, or two points have one label.
    """
    students = trials[~trials["arm"].isin(REFERENCES)].copy()
    plain = students["arm"].str.split(" · ").str[0]
    students["losses"] = students["losses"].fillna(plain) if "losses" in students else plain
    counts = students.groupby("losses")["arm"].nunique()
    # of two arms with as many points the one with more losses
    losses = max(counts.index, key=lambda name: (counts[name], name.count("+")))
    varied_trials = students[students["losses"] == losses]
    varied = [key for key in _settings_in(varied_trials) if has_several(varied_trials[key])]
    if not varied:
        raise UserError("trials: no factor has two levels; a report of sensitivity needs a study with a grid or search")
    if varied_trials.groupby("arm")[varied].nunique().gt(1).to_numpy().any():
        raise UserError("trials: two points share a label; was this store written by another version?")
    factors = tuple(
        Factor(key, tuple(sorted(float(v) for v in varied_trials[key].dropna().unique()))) for key in varied
    )
    frame = varied_trials[["backbone", "arm", "seed", "state", "trial"]].copy()
    frame[varied] = varied_trials[varied].astype(float)
    frame["mrr"] = varied_trials["valid_mrr"].where(varied_trials["state"] == "complete")
    return Grid(losses, factors, _with_base(frame, students[students["losses"] == BASE], losses))


def _settings_in(trials: pd.DataFrame) -> list[str]:
    """The columns that are settings: those with a symbol, then others of numbers by their dotted names."""
    dotted = [name for name in trials if "." in str(name) and pd.api.types.is_numeric_dtype(trials[name])]
    return [*(key for key in SYMBOLS if key in trials), *sorted(map(str, dotted))]


def _with_base(frame: pd.DataFrame, base: pd.DataFrame, losses: str) -> pd.DataFrame:
    """The points with the validation MRR of L1 beside each."""
    done = base[base["state"] == "complete"]
    if losses == BASE or done.empty:
        return frame.assign(base=np.nan, base_arm=None)
    acting = [key for key in _settings_in(frame) if key in base and has_several(base[key])]
    keys = ["backbone", "seed", *acting]
    bases = done[[*keys, "valid_mrr", "arm"]].rename(columns={"valid_mrr": "base", "arm": "base_arm"})
    bases[acting] = bases[acting].astype(float)
    return frame.merge(bases, on=keys, how="left").set_axis(frame.index)
