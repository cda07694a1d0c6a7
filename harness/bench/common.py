"""What all benchmarks share: options, a table and a JSON file.

Nothing here or at the top of a command's module imports PyTorch, so that ``--help`` is quick.
"""

from __future__ import annotations

import importlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from harness import console as cli
from harness.errors import UserError, nearest
from harness.measurements.timer import Measured

if TYPE_CHECKING:
    from harness.trial.spec import TrialSpec
    from harness.trial.stages import Stages

app = typer.Typer(
    help="Measure the engine on this machine.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # which fills the lines of a paragraph
)


def _writable(file: Path | None) -> Path | None:
    """Refuse a file that cannot be written before minutes are spent on what it should hold."""
    if file is not None and not file.parent.is_dir():
        raise UserError(f"--json {file}: no such folder {file.parent}")
    return file


Dataset = Annotated[str, typer.Option(help="Name of a data set, or a folder of one.")]
DataDir = Annotated[Path | None, typer.Option(help="Look for the files of named data sets here only.")]
OneBackbone = Annotated[str, typer.Option(help="ttranse or ta-distmult.")]
AnyBackbone = Annotated[str, typer.Option(help="ttranse, ta-distmult or all.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of both ways.")]
Rounds = Annotated[int, typer.Option(min=1, help="Measurements of each way, in turns; their median counts.")]
Changes = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures here, too.", callback=_writable)]


def backbones(name: str, *, several: bool = False) -> list[str]:
    """The backbones that ``--backbone`` names.

    Raises:
        UserError: if there is no such backbone.
    """
    from harness.models import BACKBONES

    if several and name == "all":
        return list(BACKBONES)
    if name not in BACKBONES:
        raise UserError(f"unknown backbone {name!r}: {nearest(name, [*BACKBONES, *(['all'] if several else [])])}")
    return [name]


def open_stages(dataset: str, backbone: str, data_dir: Path | None, threads: int, device: str = "cpu") -> Stages:
    """The engine on a data set, with the default settings of a trial, single-threaded or not."""
    import torch

    from harness.trial.cache import default_root
    from harness.trial.spec import TrialSpec
    from harness.trial.stages import Context, Stages

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return Stages(TrialSpec(dataset=dataset, backbone=backbone), Context(default_root(), data_dir, device))


def settled(dataset: str, backbone: str, arm: str, changes: Sequence[str]) -> TrialSpec:
    """A trial of study ablation with its default settings, whose teachers are therefore shared."""
    from harness.design import files
    from harness.design.cells import settle
    from harness.design.settings import parse_changes

    ablation = files.load("ablation")
    preset, wanted = ablation.preset("default"), parse_changes(changes)
    spec = settle(ablation, preset, wanted, dataset=dataset, backbone=backbone)
    return spec.model_copy(update={"dataset": dataset, "backbone": backbone, "arm": arm})


def build_missing(stages: Stages) -> None:
    """Make the shared stages that the cache lacks, but for stage 1, and say so."""
    for name in stages.plan.keys:
        if name != "stage1" and not stages.is_cached(name):
            typer.echo(f"building {name} for {stages.spec.backbone}, which the cache lacks: up to minutes", err=True)
            stages.entry(name)


def has_pykeen() -> bool:
    """Whether PyKEEN can be imported. If so it is, kept from making its folders in the home directory."""
    before = os.environ.get("PYSTOW_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PYSTOW_HOME"] = folder
        try:
            for name in ("pykeen", "pykeen.constants"):  # the latter makes the folders
                importlib.import_module(name)
        except ImportError:
            return False
        finally:
            del os.environ["PYSTOW_HOME"]
            if before is not None:
                os.environ["PYSTOW_HOME"] = before
    return True


# ---- results -------------------------------------------------------------------------------------------------------

Row = Mapping[str, Any]


def show(title: str, columns: Mapping[str, str], rows: Sequence[Row], notes: Sequence[str] = ()) -> None:
    """Print a table and lines below it. ``columns`` maps keys of the rows to headings; a key no row has is left out."""
    kept = {key: heading for key, heading in columns.items() if any(key in row for row in rows)}
    table = Table(title=title)
    for key, heading in kept.items():
        numbers = all(isinstance(row.get(key), int | float | None) for row in rows)
        table.add_column(heading, justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*(_cell(row.get(key)) for key in kept))
    console = cli.console()
    console.print(table)
    for note in notes:
        console.print(note)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def warm_up_notes(measured: Mapping[str, Measured]) -> list[str]:
    """A line for each way that took more than a second to warm up."""
    slow = {name: way.warm_up for name, way in measured.items() if way.warm_up > 1}
    return [f"not counted: {seconds:.1f} s of warming up, {name}" for name, seconds in slow.items()]


def save(file: Path | None, command: str, stages: Stages, threads: int, **figures: object) -> None:
    """Write the figures, and what they were measured with, as JSON."""
    if file is None:
        return
    from harness.trial.provenance import provenance

    about: dict[str, object] = {
        "command": command,
        "dataset": stages.spec.dataset,
        "data_digest": stages.graph.digest,
        "threads": threads,
        "provenance": provenance(),
    }
    file.write_text(json.dumps(about | figures, indent=1) + "\n", "utf-8")
