"""Studies: ``python -m harness.study list | describe STUDY | run FILE | NAME --dataset D ...``.

Lists and help texts import no engine; a command imports what it needs.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness import console as cli
from harness.design import files
from harness.errors import UserError, nearest

if TYPE_CHECKING:
    from harness.design.cells import Run
    from harness.design.schema import Design, Preset, Settings

app = typer.Typer(
    help="Run studies: all trials of a design, on all cores, resumable, with a report at the end.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study, or a study file as my.yaml.")]
StudyFile = Annotated[str, typer.Argument(metavar="FILE", help="A study file as my.yaml.")]
PresetName = Annotated[str, typer.Option(help="Size of the study: quick, default or full.")]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE", help="Python file with your own methods; repeatable."),
]


@dataclass(frozen=True)
class Options:
    """The options of a command that runs a study; None: see the help text."""

    dataset: Annotated[str, typer.Option(help="Name of a data set, or a folder with train, valid and test files.")] = (
        "lahman"
    )
    backbone: Annotated[str | None, typer.Option(help="Name of a backbone, or all; default: the study's.")] = None
    teacher_backbone: Annotated[str | None, typer.Option(help="The structural teacher's; default: the student's.")] = (
        None
    )
    preset: PresetName = "default"
    seeds: Annotated[int | None, typer.Option(min=1, max=1000, help="Number of seeds; default: the preset's.")] = None
    arms: Annotated[
        str | None, typer.Option(help="These arms, with commas between, such as none,L1,L1+L2; default: the study's.")
    ] = None
    jobs: Annotated[int | None, typer.Option(min=1, help="Worker processes; default: one a core.")] = None
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Have the workers of a Dask scheduler do it: tcp://HOST:8786.")
    ] = None
    stack: Annotated[
        int | None,
        typer.Option(min=1, help="Students that a worker trains side by side; default: 32 on a GPU, or 1."),
    ] = None
    data_dir: Annotated[Path | None, typer.Option(help="Look for the files of named data sets here only.")] = None
    storage: Annotated[str, typer.Option(envvar="HARNESS_STORAGE", help="Where results go: an SQLAlchemy URL.")] = (
        "sqlite:///runs/harness.db"
    )
    artifacts: Annotated[Path | None, typer.Option(help="Folder of ranks and curves; default: beside the store.")] = (
        None
    )
    cache_dir: Annotated[Path | None, typer.Option(help="Folder of teachers, targets ...; default: runs/cache.")] = None
    output: Annotated[
        Path | None, typer.Option(help="Folder of the report; default: reports/output/STUDY-DATASET.")
    ] = None
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting.")] = None
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU when there is one.")] = "auto"
    plugin: Plugins = None


@app.command("list")
def list_() -> None:
    """List the studies."""
    table = Table("study", "what", "claims", "presets")
    for path in files.files().values():
        study = files.outline(path)
        words = (path.stem, study.title, ", ".join(study.claims), ", ".join(study.presets))
        table.add_row(*map(escape, words))
    cli.console().print(table)


@app.command()
def describe(study: StudyName, preset: PresetName = "default", plugin: Plugins = None) -> None:
    """Show a study's design and every setting with its value."""
    from harness import plugins

    plugins.load_asked_for(plugin or ())
    from harness.design.cells import search_of, settle
    from harness.design.settings import flat, settings

    design = load(study)
    chosen = design.preset(preset)
    console = cli.console()
    console.print(f"[bold]{escape(design.title)}[/]\n{escape(design.about)}\n")
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    facts.add_row("claims", escape(", ".join(design.claims)))
    facts.add_row("arms", ", ".join(design.arms))
    for label, variant in design.variants.items():
        facts.add_row(escape(f"variant {label}"), escape(f"{variant.arm}, {flat(variant.settings)}"))
    for key, levels in design.grid.items():
        facts.add_row("varied", escape(f"{key}: {', '.join(map(str, levels))}"))
    if design.confirm:
        facts.add_row("confirmation runs", f"of the best {design.confirm} points of a backbone, and of the default")
    if (search := search_of(design, chosen)) is not None:
        facts.add_row("search", escape(f"{search.arm}, {search.sampler}, {search.configurations()} configurations"))
        for key, factor in search.factors.items():
            facts.add_row("searched", escape(f"{key}: {factor.distribution()}"))
    facts.add_row("reference rows", ", ".join(design.references))
    if measured := design.measured(preset):
        facts.add_row("measured beside", ", ".join(measured))
    for base, arms in design.compare.items():
        facts.add_row(escape(f"compared with {base}"), escape(", ".join(arms)))
    for key, value in design.presets.items():
        facts.add_row(f"preset {key}", escape(f"{value.about}; seeds: {value.seeds}{_part(value)}"))
    console.print(facts)
    table = Table("setting", "value", "what it is", title=f"settings of preset {preset}", title_justify="left")
    for key, setting, about in settings(settle(design, chosen)):
        table.add_row(key, escape(setting), escape(about))
    console.print(table)


@app.command()
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The store to read, an SQLAlchemy URL.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The store to add to; made if it is not there.")],
    names: Annotated[list[str] | None, typer.Option("--study", help="Only this one; may be given again.")] = None,
    from_artifacts: Annotated[Path | None, typer.Option(help="Folder of FROM's ranks and curves.")] = None,
    to_artifacts: Annotated[Path | None, typer.Option(help="Folder of TO's ranks and curves.")] = None,
) -> None:
    """Copy complete trials, with ranks and curves, from one store to another, as from a laptop to a server.

    What the other store has already stays as it is, so the command may be given again.
    """
    from harness.store.copies import copy as copied
    from harness.store.database import safe
    from harness.store.store import Store

    console, count = cli.console(), 0
    for one in copied(Store(source, from_artifacts, create=False), Store(target, to_artifacts), names or ()):
        console.print(escape(f"{one.study}: {one.added} added, {one.there} were there"))
        count += 1
    if not count:
        raise UserError(f"storage {safe(source)}: has no study")


def _part(preset: Preset) -> str:
    """What a preset has of the design's arms and levels, where it has not all."""
    arms = f"; arms: {', '.join(preset.arms)}" if preset.arms else ""
    return arms + "".join(f"; {key}: {', '.join(map(str, levels))}" for key, levels in (preset.grid or {}).items())


def load(study: str) -> Design:
    """Read and check a study file, and that there is a report of the kind that it asks for.

    Raises:
        UserError: there is no such study or kind of report, or the file is malformed.
    """
    from harness.report import as_layout

    design = files.load(study)
    try:
        as_layout(design)
    except UserError as error:
        raise UserError(f"study file {files.path_of(study)}: {error}") from None
    return design


def run_study(study: str, options: Options, command: str) -> Path:
    """Run what is missing of a study, print the table, write the report; return the path of its PDF.

    Args:
        study: name of a study, or path of a study file.
        options: of the command line.
        command: the whole command line, which the store keeps.

    Raises:
        UserError: something that was asked for is not there or cannot be; nothing was written then.
    """
    if options.cluster is not None and options.jobs is not None:
        raise UserError("--jobs: with --cluster the cluster's workers do the work, as many as there are; leave one out")
    from harness import plugins

    loaded = plugins.load_asked_for(options.plugin or ())
    design = load(study)
    from harness.engine.coordinator import default_jobs, default_stack, execute, plans, refuse_too_many_classes
    from harness.report import report_of_cells
    from harness.store import frames
    from harness.store.store import Store
    from harness.trial.cache import default_root
    from harness.trial.devices import device_of
    from harness.trial.inputs import graph_of
    from harness.trial.stages import Context

    console = Console(emoji=False)
    changes = _changes(options)
    backbones = _backbones(options.backbone, design)
    design.preset(options.preset)
    folder = options.output or Path("reports", "output", f"{design.name}-{Path(options.dataset).name}")
    device = device_of(options.device)
    graph = graph_of(options.dataset, options.data_dir)
    if not any(graph.entities.labels):
        console.print("[yellow]warning[/] this data has numbers for names: the language model has little to read")
    run = _planned(design, options, graph.digest, backbones, changes)
    refuse_too_many_classes(run.cells, graph)
    planned = plans(run.cells, graph.digest, device)  # before anything is written: weights may be missing
    check_folder(folder)
    store = Store(options.storage, options.artifacts)
    cache, stack = (options.cache_dir or default_root()).resolve(), options.stack or default_stack(device)
    data_dir = options.data_dir and options.data_dir.resolve()
    context = Context(cache, data_dir, device, stack, plugins=loaded)
    jobs = options.jobs or default_jobs(device)
    try:
        tally = execute(run, planned, graph, store, context, jobs, command, console, options.cluster)
        if not tally.added and not tally.failed:
            console.print(f"all {len(tally.cells)} trials were complete already")
        if tally.failed == len(tally.cells):
            raise UserError(f"all {tally.failed} trials failed, the first with: {tally.reason}")
        if design.measured(options.preset):
            from harness.measurements.measure import measure

            with store.told():
                measure(run, planned, graph, store, context, command, console)
    except KeyboardInterrupt:
        console.print("interrupted; what is complete is kept, and the same command goes on from there")
        raise

    results = frames.load(
        options.storage, design.name, options.dataset, options.artifacts, run.study_name, store.patience
    )
    return report_of_cells(design, *results, folder, run.study_name, tally.cells, console)


def _changes(options: Options) -> Settings:
    from harness.design.settings import parse_changes

    teacher = [] if options.teacher_backbone is None else [f"teacher.backbone={options.teacher_backbone}"]
    return parse_changes([*(options.changes or []), *teacher])


def _backbones(name: str | None, design: Design) -> list[str]:
    from harness.models import BACKBONES

    backbones = sorted(BACKBONES, reverse=True) if name == "all" else [name or design.backbone]
    if unknown := [backbone for backbone in backbones if backbone not in BACKBONES]:
        raise UserError(f"unknown backbone {unknown[0]!r}: {nearest(unknown[0], [*BACKBONES, 'all'])}")
    return backbones


def _planned(design: Design, options: Options, data_digest: str, backbones: list[str], changes: Settings) -> Run:
    from harness.design.cells import plan

    return plan(
        design,
        dataset=options.dataset,
        data_digest=data_digest,
        backbones=backbones,
        preset=options.preset,
        seeds=options.seeds,
        arms=[arm.strip() for arm in options.arms.split(",")] if options.arms else [],
        changes=changes,
    )


def check_folder(folder: Path) -> None:
    """Refuse an output folder that cannot be written before hours are spent; leave no new one behind.

    Raises:
        UserError: it is not writable.
    """
    from harness.reporting.output.typst import staging

    made = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    with staging(folder):
        pass
    with contextlib.suppress(OSError):
        for path in made:
            path.rmdir()


def _started(options: Options, study: str) -> None:
    """Run a study; the report's path is the last line, alone, for scripts to read."""
    from harness.store.database import safe

    command = shlex.join(["python", "-m", "harness.study", *(safe(word) for word in sys.argv[1:])])
    print(run_study(study, options, command))


@cli.command(app, "run", Options)
def run(
    options: Options, study: Annotated[str, typer.Argument(metavar="FILE", help="A study file as my.yaml.")]
) -> None:
    """Run a study from a file of your own."""
    if not files.is_file(study):
        raise UserError(f"run {study}: takes a study file as my.yaml; a study of the package runs by its name")
    _started(options, study)


def main() -> None:
    """The command line, with a command for every study file."""
    for name, path in files.files().items():
        try:
            study = files.outline(path)
            claims = f" Tests the claims {', '.join(study.claims)}." if study.claims else ""
            about = f"{study.title}.{claims}\n\n{study.about}"
        except UserError as error:  # the command itself will end with it
            about = str(error)
        cli.command(app, name, Options, help=about)(partial(_started, study=name))
    cli.run(app)


if __name__ == "__main__":
    main()
