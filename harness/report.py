"""Reports of finished studies: a PDF and an HTML page, and beside them tables and figures.

Run ``python -m harness.report --help``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.markup import escape

from harness import console
from harness.console import printable
from harness.design import files
from harness.design.schema import Design
from harness.errors import UserError, nearest
from harness.plugins import load_asked_for
from harness.reporting import designs
from harness.reporting.data.layout import Layout, Meta
from harness.reporting.data.results import Frames, paired
from harness.reporting.data.standing import Standing
from harness.reporting.data.teachers import weak_teacher
from harness.reporting.harm import cases
from harness.reporting.kinds import KINDS, ReportKind, kind_of, load_shipped
from harness.reporting.output.document import Document, Findings, Verdicts
from harness.reporting.output.tables import terminal_table
from harness.reporting.output.typst import write
from harness.reporting.overview import StudyEvidence, claims_report
from harness.vocabulary import backbone_name, joined

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
STORAGE = "sqlite:///runs/harness.db"
Folder = Annotated[Path, typer.Option(help="Folder that gets a folder for each report.")]
Datasets = Annotated[
    list[str] | None, typer.Option(help="Data set, may be given several times; default: all of the store.")
]
DesignName = Annotated[str | None, typer.Option(help="Name of the Optuna study; default: the latest.")]
KindName = Annotated[str | None, typer.Option(help="Kind of report; default: the one that the study file names.")]


@app.callback()
def _reports(plugin: Plugins = None, version: console.Version = False) -> None:
    """Make reports of finished studies from their store; the PDF's path is the last line."""


def layout_of(study: str | Path) -> Layout:
    """The layout that the file of a study asks for; ``study``: a name, or the path of a file.

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
        raise UserError(f"report: unknown kind {design.report!r}: {nearest(design.report, KINDS)}")
    shared = ("name", "title", "about", "report", "claims", "compare", "contrasts", "margin")
    return Layout(arms=tuple(design.conditions), **{name: getattr(design, name) for name in shared})


def _shipped() -> dict[str, Layout]:
    """The package's studies by name."""
    return {name: layout_of(name) for name in files.files()}


def layout_in_store(study: str, meta: Mapping[str, Mapping[str, Any]]) -> Layout:
    """The layout of a study whose file the package does not have: the store keeps it (``meta``, by Optuna study).

    Raises:
        UserError: the store does not have the file, or has something else in its place.
    """
    kept = [about["design"] for about in meta.values() if "design" in about]
    try:
        design = Design.model_validate(kept[-1])
    except (IndexError, ValueError):
        raise UserError(f"the store does not have the file of study {study!r}; run it again from its file") from None
    if design.name != study:  # which folders are named after
        raise UserError(f"the store has the file of study {design.name!r} for {study!r}; run it again from its file")
    return as_layout(design)


def _load(storage: str, study: str, dataset: str) -> designs.Stored:
    """The only door to the store."""
    from harness.store import frames

    return frames.load(storage, study, dataset)


def _held(storage: str, datasets: Collection[str]) -> list[tuple[str, str]]:
    """Pairs of study and data set in the store; ``datasets``: those that count, empty: all."""
    from harness.data.registry import identify
    from harness.store import frames

    pairs = frames.held(storage)
    wanted = {identify(dataset, {held for _, held in pairs}) for dataset in datasets}
    return [(study, dataset) for study, dataset in pairs if not wanted or dataset in wanted]


def importance(factors: pd.DataFrame, values: pd.Series[float]) -> pd.DataFrame:
    """Optuna's evaluators: the only door from reports to Optuna, which takes seconds to load."""
    from harness.search.importance import importances

    return importances(factors, values)


def recipe(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What a spec leaves to its backbones: the only door from reports to models, which need PyTorch."""
    from harness.trial.recipes import of_recipes

    return of_recipes(spec)


def make(
    study: str | Path,
    dataset: str,
    storage: str,
    output: Path | None = None,
    design: str | None = None,
    kind: str | None = None,
) -> Path:
    """Make the report of a study again from its store; return the path of its PDF.

    ``study``, ``design`` and ``kind`` are as on the command line, ``dataset`` is a name or folder, ``storage`` a URL,
    ``output`` the folder of the report (None: one that study and data name).

    Raises:
        UserError: the store has no such study, its results do not pass the report's checks, or there is no such kind.
    """
    if kind is not None:
        KINDS.named(kind)
    is_known = isinstance(study, Path) or study in files.files()
    layout = layout_of(study) if is_known else None  # before the store is read, which may take long
    name = str(study) if layout is None else layout.name
    stored = _load(storage, name, dataset)
    layout = layout or layout_in_store(name, stored[0].attrs.get("meta", {}))
    frames = designs.frames_of(layout, stored, importance, design, recipe)
    name = "-".join([layout.name, Path(frames.trials["dataset"].iloc[0]).name, *([kind] if kind else [])])
    folder = output or Path("reports", "output", name)
    return kind_of(kind or layout.report, frames.trials).report(frames, folder)


def verdicts(datasets: Collection[str], storage: str, output: Path) -> Path:
    """Make the claims report from the studies of a store on some data sets (empty: all); return the path of its PDF.

    Raises:
        UserError: the store cannot be opened, or has no study on these data sets, or none that bears on a claim.
    """
    layouts = _shipped()
    studies = [
        _evidence(layouts[study], dataset, storage)
        for study, dataset in _held(storage, datasets)
        if study in layouts and (KINDS[layouts[study].report].evidence or "none" in layouts[study].compare)
    ]
    if not studies:
        raise UserError(f"the store has no study{_on(datasets)}; run: python -m harness.study ablation --dataset wiki")
    if all(study.missing for study in studies):
        raise UserError(studies[0].missing)
    return claims_report(studies, layouts, output)


def _evidence(layout: Layout, dataset: str, storage: str) -> StudyEvidence:
    """A study's evidence on a data set; an error in one study leaves the others as they are."""
    try:
        frames = designs.frames_of(layout, _load(storage, layout.name, dataset), importance)
        evidence = kind_of(layout.report, frames.trials).evidence
        return StudyEvidence(layout, dataset, frames.meta, evidence(frames) if evidence else {}, cases=cases(frames))
    except UserError as error:
        return StudyEvidence(layout, dataset, Meta(), {}, str(error))


def _on(datasets: Collection[str]) -> str:
    return f" on {', '.join(datasets)}" if datasets else ""


def reports_of(kind: ReportKind, datasets: Collection[str], storage: str, output: Path) -> Iterator[Path]:
    """Make a report of each design whose study asks for a kind, and each study's across its data sets; yield the PDFs.

    ``datasets``: those that count, empty: all; each report has a folder in ``output``.

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
        stored = _load(storage, study, dataset)
        names = designs.names_of(stored[0])
        for design in names:
            frames = designs.frames_of(layouts[study], stored, importance, design, recipe)
            chosen = kind_of(kind.name, frames.trials)
            yield chosen.report(frames, output / designs.folder_of(frames, names))
        if chosen is kind:  # of several designs the last
            by_study.setdefault(study, []).append(frames)
    if kind.across is not None:
        for study, on_datasets in by_study.items():
            if (document := kind.across(on_datasets)) is not None:
                yield write(document, output / f"{study}-across")


def standing(study: Design, stored: designs.Stored, design: str, cells: Collection[str]) -> Standing:
    """How many comparisons of the given cells of a design are decided."""
    frames = designs.frames_of(as_layout(study), stored, None, design, cells=cells)
    return Standing.of(paired(frames.results()))


def report_of_cells(
    study: Design, stored: designs.Stored, output: Path, design: str, cells: Collection[str], console: Console
) -> Path:
    """Print the table of the given cells of a design and write their report; return the path of its PDF."""
    frames = designs.frames_of(as_layout(study), stored, importance, design, recipe, cells)
    console.print()
    for part in designs.tested_parts(frames.trials):
        console.print(terminal_table(part, frames.layout))
        for backbone in dict.fromkeys(part["backbone"]):
            if (warning := weak_teacher(part, backbone)) is not None:
                console.print(f"[yellow]warning[/] {escape(backbone_name(backbone))}: {escape(warning)}")
        console.print()
    document = kind_of(frames.layout.report, frames.trials).content(frames)
    path = write(document, output)
    if said := _verdict(document):
        console.print(escape(f"verdict: {said}"), soft_wrap=True, highlight=False)
    return path


def _verdict(document: Document) -> str:
    """What a report concludes, in a line: the verdicts on the claims that were tested, else its first finding."""
    claims = [claim for block in document.blocks if isinstance(block, Verdicts) for claim in block.claims]
    by_verdict: dict[tuple[str, str], list[str]] = {}
    for claim in claims:
        for line in (line for line in claim["lines"] if line["verdict"] != "not tested"):
            by_verdict.setdefault((claim["id"], line["verdict"]), []).append(line["case"])
    if by_verdict:
        return "; ".join(f"{name} {verdict} on {joined(cases)}" for (name, verdict), cases in by_verdict.items())
    found = [sentence for block in document.blocks if isinstance(block, Findings) for sentence in block.sentences]
    return found[0] if found else ""


@app.command("run")
def run(
    study: Annotated[str, typer.Argument(help="Study file of your own, or its name: the store keeps its content.")],
    dataset: Dataset = "lahman",
    storage: Storage = STORAGE,
    output: Output = None,
    design: DesignName = None,
    kind: KindName = None,
    plugin: Plugins = None,
) -> None:
    """Make the report of a study from a file of your own."""
    path = Path(study)
    asked = path if files.is_file(study) and path.exists() else path.stem
    print(make(asked, dataset, storage, output, design, kind))


def _command_of(study: str) -> Callable[..., None]:
    def command(
        dataset: Dataset = "lahman",
        storage: Storage = STORAGE,
        output: Output = None,
        design: DesignName = None,
        kind: KindName = None,
        plugin: Plugins = None,
    ) -> None:
        print(make(study, dataset, storage, output, design, kind))

    return command


def _command_of_kind(kind: ReportKind) -> Callable[..., None]:
    def command(
        dataset: Datasets = None,
        storage: Storage = STORAGE,
        output: Folder = Path("reports", "output"),
        plugin: Plugins = None,
    ) -> None:
        for path in reports_of(kind, dataset or [], storage, output):
            print(path)

    return command


@app.command("claims")
def claims(
    dataset: Datasets = None,
    storage: Storage = STORAGE,
    output: Output = None,
    plugin: Plugins = None,
) -> None:
    """Make the claims report: the verdict on each claim, from all studies in the store."""
    print(verdicts(dataset or [], storage, output or Path("reports", "output", "claims")))


@app.command("all")
def all_(
    dataset: Datasets = None,
    storage: Storage = STORAGE,
    output: Folder = Path("reports", "output"),
    plugin: Plugins = None,
) -> None:
    """Make every report that the store has results for, and the claims report last."""
    layouts = _shipped()
    by_kind: dict[str, ReportKind] = {}
    for study, data in _held(storage, dataset or []):
        if study not in layouts:  # from a user's file
            try:
                print(make(study, data, storage, output / f"{study}-{Path(data).name}"))
            except UserError as error:
                print(printable(f"left out: study {study!r} on {data!r}: {error}"), file=sys.stderr)
            continue
        kind = KINDS[layouts[study].report]
        if kind.every_design:
            by_kind[kind.name] = kind
        else:
            print(make(study, data, storage, output / f"{study}-{Path(data).name}"))
    for kind in by_kind.values():
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
    own, studies = {str(command.name): command for command in app.registered_commands}, files.files()
    if taken := own.keys() & KINDS.keys():
        raise UserError(f"report kind {min(taken)!r}: is a command of harness.report; choose another name")
    kinds = [kind.name for kind in KINDS.values() if kind.name not in studies and not kind.instead_of]
    for name in console.asked([*own, *studies, *kinds]):
        if name in own:
            command_line.registered_commands.append(own[name])
        elif name in studies:
            command_line.command(name, help=f"Make the report of study {name}.")(_command_of(name))
        else:
            help_ = f"Make the reports of all studies with 'report: {name}' ({KINDS[name].label})."
            command_line.command(name, help=help_)(_command_of_kind(KINDS[name]))
    return command_line


def main() -> None:
    """Run the command line."""
    console.run(commands, "python -m harness.report")


if __name__ == "__main__":
    main()
