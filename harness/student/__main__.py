"""Students as files: ``python -m harness.student export | info | ask | evaluate | convert | serve``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from harness import console as cli
from harness.errors import UserError
from harness.scratch import write_atomically
from harness.student.fileformat import About, read
from harness.student.student import Student, table

if TYPE_CHECKING:
    from harness.trial.stages import Context

app = typer.Typer(
    help="A distilled student as one small file: make it, look at it, ask it, score it, serve it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A student's file, as export writes it.")]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The student's file to write.")]
Dataset = Annotated[str, typer.Option(help="Name of a data set, or a folder with train, valid and test files.")]
DataDir = Annotated[Path | None, typer.Option(help="Look for the files of named data sets here only.")]
CacheDir = Annotated[Path | None, typer.Option(help="Folder of teachers, targets ...; default: runs/cache.")]
Plugins = Annotated[
    list[Path] | None, typer.Option("--plugin", metavar="FILE", help="Python file with your own methods; repeatable.")
]


@app.command()
def export(
    output: Output,
    study: Annotated[str | None, typer.Option(help="Take a student of this study from the store.")] = None,
    trial: Annotated[
        int | None, typer.Option(min=0, help="Number of the trial in reports; default: the best on validation.")
    ] = None,
    dataset: Dataset = "lahman",
    arm: Annotated[str, typer.Option(help="Without --study: the losses, such as L1+L2+L3, or none.")] = "L1+L2+L3",
    backbone: Annotated[str, typer.Option(help="Without --study: name of a backbone.")] = "ttranse",
    seed: Annotated[int, typer.Option(min=0, help="Without --study: of initial values and batches.")] = 0,
    preset: Annotated[str, typer.Option(help="Without --study: preset of study ablation.")] = "default",
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting.")] = None,
    facts: Annotated[bool, typer.Option(help="Put the known facts in, so that answers can be marked.")] = True,
    storage: Annotated[str, typer.Option(envvar="HARNESS_STORAGE", help="The store.")] = "sqlite:///runs/harness.db",
    artifacts: Annotated[Path | None, typer.Option(help="Folder of the store's ranks.")] = None,
    data_dir: DataDir = None,
    cache_dir: CacheDir = None,
    plugin: Plugins = None,
) -> None:
    """Write a student's file: of a trial in the store, or of one that is trained now.

    The state that the trial kept is used while it is in the cache. Else the trial runs again, and its ranks are
    compared with those in the store.
    """
    from harness import plugins

    plugins.load_asked_for(plugin or ())
    from harness.student.choosing import compared, stored, wanted
    from harness.student.export import export as exported
    from harness.trial.run import TrialError

    if study is None:
        spec, ranks = wanted(dataset, arm, backbone, seed, preset, changes or []), None
    else:
        if changes:
            raise UserError("--set: a trial of the store has its settings; leave out --study to train with others")
        spec, ranks = stored(storage, study, dataset, trial, artifacts)
    if not output.absolute().parent.is_dir():
        raise UserError(f"--output {output}: folder {output.parent} is not there; make it first")
    try:
        made = exported(spec, _context(data_dir, cache_dir), facts=facts)
    except TrialError as error:
        raise UserError(f"the trial fails: {error}; change its settings") from None
    note = "" if ranks is None else compared(made.ranks, ranks)
    write_atomically(output, made.content)
    cli.console().print(escape(f"{output}: {_size(len(made.content))}, test MRR {made.about.metrics['mrr']:.4f}{note}"))


@app.command()
def info(path: File) -> None:
    """Show what a student is: its size in parts, its metrics, and where it comes from."""
    content = read(path)
    about, n = content.about, len(content.entities)
    shown = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    spec, total = about.spec, path.stat().st_size
    rows: list[tuple[str, str]] = [
        ("student", f"{about.backbone}, {about.dim} dimensions, {_bits(about)} per number of the entity table"),
        ("trained with", f"{spec.get('arm', '?')}, seed {spec.get('seed', '?')}"),
        ("data", f"{about.dataset}: {n:,} entities, {len(content.relations):,} relations; {about.data_digest[:12]}"),
        ("bytes", f"{total:,}: " + ", ".join(f"{part} {size:,}" for part, size in content.sizes.items())),
        ("bytes an entity", f"{content.sizes['entities'] / n:.0f} in the entity table; "
                            f"{(total - content.sizes['names']) / n:.0f} with everything but names"),
    ]  # fmt: skip
    for name, value in about.metrics.items():
        low, high = about.intervals.get(name, (math.nan, math.nan))
        ends = "" if math.isnan(low) else f" ({low:.4f} to {high:.4f})"
        digits = 1 if name == "mr" else 4
        rows.append((f"test {name}", f"{value:.{digits}f}{ends}, protocol {spec.get('protocol', '?')}"))
    rows += [(name, str(value)) for name, value in about.provenance.items() if value is not None]
    for row in rows:
        shown.add_row(*map(escape, row))
    cli.console().print(shown)


@app.command()
def ask(
    path: File,
    subject: Annotated[str, typer.Argument(help="Name or label of an entity.")],
    relation: Annotated[str, typer.Argument(help="Name or label of a relation.")],
    at: Annotated[str | None, typer.Option(help="Year or day, or an interval as 1990:1995; default: unknown.")] = None,
    head: Annotated[bool, typer.Option("--head", help="SUBJECT is the tail; ask for the head.")] = False,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of answers.")] = 10,
    new: Annotated[bool, typer.Option("--new", help="Leave out answers that are known facts.")] = False,
    plugin: Plugins = None,
) -> None:
    """Ask a student which entities complete (SUBJECT, RELATION, ?), or with --head (?, RELATION, SUBJECT)."""
    from harness import plugins

    plugins.load_asked_for(plugin or ())
    start, colon, end = (at or "").partition(":")
    time = None if at is None else (start, end) if colon else start
    answers = Student.load(path).answers(subject, relation, time, k=k, head=head, known="leave out" if new else "mark")
    shown = Table("", "entity", "label", "probability", "")
    for row in table(answers):
        shown.add_row(*(escape(str(cell)) for cell in row))
    cli.console().print(shown)


@app.command()
def evaluate(
    path: File,
    dataset: Annotated[str | None, typer.Option(help="Name or folder of the data; default: the student's.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Ranking protocol; default: the student's own.")] = None,
    data_dir: DataDir = None,
    plugin: Plugins = None,
) -> None:
    """Rank the test facts of the student's data set with the file, by the code that ranks trials."""
    from harness import evaluate as ranking
    from harness import plugins
    from harness.errors import nearest

    plugins.load_asked_for(plugin or ())
    from harness.student.export import evaluated, inputs_of

    if protocol not in (None, *ranking.PROTOCOLS):
        raise UserError(f"unknown protocol {protocol!r}: {nearest(str(protocol), ranking.PROTOCOLS)}")
    content = read(path)
    data = inputs_of(content.about, dataset or content.about.dataset, _context(data_dir, None), protocol)
    metrics = ranking.metrics(evaluated(content, data))
    cli.console().print(", ".join(f"{name} {value:.{1 if name == 'mr' else 4}f}" for name, value in metrics.items()))


@app.command()
def convert(
    path: File,
    output: Output,
    bits: Annotated[str | None, typer.Option(help="Bits of a number of the entity table: 16 to 2, or ternary.")] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write an ONNX graph that scores all entities.")] = False,
    dataset: Annotated[str | None, typer.Option(help="Score the new file on this data set.")] = None,
    data_dir: DataDir = None,
    plugin: Plugins = None,
) -> None:
    """Write a student with fewer bits, or as an ONNX graph.

    Take fewer bits from a student of 32 bits. From 3 bits down, a student that was trained with --set student.bits=3 is
    better than a converted one.
    """
    from harness import plugins

    plugins.load_asked_for(plugin or ())
    from harness.student.converting import converted, graph

    if (bits is None) == (not onnx):
        raise UserError("convert: say either --bits N or --onnx")
    content = read(path)
    if onnx:
        graph(content, output)
    else:
        data = None if dataset is None else (dataset, _context(data_dir, None))
        write_atomically(output, converted(content, str(bits), data))
    cli.console().print(escape(f"{output}: {_size(output.stat().st_size)}"))


@app.command()
def serve(
    path: File,
    host: Annotated[str, typer.Option(help="Address to listen at; others than loopback are open to the network.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8090,
    rate: Annotated[float, typer.Option(min=0.1, help="Requests a second that are answered; more get 429.")] = 100.0,
    plugin: Plugins = None,
) -> None:
    """Answer over HTTP with JSON: /predict?subject=...&relation=...&at=..., /info, /health, /openapi.json."""
    from harness import plugins

    plugins.load_asked_for(plugin or ())
    try:
        from harness.student.serving import serve as answer
    except ImportError as error:
        raise UserError(f"serve: needs package {error.name}; install tkg-distill-harness[serve]") from None
    student = Student.load(path)
    cli.console().print(f"http://{host}:{port}/predict  (Ctrl-C ends it)")
    answer(student, host, port, rate)


def _context(data_dir: Path | None, cache_dir: Path | None) -> Context:
    from harness.trial.cache import default_root
    from harness.trial.stages import Context

    return Context((cache_dir or default_root()).resolve(), data_dir and data_dir.resolve())


def _bits(about: About) -> str:
    return str(about.bits) if about.bits == "ternary" else f"{about.bits} bits"


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def main() -> None:
    """Run the command line."""
    cli.run(app)


if __name__ == "__main__":
    main()
