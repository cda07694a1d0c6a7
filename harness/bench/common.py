"""What the commands share: the engine on a data set, a table and a JSON file."""

from __future__ import annotations

import importlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
import typer
from rich.table import Table

from harness import console as cli
from harness.bench.options import Options
from harness.design import files
from harness.design.settings import parse_changes, settle
from harness.measurements.timer import Measured
from harness.trial.cache import default_root
from harness.trial.inputs import graph_of
from harness.trial.provenance import provenance
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages
from harness.vocabulary import PAPERS_BACKBONES

Row = Mapping[str, Any]


def run(options: Options) -> None:
    """Run the command of the options; with ``--json`` write its figures, and what they were measured with."""
    command, threads = type(options).__name__.lower(), getattr(options, "threads", 1)
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    figures = importlib.import_module(f"harness.bench.commands.{command}").run(options)
    if options.file is None:
        return
    about = {
        "command": command,
        "dataset": options.dataset,
        "data_digest": graph_of(options.dataset, options.data_dir).digest,
        "threads": threads,
        "provenance": provenance(),
    }
    options.file.write_text(json.dumps(about | figures, indent=1) + "\n", "utf-8")


def backbones(name: str) -> list[str]:
    """The backbones that ``--backbone`` names."""
    return list(PAPERS_BACKBONES) if name == "all" else [name]


def context_of(options: Options, device: str = "cpu") -> Context:
    """The cache and the data of trials."""
    return Context(default_root(), options.data_dir, device)


def open_stages(options: Options, backbone: str, device: str = "cpu") -> Stages:
    """The engine on a data set, with the default settings of a trial."""
    return Stages(TrialSpec(dataset=options.dataset, backbone=backbone), context_of(options, device))


def settled(dataset: str, backbone: str, arm: str, changes: Sequence[str]) -> TrialSpec:
    """A trial of study ablation with its default settings, so that both share teachers."""
    ablation = files.load("ablation")
    spec = settle(ablation, ablation.preset("default"), parse_changes(changes), dataset=dataset, backbone=backbone)
    return spec.model_copy(update={"dataset": dataset, "backbone": backbone, "arm": arm})


def build_missing(stages: Stages) -> None:
    """Make the shared stages that the cache lacks, but for stage 1, and say so."""
    for name in stages.plan.keys:
        if name != "stage1" and not stages.is_cached(name):
            typer.echo(f"building {name} for {stages.spec.backbone}, which the cache lacks: up to minutes", err=True)
            stages.entry(name)


def pykeen() -> ModuleType | None:
    """``harness.bench.baseline``, or None without PyKEEN, which is kept from making folders in the home directory."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, PYSTOW_HOME=folder):
        try:
            for name in ("pykeen", "pykeen.constants"):  # the latter makes the folders
                importlib.import_module(name)
        except ImportError:
            return None
    return importlib.import_module("harness.bench.baseline")


# ---- results -------------------------------------------------------------------------------------------------------


def show(title: str, columns: Mapping[str, str], rows: Sequence[Row], notes: Sequence[str] = ()) -> None:
    """Print a table and lines below it. ``columns`` maps keys of the rows to headings; a key no row has is left out."""
    table = Table(title=title)
    columns = {key: heading for key, heading in columns.items() if any(key in row for row in rows)}
    for key, heading in columns.items():
        numbers = all(isinstance(row.get(key), int | float | None) for row in rows)
        table.add_column(heading, justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*(_text(row.get(key)) for key in columns))
    console = cli.console()
    console.print(table)
    for note in notes:
        console.print(note)


def _text(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def warm_up_notes(what: str, measured: Mapping[str, Measured]) -> list[str]:
    """A line for each way that took more than a second to warm up."""
    slow = {way: figure.warm_up for way, figure in measured.items() if figure.warm_up > 1}
    return [f"not counted: {seconds:.1f} s of warming up, {way}, {what}" for way, seconds in slow.items()]
