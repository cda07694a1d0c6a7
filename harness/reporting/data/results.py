"""The numbers of a fixed design as tidy frames: means, paired differences, importances, costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.errors import UserError
from harness.reporting.data.frames import Ranked, interval_columns, known_of, ranked, validate_trials, where
from harness.reporting.data.layout import Layout, Meta
from harness.stats import Comparison, compare, holm, mean_interval, mean_intervals
from harness.stats.sequential import judge
from harness.vocabulary import BACKBONES, METRICS, REFERENCES, STAGES, ordered

Array = NDArray[np.float64]
#: Takes the index label of a trial's row and returns its ranks.
LoadRanks = Callable[[Any], pd.DataFrame]
#: takes factors (a row a configuration) and values; returns importances by method and factor
Importance = Callable[[pd.DataFrame, "pd.Series[float]"], pd.DataFrame]
#: takes a spec (as JSON); returns what it leaves to the recipes of its backbones, by dotted name
Recipe = Callable[[Mapping[str, Any]], Mapping[str, Any]]
#: roles of trials inside a search, which leave test facts alone
INSIDE = ("search", "beside")
#: role of confirmation runs: their seeds took no part in choosing the setting
CONFIRMATION = "confirm"

ALPHA = 0.05
#: verdicts of a comparison beside "better" and "worse": shown to be within the margin; not shown to be anything
EQUAL, UNDECIDED = "equivalent", "undecided"
PAIRED_COLUMNS = [
    *("backbone", "arm", "base", "metric"),
    *(f"{name}{end}" for name in ("difference", "relative", "effect") for end in ("", "_low", "_high")),
    *("p", "p_holm", "margin", "p_equal", "chance", "seeds", "facts", "seeds_up", "detectable", "verdict"),
]


@dataclass(frozen=True, eq=False)
class Frames:
    """What a report is made from: the results of one design of a study on one data set, and the study's words.

    Attributes:
        layout: the study's words, and what it compares.
        trials: one row a trial (`harness.reporting.data.frames.TRIALS`); beside these columns the study's factors,
            ``losses`` (what a trial is trained with), ``cell`` and ``spec`` (its settings as JSON).
        curves: one row an epoch of a trial (`harness.reporting.data.frames.CURVES`); may be empty.
        load_ranks: takes the index label of a row of ``trials`` and returns the trial's ranks, one row a test query
            (`harness.reporting.data.frames.RANKS`); call it for the trials that count, once each.
        meta: how the study was run.
        importance: measures how important each factor is (`harness.search.importance.importances`); None: not known.
        recipe: takes a spec (as JSON); returns what it leaves to the recipes of its backbones; None: not known.
        tuning: of a study that tunes its arms, the configurations that were tried (`harness.reporting.data.tuning`).
    """

    layout: Layout
    trials: pd.DataFrame
    curves: pd.DataFrame
    load_ranks: LoadRanks
    meta: Meta = field(default_factory=Meta)
    importance: Importance | None = None
    recipe: Recipe | None = None
    tuning: pd.DataFrame = field(default_factory=pd.DataFrame)

    def results(self) -> Results:
        """The complete trials with the metrics of each test fact.

        Raises:
            UserError: the frames do not pass their checks, see `Results.load`.
        """
        return Results.load(self.trials, self.load_ranks, self.layout)


@dataclass(frozen=True, eq=False)
class Results:
    """The complete trials of one design with their ranks.

    ``ranks[backbone, arm][seed]`` has the measures of each test fact (`Ranked.values`). ``relations`` is ``[N]``, the
    relation of each test fact; ``queries`` is what is known of their 2N queries, in the order of
    `harness.reporting.data.frames.QUERIES`, or None. Frames made of them have the arms in the order of ``layout``.
    """

    layout: Layout
    trials: pd.DataFrame
    ranks: dict[tuple[str, str], dict[int, Ranked]]
    relations: NDArray[np.str_]
    queries: pd.DataFrame | None = None
    _compared: dict[tuple[Any, ...], list[Comparison]] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, trials: pd.DataFrame, load_ranks: LoadRanks, layout: Layout) -> Results:
        """Check the trials, then load and check the ranks of the complete ones.

        Raises:
            UserError: see `validate_trials` and `ranked`; or two trials were not tested on the same facts.
        """
        current = validate_trials(trials)
        values: dict[tuple[str, str], dict[int, Ranked]] = {}
        first = queries = None
        for label, trial in current[current["state"] == "complete"].iterrows():
            ranks = load_ranks(label)
            of_trial = ranked(ranks, trial, first)
            if first is None:
                first, queries = of_trial.asked, known_of(ranks)
            elif of_trial.asked is not first and not np.array_equal(first.relations, of_trial.asked.relations):
                raise UserError(
                    f"ranks: trial {trial['trial']} ({trial['backbone']}, {trial['arm']}) was not tested on the same "
                    "facts as the trials before it; was the data changed between them?"
                )
            values.setdefault((trial["backbone"], trial["arm"]), {})[int(trial["seed"])] = of_trial
        assert first is not None  # validate_trials refuses a frame without complete trials
        return cls(layout, current, values, first.relations, queries)

    @property
    def backbones(self) -> list[str]:
        """The backbones with complete trials, in order."""
        return ordered((backbone for backbone, _ in self.ranks), BACKBONES)

    def arms(self, backbone: str) -> list[str]:
        """The arms of a backbone with complete trials, in order, reference rows last."""
        return self.layout.order(arm for name, arm in self.ranks if name == backbone)

    def by_fact(self, backbone: str, arm: str, seeds: Sequence[int] | None = None) -> Array:
        """Values ``[S, N, 5]`` of the given seeds, or all of them, averaged over the two directions."""
        by_seed = self.ranks[backbone, arm]
        return np.stack([by_seed[seed].values().mean(axis=0) for seed in (sorted(by_seed) if seeds is None else seeds)])

    def compared(self, backbone: str, arm: str, base: str, seeds: Sequence[int]) -> list[Comparison]:
        """An arm and another over these seeds (`harness.stats.compare`), once, however often it is asked for."""
        asked = (backbone, arm, base, *seeds)
        if asked not in self._compared:
            first, second = (self.by_fact(backbone, name, seeds) for name in (arm, base))
            self._compared[asked] = compare(first, second)
        return self._compared[asked]

    def common_seeds(self, backbone: str, *arms: str) -> list[int]:
        """Seeds that are complete in all of the arms, ascending."""
        return sorted(set.intersection(*(set(self.ranks.get((backbone, arm), {})) for arm in arms)))


def means(results: Results) -> pd.DataFrame:
    """Mean of each metric over seeds, one row per backbone, arm and metric.

    Columns: backbone, arm, metric, mean, low, high (95 % interval), n (seeds), failed (seeds), interval: "seeds" (t
    interval over seeds) or, when there is only one, "facts" (over test facts).
    """
    rows = []
    for backbone in results.backbones:
        for arm in results.arms(backbone):
            values = results.by_fact(backbone, arm)
            seeds, failed = len(values), len(where(results.trials, backbone=backbone, arm=arm, state="failed"))
            if seeds > 1:
                intervals = [mean_interval(values[:, :, k].mean(axis=1)) for k in range(len(METRICS))]
            else:
                intervals = mean_intervals(values)
            rows += [
                {"backbone": backbone, "arm": arm, "metric": metric.key}
                | {"mean": interval.estimate, "low": interval.low, "high": interval.high}
                | {"n": seeds, "failed": failed, "interval": "seeds" if seeds > 1 else "facts"}
                for metric, interval in zip(METRICS, intervals, strict=True)
            ]
    return pd.DataFrame(rows)


def paired(results: Results) -> pd.DataFrame:
    """Paired comparisons of arms, one row per backbone, arm, base and metric.

    Contrasts of the layout are rows whose base is "". Holm's correction takes all arms that are compared with the same
    one as a family, by backbone and metric. The verdict is "better" or "worse" only if the corrected p value
    is below .05 and the 95 % interval excludes zero: the test is about these trained models on new facts, the
    interval of new seeds as well. It is "equivalent" if two one-sided t tests, corrected in the same way, show the
    difference to be smaller than the layout's margin. A layout with looks has sequential p values for both.

    Columns: backbone, arm, base, metric, difference, relative, effect (each with _low and _high), p, p_holm, margin (in
    the metric's unit), p_equal, chance (of a decision at the last look; NaN without looks), seeds, facts, seeds_up
    (seeds in which the metric's value grew), detectable (the smallest difference that the design shows with 80 %
    power), verdict ("better", "worse", "equivalent", "undecided").
    """
    rows = []
    for backbone in results.backbones:
        pairs = {(arm, base): (arm, base) for arm, base in results.layout.pairs(results.arms(backbone))}
        contrasts = {(name, ""): arms for name, arms in results.layout.contrasts.items()}
        for (arm, base), arms in (pairs | contrasts).items():
            if seeds := results.common_seeds(backbone, *arms):
                values = [results.by_fact(backbone, name, seeds) for name in arms]
                first, second = values if base else (values[0] - values[1], values[2] - values[3])
                scale = np.mean([part.mean(axis=(0, 1)) for part in (values[1:] if base else values)], axis=0)
                settled = decisions(results, backbone, first - second, scale, seeds)
                compared = results.compared(backbone, arm, base, seeds) if base else compare(first, second)
                rows += _rows(backbone, arm, base, compared, settled, len(seeds))
    if not rows:
        return pd.DataFrame(columns=PAIRED_COLUMNS)
    return decided(pd.DataFrame(rows), ["backbone", "base", "metric"])[PAIRED_COLUMNS]


def decisions(
    results: Results, backbone: str, delta: Array, scale: Array, seeds: Sequence[int]
) -> list[dict[str, float]]:
    """What decides a comparison, a row a metric: margin, p_equal and chance; with looks, p as well.

    ``delta`` is ``[S, F, K]``, arm minus base, of ``seeds``; ``scale`` is ``[K]``, the means that the margin is a share
    of.
    """
    layout = results.layout
    of_backbone = where(results.trials, backbone=backbone)
    # a teacher that is trained once has a seed of its own
    every = sorted(of_backbone.loc[~of_backbone["arm"].isin(REFERENCES), "seed"].unique())
    margins, looks = layout.margin * np.abs(scale), layout.looks or (len(every),)
    judged = judge(delta, [every.index(seed) for seed in seeds], margins, looks, len(every))
    chance = judged.chance if layout.looks else np.full(len(margins), np.nan)
    columns = {"margin": margins, "p_equal": judged.p_equal, "chance": chance}
    columns |= {"p": judged.p} if layout.looks else {}
    return [{name: float(values[k]) for name, values in columns.items()} for k in range(len(margins))]


def decided(rows: pd.DataFrame, family: list[str]) -> pd.DataFrame:
    """Comparisons with p_holm and verdict, as `paired` explains them.

    ``rows`` have metric, difference (with _low and _high), p (NaN: not compared, and the verdict is ""), if there is
    one, p_equal, which gets Holm's correction, too, and the columns of ``family``, within which it is applied.
    """
    p_holm = corrected(rows, family)
    if "p_equal" in rows:
        rows = rows.assign(p_equal=corrected(rows, family, "p_equal"))
        is_equal = (rows["p_equal"] < ALPHA) & (rows["difference"].abs() < rows["margin"])
    else:
        is_equal = pd.Series(False, index=rows.index)
    better_up = rows["metric"].map({metric.key: metric.higher_is_better for metric in METRICS})
    shown = (p_holm < ALPHA) & ((rows["difference_low"] > 0) | (rows["difference_high"] < 0))
    word = np.where((rows["difference"] > 0) == better_up, "better", "worse")
    verdict = np.where(rows["p"].isna(), "", np.where(shown, word, np.where(is_equal, EQUAL, UNDECIDED)))
    return rows.assign(p_holm=p_holm, verdict=verdict)


def alone(row: Mapping[str, Any]) -> str:
    """The part of the rule that an undecided comparison meets, if it meets one: "p" (after Holm's correction, below
    .05), or "interval" (that excludes zero); otherwise ""."""
    if row["verdict"] != UNDECIDED or "p_holm" not in row:
        return ""
    has_p = row["p_holm"] < ALPHA
    excludes_zero = row["difference_low"] > 0 or row["difference_high"] < 0
    return "p" if has_p else "interval" if excludes_zero else ""


def corrected(rows: pd.DataFrame, family: list[str], column: str = "p") -> pd.Series[float]:
    """The p values of a column after Holm's correction, within the rows that agree in the columns ``family``."""
    known = rows[rows[column].notna()]
    p_holm = known.groupby(family, dropna=False)[column].transform(lambda p: holm(p.to_numpy(dtype=float)))
    return p_holm.reindex(rows.index).astype(float)


def _rows(
    backbone: str,
    arm: str,
    base: str,
    comparisons: Sequence[Comparison],
    decisions: Sequence[dict[str, float]],
    seeds: int,
) -> list[dict[str, Any]]:
    """A row a metric. Of a contrast, a part of a difference means nothing."""
    rows = []
    for metric, comparison, decision in zip(METRICS, comparisons, decisions, strict=True):
        key = {"backbone": backbone, "arm": arm, "base": base, "metric": metric.key}
        nothing = {} if base else dict.fromkeys(("relative", "relative_low", "relative_high"), np.nan)
        rows.append(key | comparison_row(comparison) | decision | nothing | {"seeds": seeds})
    return rows


def comparison_row(comparison: Comparison) -> dict[str, float | int]:
    """A comparison as columns: difference, relative and effect (each with _low and _high), p, facts, seeds_up."""
    row: dict[str, float | int] = {}
    for name in ("difference", "relative", "effect"):
        row |= interval_columns(name, getattr(comparison, name))
    row |= {"p": comparison.p, "facts": comparison.difference.n, "detectable": comparison.detectable}
    return row | {"seeds_up": sum(value > 0 for value in comparison.per_seed)}


def importances_of(
    importance: Importance | None, trials: Mapping[str, tuple[pd.DataFrame, pd.Series[float]]]
) -> pd.DataFrame:
    """Importances of factors (`Frames`) by backbone, from factors (a row a configuration) and values.

    Columns: backbone, method, factor, importance, low, high, seed_sd, repeats. No rows without an evaluator.
    """
    columns = ["backbone", "method", "factor", "importance", "low", "high", "seed_sd", "repeats"]
    if importance is None or not trials:
        return pd.DataFrame(columns=columns)
    parts = [importance(*values).assign(backbone=backbone) for backbone, values in trials.items()]
    return pd.concat(parts, ignore_index=True)[columns]


def costs_by_stage(results: Results) -> pd.DataFrame:
    """What each stage costs, one row per backbone, arm and stage: means over the complete trials.

    Columns: backbone, arm, stage, seconds (as if nothing were cached: a cached artefact counts with the seconds of
    its first computation), spent (seconds in these runs), cached (share of trials that took it from the cache),
    peak_mib (largest; NaN when it always came from the cache). Stages that no trial of an arm ran are left out.
    """
    done = where(results.trials, state="complete")
    rows = []
    pairs = [(backbone, arm) for backbone in results.backbones for arm in results.arms(backbone)]
    names = map(str, done)
    timed = (name.partition("seconds_")[2] for name in names if name.startswith(("seconds_", "built_seconds_")))
    stages = ordered(timed, STAGES)
    for backbone, arm in pairs:
        group = where(done, backbone=backbone, arm=arm)
        for stage in stages:
            spent = _column(group, f"seconds_{stage}")
            full = spent.fillna(_column(group, f"built_seconds_{stage}"))
            if full.notna().any():
                is_cached = spent.isna() & full.notna()
                rows.append(
                    {"backbone": backbone, "arm": arm, "stage": stage, "seconds": float(full.mean())}
                    | {"spent": float(spent.fillna(0).mean()), "cached": float(is_cached.mean())}
                    | {"peak_mib": float(_column(group, f"peak_mib_{stage}").max())}
                )
    columns = ["backbone", "arm", "stage", "seconds", "spent", "cached", "peak_mib"]
    return pd.DataFrame(rows, columns=columns)


def _column(frame: pd.DataFrame, name: str) -> pd.Series[float]:
    return frame[name] if name in frame else pd.Series(np.nan, index=frame.index, dtype=float)


def wide(means: pd.DataFrame) -> pd.DataFrame:
    """One row per backbone and arm: n, failed, interval, then mean, low and high of each metric."""
    keys = ["backbone", "arm", "n", "failed", "interval"]
    table = means.pivot_table(index=keys, columns="metric", values=["mean", "low", "high"], dropna=True, sort=False)
    columns = {
        metric.key + end: table[kind, metric.key]
        for metric in METRICS
        for kind, end in (("mean", ""), ("low", "_low"), ("high", "_high"))
    }
    return pd.DataFrame(columns).reset_index()


def with_role(trials: pd.DataFrame, *roles: str) -> pd.Series[bool]:
    """Which trials have one of these roles in their study."""
    return trials["role"].isin(roles) if "role" in trials else pd.Series(False, index=trials.index)


def is_search(trials: pd.DataFrame) -> bool:
    """Whether the trials are those of a search."""
    return bool(with_role(trials, "search").any())
