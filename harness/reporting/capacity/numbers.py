"""Students of several dimensions in numbers: means, gains by dimension, thresholds, what is kept of the teacher."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pandera.pandas as pa
from numpy.typing import NDArray

from harness.errors import UserError
from harness.reporting.data.frames import records, validate, where
from harness.reporting.data.results import Frames, Results, comparison_row, decided, decisions, means, wide
from harness.stats import Comparison, compare, detectable, threshold
from harness.vocabulary import METRICS, REFERENCES

Array = NDArray[np.float64]
K = TypeVar("K")

#: the gain whose threshold is looked for: of the full method over the structural teacher alone
FULL, BASE = "L1+L2+L3", "L1"
#: power of the smallest detectable difference
POWER = 0.8

FACTORS = pa.DataFrameSchema(
    {
        "losses": pa.Column(str, pa.Check.str_length(min_value=1), coerce=True),
        "dim": pa.Column("Int64", pa.Check.ge(1), coerce=True),
    },
    name="trials",
)
GAINS_COLUMNS = [
    *("backbone", "arm", "base", "dim", "smaller", "metric"),
    *(f"{name}{end}" for name in ("difference", "relative", "effect") for end in ("", "_low", "_high")),
    *("p", "p_holm", "margin", "p_equal", "seeds", "facts", "seeds_up", "detectable", "verdict"),
]
THRESHOLD_COLUMNS = [
    *("backbone", "arm", "base", "threshold", "low", "high", "always", "never"),
    *("smallest", "largest", "seeds", "facts"),
]
KEPT_COLUMNS = ["backbone", "arm", "dim", "kept", "kept_low", "kept_high"]


@dataclass(frozen=True, eq=False)
class Numbers:
    """The frames of a report: those of `means_by_size`, `gains_by_size`, `kept` and `thresholds`."""

    means: pd.DataFrame
    gains: pd.DataFrame
    kept: pd.DataFrame
    thresholds: pd.DataFrame

    @classmethod
    def of_sizes(cls, sizes: Sizes) -> Numbers:
        """The frames of some results."""
        return cls(means_by_size(sizes), gains_by_size(sizes), kept(sizes), thresholds(sizes))

    def of(self, backbone: str) -> Numbers:
        """The rows of a backbone."""
        frames = (self.means, self.gains, self.kept, self.thresholds)
        return Numbers(*(frame[frame["backbone"] == backbone] for frame in frames))

    def gain(self, metric: str = "mrr", *, contrasts: bool = False) -> pd.DataFrame:
        """Rows of ``gains``: the full method against L1 in a metric, dimensions ascending.

        ``contrasts``: instead how that gain differs between two dimensions, which is there for MRR.
        """
        rows = where(self.gains, arm=FULL, base=BASE, metric=metric)
        return rows[rows["smaller"].notna() == contrasts].sort_values("dim", kind="stable")


@dataclass(frozen=True, eq=False)
class Sizes:
    """Results of arms crossed with dimensions.

    ``labels[backbone, losses, dim]`` is the arm of ``results`` that has complete trials of these students;
    ``dims[backbone]`` are all dimensions of students that were tried, ascending.
    """

    results: Results
    labels: Mapping[tuple[str, str, int], str]
    dims: Mapping[str, list[int]]

    @classmethod
    def load(cls, frames: Frames) -> Sizes:
        """Check the trials, then load and check the ranks of the complete ones.

        Raises:
            UserError: see `Results.load`; a trial without ``losses`` or ``dim``; or arms that differ in more than
                these two.
        """
        trials = validate(FACTORS, frames.trials) if len(frames.trials) else frames.trials
        results = Results.load(trials, frames.load_ranks, frames.layout)
        labels: dict[tuple[str, str, int], str] = {}
        for row in records(results.trials):
            key = (str(row["backbone"]), str(row["losses"]), int(row["dim"]))
            if labels.setdefault(key, row["arm"]) != row["arm"]:
                raise UserError(
                    f"trials: '{labels[key]}' and '{row['arm']}' both train {key[1]} with {key[2]} dimensions; "
                    "this report is for studies that vary nothing else"
                )
        students = results.trials[~results.trials["arm"].isin(REFERENCES)]
        dims = {
            name: sorted({int(dim) for dim in by_backbone["dim"]}) for name, by_backbone in students.groupby("backbone")
        }
        done = {key: label for key, label in labels.items() if (key[0], label) in results.ranks}
        return cls(results, done, {str(name): tried for name, tried in dims.items()})

    def losses(self, backbone: str) -> list[str]:
        """The arms of a backbone's students with complete trials, in the order of the study."""
        present = {losses for name, losses, _ in self.labels if name == backbone}
        return [losses for losses in self.results.layout.order(present) if losses not in REFERENCES]

    def by_fact(self, backbone: str, losses: str, dim: int, seeds: Sequence[int]) -> Array:
        """Values ``[S, N, 5]`` of the given seeds; see `Results.by_fact`."""
        return self.results.by_fact(backbone, self.labels[backbone, losses, dim], seeds)

    def common_seeds(self, backbone: str, losses: Sequence[str], dims: Sequence[int]) -> list[int]:
        """Seeds that are complete in all of these arms at all of these dimensions, ascending."""
        labels = [self.labels.get((backbone, arm, dim), "") for arm in losses for dim in dims]
        return self.results.common_seeds(backbone, *labels)


def means_by_size(sizes: Sizes) -> pd.DataFrame:
    """Means over seeds as `means` has them, with the losses for the arm, and the dimension in column ``dim``.

    By backbone in the order of the study's arms, dimensions ascending, reference rows last.
    """
    frame = means(sizes.results)
    keys_of = {(backbone, label): (losses, dim) for (backbone, losses, dim), label in sizes.labels.items()}
    keys = [keys_of[backbone, arm] for backbone, arm in zip(frame["backbone"], frame["arm"], strict=True)]
    return frame.assign(arm=[losses for losses, _ in keys]).assign(dim=[dim for _, dim in keys])


def kept(sizes: Sizes) -> pd.DataFrame:
    """The share of the structural teacher's MRR that students keep, one row per backbone, losses and dimension.

    Columns: backbone, arm (losses), dim, kept, kept_low, kept_high (95 % interval of `compare`: over
    seeds of the student, and facts). A student is compared with the teacher of its seed where each seed has one, else
    with the one model that there is. Without a teacher there are no rows.
    """
    rows = []
    for backbone in sizes.results.backbones:
        teachers = set(sizes.results.ranks.get((backbone, "teacher"), {}))
        if not teachers:
            continue
        jobs = {}
        for losses in sizes.losses(backbone):
            for dim in sizes.dims[backbone]:
                seeds = sizes.common_seeds(backbone, [losses], [dim])
                of_seeds = [seed for seed in seeds if seed in teachers] if len(teachers) > 1 else seeds
                if of_seeds:
                    student = sizes.by_fact(backbone, losses, dim, of_seeds)[:, :, :1]
                    asked = of_seeds if len(teachers) > 1 else sorted(teachers)
                    teacher = sizes.results.by_fact(backbone, "teacher", asked)[:, :, :1]
                    jobs[losses, dim] = student, np.broadcast_to(teacher, student.shape)
        for (losses, dim), (comparison,) in _compared(jobs).items():
            share = comparison.relative
            ends = {"kept": 1 + share.estimate, "kept_low": 1 + share.low, "kept_high": 1 + share.high}
            rows.append({"backbone": backbone, "arm": losses, "dim": dim} | ends)
    return pd.DataFrame(rows, columns=KEPT_COLUMNS)


def table_by_size(means: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    """`means_by_size` and `kept` as one row per backbone, losses and dimension: n, failed, interval, metrics, share."""
    # `wide` knows no dimensions: numbered rows stand for arms of one dimension each
    keys = means[["backbone", "arm", "dim"]].drop_duplicates(ignore_index=True)
    numbered = means.merge(keys.reset_index(), on=["backbone", "arm", "dim"]).drop(columns=["arm", "dim"])
    flat = wide(numbered.rename(columns={"index": "arm"}))
    flat = flat.assign(dim=keys["dim"].loc[flat["arm"]].to_numpy(), arm=keys["arm"].loc[flat["arm"]].to_numpy())
    columns = ["backbone", "arm", "dim", *(name for name in flat if name not in ("backbone", "arm", "dim"))]
    return flat[columns].merge(kept, on=["backbone", "arm", "dim"], how="left")


def gains_by_size(sizes: Sizes) -> pd.DataFrame:
    """Paired comparisons of arms at each dimension, and of the gain of the full method at two of them.

    Columns as of `harness.reporting.data.results.paired`, and dim and smaller. Rows with a dimension in ``smaller`` are
    contrasts of MRR: the gain of the full method over L1 at ``dim`` minus that at ``smaller``. Holm's correction takes
    all dimensions as a family, by backbone, arm, base and metric; all contrasts of a backbone are another. The margin
    of a contrast is a share of L1's MRR at both dimensions. ``detectable`` is the smallest difference that would be
    shown with a power of `POWER`.
    """
    rows: list[dict[str, Any]] = []
    for backbone in sizes.results.backbones:
        dims, losses = sizes.dims.get(backbone, []), sizes.losses(backbone)
        jobs: dict[tuple[str, str, int, int | None], tuple[Array, Array]] = {}
        # of each: the means that its margin is a share of, and the seeds
        about: dict[tuple[str, str, int, int | None], tuple[Array, list[int]]] = {}
        for arm, base in sizes.results.layout.pairs(losses):
            for dim in dims:
                if seeds := sizes.common_seeds(backbone, [arm, base], [dim]):
                    first, second = (sizes.by_fact(backbone, losses, dim, seeds) for losses in (arm, base))
                    jobs[arm, base, dim, None] = first, second
                    about[arm, base, dim, None] = second.mean(axis=(0, 1)), seeds
        wanted = [dim for dim in dims if (FULL, BASE, dim, None) in jobs]
        for smaller, dim in combinations(wanted, 2):
            if seeds := sizes.common_seeds(backbone, [FULL, BASE], [smaller, dim]):
                high, low = (_gain(sizes, backbone, at, seeds)[:, :, None] for at in (dim, smaller))
                jobs[FULL, BASE, dim, smaller] = high, low
                bases = [sizes.by_fact(backbone, BASE, at, seeds)[:, :, 0].mean() for at in (dim, smaller)]
                about[FULL, BASE, dim, smaller] = np.array([np.mean(bases)]), seeds
        families = Counter((arm, base, smaller is None) for arm, base, _, smaller in jobs)
        for key, comparisons in _compared(jobs).items():
            arm, base, dim, other = key
            first, second = jobs[key]
            tests = families[arm, base, other is None]
            place = {"backbone": backbone, "arm": arm, "base": base, "dim": dim, "smaller": other}
            # of a contrast, a part of a difference means nothing
            nothing = {} if other is None else dict.fromkeys(("relative", "relative_low", "relative_high"), np.nan)
            settled = decisions(sizes.results, backbone, first - second, *about[key])
            for k, (metric, comparison) in enumerate(zip(METRICS, comparisons, strict=False)):
                seen = detectable(first[:, :, k] - second[:, :, k], POWER, tests=tests)
                more = {"metric": metric.key, "seeds": len(first), "detectable": seen}
                rows.append(place | comparison_row(comparison) | settled[k] | nothing | more)
    if not rows:
        return pd.DataFrame(columns=GAINS_COLUMNS)
    frame = pd.DataFrame(rows).astype({"smaller": "Int64"})
    frame["contrast"] = frame["smaller"].notna()
    return decided(frame, ["backbone", "arm", "base", "metric", "contrast"])[GAINS_COLUMNS]


def thresholds(sizes: Sizes) -> pd.DataFrame:
    """From which dimension on the full method gains over L1 in MRR, one row a backbone; see `harness.stats.threshold`.

    Between dimensions the gain is interpolated linearly in log2 of the dimension. Only seeds that are complete at all
    dimensions count, and dimensions that have both arms; with fewer than two of these a backbone has no row.

    Columns: backbone, arm, base (losses), threshold, low, high (95 % interval; in dimensions, 0 where the gain is
    positive at all of them and inf where it is not even at the largest), always, never (shares of resamples in which
    that is so), smallest, largest (the dimensions looked at), seeds, facts.
    """
    rows = []
    for backbone in sizes.results.backbones:
        dims = [dim for dim in sizes.dims.get(backbone, []) if sizes.common_seeds(backbone, [FULL, BASE], [dim])]
        seeds = sizes.common_seeds(backbone, [FULL, BASE], dims) if len(dims) > 1 else []
        if not seeds:
            continue
        gains = np.stack([_gain(sizes, backbone, dim, seeds) for dim in dims], axis=2)
        onset = threshold(gains, np.log2(dims))
        ends = {"threshold": onset.estimate, "low": onset.low, "high": onset.high}
        rows.append(
            {"backbone": backbone, "arm": FULL, "base": BASE}
            | {name: float(np.exp2(value)) for name, value in ends.items()}
            | {"always": onset.always, "never": onset.never, "smallest": dims[0], "largest": dims[-1]}
            | {"seeds": len(seeds), "facts": gains.shape[1]}
        )
    return pd.DataFrame(rows, columns=THRESHOLD_COLUMNS)


def _gain(sizes: Sizes, backbone: str, dim: int, seeds: Sequence[int]) -> Array:
    """Gain in MRR ``[S, N]`` of the full method over L1."""
    full, base = (sizes.by_fact(backbone, losses, dim, seeds)[:, :, 0] for losses in (FULL, BASE))
    return full - base


def _compared(jobs: Mapping[K, tuple[Array, Array]]) -> dict[K, list[Comparison]]:
    """Compare pairs of arrays ``[S, N, K]``; those with equally many seeds share sign patterns, which saves time."""
    alike: dict[int, list[K]] = defaultdict(list)
    for key, (arm, _) in jobs.items():
        alike[len(arm)].append(key)
    compared: dict[K, list[Comparison]] = {}
    for keys in alike.values():
        arms, bases = (np.concatenate([jobs[key][side] for key in keys], axis=2) for side in (0, 1))
        left = compare(arms, bases)
        for key in keys:
            width = jobs[key][0].shape[2]
            compared[key], left = left[:width], left[width:]
    return {key: compared[key] for key in jobs}
