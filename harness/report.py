"""Reports of finished studies: a PDF, and beside it its tables and figures. Run ``python -m harness.report --help``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console

from harness import cli
from harness.errors import UserError, nearest
from harness.reporting import tables
from harness.reporting.about import started
from harness.reporting.document import Meta, Numbers, document, draw
from harness.reporting.document import tables as display_tables
from harness.reporting.files import staging
from harness.reporting.frames import CURVES, validate
from harness.reporting.render import render
from harness.reporting.results import LoadRanks, Results, costs, gains, means, paired
from harness.reporting.terminal import table

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def ablation_report(
    trials: pd.DataFrame, curves: pd.DataFrame, load_ranks: LoadRanks, output: Path, meta: Mapping[str, Any]
) -> Path:
    """Write the report of an ablation into a folder and return the path of its PDF.

    Beside ``ablation.pdf`` lie ``ablation_table``, ``ablation_paired``, ``ablation_costs`` and ``ablation_relations``
    (each .csv, .parquet and .tex) and ``figures/`` (.pdf and .png). The files appear when all are done; after an error
    the folder is as before. The same input gives the same numbers.

    Args:
        trials: one row a trial, of one data set and one design (`harness.reporting.frames.TRIALS`).
        curves: one row an epoch of a trial (`harness.reporting.frames.CURVES`); may be empty.
        load_ranks: takes the index label of a row of ``trials`` and returns the trial's ranks, one row a test query
            (`harness.reporting.frames.RANKS`); called for the trials that count, once each.
        output: folder, made if it is not there.
        meta: fields of `harness.reporting.document.Meta`: command, data (counts), notes.

    Raises:
        UserError: the frames do not pass their checks, or the folder cannot be written.
    """
    about = Meta.model_validate(dict(meta))
    results = Results.load(trials, load_ranks)
    checked = validate(CURVES, curves) if len(curves) else pd.DataFrame(columns=list(CURVES.columns))
    counted = checked[checked["trial"].isin(results.trials.query("state == 'complete'")["trial"])]
    numbers = Numbers(means=means(results), paired=paired(results), gains=gains(results), costs=costs(results.trials))
    shown = display_tables(results, numbers)
    with staging(output) as folder:
        drawn = draw(results, numbers, counted, folder)
        frames = {
            "table": (tables.wide(numbers.means), "main"),
            "paired": (numbers.paired, "paired"),
            "costs": (numbers.costs, "costs"),
            "relations": (numbers.gains, None),
        }
        for stem, (frame, kind) in frames.items():
            displayed = [(backbone, each[kind]) for backbone, each in shown.items() if kind in each] if kind else []
            tables.write(folder, f"ablation_{stem}", frame, displayed)
        content = document(results, numbers, shown, drawn, about)
        # the date of the data, not of the typesetting: the same trials give the same file
        created = (started(results.trials) or [datetime.fromtimestamp(0, UTC)])[-1]
        render("ablation.typ", content, folder, folder / "ablation.pdf", created)
    return output / "ablation.pdf"


def _load(storage: str, study: str, dataset: str) -> tuple[pd.DataFrame, pd.DataFrame, LoadRanks]:
    """The only door to the engine: frames from the store."""
    from harness.runs import frames

    return frames.load(storage, study, dataset)


@app.callback()
def _reports() -> None:
    """Make reports of finished studies."""


@app.command()
def ablation(
    dataset: Annotated[str, typer.Option(help="Data set of the study.")] = "lahman",
    storage: Annotated[str, typer.Option(help="Optuna storage that holds the study.")] = "sqlite:///runs/harness.db",
    output: Annotated[Path | None, typer.Option(help="Folder of the report.")] = None,
    design: Annotated[str | None, typer.Option(help="Name of the Optuna study; default: the latest.")] = None,
) -> None:
    """Make the report of an ablation again from its store; the PDF's path is the last line."""
    trials, curves, load_ranks = _load(storage, "ablation", dataset)
    every = trials.attrs.get("meta", {})
    trials, curves = one_design(trials, curves, design)
    meta = every.get(trials["study_name"].iloc[0], {})
    print(ablation_report(trials, curves, load_ranks, output or Path("reports/output") / f"ablation-{dataset}", meta))


def one_design(trials: pd.DataFrame, curves: pd.DataFrame, design: str | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The trials and curves of one design (Optuna study): the one named, else the one that started last.

    Raises:
        UserError: no design has that name.
    """
    names = trials["study_name"].unique().tolist()
    if design is not None and design not in names:
        raise UserError(f"design '{design}' is not in the store; {nearest(design, names)}")
    chosen = design or trials.sort_values("started")["study_name"].iloc[-1]
    return trials[trials["study_name"] == chosen], _of(curves, chosen)


def _of(curves: pd.DataFrame, design: str) -> pd.DataFrame:
    return curves[curves["study_name"] == design] if len(curves) else curves  # without any there are no columns


def report_of_cells(
    study: str,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    load_ranks: LoadRanks,
    output: Path,
    design: str,
    cells: Collection[str],
    console: Console,
) -> Path:
    """Print the table of the given cells of a design and write their report; return the path of its PDF."""
    own = trials[(trials["study_name"] == design) & trials["cell"].isin(cells)]
    learnt = _of(curves, design)
    learnt = learnt[learnt["trial"].isin(own["trial"])] if len(learnt) else learnt
    console.print()
    console.print(table(own))
    console.print()
    return REPORTS[study](own, learnt, load_ranks, output, trials.attrs.get("meta", {}).get(design, {}))


#: the report of each study
REPORTS = {"ablation": ablation_report}


if __name__ == "__main__":
    cli.run(app)
