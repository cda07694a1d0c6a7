"""The report of a study that varies factors: main effects, pairs, importances, variance, and settings that work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from harness.reporting.claims import Claim
from harness.reporting.content import Front, case_of, figure_name, how_equal, report
from harness.reporting.data.about import facts, with_points
from harness.reporting.data.frames import curves_of, records, where
from harness.reporting.data.layout import Layout
from harness.reporting.data.results import Frames, Importance, Results, importances_of
from harness.reporting.data.text import number
from harness.reporting.evidence import Evidence
from harness.reporting.kinds import report_kind
from harness.reporting.output.document import Detail, Document, Figure, Section, Text
from harness.reporting.sensitivity import effects, failures, figures, tables
from harness.reporting.sensitivity.across import across_content
from harness.reporting.sensitivity.points import (
    Grid,
    are_confirmation_runs,
    complete_confirmation_runs,
    failed_confirmation_runs,
    grid_of,
    has_several,
)
from harness.reporting.sensitivity.selection import best_points, confirmed_points, on_test
from harness.reporting.sensitivity.verdicts import judge_settings, summary
from harness.selection import rank_settings
from harness.vocabulary import CLAIMS, FRESH_SEEDS, arm_name, backbone_name, dataset_name, joined, level_name

#: rows of the table of points in the claims report
MOST_IN_EVIDENCE = 5


@dataclass(frozen=True, eq=False)
class Numbers:
    """The tidy frames of a report; see `effects` and `selection`."""

    grid: Grid
    points: pd.DataFrame
    ranges: pd.DataFrame
    region: pd.DataFrame
    default_on_test: pd.DataFrame
    winners: pd.DataFrame
    winners_on_test: pd.DataFrame
    #: the trials of the winners
    again: Results | None = None

    @property
    def one_seed(self) -> bool:
        """Whether every point has one seed."""
        return not has_several(self.grid.frame["seed"])

    @property
    def fresh_default(self) -> int:
        """With how many fresh seeds the recommended default was tested; 0: with those that chose it."""
        rows = self.default_on_test[self.default_on_test["arm"].isin(self.winners["arm"])]
        return int(rows["seeds"].min()) if len(rows) else 0


def loaded(frames: Frames) -> tuple[Results, Results | None]:
    """The trials of a grid, and its confirmation runs if there are any.

    Raises:
        UserError: the frames do not pass their checks.
    """
    confirmed = complete_confirmation_runs(frames.trials)
    results = Results.load(frames.trials[~are_confirmation_runs(frames.trials)], frames.load_ranks, frames.layout)
    again = Results.load(confirmed, frames.load_ranks, frames.layout) if len(confirmed) else None
    return results, again


def numbers_of(results: Results, again: Results | None = None) -> Numbers:
    """What the verdict rests on; of ``again``, confirmation runs, test results alone.

    The recommended default is tested with fresh seeds if it has confirmation runs on every backbone, else with the
    seeds that chose it.
    """
    grid = grid_of(results.trials)
    points = grid.points()
    region = rank_settings(points, grid.names)
    default = points[points["arm"].isin(region.loc[region["default"], "arm"])]
    winners = points.head(0) if again is None else confirmed_points(grid, again)
    fresh = winners[winners["arm"].isin(default["arm"] + FRESH_SEEDS) & winners["base_arm"].notna()]
    is_fresh = 0 < len(default) == len(fresh)
    return Numbers(
        grid=grid,
        points=points,
        ranges=effects.ranges(grid),
        region=region,
        default_on_test=on_test(again, fresh) if again and is_fresh else on_test(results, default),
        winners=winners,
        winners_on_test=on_test(again or results, winners),
        again=again,
    )


def _points(results: Results, numbers: Numbers) -> dict[str, str]:
    """What was run beside the points of the grid, in place of their labels."""
    grid = numbers.grid
    seeds = grid.frame["seed"].nunique()
    others = [arm for arm in results.layout.order(results.trials["arm"]) if arm not in set(grid.frame["arm"])]
    return {
        "Points": f"{grid.frame['arm'].nunique()} of {arm_name(grid.losses)}, {seeds} seed{'s' * (seeds > 1)} each",
        "Varied": "; ".join(f"{f.symbol} = {', '.join(map(level_name, f.levels))}" for f in grid.factors),
        "Beside them": ", ".join(map(arm_name, others)),
        "Confirmation runs": _confirmation_runs(results, numbers),
    }


def _confirmation_runs(results: Results, numbers: Numbers) -> str:
    """How many points have fresh seeds, and where these ran if it was elsewhere; "" where none has."""
    tested = numbers.winners_on_test
    if tested.empty or numbers.again is None:
        return ""
    counts = tested.groupby("backbone", sort=False)["arm"].nunique()
    points = joined([f"{count} on {backbone_name(str(backbone))}" for backbone, count in counts.items()])
    text = f"points: {points}; fresh seeds: {joined([str(seeds) for seeds in sorted(tested['seeds'].unique())])}"
    grid_machines, other = (set(part.trials["machine"].dropna()) for part in (results, numbers.again))
    return f"{text}; {joined(sorted(other - grid_machines))}" if other - grid_machines else text


def _gaps(grid: Grid) -> list[str]:
    """What the reader must know of points without a result."""
    missing = {backbone: grid.missing(backbone) for backbone in grid.backbones}
    gaps = [f"{count} on {backbone_name(backbone)}" for backbone, count in missing.items() if count]
    if not gaps:
        return []
    return [
        f"The grid has points without a result for every seed: {joined(gaps)}. Main effects are means over those "
        "combinations of the other factors that have every level; the variance of a grid with gaps is not split up."
    ]


def _default(numbers: Numbers) -> str:
    """The recommended default in a sentence."""
    if numbers.region.empty:
        return "No point is complete on every backbone, so nothing is recommended."
    row = records(numbers.region.head(1))[0]
    text = f"Recommended default: {tables.point_name(row, numbers.grid.names)}. "
    if pd.isna(row["least"]):
        return text + "Of all points its largest distance to the best of a backbone is the smallest."
    why = "it has the largest difference to L1"
    if len(numbers.grid.backbones) > 1:
        why = "its smallest difference to L1 over the backbones is the largest"
    return f"{text}Of all points {why}: {number(row['least'], 4, signed=True)} of validation MRR."


def judged(results: Results, numbers: Numbers) -> list[Claim]:
    """The claims that this report judges."""
    if "C7" not in results.layout.claims:
        return []
    verdict = judge_settings(
        numbers.ranges,
        numbers.region,
        numbers.default_on_test,
        numbers.grid.names,
        one_seed=numbers.one_seed or numbers.fresh_default == 1,
        fresh=numbers.fresh_default > 0,
    )
    return [Claim("C7", CLAIMS["C7"], joined([*map(backbone_name, numbers.grid.backbones)]), *verdict)]


def evidence_of(frames: Frames) -> dict[str, Evidence]:
    """The evidence of a study that varies factors, by claim.

    Raises:
        UserError: the frames do not pass their checks, or nothing is varied.
    """
    results, again = loaded(frames)
    numbers = numbers_of(results, again)
    trials = results.trials
    if again is not None:
        points = {f"{arm}{FRESH_SEEDS}": arm for arm in trials["arm"]}
        confirmed = again.trials.assign(arm=again.trials["arm"].replace(points))
        trials = pd.concat([trials, confirmed], ignore_index=True)
    return {
        claim.id: Evidence(
            verdicts=[claim],
            table=tables.region_table(numbers.region, numbers.grid.names, most=MOST_IN_EVIDENCE),
            numbers=numbers.region,
            figures={"": partial(figures.settings_map, numbers.region, numbers.points, numbers.grid.names)},
            trials=trials,
            marks=figures.settings_caption(numbers.region, numbers.grid.names),
        )
        for claim in judged(results, numbers)
    }


def _importances(grid: Grid, points: pd.DataFrame, importance: Importance | None) -> pd.DataFrame:
    rows = {backbone: where(points, backbone=backbone) for backbone in grid.backbones}
    return importances_of(importance, {name: (part[grid.names], part["mrr"]) for name, part in rows.items()})


@report_kind(
    "sensitivity",
    label="factors varied over a grid or by a search",
    evidence=evidence_of,
    across=across_content,
    every_design=True,
)
def content(frames: Frames) -> Document:
    """The report of a study that varies factors over a grid.

    Beside ``STUDY.pdf`` lie ``STUDY_levels``, ``_ranges``, ``_pairs``, ``_importance``, ``_variance``, ``_region``,
    ``_best``, ``_default``, ``_signs`` and, where there are confirmation runs, ``_winners`` (each .csv, .parquet and
    .tex) and ``figures/`` (.pdf and .png).

    Raises:
        UserError: the frames do not pass their checks, or nothing is varied.
    """
    results, again = loaded(frames)
    curves = curves_of(frames.curves)
    numbers = numbers_of(results, again)
    grid, points = numbers.grid, numbers.points
    levels, pairs, variance = effects.levels(grid), effects.pairs(grid), effects.variance(grid)
    importances = _importances(grid, points, frames.importance)
    signs = failures.counts(grid, failures.marks(grid, results.trials, curves))
    best = best_points(grid)
    best_on_test = on_test(results, best)
    best_and_test, winners_and_test = (
        chosen.merge(tested, on=["backbone", "arm"], suffixes=("_valid", "_test"))
        for chosen, tested in ((best, best_on_test), (numbers.winners, numbers.winners_on_test))
    )
    files: dict[str, tuple[pd.DataFrame, str | None]] = {
        "levels": (levels, "levels"),
        "ranges": (numbers.ranges, "ranges"),
        "pairs": (pairs, "pairs"),
        "importance": (importances, "importance"),
        "variance": (variance, "variance"),
        "region": (numbers.region, "region"),
        "best": (best_and_test, "best"),
        "default": (numbers.default_on_test, "default"),
        "signs": (signs, "signs"),
        **({"winners": (winners_and_test, "winners")} if len(numbers.winners) else {}),
    }
    shown = {
        "": {
            "region": tables.region_table(numbers.region, grid.names),
            "default": tables.default_table(numbers.default_on_test, numbers.fresh_default),
        }
    }
    for backbone in grid.backbones:
        chosen = tables.chosen_lines(best, best_on_test, backbone)
        winners = tables.chosen_lines(numbers.winners, numbers.winners_on_test, backbone)
        shown[backbone] = {
            "levels": tables.levels_table(levels, backbone),
            "ranges": tables.ranges_table(numbers.ranges, backbone),
            "pairs": tables.pairs_table(pairs, backbone),
            "importance": tables.importance_table(importances, backbone),
            "variance": tables.variance_table(variance, backbone),
            "best": tables.chosen_table(chosen, grid.names),
            "winners": tables.chosen_table(winners, grid.names, fresh=True),
            "signs": tables.failures_table(signs, grid, backbone),
        }

    def section(backbone: str) -> Section:
        of = shown[backbone]
        relative = bool(where(pairs, backbone=backbone)["difference"].notna().any())

        def drawn(kind: str, caption: str, draw: Callable[..., bool], *given: Any) -> Figure:
            return Figure(figure_name(results, backbone, kind), partial(draw, *given, backbone), caption)

        return Section(
            backbone_name(backbone),
            [
                drawn("effects", EFFECTS, figures.main_effects, levels, grid),
                Detail(of["levels"]),
                of["ranges"],
                drawn("pairs", _pairs_caption(relative=relative), figures.interactions, pairs, grid),
                drawn("importance", IMPORTANCE, figures.importance, importances, variance),
                Detail(of["importance"]),
                Detail(of["variance"]),
                of["winners"],
                Detail(of["best"]) if of["winners"].rows else of["best"],
                Text(tables.failures_words(signs, backbone), "Signs of failure."),
                Detail(of["signs"]),
            ],
            case=case_of(results, backbone),
        )

    dataset = dataset_name(str(results.trials["dataset"].iloc[0]))
    region = partial(figures.settings_map, numbers.region, points, grid.names)
    over_all = Section(
        "Settings that work",
        [
            Figure("region", region, figures.settings_caption(numbers.region, grid.names)),
            shown[""]["default"],
            Detail(shown[""]["region"]),
        ],
        case=dataset,
    )
    stable = f"{int(numbers.region['stable'].sum())} of the {len(numbers.region)} settings are good on every backbone."
    findings = [_default(numbers), *([stable] if len(numbers.region) else [])]
    findings += [words for backbone in grid.backbones for words in summary(numbers.ranges, levels, backbone)]
    return report(
        frames,
        results,
        [over_all, *map(section, grid.backbones)],
        files=files,
        tables=shown,
        front=Front(findings, judged(results, numbers), [ONE_SEED] * numbers.one_seed),
        reading=_reading(results.layout),
        run=with_points(facts(results, frames.meta.data, dataset), _points(results, numbers)),
        notes=_gaps(grid),
        varied=grid.names,
        trials=pd.concat([results.trials, failed_confirmation_runs(frames.trials)]),
    )


EFFECTS = (
    "Validation MRR minus that of L1 of the same seeds, at each level of a factor. Mean over all combinations of the "
    "other factors, with 95 % intervals."
)
IMPORTANCE = (
    "What matters: importance of each factor by two evaluators, and the variance of validation MRR over the grid "
    "split into main effects and interactions."
)
ONE_SEED = (
    "Every point ran with one seed (n = 1). Intervals of validation MRR are over the other factors' points, since "
    "ranks of single validation facts are not kept; intervals of test MRR are over test facts. Neither covers the "
    "choice of the seed, so nothing here is a verdict on the method."
)


def _pairs_caption(*, relative: bool) -> str:
    what = "Validation MRR minus that of L1, in thousandths," if relative else "Validation MRR"
    return f"{what} at each pair of levels. Mean over the other factors; the best cell of each map is framed."


READING = (
    Text(
        "Points are ranked, and defaults recommended, by validation MRR alone. Test facts are looked at for points "
        "that have been chosen. The best of many points owe some of their rank to the seeds that they had. Confirmed "
        "winners are such points in confirmation runs, with seeds that took no part in choosing them.",
        "Selection.",
    ),
    Text(
        "The levels of a factor are compared over the same combinations of the other factors. With several seeds the "
        "intervals are Student's t over seeds; they cover other seeds at these same points. With one seed the "
        "combinations of the other factors take the seeds' place.",
        "Main effects.",
    ),
    Text(
        "are tested by the studentised range: the interval is one of a family that holds for all pairs of levels at "
        "once, so it allows for the best and the worst level having been picked. Holm's correction is applied over "
        "the factors of a backbone. A range is decided if the corrected p value is below 0.05 and the interval "
        "excludes zero.",
        "Ranges",
    ),
    Text(
        "are relative. PED-ANOVA asks what sets the best points apart from all, fANOVA how much of a random forest's "
        "variance a factor has to itself. They say which factor to tune, not by how much it helps.",
        "Importances",
    ),
    Text("The recommended point has the largest smallest difference to L1 over the backbones (maximin).", "Default."),
)


def _reading(layout: Layout) -> tuple[Text, ...]:
    tests = "are paired by seed and test fact: intervals, sign-flip tests, Holm's correction. A difference is "
    tests += "called better or worse only if the corrected p value is below 0.05 and the interval excludes zero. "
    return *READING, Text(tests + how_equal(layout), "Differences to L1 on test")
