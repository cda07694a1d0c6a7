"""The options of commands that run a study, each stated once. Light to import: help texts need no engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

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
