"""What all benchmarks share: options, a timer that takes turns, a table and a JSON file.

Nothing here or at the top of a command's module imports PyTorch, so that ``--help`` is quick.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.table import Table

from harness import console as cli
from harness.errors import UserError, nearest

if TYPE_CHECKING:
    from harness.trial.spec import TrialSpec
    from harness.trial.stages import Stages

T = TypeVar("T")

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
    from harness.design import files as design
    from harness.design.settings import parse_changes

    ablation = design.load("ablation")
    preset, wanted = design.preset_of(ablation, "default"), parse_changes(changes)
    spec = design.settle(ablation, preset, wanted, dataset=dataset, backbone=backbone)
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


# ---- the timer -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """What one way measured: a median, and the seconds that its first call took longer than the later ones."""

    value: float
    warm_up: float


def alternate(ways: Mapping[T, Callable[[], float]], rounds: int) -> dict[T, Measured]:
    """Call the ways in turns (A B A B ...), so that what else the machine does meets all of them.

    The first call of each, which compiles and fills allocators, does not count.

    Args:
        ways: functions that measure once and return a positive figure, such as queries a second.
        rounds: calls of each that count; the median of what they return is its value.
    """
    figures: dict[T, list[float]] = {name: [] for name in ways}
    seconds: dict[T, list[float]] = {name: [] for name in ways}
    for _ in range(1 + rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            figures[name].append(way())
            seconds[name].append(time.perf_counter() - started)
    return {
        name: Measured(
            statistics.median(figures[name][1:]), max(0.0, seconds[name][0] - statistics.median(seconds[name][1:]))
        )
        for name in ways
    }


def rate(units: int, work: Callable[[], object]) -> Callable[[], float]:
    """A way for ``alternate``: ``units`` a second of ``work``."""

    def once() -> float:
        started = time.perf_counter()
        work()
        return units / (time.perf_counter() - started)

    return once


def fastest(ways: Mapping[T, Callable[[], float]]) -> T:
    """The name of the way with the highest figure, of two calls in turns."""
    measured = alternate(ways, rounds=2)
    return max(measured, key=lambda name: measured[name].value)


class TimeIsUpError(Exception):
    """Raised by ``Clock.tick`` to leave a training loop."""


class Clock:
    """Counts the queries a second of a training loop from its second step on, and leaves the loop after a while.

    The first step makes the state of the optimiser, and compiles.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._stamps: list[float] = []
        self._queries: list[int] = []

    def tick(self, queries: int) -> None:
        """To be called once a step, always at the same point of it.

        Raises:
            TimeIsUpError: once the time is over and at least one step is counted.
        """
        self._stamps.append(time.perf_counter())
        self._queries.append(queries)
        if len(self._stamps) > 2 and self._stamps[-1] - self._stamps[1] >= self.seconds:
            raise TimeIsUpError

    @property
    def rate(self) -> float:
        """Queries a second."""
        return sum(self._queries[2:]) / (self._stamps[-1] - self._stamps[1])


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
    slow = {name: each.warm_up for name, each in measured.items() if each.warm_up > 1}
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
