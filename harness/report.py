"""Reports of finished studies: a PDF, and beside it its tables and figures. Run ``python -m harness.report --help``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console

from harness import console as cli
from harness.design import files
from harness.design.schema import Design
from harness.errors import UserError, nearest
from harness.reporting.capacity.report import capacity_report
from harness.reporting.comparison.report import comparison_report
from harness.reporting.cost.report import cost_report
from harness.reporting.data.layout import Layout
from harness.reporting.data.results import LoadRanks
from harness.reporting.evidence import SOURCES
from harness.reporting.output.terminal import table
from harness.reporting.overview import Found, claims_report
from harness.reporting.search.report import INSIDE
from harness.reporting.search.trace import is_search
from harness.reporting.sensitivity.across import Grid, across_report
from harness.reporting.sensitivity.points import are_fresh, whole_and_fresh
from harness.reporting.sensitivity.report import sensitivity_report

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Dataset = Annotated[str, typer.Option(help="Data set of the study.")]
Storage = Annotated[str, typer.Option(envvar="HARNESS_STORAGE", help="Optuna storage that holds the study.")]
Output = Annotated[Path | None, typer.Option(help="Folder of the report; default: reports/output/STUDY-DATASET.")]
Datasets = Annotated[
    list[str] | None, typer.Option(help="Data set, may be given several times; default: all of the store.")
]
DesignName = Annotated[str | None, typer.Option(help="Name of the Optuna study; default: the latest.")]


def _importance(factors: pd.DataFrame, values: pd.Series[float]) -> pd.DataFrame:
    """Optuna's evaluators, which reports get handed in."""
    from harness.search.importance import importances

    return importances(factors, values)


#: takes layout, trials, curves, ranks, output folder and meta; returns the path of the PDF
Report = Callable[[Layout, pd.DataFrame, pd.DataFrame, LoadRanks, Path, Mapping[str, Any]], Path]
#: the reports by the name that a study file has for its own
REPORTS: dict[str, Report] = {
    "comparison": comparison_report,
    "capacity": capacity_report,
    "cost": cost_report,
    "sensitivity": partial(sensitivity_report, importance=_importance),
}


@app.callback()
def _reports() -> None:
    """Make reports of finished studies from their store; the PDF's path is the last line."""


def layout_of(study: str) -> Layout:
    """What the study file says of the report.

    Raises:
        UserError: there is no such study, or its file cannot be read.
    """
    return as_layout(files.parsed(files.path_of(study)))


def as_layout(design: Design) -> Layout:
    """What a report shows of a study: the only place in which a design becomes a layout."""
    return Layout(
        name=design.name,
        title=design.title,
        about=design.about,
        report=design.report,
        claims=design.claims,
        arms=tuple(design.conditions),
        compare=design.compare,
        contrasts=design.contrasts,
    )


def layout_in_store(study: str, design: object) -> Layout:
    """The layout of a study whose file the package does not have.

    Args:
        study: its name.
        design: the content of its file, which the store keeps beside the results.

    Raises:
        UserError: the store does not have the file, or has something else in its place.
    """
    try:
        checked = Design.model_validate(design)
    except ValueError:
        raise UserError(f"the store does not say what study {study!r} is about; run it again from its file") from None
    if checked.name != study:  # which folders are named after
        raise UserError(f"the store has the file of study {checked.name!r} for {study!r}; run it again from its file")
    return as_layout(checked)


def report_of(kind: str) -> Report:
    """The report of a kind, as a study file names it.

    Raises:
        UserError: there is none of that name.
    """
    if kind not in REPORTS:
        raise UserError(f"report: unknown kind {kind!r}: {nearest(kind, REPORTS)}")
    return REPORTS[kind]


def _load(storage: str, study: str, dataset: str) -> tuple[pd.DataFrame, pd.DataFrame, LoadRanks]:
    """The only door to the engine: frames from the store."""
    from harness.store import frames

    return frames.load(storage, study, dataset)


def make(study: str, dataset: str, storage: str, output: Path, design: str | None = None) -> Path:
    """Make the report of a study again from its store; return the path of its PDF.

    Raises:
        UserError: the store has no such study, or its results do not pass the report's checks.
    """
    known = layout_of(study) if study in files.files() else None  # before the store is read, which may take long
    trials, curves, load_ranks = _load(storage, study, dataset)
    every, designs = (trials.attrs.get(name, {}) for name in ("meta", "designs"))
    trials, curves = one_design(trials, curves, design)
    chosen = trials["study_name"].iloc[0]
    layout, meta = known or layout_in_store(study, designs.get(chosen)), every.get(chosen, {})
    return report_of(layout.report)(layout, trials, curves, load_ranks, output, meta)


def verdicts(datasets: Collection[str], storage: str, output: Path) -> Path:
    """Make the claims report from all studies of the store; return the path of its PDF.

    Args:
        datasets: those that count; empty: all.
        storage: URL of the store.
        output: folder of the report.

    Raises:
        UserError: the store cannot be opened, or has no study on these data sets, or none that says anything.
    """
    from harness.store import frames

    layouts = {name: layout_of(name) for name in files.files()}
    held = [(study, data) for study, data in frames.held(storage) if not datasets or data in datasets]
    pairs = [(study, data) for study, data in held if study in layouts and layouts[study].report in SOURCES]
    if not pairs:
        where = f" on {', '.join(datasets)}" if datasets else ""
        raise UserError(f"the store has no study{where}; run: python -m harness.study ablation --dataset wiki")
    found = []
    for study, data in pairs:
        layout = layouts[study]
        try:
            trials, curves, load_ranks = _load(storage, study, data)
            every = trials.attrs.get("meta", {})
            trials, curves = one_design(trials, curves, None)
            meta = every.get(trials["study_name"].iloc[0], {})
            evidence = SOURCES[layout.report](layout, trials, curves, load_ranks, meta)
            found.append(Found(layout, data, meta, evidence))
        except UserError as error:  # what one study lacks does not keep the others from speaking
            found.append(Found(layout, data, {}, {}, str(error)))
    if all(each.missing for each in found):
        raise UserError(found[0].missing)
    return claims_report(found, layouts, output)


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
    study: Design,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    load_ranks: LoadRanks,
    output: Path,
    design: str,
    cells: Collection[str],
    console: Console,
) -> Path:
    """Print the table of the given cells of a design and write their report; return the path of its PDF."""
    layout = as_layout(study)
    own = trials[(trials["study_name"] == design) & trials["cell"].isin(cells)]
    learnt = _of(curves, design)
    learnt = learnt[learnt["trial"].isin(own["trial"])] if len(learnt) else learnt
    console.print()
    # what a search only validated has no test results
    shown = own[~own["role"].isin(INSIDE)] if "role" in own else own
    for part in (shown[~are_fresh(shown)], whole_and_fresh(shown)):  # apart: what was trained anew has other seeds
        if len(part):
            console.print(table(part, layout))
            console.print()
    meta = trials.attrs.get("meta", {}).get(design, {})
    return report_of(layout.report)(layout, own, learnt, load_ranks, output, meta)


def _command_of(study: str) -> Callable[..., None]:
    def command(
        dataset: Dataset = "lahman",
        storage: Storage = "sqlite:///runs/harness.db",
        output: Output = None,
        design: DesignName = None,
    ) -> None:
        print(make(study, dataset, storage, output or Path("reports", "output", f"{study}-{dataset}"), design))

    return command


@app.command("run")
def run(
    study: Annotated[str, typer.Argument(help="Name of a study of one's own, or its file.")],
    dataset: Dataset = "lahman",
    storage: Storage = "sqlite:///runs/harness.db",
    output: Output = None,
    design: DesignName = None,
) -> None:
    """Make the report of a study from a file of one's own; the store knows what the file said."""
    name = Path(study).stem
    print(make(name, dataset, storage, output or Path("reports", "output", f"{name}-{Path(dataset).name}"), design))


@app.command()
def claims(
    dataset: Datasets = None,
    storage: Storage = "sqlite:///runs/harness.db",
    output: Output = None,
) -> None:
    """Make the claims report: a page a claim, with the verdict of all studies in the store."""
    print(verdicts(dataset or [], storage, output or Path("reports", "output", "claims")))


@app.command()
def sensitivity(
    dataset: Datasets = None,
    storage: Storage = "sqlite:///runs/harness.db",
    output: Annotated[Path, typer.Option(help="Folder that gets a folder a report.")] = Path("reports", "output"),
) -> None:
    """Make the reports of all grids and searches, and last that of settings that work on all data sets."""
    for path in every_sensitivity(dataset or [], storage, output):
        print(path)


def every_sensitivity(datasets: Collection[str], storage: str, output: Path) -> Iterator[Path]:
    """Make a report for each design of the store that varies factors, and for each study one across its data sets.

    Yields:
        The paths of the PDFs, one by one. The folder of a design is named after its study, data set and preset; that of
        all but the last of one name after its digest, too.

    Raises:
        UserError: the store has no such study, or its results do not pass a report's checks.
    """
    from harness.store import frames

    layouts = {name: layout_of(name) for name in files.files()}
    varied = [name for name, layout in layouts.items() if layout.report == "sensitivity"]
    held = [pair for pair in frames.held(storage) if pair[0] in varied and (not datasets or pair[1] in datasets)]
    if not held:
        where = f" on {', '.join(datasets)}" if datasets else ""
        raise UserError(f"the store has no grid or search{where}; run: python -m harness.study grid --dataset wiki")
    grids: dict[str, list[Grid]] = {}
    for study, data in held:
        trials, curves, load_ranks = _load(storage, study, data)
        designs = trials.sort_values("started")["study_name"].unique().tolist()
        for design in designs:
            own, learnt = one_design(trials, curves, design)
            meta = trials.attrs.get("meta", {}).get(design, {})
            preset = str(own["preset"].iloc[0]) if "preset" in own else "default"
            name, _, digest = design.rpartition("-")
            is_last = design == [other for other in designs if other.rpartition("-")[0] == name][-1]
            parts = [study, Path(data).name, *([preset] if preset != "default" else []), *([] if is_last else [digest])]
            folder = "-".join(parts)
            yield REPORTS["sensitivity"](layouts[study], own, learnt, load_ranks, output / folder, meta)
        if not is_search(own):  # of several designs the last
            grids.setdefault(study, []).append(Grid(data, own, load_ranks, str(meta.get("command", ""))))
    for study, each in grids.items():
        if len(each) > 1:
            yield across_report(layouts[study], each, output / f"{study}-across")


@app.command("all")
def all_(
    dataset: Datasets = None,
    storage: Storage = "sqlite:///runs/harness.db",
    output: Annotated[Path, typer.Option(help="Folder that gets a folder a report.")] = Path("reports", "output"),
) -> None:
    """Make every report that the store has results for, and the claims report last."""
    from harness.store import frames

    held = [(study, data) for study, data in frames.held(storage) if not dataset or data in dataset]
    varied = False
    for study, data in held:
        if study not in files.files():  # from a file of a user's own
            try:
                print(make(study, data, storage, output / f"{study}-{Path(data).name}"))
            except UserError as error:
                print(cli.printable(f"left out: study {study!r} on {data!r}: {error}"), file=sys.stderr)
            continue
        if layout_of(study).report == "sensitivity":
            varied = True
        else:
            print(make(study, data, storage, output / f"{study}-{Path(data).name}"))
    for path in every_sensitivity(dataset or [], storage, output) if varied else ():
        print(path)
    print(verdicts(dataset or [], storage, output / "claims"))


def main() -> None:
    """The command line, with a command for every study."""
    for name in files.files():
        app.command(name, help=f"Make the report of study {name}.")(_command_of(name))
    cli.run(app)


if __name__ == "__main__":
    main()
