"""Studies: ``python -m harness.study list | describe STUDY | run FILE | NAME --dataset D ...``.

Lists and help texts import no engine; a command imports what it needs.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from harness import console as cli
from harness import vocabulary
from harness.console import one_of
from harness.design import files
from harness.design.config import WithConfig, given
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.design.schema import Design, Preset

ABOUT = (
    "Run studies: all trials of a design, on all cores, resumable, with a report at the end.\n\n"
    "C1 to C14 are claims: statements of the paper that studies test. The help of a study quotes its own; "
    "'report claims' makes a page for each, with the verdict."
)
app = cli.application(ABOUT)

StudyName = Annotated[
    str,
    typer.Argument(
        metavar="STUDY", help="Name of a study, or a study file as my.yaml.", autocompletion=one_of(files.files)
    ),
]
StudyFile = Annotated[str, typer.Argument(metavar="FILE", help="A study file as my.yaml.")]
PresetName = Annotated[
    str,
    typer.Option(
        help="Size of the study: quick, default or full; some studies have others, see 'list'.",
        autocompletion=one_of(["quick", "default", "full"]),
    ),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE", help="Python file with your own methods; repeatable."),
]


@dataclass(frozen=True)
class Options:
    """The options of a command that runs a study; None: see the help text."""

    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Options from a YAML file, as 'dataset: wiki'; the command line wins."),
    ] = None
    dataset: Annotated[
        str,
        typer.Option(
            help="Name of a data set, or a folder with train, valid and test files.",
            autocompletion=one_of(vocabulary.DATASETS),
        ),
    ] = "lahman"
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Name of a backbone, or all, which means those of the paper; default: the study's.",
            autocompletion=one_of([*vocabulary.BACKBONES, "all"]),
        ),
    ] = None
    teacher_backbone: Annotated[
        str | None,
        typer.Option(
            help="The structural teacher's; default: the student's.", autocompletion=one_of(vocabulary.BACKBONES)
        ),
    ] = None
    preset: PresetName = "default"
    seeds: Annotated[int | None, typer.Option(min=1, max=1000, help="Number of seeds; default: the preset's.")] = None
    decide: Annotated[
        bool,
        typer.Option(
            "--decide",
            help="Add seeds until every comparison of test MRR is decided, or more seeds would not decide it.",
        ),
    ] = False
    tune: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Configurations of each arm in its tuning; default: the preset's."),
    ] = None
    arms: Annotated[
        str | None, typer.Option(help="These arms, with commas between, such as none,L1,L1+L2; default: the study's.")
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show what would be run, and a forecast of time, memory and disk; write nothing."
        ),
    ] = False
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
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a setting; repeatable. 'describe STUDY' lists the keys."
        ),
    ] = None
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="SUSPICION", help="What looks odd about the data and is meant so; repeatable."),
    ] = None
    device: Annotated[
        str,
        typer.Option(
            help="cpu, cuda, or auto: a GPU when there is one.", autocompletion=one_of(["cpu", "cuda", "auto"])
        ),
    ] = "auto"
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


@app.command("describe")
def describe(
    study: StudyName,
    preset: PresetName = "default",
    everything: Annotated[
        bool, typer.Option("--all", help="Options of methods that the study does not use, too.")
    ] = False,
    plugin: Plugins = None,
) -> None:
    """Show a study's design, and the settings that --set changes with their values."""
    from harness import plugins

    plugins.load_asked_for(plugin or ())
    from harness.design.cells import facts
    from harness.design.settings import method_of, settings, settle, tune_of
    from harness.trial.arms import parts_of

    design = load(study)
    chosen = design.preset(preset)
    console = cli.console()
    console.print(f"[bold]{escape(design.title)}[/]\n{escape(design.about)}\n")
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, text in facts(design, preset):
        table.add_row(escape(name), escape(text))
        if name == "claims":
            for claim in design.claims:
                table.add_row("", escape(f"{claim}: {vocabulary.CLAIMS.get(claim, 'no claim of the paper')}"))
    for base, arms in design.compare.items():
        table.add_row(escape(f"compared with {base}"), escape(", ".join(arms)))
    for key, value in design.presets.items():
        table.add_row(f"preset {key}", escape(f"{value.about}; seeds: {value.seeds}{_part(value)}"))
    console.print(table)
    spec = settle(design, chosen)
    used = {spec.teacher.source, design.backbone, *design.backbones}
    used |= {part for condition in design.conditions.values() for part in parts_of(condition.arm)}
    varied = {*(chosen.grid or design.grid), *(design.search or {}).get("factors", {})}
    varied |= {*(tune.settings if (tune := tune_of(design, chosen)) else ())}
    unused: dict[str, None] = {}
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("what it is")
    for part, rows in settings(spec).items():
        table.add_section()
        table.add_row(f"[bold]{escape(part)}[/]")
        for key, setting, about in rows:
            if (method := method_of(key)) in (None, *used) or everything:
                table.add_row(key, "varied" if key in varied else escape(setting), escape(about))
            else:
                unused[str(method)] = None
    console.print(
        f"\nSettings of preset {escape(preset)}; --set KEY=VALUE changes one, and may be given several times:\n"
    )
    console.print(table)
    if unused:
        console.print(f"\nLeft out: options of {', '.join(unused)}, which this study does not use; --all shows them.")


@app.command("copy")
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

    study = None
    stores = Store(source, from_artifacts, create=False), Store(target, to_artifacts)
    for study, added, there in copied(*stores, names or ()):
        cli.console().print(escape(f"{study}: {added} added, {there} were there"))
    if study is None:
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


def run_study(study: str, options: Options, command: str) -> Path | None:
    """Run what is missing of a study, print the table, write the report; return the path of its PDF, None if this is a
    dry run.

    ``study`` is the name of a study or the path of a study file, and ``command`` the command line, for the store.

    Raises:
        UserError: something that was asked for is not there or cannot be; nothing was written then.
    """
    from harness import plugins

    loaded = plugins.load_asked_for(options.plugin or ())
    design = load(study)
    from harness.running.run import run  # the engine, in which the plugins are known by now

    return run(design, options, loaded, command)


def _started(options: Options, context: typer.Context, study: str) -> None:
    """Run a study; the report's path is the last line, alone, for scripts to read."""
    from harness.store.database.urls import safe

    command = shlex.join([safe(word) for word in given(context)])
    if (path := run_study(study, options, command)) is not None:
        print(path)


@cli.command(app, "run", Options, kind=WithConfig)
def run_file(options: Options, context: typer.Context, study: StudyFile) -> None:
    """Run a study from a file of your own."""
    if not files.is_file(study):
        raise UserError(f"run {study}: takes a study file as my.yaml; a study of the package runs by its name")
    _started(options, context, study)


def commands() -> typer.Typer:
    """The command line, with a command for every study file."""
    every = cli.application(ABOUT)
    shipped, own = files.files(), {str(command.name): command for command in app.registered_commands}
    for name in cli.asked([*own, *shipped]):
        if name in own:
            every.registered_commands.append(own[name])
            continue
        try:
            study = files.outline(shipped[name])
            claims = f" Tests {', '.join(study.claims)}." if study.claims else ""
            tested = [f"{claim}: {vocabulary.CLAIMS.get(claim, '')}" for claim in study.claims]
            about = "\n\n".join([f"{study.title}.{claims}", study.about, *tested])
        except UserError as error:  # the command itself will end with it
            about = str(error)
        cli.command(every, name, Options, about, WithConfig)(partial(_started, study=name))
    return every


def main() -> None:
    """Run the command line."""
    cli.run(commands, "python -m harness.study")


if __name__ == "__main__":
    main()
