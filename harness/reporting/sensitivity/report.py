"""The report of a study that varies factors: main effects, pairs, importances, variance, and settings that work."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting.claims import CLAIMS, Claim
from harness.reporting.content import failed, figure_path, heading
from harness.reporting.data.about import facts, settings
from harness.reporting.data.frames import curves_of, records
from harness.reporting.data.layout import Meta
from harness.reporting.data.results import Frames, Importance, Results
from harness.reporting.data.text import number
from harness.reporting.evidence import Evidence
from harness.reporting.kinds import report_kind
from harness.reporting.output.tables import Table
from harness.reporting.output.typst import Document
from harness.reporting.sensitivity import effects, failures, figures, tables
from harness.reporting.sensitivity.across import across_content
from harness.reporting.sensitivity.points import (
    Cells,
    are_confirmation_runs,
    cells_of,
    complete_confirmation_runs,
    failed_confirmation_runs,
    has_several,
)
from harness.reporting.sensitivity.selection import best_points, confirmed_points, on_test
from harness.reporting.sensitivity.verdicts import judge_settings, readings
from harness.selection import TOLERANCE, rank_settings
from harness.vocabulary import FRESH_SEEDS, arm_name, backbone_name, dataset_name, joined, level_name

#: rows of the table of points in the claims report
MOST_IN_EVIDENCE = 12
IMPORTANCE_COLUMNS = ["backbone", "method", "factor", "importance", "low", "high", "seed_sd", "repeats"]


@dataclass(frozen=True, eq=False)
class Numbers:
    """The tidy frames of a report; see `effects`, `selection` and `failures`."""

    cells: Cells
    points: pd.DataFrame
    levels: pd.DataFrame
    ranges: pd.DataFrame
    pairs: pd.DataFrame
    importances: pd.DataFrame
    variance: pd.DataFrame
    region: pd.DataFrame
    best: pd.DataFrame
    best_on_test: pd.DataFrame
    default_on_test: pd.DataFrame
    winners: pd.DataFrame
    winners_on_test: pd.DataFrame
    signs: pd.DataFrame
    #: the trials of the winners
    again: Results | None = None

    @property
    def one_seed(self) -> bool:
        """Whether every point has one seed."""
        return not has_several(self.cells.frame["seed"])

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


def measure(
    results: Results, curves: pd.DataFrame, importance: Importance | None, again: Results | None = None
) -> Numbers:
    """All numbers of the report; of ``again``, confirmation runs, test results alone.

    The recommended default is tested with fresh seeds if it has confirmation runs on every backbone, else with its own.

    Raises:
        UserError: nothing is varied, or no point is complete.
    """
    cells = cells_of(results.trials)
    points = cells.points()
    ranked = rank_settings(points, cells.names)
    best = best_points(cells)
    default = points[points["arm"].isin(ranked.loc[ranked["default"], "arm"])]
    winners = points.head(0) if again is None else confirmed_points(cells, again)
    tested = on_test(results if again is None else again, winners)
    fresh_default = winners[winners["arm"].isin(default["arm"] + FRESH_SEEDS) & winners["base_arm"].notna()]
    is_anew = again is not None and 0 < len(default) == len(fresh_default)
    return Numbers(
        cells=cells,
        points=points,
        levels=effects.levels(cells),
        ranges=effects.ranges(cells),
        pairs=effects.pairs(cells),
        importances=_importances(cells, points, importance),
        variance=effects.variance(cells),
        region=ranked,
        best=best,
        best_on_test=on_test(results, best),
        default_on_test=on_test(again, fresh_default) if again and is_anew else on_test(results, default),
        winners=winners,
        winners_on_test=tested,
        signs=failures.counts(cells, failures.marks(cells, results.trials, curves)),
        again=again,
    )


def _importances(cells: Cells, points: pd.DataFrame, importance: Importance | None) -> pd.DataFrame:
    parts = []
    for backbone in cells.backbones if importance is not None else ():
        rows = points[points["backbone"] == backbone]
        assert importance is not None
        parts.append(importance(rows[cells.names], rows["mrr"]).assign(backbone=backbone))
    empty = pd.DataFrame(columns=IMPORTANCE_COLUMNS)
    return pd.concat(parts, ignore_index=True)[IMPORTANCE_COLUMNS] if parts else empty


def display(numbers: Numbers) -> dict[str, dict[str, Table]]:
    """Display tables by backbone and name; those of all backbones together have the key "". Empty ones are left out."""
    names = numbers.cells.names
    made = {
        "": {
            "region": tables.region_table(numbers.region, names),
            "default": tables.default_table(numbers.default_on_test, numbers.fresh_default),
        }
    }
    for backbone in numbers.cells.backbones:
        best = numbers.best[numbers.best["backbone"] == backbone]
        tested = numbers.best_on_test[numbers.best_on_test["backbone"] == backbone]
        winners = numbers.winners[numbers.winners["backbone"] == backbone]
        again = numbers.winners_on_test[numbers.winners_on_test["backbone"] == backbone]
        made[backbone] = {
            "levels": tables.levels_table(numbers.levels, backbone),
            "ranges": tables.ranges_table(numbers.ranges, backbone),
            "pairs": tables.pairs_table(numbers.pairs, backbone),
            "importance": tables.importance_table(numbers.importances, backbone),
            "variance": tables.variance_table(numbers.variance, backbone),
            "best": tables.chosen_table(best, tested, names),
            "winners": tables.chosen_table(winners, again, names, fresh=True),
            "signs": tables.signatures_table(numbers.signs, numbers.cells, backbone),
        }
    return {
        backbone: {key: table for key, table in by_name.items() if table.rows} for backbone, by_name in made.items()
    }


def draw(numbers: Numbers, folder: Path) -> dict[str, dict[str, str]]:
    """Draw all figures into ``folder/figures``; return their paths by backbone ("" for all) and kind, relative to
    ``folder``."""
    cells = numbers.cells
    drawn: dict[str, dict[str, str]] = {}
    for position, backbone in enumerate(cells.backbones):
        paths = {k: figure_path(folder, backbone, position, k) for k in ("effects", "pairs", "importance")}
        made = {
            "effects": figures.main_effects(numbers.levels, cells, backbone, paths["effects"]),
            "pairs": figures.interactions(numbers.pairs, cells, backbone, paths["pairs"]),
            "importance": figures.importance(numbers.importances, numbers.variance, backbone, paths["importance"]),
        }
        drawn[backbone] = {kind: f"figures/{paths[kind].name}.pdf" for kind, is_made in made.items() if is_made}
    path = folder / "figures" / "region"
    is_made = figures.robust(numbers.region, numbers.points, cells.names, path)
    return drawn | {"": {"region": "figures/region.pdf"} if is_made else {}}


def _content(
    results: Results,
    numbers: Numbers,
    displayed: dict[str, dict[str, Table]],
    drawn: dict[str, dict[str, str]],
    meta: Meta,
) -> dict[str, Any]:
    """Everything the template needs, as JSON values; texts are plain, none is read as markup."""
    dataset = str(results.trials["dataset"].iloc[0])
    name = dataset_name(dataset)
    cells = numbers.cells
    return heading(results, meta) | {
        "facts": _facts(results, numbers, meta, name),
        "notes": [*meta.notes, *_gaps(cells)],
        "claims": judged(results, numbers),
        "whole": {"tables": {k: asdict(t) for k, t in displayed[""].items()}, "figures": drawn[""]},
        "default": _default(numbers),
        "sections": [
            {
                "backbone": backbone_name(backbone),
                "findings": [asdict(f) for f in readings(numbers.ranges, numbers.levels, numbers.variance, backbone)],
                "tables": {key: asdict(table) for key, table in displayed[backbone].items()},
                "figures": drawn[backbone],
                "relative": bool(numbers.pairs.query("backbone == @backbone")["difference"].notna().any()),
            }
            for backbone in cells.backbones
        ],
        "settings": [pair for pair in settings(results.trials) if pair[0].split(".")[-1] not in cells.names],
        "one_seed": numbers.one_seed,
        "tolerance": f"{TOLERANCE:g}".removeprefix("0"),
    }


def _facts(results: Results, numbers: Numbers, meta: Meta, name: str) -> list[list[str]]:
    """What was run; of the points their levels in place of their labels."""
    cells = numbers.cells
    varied = "; ".join(f"{f.symbol} = {', '.join(map(level_name, f.levels))}" for f in cells.factors)
    seeds = cells.frame["seed"].nunique()
    others = [arm for arm in results.layout.order(results.trials["arm"]) if arm not in set(cells.frame["arm"])]
    varied_facts = {
        "Points": f"{cells.frame['arm'].nunique()} of {arm_name(cells.losses)}, {seeds} seed{'s' * (seeds > 1)} each",
        "Varied": varied,
        "Beside them": ", ".join(map(arm_name, others)),
        "Confirmation runs": _anew(results, numbers),
    }
    pairs: list[list[str]] = []
    for label, value in facts(results, meta.data, name):
        if label == "Arms":
            pairs += [[key, text] for key, text in varied_facts.items() if text]
        elif label != "Weights":
            pairs.append([label, value])
    return pairs


def _anew(results: Results, numbers: Numbers) -> str:
    """Which points have fresh seeds, in words, and where that was if it was elsewhere; none: an empty text."""
    tested = numbers.winners_on_test
    if tested.empty or numbers.again is None:
        return ""
    counts = tested.groupby("backbone", sort=False)["arm"].nunique()
    points = joined([f"{count} on {backbone_name(str(backbone))}" for backbone, count in counts.items()])
    seeds = sorted(int(seeds) for seeds in tested["seeds"].unique())
    text = f"points: {points}; fresh seeds: {joined([str(count) for count in seeds])}"
    grid_machines, other = (set(part.trials["machine"].dropna()) for part in (results, numbers.again))
    return f"{text}; {joined(sorted(other - grid_machines))}" if other - grid_machines else text


def _gaps(cells: Cells) -> list[str]:
    """What the reader must know of points without a result."""
    missing = {backbone: cells.missing(backbone) for backbone in cells.backbones}
    gaps = [f"{count} on {backbone_name(backbone)}" for backbone, count in missing.items() if count]
    if not gaps:
        return []
    return [
        f"The grid has points without a result for every seed: {joined(gaps)}. Main effects are means over those "
        "combinations of the other factors that have every level; the variance of a grid with gaps is not split up."
    ]


def _default(numbers: Numbers) -> str:
    """The recommended default in a sentence."""
    first = records(numbers.region.head(1))
    if not first:
        return "No point is complete on every backbone, so nothing is recommended."
    row, names = first[0], numbers.cells.names
    text = f"Recommended default: {tables.point_name(row, names)}. "
    if pd.isna(row["least"]):
        return text + "Of all points its largest distance to the best of a backbone is the smallest."
    several = len(numbers.cells.backbones) > 1
    why = (
        "its smallest difference to L1 over the backbones is the largest"
        if several
        else ("it has the largest difference to L1")
    )
    return f"{text}Of all points {why}: {number(row['least'], 4, signed=True)} of validation MRR."


def judged(results: Results, numbers: Numbers) -> list[dict[str, Any]]:
    """The claims that this report judges."""
    if "C7" not in results.layout.claims:
        return []
    verdict, reason = judge_settings(
        numbers.ranges,
        numbers.region,
        numbers.default_on_test,
        numbers.cells.names,
        one_seed=numbers.one_seed or numbers.fresh_default == 1,
        fresh=numbers.fresh_default > 0,
    )
    where = joined([backbone_name(backbone) for backbone in numbers.cells.backbones])
    return [{"id": "C7", "text": CLAIMS["C7"], "lines": [{"backbone": where, "verdict": verdict, "reason": reason}]}]


def evidence_of(frames: Frames) -> dict[str, Evidence]:
    """The evidence of a study that varies factors, by claim.

    Raises:
        UserError: the frames do not pass their checks, or nothing is varied.
    """
    results, again = loaded(frames)
    numbers = measure(results, curves_of(frames.curves), None, again)
    trials = results.trials
    if again is not None:
        points = {f"{arm}{FRESH_SEEDS}": arm for arm in trials["arm"]}
        confirmed = again.trials.assign(arm=again.trials["arm"].replace(points))
        trials = pd.concat([trials, confirmed], ignore_index=True)
    return {
        claim["id"]: Evidence(
            verdicts=[Claim(claim["id"], claim["text"], **line) for line in claim["lines"]],
            table=tables.region_table(numbers.region.head(MOST_IN_EVIDENCE), numbers.cells.names),
            numbers=numbers.region,
            figures={"": partial(figures.robust, numbers.region, numbers.points, numbers.cells.names)},
            trials=trials,
            marks="Filled: robust; hollow: not; shaded: the recommended default.",
        )
        for claim in judged(results, numbers)
    }


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
    numbers = measure(results, curves_of(frames.curves), frames.importance, again)
    displayed = display(numbers)
    best, winners = (
        chosen.merge(tested, on=["backbone", "arm"], suffixes=("_valid", "_test"))
        for chosen, tested in ((numbers.best, numbers.best_on_test), (numbers.winners, numbers.winners_on_test))
    )
    return Document(
        "sensitivity.typ",
        frames.layout.name,
        trials=results.trials,
        frames={
            "levels": (numbers.levels, "levels"),
            "ranges": (numbers.ranges, "ranges"),
            "pairs": (numbers.pairs, "pairs"),
            "importance": (numbers.importances, "importance"),
            "variance": (numbers.variance, "variance"),
            "region": (numbers.region, "region"),
            "best": (best, "best"),
            "default": (numbers.default_on_test, "default"),
            "signs": (numbers.signs, "signs"),
            **({"winners": (winners, "winners")} if len(winners) else {}),
        },
        tables=displayed,
        content=lambda folder: (
            _content(results, numbers, displayed, draw(numbers, folder), frames.meta)
            | {"failed": failed(pd.concat([results.trials, failed_confirmation_runs(frames.trials)]))}
        ),
    )
