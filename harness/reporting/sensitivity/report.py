"""The report of a study that varies factors: main effects, pairs, importances, variance, and settings that work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting.claims import CLAIMS
from harness.reporting.comparison.document import Meta, failed, figure_path, heading
from harness.reporting.data.about import facts, settings
from harness.reporting.data.frames import curves_of, records
from harness.reporting.data.layout import Layout
from harness.reporting.data.results import LoadRanks, Results
from harness.reporting.data.text import number
from harness.reporting.output.tables import Table
from harness.reporting.output.writing import write_report
from harness.reporting.search.report import Importance, search_report
from harness.reporting.search.trace import is_search
from harness.reporting.sensitivity import effects, figures
from harness.reporting.sensitivity import failures as signatures
from harness.reporting.sensitivity import selection as robust
from harness.reporting.sensitivity import tables as shown
from harness.reporting.sensitivity.points import (
    Cells,
    are_fresh,
    cells_of,
    has_several,
    level_name,
    lost_and_fresh,
    whole_and_fresh,
)
from harness.reporting.sensitivity.verdicts import judge_settings, readings
from harness.selection import TOLERANCE, rank_settings
from harness.vocabulary import FRESH_SEEDS, arm_name, backbone_name, dataset_name, joined

IMPORTANCE_COLUMNS = ["backbone", "method", "factor", "importance", "low", "high", "seed_sd", "repeats"]


@dataclass(frozen=True, eq=False)
class Numbers:
    """The tidy frames of a report; see `effects`, `robust` and `signatures`."""

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
        own = self.default_on_test[self.default_on_test["arm"].isin(self.winners["arm"])]
        return int(own["seeds"].min()) if len(own) else 0


def sensitivity_report(
    layout: Layout,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    load_ranks: LoadRanks,
    output: Path,
    meta: Mapping[str, Any],
    *,
    importance: Importance | None = None,
) -> Path:
    """Write the report of a study that varies factors into a folder and return the path of its PDF.

    Beside ``STUDY.pdf`` lie ``STUDY_levels``, ``_ranges``, ``_pairs``, ``_importance``, ``_variance``, ``_region``,
    ``_best``, ``_default``, ``_signs`` and, where points were trained anew, ``_winners`` (each .csv, .parquet and .tex)
    and ``figures/`` (.pdf and .png). The files appear when all are done; after an error the folder is as before. The
    same input gives the same numbers. Of a search the report is that of `harness.reporting.search.report`.

    Args:
        layout: the study's words and claims.
        trials: one row a trial, of one data set and one design (`harness.reporting.data.frames.TRIALS`), with the
            factors as columns and ``losses``, what a trial is trained with.
        curves: one row an epoch of a trial (`harness.reporting.data.frames.CURVES`); may be empty.
        load_ranks: takes the index label of a row of ``trials`` and returns the trial's ranks, one row a test query
            (`harness.reporting.data.frames.RANKS`); called for the trials that count, once each.
        output: folder, made if it is not there.
        meta: fields of `harness.reporting.comparison.document.Meta`: command, data (counts), notes.
        importance: says how important each factor is (`harness.search.importance.importances`); None: left out.

    Raises:
        UserError: the frames do not pass their checks, nothing is varied, or the folder cannot be written.
    """
    if is_search(trials):
        return search_report(layout, trials, load_ranks, output, meta, importance=importance)
    about = Meta.model_validate(dict(meta))
    results, again = loaded(layout, trials, load_ranks)
    numbers = measure(results, curves_of(curves), importance, again)
    displayed = display(numbers)
    best, winners = (
        chosen.merge(tested, on=["backbone", "arm"], suffixes=("_valid", "_test"))
        for chosen, tested in ((numbers.best, numbers.best_on_test), (numbers.winners, numbers.winners_on_test))
    )
    return write_report(
        "sensitivity.typ",
        layout.name,
        output,
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
        shown=displayed,
        content=lambda folder: (
            document(results, numbers, displayed, draw(numbers, folder), about)
            | {"failed": failed(pd.concat([results.trials, lost_and_fresh(trials)]))}
        ),
    )


def loaded(layout: Layout, trials: pd.DataFrame, load_ranks: LoadRanks) -> tuple[Results, Results | None]:
    """The trials of a grid, and those of its points that were trained anew with fresh seeds, if there are any.

    Raises:
        UserError: the frames do not pass their checks.
    """
    again = whole_and_fresh(trials)
    results = Results.load(trials[~are_fresh(trials)], load_ranks, layout)
    return results, Results.load(again, load_ranks, layout) if len(again) else None


def measure(
    results: Results, curves: pd.DataFrame, importance: Importance | None, again: Results | None = None
) -> Numbers:
    """All numbers of the report; of ``again``, points trained anew, test results alone.

    The recommended default is tested with fresh seeds if it was trained anew on every backbone, else with its own.

    Raises:
        UserError: nothing is varied, or no point is complete.
    """
    cells = cells_of(results.trials)
    points = cells.points()
    ranked = rank_settings(points, cells.names)
    best = robust.best(cells)
    default = points[points["arm"].isin(ranked.loc[ranked["default"], "arm"])]
    winners = points.head(0) if again is None else robust.anew(cells, again)
    tested = robust.on_test(results if again is None else again, winners)
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
        best_on_test=robust.on_test(results, best),
        default_on_test=robust.on_test(again, fresh_default) if again and is_anew else robust.on_test(results, default),
        winners=winners,
        winners_on_test=tested,
        signs=signatures.counts(cells, signatures.marks(cells, results.trials, curves)),
        again=again,
    )


def _importances(cells: Cells, points: pd.DataFrame, importance: Importance | None) -> pd.DataFrame:
    found = []
    for backbone in cells.backbones if importance is not None else ():
        own = points[points["backbone"] == backbone]
        assert importance is not None
        found.append(importance(own[cells.names], own["mrr"]).assign(backbone=backbone))
    empty = pd.DataFrame(columns=IMPORTANCE_COLUMNS)
    return pd.concat(found, ignore_index=True)[IMPORTANCE_COLUMNS] if found else empty


def display(numbers: Numbers) -> dict[str, dict[str, Table]]:
    """Display tables by backbone and name; those of all backbones together have the key "". Empty ones are left out."""
    names = numbers.cells.names
    made = {
        "": {
            "region": shown.region_table(numbers.region, names),
            "default": shown.default_table(numbers.default_on_test, numbers.fresh_default),
        }
    }
    for backbone in numbers.cells.backbones:
        best = numbers.best[numbers.best["backbone"] == backbone]
        tested = numbers.best_on_test[numbers.best_on_test["backbone"] == backbone]
        winners = numbers.winners[numbers.winners["backbone"] == backbone]
        again = numbers.winners_on_test[numbers.winners_on_test["backbone"] == backbone]
        made[backbone] = {
            "levels": shown.levels_table(numbers.levels, backbone),
            "ranges": shown.ranges_table(numbers.ranges, backbone),
            "pairs": shown.pairs_table(numbers.pairs, backbone),
            "importance": shown.importance_table(numbers.importances, backbone),
            "variance": shown.variance_table(numbers.variance, backbone),
            "best": shown.chosen_table(best, tested, names),
            "winners": shown.chosen_table(winners, again, names, fresh=True),
            "signs": shown.signatures_table(numbers.signs, numbers.cells, backbone),
        }
    return {backbone: {key: table for key, table in each.items() if table.rows} for backbone, each in made.items()}


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


def document(
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
    told = {
        "Points": f"{cells.frame['arm'].nunique()} of {arm_name(cells.losses)}, {seeds} seed{'s' * (seeds > 1)} each",
        "Varied": varied,
        "Beside them": ", ".join(map(arm_name, others)),
        "Trained anew": _anew(results, numbers),
    }
    pairs: list[list[str]] = []
    for label, value in facts(results, meta.data, name):
        if label == "Arms":
            pairs += [[key, text] for key, text in told.items() if text]
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
    own, other = (set(each.trials["machine"].dropna()) for each in (results, numbers.again))
    return f"{text}; {joined(sorted(other - own))}" if other - own else text


def _gaps(cells: Cells) -> list[str]:
    """What the reader must know of points without a result."""
    missing = {backbone: cells.missing(backbone) for backbone in cells.backbones}
    told = [f"{count} on {backbone_name(backbone)}" for backbone, count in missing.items() if count]
    if not told:
        return []
    return [
        f"The grid has points without a result for every seed: {joined(told)}. Main effects are means over those "
        "combinations of the other factors that have every level; the variance of a grid with gaps is not split up."
    ]


def _default(numbers: Numbers) -> str:
    """The recommended default in a sentence."""
    first = records(numbers.region.head(1))
    if not first:
        return "No point is complete on every backbone, so nothing is recommended."
    row, names = first[0], numbers.cells.names
    text = f"Recommended default: {shown.point_name(row, names)}. "
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
