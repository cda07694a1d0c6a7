"""Studies: ``python -m harness.study list | describe STUDY | run FILE | NAME --dataset D ...``.

Lists and help texts import no engine; a command imports what it needs.
"""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from harness import console as cli
from harness.design import files
from harness.errors import UserError
from harness.run_options import Options, Plugins, PresetName

if TYPE_CHECKING:
    from harness.design.schema import Design, Preset

app = typer.Typer(
    help="Run studies: all trials of a design, on all cores, resumable, with a report at the end.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study, or a study file as my.yaml.")]
StudyFile = Annotated[str, typer.Argument(metavar="FILE", help="A study file as my.yaml.")]


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
    from harness.store.database.urls import safe
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
    from harness import plugins

    loaded = plugins.load_asked_for(options.plugin or ())
    design = load(study)
    from harness.running import run  # the engine, in which the plugins are known by now

    return run(design, options, loaded, command)


def _started(options: Options, study: str) -> None:
    """Run a study; the report's path is the last line, alone, for scripts to read."""
    from harness.store.database.urls import safe

    command = shlex.join(["python", "-m", "harness.study", *(safe(word) for word in sys.argv[1:])])
    print(run_study(study, options, command))


@cli.command(app, "run", Options)
def run_file(
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
        cli.command(app, name, Options, about)(partial(_started, study=name))
    cli.run(app)


if __name__ == "__main__":
    main()
