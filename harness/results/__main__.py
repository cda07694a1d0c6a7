"""What a store holds, without a report: ``python -m harness.results list | show | compare | export``."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from harness import console as cli
from harness import vocabulary
from harness.console import printable
from harness.errors import UserError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from harness.reporting.data.results import Frames

app = cli.application("List, show, compare and export the results of a store.")

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study, as 'list' shows it.")]
Dataset = Annotated[str, typer.Option(help="Data set of the study.", autocompletion=cli.one_of(vocabulary.DATASETS))]
Design = Annotated[str | None, typer.Option(help="Name of a design, as 'list' shows it; default: all.")]
Storage = Annotated[str, typer.Option(envvar="HARNESS_STORAGE", help="URL of the store.")]
Artifacts = Annotated[Path | None, typer.Option(help="Folder of ranks and curves; default: beside the store.")]
STORAGE = "sqlite:///runs/harness.db"


class Format(StrEnum):
    """What results are exported to."""

    csv = "csv"
    parquet = "parquet"
    mlflow = "mlflow"


class What(StrEnum):
    """Which table is exported."""

    trials = "trials"
    curves = "curves"


@app.command("list")
def list_(storage: Storage = STORAGE) -> None:
    """List the designs of a store: a design is a study on a data set with all settings that its trials share."""
    from harness.store.frames import overview

    table = _table("study", "data", "preset", "design", "complete", "failed", "last trial")
    for row in overview(storage).to_dict("records"):
        counts = [f"{row[state]:,}" for state in ("complete", "failed")]
        _add(table, row["study"], row["dataset"], row["preset"], row["design"], *counts, row["started"][:16])
    cli.console().print(table)


@app.command()
def show(
    study: StudyName,
    dataset: Dataset = "lahman",
    design: Design = None,
    trial: Annotated[int | None, typer.Option(min=0, help="Everything that is stored of this trial.")] = None,
    storage: Storage = STORAGE,
    artifacts: Artifacts = None,
) -> None:
    """Show the trials of a study, or everything of one: settings, metrics, seconds, versions and machine."""
    trials, _ = _load(storage, study, dataset, artifacts, design)
    if trial is not None:
        _show_one(trials, trial)
        return
    table = _table("trial", "backbone", "arm", "seed", "state", "validation MRR", "test MRR", "test Hits@10", "seconds")
    seconds = [name for name in trials if str(name).startswith("seconds_")]
    for design_name, part in trials.groupby("study_name", sort=False):
        table.add_section()
        table.add_row("", f"[bold]{escape(printable(str(design_name)))}[/]")
        for row in part.to_dict("records"):
            metrics = [_number(row.get(name), 4) for name in ("valid_mrr", "test_mrr", "test_hits10")]
            took = sum(row[name] for name in seconds if row[name] == row[name])
            reason = row.get("reason")
            state = f"{row['state']}: {reason[:80]}" if isinstance(reason, str) else row["state"]
            _add(table, row["trial"], row["backbone"], row["arm"], row["seed"], state, *metrics, _number(took, 1))
    cli.console().print(table)


def _show_one(trials: pd.DataFrame, number: int) -> None:
    from harness.design.dotted import leaves

    chosen = trials[trials["trial"] == number]
    if len(chosen) != 1:
        last, several = trials["trial"].max(), len(chosen) > 1
        raise UserError(
            f"--trial {number}: several designs have one of that number; name one with --design"
            if several
            else f"--trial {number}: there is none; they have the numbers 0 to {last}"
        )
    row = {str(name): value for name, value in chosen.iloc[0].items() if value is not None and value == value}
    settings = dict(leaves(json.loads(row.pop("spec"))))
    table = _table("", "", show_header=False)
    for part in (row, settings):
        table.add_section()
        for name, value in part.items():
            if value is not None:
                _add(table, name, _number(value, 6) if isinstance(value, float) else value)
    cli.console().print(table)


@app.command()
def compare(
    one: Annotated[str, typer.Argument(metavar="DESIGN", help="Name of a design, as 'list' shows it.")],
    other: Annotated[str, typer.Argument(metavar="OTHER", help="The design that is compared with it.")],
    storage: Storage = STORAGE,
    artifacts: Artifacts = None,
    other_storage: Annotated[str | None, typer.Option(help="Store of OTHER; default: the same.")] = None,
    other_artifacts: Annotated[Path | None, typer.Option(help="Folder of its ranks.")] = None,
) -> None:
    """Compare two designs arm by arm, as before and after a change: what differs, and the MRR over common seeds.

    The test is the paired one of reports, corrected by Holm over all rows.
    """
    from harness.reporting.data.text import number, p_value
    from harness.results.comparing import compared, differences

    frames = _frames(storage, artifacts, one), _frames(other_storage or storage, other_artifacts or artifacts, other)
    table = _table("differs", one, other)
    for difference in differences(frames[0].trials, frames[1].trials):
        _add(table, *difference)
    console = cli.console()
    console.print(table if table.row_count else "No setting, version or machine differs.", "")
    table = _table("backbone", "arm", "seeds", one, other, "difference of MRR, 95 % interval", "p (Holm)", "verdict")
    for row in compared(*frames).to_dict("records"):
        means = (number(row[name], 4) for name in ("one", "other"))
        low, high = (number(row[f"difference_{end}"], 4, signed=True) for end in ("low", "high"))
        change = f"{number(row['difference'], 4, signed=True)} [{low}, {high}]"
        _add(table, row["backbone"], row["arm"], row["seeds"], *means, change, p_value(row["p_holm"]), row["verdict"])
    console.print(table)


@app.command()
def export(
    study: StudyName,
    dataset: Dataset = "lahman",
    design: Design = None,
    to: Annotated[Format, typer.Option("--format", help="csv, parquet, or mlflow: a run a trial.")] = Format.csv,
    what: Annotated[What, typer.Option("--table", help="A row a trial, or a row an epoch of a trial.")] = What.trials,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="File to write; default: STUDY-DATASET-TABLE.FORMAT. For mlflow: its tracking URI, by default "
            "sqlite:///mlflow.db.",
        ),
    ] = None,
    storage: Storage = STORAGE,
    artifacts: Artifacts = None,
) -> None:
    """Write the trials of a study for other programs: settings, metrics, seconds, provenance."""
    trials, curves = _load(storage, study, dataset, artifacts, design)
    if to is Format.mlflow:
        from harness.results.mlflow import export as to_mlflow

        uri = output or "sqlite:///mlflow.db"
        added, there = to_mlflow(trials, curves, uri)
        cli.console().print(escape(f"{uri}: {added} runs added, {there} were there"))
        return
    from harness.scratch import write_atomically

    table = {What.trials: trials, What.curves: curves}[what]
    path = Path(output or f"{study}-{Path(dataset).name}-{what}.{to}")
    if not path.parent.is_dir():
        raise UserError(f"--output {path}: there is no folder {path.parent}")
    write_atomically(path, _content(table, to))
    cli.console().print(escape(f"{path}: {len(table):,} rows, {len(table.columns)} columns"))


def _content(table: pd.DataFrame, to: Format) -> bytes:
    if to is Format.parquet:
        file = io.BytesIO()
        table.to_parquet(file, index=False)
        return file.getvalue()
    safe = table.map(cli.spreadsheet_cell).rename(columns=lambda name: str(cli.spreadsheet_cell(name)))
    text: str = safe.to_csv(index=False, lineterminator="\n")
    return text.encode()


def _load(
    storage: str, study: str, dataset: str, artifacts: Path | None, design: str | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trials and curves of a study; ``design``: of this one alone."""
    from harness.store import frames

    if design is not None:
        _pair(storage, design)
    trials, curves, _ = frames.load(storage, study, dataset, artifacts, design)
    trials.attrs.clear()
    return trials, curves


def _pair(storage: str, design: str) -> tuple[str, str]:
    """The study and the data set of a design."""
    from harness.store import frames

    designs = frames.of_designs(storage)
    if design not in designs:
        raise UserError(f"design {design!r} is not in the store: {nearest(design, designs)}")
    return designs[design]


def _frames(storage: str, artifacts: Path | None, design: str) -> Frames:
    """What a report of a design is made from."""
    from harness import report
    from harness.design import files
    from harness.reporting import designs
    from harness.store import frames

    study, dataset = _pair(storage, design)
    stored = frames.load(storage, study, dataset, artifacts, design)
    shipped = study in files.files()
    layout = report.layout_of(study) if shipped else report.layout_in_store(study, stored[0].attrs["meta"])
    of_design = designs.frames_of(layout, stored, None, design)
    tested = next(designs.tested_parts(of_design.trials), None)  # those of a grid without its confirmation runs
    if tested is None:
        raise UserError(f"design {design!r}: has no trial with test results yet")
    return replace(of_design, trials=tested)


def _table(*names: str, show_header: bool = True) -> Table:
    table = Table(*(escape(printable(name)) for name in names), box=None, pad_edge=False, show_header=show_header)
    for column in table.columns:
        column.overflow = "fold"
    return table


def _add(table: Table, *cells: Any) -> None:
    table.add_row(*(escape(printable(str(cell))) for cell in cells))


def _number(value: Any, decimals: int) -> str:
    return "" if value is None or value != value else f"{value:.{decimals}f}"


def main() -> None:
    """Run the command line."""
    cli.run(app, "python -m harness.results")


if __name__ == "__main__":
    main()
