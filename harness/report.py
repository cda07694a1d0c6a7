"""Reports of finished studies: a PDF, and beside it its tables and figures. Run ``python -m harness.report --help``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console

from harness import console
from harness.console import printable
from harness.design import files
from harness.design.schema import Design
from harness.errors import UserError, nearest
from harness.plugins import load_asked_for
from harness.reporting.data.layout import Layout, Meta
from harness.reporting.data.results import INSIDE, Frames, LoadRanks, is_search, with_role
from harness.reporting.kinds import KINDS, ReportKind, kind_of, load_shipped
from harness.reporting.output.tables import terminal_table
from harness.reporting.output.typst import write
from harness.reporting.overview import StudyEvidence, claims_report
from harness.reporting.sensitivity.points import are_confirmation_runs, complete_confirmation_runs
from harness.vocabulary import declare

load_shipped()

#: the commands that are there whatever studies and kinds there are
app = typer.Typer()


def _load_plugins(paths: list[Path] | None) -> list[Path]:
    load_asked_for(paths or [])
    return paths or []


Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin", metavar="FILE", callback=_load_plugins, is_eager=True,
        help="Python file with methods or report kinds of your own; may be given several times.",
    ),
]  # fmt: skip
Dataset = Annotated[str, typer.Option(help="Data set of the study.")]
Storage = Annotated[str, typer.Option(envvar="HARNESS_STORAGE", help="Optuna storage that holds the study.")]
Output = Annotated[Path | None, typer.Option(help="Folder of the report; default: reports/output/STUDY-DATASET.")]
Folder = Annotated[Path, typer.Option(help="Folder that gets a folder for each report.")]
Datasets = Annotated[
    list[str] | None, typer.Option(help="Data set, may be given several times; default: all of the store.")
]
DesignName = Annotated[str | None, typer.Option(help="Name of the Optuna study; default: the latest.")]
KindName = Annotated[str | None, typer.Option(help="Kind of report; default: what the study file says.")]


@app.callback()
def _reports(plugin: Plugins = None) -> None:
    """Make reports of finished studies from their store; the PDF's path is the last line."""


def layout_of(study: str | Path) -> Layout:
    """What a study file says of the report.

    Args:
        study: the name of a study of the package, or the path of a study file.

    Raises:
        UserError: there is no such study, its file cannot be read, or it asks for an unknown kind of report.
    """
    path = files.path_of(str(study))
    design = files.parsed(path)
    try:
        return as_layout(design)
    except UserError as error:
        raise UserError(f"study file {path}: {error}") from None


def as_layout(design: Design) -> Layout:
    """What a report shows of a study: the only place in which a design becomes a layout.

    Raises:
        UserError: the study asks for a kind of report that is not registered.
    """
    if design.report not in KINDS:
        known = nearest(design.report, KINDS)
        raise UserError(f"report: unknown kind {design.report!r}: {known}")
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


def _shipped() -> dict[str, Layout]:
    """The package's studies by name."""
    return {name: layout_of(name) for name in files.files()}


def layout_in_store(study: str, meta: Mapping[str, Mapping[str, Any]]) -> Layout:
    """The layout of a study whose file the package does not have: the store keeps the file beside its results.

    Args:
        study: its name.
        meta: what the store says of each of its Optuna studies, by their names.

    Raises:
        UserError: the store does not have the file, or has something else in its place.
    """
    kept = [about["design"] for about in meta.values() if "design" in about]
    try:
        design = Design.model_validate(kept[-1])
    except (IndexError, ValueError):
        raise UserError(f"the store does not say what study {study!r} is about; run it again from its file") from None
    if design.name != study:  # which folders are named after
        raise UserError(f"the store has the file of study {design.name!r} for {study!r}; run it again from its file")
    return as_layout(design)


def _load(storage: str, study: str, dataset: str) -> tuple[pd.DataFrame, pd.DataFrame, LoadRanks]:
    """The only door to the store."""
    from harness.store import frames

    return frames.load(storage, study, dataset)


def _held(storage: str, datasets: Collection[str]) -> list[tuple[str, str]]:
    """Pairs of study and data set in the store; ``datasets``: those that count, empty: all."""
    from harness.store import frames

    return [(study, dataset) for study, dataset in frames.held(storage) if not datasets or dataset in datasets]


def _importance(factors: pd.DataFrame, values: pd.Series[float]) -> pd.DataFrame:
    """Optuna's evaluators: the only door from reports to Optuna, which takes seconds to load."""
    from harness.search.importance import importances

    return importances(factors, values)


def frames_of(
    layout: Layout, trials: pd.DataFrame, curves: pd.DataFrame, load_ranks: LoadRanks, design: str | None = None
) -> Frames:
    """What the report of one design is made from; ``design``: None: the one that started last."""
    by_design = trials.attrs.get("meta", {})
    trials, curves = one_design(trials, curves, design)
    about = by_design.get(trials["study_name"].iloc[0], {})
    meta = Meta.model_validate({name: value for name, value in about.items() if name != "design"})
    for label in meta.labels:  # of the methods that plugins brought when the study ran
        declare(*label)
    return Frames(layout, trials, curves, load_ranks, meta, _importance)


def make(
    study: str | Path, dataset: str, storage: str, output: Path, design: str | None = None, kind: str | None = None
) -> Path:
    """Make the report of a study again from its store; return the path of its PDF.

    Args:
        study: the name of a study of the package, or the path of a study file.
        dataset: name or folder of the data.
        storage: URL of the store.
        output: folder of the report.
        design: name of the Optuna study; None: the one that started last.
        kind: of report; None: what the study file says.

    Raises:
        UserError: the store has no such study, its results do not pass the report's checks, or there is no such kind.
    """
    if kind is not None:
        KINDS.named(kind)
    is_known = isinstance(study, Path) or study in files.files()
    layout = layout_of(study) if is_known else None  # before the store is read, which may take long
    name = str(study) if layout is None else layout.name
    trials, curves, load_ranks = _load(storage, name, dataset)
    layout = layout or layout_in_store(name, trials.attrs.get("meta", {}))
    frames = frames_of(layout, trials, curves, load_ranks, design)
    return kind_of(kind or layout.report, frames.trials).report(frames, output)


def one_design(trials: pd.DataFrame, curves: pd.DataFrame, design: str | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The trials and curves of one design (Optuna study): the one named, else the one that started last.

    Raises:
        UserError: no design has that name.
    """
    names = trials["study_name"].unique().tolist()
    if design is not None and design not in names:
        raise UserError(f"design '{design}' is not in the store; {nearest(design, names)}")
    chosen = design or trials.sort_values("started")["study_name"].iloc[-1]
    # without any curve there are no columns
    return trials[trials["study_name"] == chosen], curves[curves["study_name"] == chosen] if len(curves) else curves


def verdicts(datasets: Collection[str], storage: str, output: Path) -> Path:
    """Make the claims report from all studies of the store; return the path of its PDF.

    Args:
        datasets: those that count; empty: all.
        storage: URL of the store.
        output: folder of the report.

    Raises:
        UserError: the store cannot be opened, or has no study on these data sets, or none that bears on a claim.
    """
    layouts = _shipped()
    pairs = [
        pair for pair in _held(storage, datasets) if pair[0] in layouts and KINDS[layouts[pair[0]].report].evidence
    ]
    if not pairs:
        raise UserError(f"the store has no study{_on(datasets)}; run: python -m harness.study ablation --dataset wiki")
    studies = [_evidence(layouts[study], dataset, storage) for study, dataset in pairs]
    if all(study.missing for study in studies):
        raise UserError(studies[0].missing)
    return claims_report(studies, layouts, output)


def _evidence(layout: Layout, dataset: str, storage: str) -> StudyEvidence:
    """What a study says of its claims on a data set; what it lacks does not silence the other studies."""
    try:
        frames = frames_of(layout, *_load(storage, layout.name, dataset))
        evidence = kind_of(layout.report, frames.trials).evidence
        return StudyEvidence(layout, dataset, frames.meta, evidence(frames) if evidence else {})
    except UserError as error:
        return StudyEvidence(layout, dataset, Meta(), {}, str(error))


def _on(datasets: Collection[str]) -> str:
    return f" on {', '.join(datasets)}" if datasets else ""


def reports_of(kind: ReportKind, datasets: Collection[str], storage: str, output: Path) -> Iterator[Path]:
    """Make a report of each design of the store whose study asks for a kind, and each study's across its data sets.

    Args:
        kind: of report.
        datasets: those that count; empty: all.
        storage: URL of the store.
        output: folder that gets a folder for each report.

    Yields:
        The paths of the PDFs, one by one. The folder of a design is named after its study, data set and preset; that of
        all but the last of one name after its digest, too.

    Raises:
        UserError: the store has no such study, or its results do not pass a report's checks.
    """
    layouts = {name: layout for name, layout in _shipped().items() if layout.report == kind.name}
    held = [pair for pair in _held(storage, datasets) if pair[0] in layouts]
    if not held:
        example = f"such as: python -m harness.study {next(iter(layouts))}" if layouts else "with its study file"
        raise UserError(f"the store has no study with 'report: {kind.name}'{_on(datasets)}; run one, {example}")
    by_study: dict[str, list[Frames]] = {}
    for study, dataset in held:
        trials, curves, load_ranks = _load(storage, study, dataset)
        designs = trials.sort_values("started")["study_name"].unique().tolist()
        for design in designs:
            frames = frames_of(layouts[study], trials, curves, load_ranks, design)
            chosen = kind_of(kind.name, frames.trials)
            yield chosen.report(frames, output / _folder(study, dataset, frames.trials, design, designs))
        if chosen is kind:  # of several designs the last
            by_study.setdefault(study, []).append(frames)
    for study, frames_by_dataset in by_study.items() if kind.across else ():
        assert kind.across is not None
        if (document := kind.across(frames_by_dataset)) is not None:
            yield write(document, output / f"{study}-across")


def _folder(study: str, dataset: str, trials: pd.DataFrame, design: str, designs: Sequence[str]) -> str:
    preset = str(trials["preset"].iloc[0]) if "preset" in trials else "default"
    name, _, digest = design.rpartition("-")
    is_last = design == [other for other in designs if other.rpartition("-")[0] == name][-1]
    parts = [study, Path(dataset).name, *([preset] if preset != "default" else []), *([] if is_last else [digest])]
    return "-".join(parts)


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
    frames = frames_of(as_layout(study), trials, curves, load_ranks, design)
    trials = frames.trials[frames.trials["cell"].isin(cells)]
    curves = frames.curves[frames.curves["trial"].isin(trials["trial"])] if len(frames.curves) else frames.curves
    console.print()
    tested = trials[~with_role(trials, *INSIDE)]  # what a search only validated has no test results
    # confirmation runs apart: they have other seeds
    parts = (
        [tested] if is_search(trials) else [tested[~are_confirmation_runs(tested)], complete_confirmation_runs(tested)]
    )
    for part in parts:
        if len(part):
            console.print(terminal_table(part, frames.layout))
            console.print()
    chosen = Frames(frames.layout, trials, curves, load_ranks, frames.meta, frames.importance)
    return kind_of(frames.layout.report, trials).report(chosen, output)


def _command_of(study: str) -> Callable[..., None]:
    def command(
        dataset: Dataset = "lahman",
        storage: Storage = "sqlite:///runs/harness.db",
        output: Output = None,
        design: DesignName = None,
        kind: KindName = None,
        plugin: Plugins = None,
    ) -> None:
        print(make(study, dataset, storage, output or _default_folder(study, dataset, kind), design, kind))

    return command


def _default_folder(study: str, dataset: str, kind: str | None) -> Path:
    return Path("reports", "output", "-".join([study, Path(dataset).name, *([kind] if kind else [])]))


@app.command("run")
def run(
    study: Annotated[str, typer.Argument(help="Study file of your own, or its name: the store keeps what it said.")],
    dataset: Dataset = "lahman",
    storage: Storage = "sqlite:///runs/harness.db",
    output: Output = None,
    design: DesignName = None,
    kind: KindName = None,
    plugin: Plugins = None,
) -> None:
    """Make the report of a study from a file of your own."""
    path = Path(study)
    asked = path if files.is_file(study) and path.exists() else path.stem
    print(make(asked, dataset, storage, output or _default_folder(path.stem, dataset, kind), design, kind))


def _command_of_kind(kind: ReportKind) -> Callable[..., None]:
    def command(
        dataset: Datasets = None,
        storage: Storage = "sqlite:///runs/harness.db",
        output: Folder = Path("reports", "output"),
        plugin: Plugins = None,
    ) -> None:
        for path in reports_of(kind, dataset or [], storage, output):
            print(path)

    return command


@app.command()
def claims(
    dataset: Datasets = None,
    storage: Storage = "sqlite:///runs/harness.db",
    output: Output = None,
    plugin: Plugins = None,
) -> None:
    """Make the claims report: a page a claim, with the verdict of all studies in the store."""
    print(verdicts(dataset or [], storage, output or Path("reports", "output", "claims")))


@app.command("all")
def all_(
    dataset: Datasets = None,
    storage: Storage = "sqlite:///runs/harness.db",
    output: Folder = Path("reports", "output"),
    plugin: Plugins = None,
) -> None:
    """Make every report that the store has results for, and the claims report last."""
    layouts = _shipped()
    complete: dict[str, ReportKind] = {}
    for study, data in _held(storage, dataset or []):
        if study not in layouts:  # from a file of a user's own
            try:
                print(make(study, data, storage, output / f"{study}-{Path(data).name}"))
            except UserError as error:
                print(printable(f"left out: study {study!r} on {data!r}: {error}"), file=sys.stderr)
            continue
        kind = KINDS[layouts[study].report]
        if kind.every_design:
            complete[kind.name] = kind
        else:
            print(make(study, data, storage, output / f"{study}-{Path(data).name}"))
    for kind in complete.values():
        for path in reports_of(kind, dataset or [], storage, output):
            print(path)
    print(verdicts(dataset or [], storage, output / "claims"))


def _plugins_of(arguments: Sequence[str]) -> list[Path]:
    """The plugins of a command line, which have to be loaded before its commands are known."""
    apart = [Path(value) for option, value in pairwise(arguments) if option == "--plugin"]
    return [*apart, *(Path(word.partition("=")[2]) for word in arguments if word.startswith("--plugin="))]


def commands() -> typer.Typer:
    """The command line, with a command for every study, and one for every kind of report that no study is named after.

    Raises:
        UserError: a plugin cannot be loaded, or one of its report kinds has the name of a command.
    """
    load_asked_for(_plugins_of(sys.argv[1:]))
    command_line = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
    command_line.registered_callback = app.registered_callback
    command_line.registered_commands = [*app.registered_commands]
    taken = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    studies = files.files()
    for name in studies:
        command_line.command(name, help=f"Make the report of study {name}.")(_command_of(name))
    for kind in KINDS.values():
        if kind.name in taken:
            raise UserError(f"report kind {kind.name!r}: is a command of harness.report; choose another name")
        if kind.name not in studies and not kind.instead_of:
            help_ = f"Make the reports of all studies with 'report: {kind.name}' ({kind.label})."
            command_line.command(kind.name, help=help_)(_command_of_kind(kind))
    return command_line


def main() -> None:
    """Run the command line."""
    console.run(commands)


if __name__ == "__main__":
    main()
