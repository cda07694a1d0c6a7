"""Studies: ``python -m harness.study list | describe NAME | NAME --dataset D ...``.

Lists and help texts import no engine; a command imports what it needs.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness import console as cli
from harness.design import catalogue
from harness.errors import UserError, nearest

app = typer.Typer(
    help="Run studies: all cells of a design, on all cores, resumable, with a report at the end.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Dataset = Annotated[str, typer.Option(help="Name of a data set, or a folder with train, valid and test files.")]
BackboneName = Annotated[str | None, typer.Option(help="ttranse, ta-distmult or all; default: the study's.")]
TeacherBackbone = Annotated[str | None, typer.Option(help="The structural teacher's; default: the student's.")]
PresetName = Annotated[str, typer.Option(help="Size of the study: quick, default or full.")]
Seeds = Annotated[int | None, typer.Option(min=1, max=1000, help="Number of seeds; default: the preset's.")]
Arms = Annotated[str | None, typer.Option(help="Only these arms, with commas between; default: all of the study.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Worker processes; default: one a core.")]
Cluster = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Have the workers of a Dask scheduler do it, as tcp://HOST:8786.")
]
Stack = Annotated[
    int | None, typer.Option(min=1, help="Students that a worker trains side by side; default: 32 on a GPU, else 1.")
]
DataDir = Annotated[Path | None, typer.Option(help="Look for the files of named data sets here only.")]
Storage = Annotated[str, typer.Option(envvar="HARNESS_STORAGE", help="Where results go: an SQLAlchemy URL.")]
Artifacts = Annotated[Path | None, typer.Option(help="Folder of ranks and curves; default: beside the store.")]
CacheDir = Annotated[Path | None, typer.Option(help="Folder of teachers, targets ...; default: runs/cache.")]
Output = Annotated[Path | None, typer.Option(help="Folder of the report; default: reports/output/STUDY-DATASET.")]
Changes = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU when there is one.")]


@app.command("list")
def list_() -> None:
    """List the studies."""
    table = Table("study", "what", "claims", "presets")
    for path in catalogue.files().values():
        study = catalogue.heading(path)
        words = (study.name, study.title, ", ".join(study.claims), ", ".join(study.presets))
        table.add_row(*map(escape, words))
    cli.console().print(table)


@app.command()
def describe(name: Annotated[str, typer.Argument(help="Name of a study.")], preset: PresetName = "default") -> None:
    """Show a study's design and every setting with its value."""
    from harness.design import files as designs
    from harness.design.settings import flat, settings

    design = designs.load(name)
    chosen = designs.preset_of(design, preset)
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
        facts.add_row("trained anew", f"the best {design.confirm} points of a backbone, and the recommended default")
    if (search := design.searched(chosen)) is not None:
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
    for key, setting, about in settings(designs.settle(design, chosen)):
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


def _part(preset: Any) -> str:
    """What a preset has of the design's arms and levels, where it has not all."""
    arms = f"; arms: {', '.join(preset.arms)}" if preset.arms else ""
    return arms + "".join(f"; {key}: {', '.join(map(str, levels))}" for key, levels in (preset.grid or {}).items())


def run_study(
    name: str,
    *,
    dataset: str,
    backbone: str | None,
    teacher_backbone: str | None,
    preset: str,
    seeds: int | None,
    arms: str | None,
    jobs: int | None,
    cluster: str | None = None,
    stack: int | None,
    data_dir: Path | None,
    storage: str,
    artifacts: Path | None,
    cache_dir: Path | None,
    output: Path | None,
    changes: list[str],
    device: str,
    command: str,
) -> Path:
    """Run what is missing of a study, print the table, write the report; return the path of its PDF."""
    from harness.design import files as designs
    from harness.design.settings import parse_changes

    if cluster is not None and jobs is not None:
        raise UserError("--jobs: with --cluster the cluster's workers do the work, as many as there are; leave one out")
    design = designs.load(name)
    designs.preset_of(design, preset)
    if teacher_backbone is not None:
        changes = [*changes, f"teacher.backbone={teacher_backbone}"]
    wanted = parse_changes(changes)
    chosen_arms = [arm.strip() for arm in arms.split(",")] if arms else []
    console = Console(emoji=False)
    from harness.models import BACKBONES

    backbones = sorted(BACKBONES, reverse=True) if backbone == "all" else [backbone or design.backbone]
    if unknown := [b for b in backbones if b not in BACKBONES]:
        raise UserError(f"unknown backbone {unknown[0]!r}: {nearest(unknown[0], [*BACKBONES, 'all'])}")
    from harness.engine.coordinator import default_jobs, default_stack, execute, plans, refuse_too_many_classes
    from harness.report import layout_of, report_of_cells
    from harness.store import frames
    from harness.store.store import Store
    from harness.trial.cache import default_root
    from harness.trial.devices import device_of
    from harness.trial.inputs import graph_of
    from harness.trial.stages import Context

    layout_of(name)  # refuses an unknown kind of report before hours are spent
    folder = output or Path("reports", "output", f"{name}-{Path(dataset).name}")
    device = device_of(device)
    graph = graph_of(dataset, data_dir)
    if not any(graph.entities.labels):
        console.print("[yellow]warning[/] this data has numbers for names: the language model has little to read")
    run = designs.plan(
        design,
        dataset=dataset,
        data_digest=graph.digest,
        backbones=backbones,
        preset=preset,
        seeds=seeds,
        arms=chosen_arms,
        changes=wanted,
    )
    refuse_too_many_classes(run.cells, graph)
    planned = plans(run.cells, graph.digest, device)  # before anything is written: weights may be missing
    check_folder(folder)
    store = Store(storage, artifacts)
    cache, stack = (cache_dir or default_root()).resolve(), stack or default_stack(device)
    context = Context(cache, data_dir and data_dir.resolve(), device, stack)
    try:
        tally = execute(run, planned, graph, store, context, jobs or default_jobs(device), command, console, cluster)
        if not tally.added and not tally.failed:
            console.print(f"all {len(tally.cells)} cells were complete already")
        if tally.failed == len(tally.cells):
            raise UserError(f"all {tally.failed} cells failed, the first with: {tally.reason}")
        if design.measured(preset):
            from harness.measurements.measure import measure

            with store.told():
                measure(run, planned, graph, store, context, command, console)
    except KeyboardInterrupt:
        console.print("interrupted; what is complete is kept, and the same command goes on from there")
        raise

    trials, curves, load_ranks = frames.load(storage, name, dataset, artifacts, run.study_name, store.patience)
    return report_of_cells(name, trials, curves, load_ranks, folder, run.study_name, tally.cells, console)


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


def _command_of(name: str, about: str) -> Callable[..., None]:
    def command(
        dataset: Dataset = "lahman",
        backbone: BackboneName = None,
        teacher_backbone: TeacherBackbone = None,
        preset: PresetName = "default",
        seeds: Seeds = None,
        arms: Arms = None,
        jobs: Jobs = None,
        cluster: Cluster = None,
        stack: Stack = None,
        data_dir: DataDir = None,
        storage: Storage = "sqlite:///runs/harness.db",
        artifacts: Artifacts = None,
        cache_dir: CacheDir = None,
        output: Output = None,
        changes: Changes = None,
        device: Device = "auto",
    ) -> None:
        options: dict[str, Any] = {**locals(), "changes": changes or []}
        for closed_over in ("name", "about"):
            options.pop(closed_over, None)
        from harness.store.database import safe

        line = shlex.join(["python", "-m", "harness.study", *(safe(word) for word in sys.argv[1:])])
        # the report's path is the last line, alone, for scripts to read
        print(run_study(name, command=line, **options))

    command.__doc__ = about
    return command


def main() -> None:
    """The command line, with a command for every study file."""
    for path in catalogue.files().values():
        try:
            study = catalogue.heading(path)
        except UserError as error:  # the command itself will end with it
            app.command(path.stem)(_command_of(path.stem, str(error)))
            continue
        claims = f" Tests the claims {', '.join(study.claims)}." if study.claims else ""
        app.command(study.name)(_command_of(study.name, f"{study.title}.{claims}\n\n{study.about}"))
    cli.run(app)


if __name__ == "__main__":
    main()
