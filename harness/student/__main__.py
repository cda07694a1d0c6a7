"""Students as files: ``python -m harness.student export | info | ask | evaluate | convert | serve``."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from harness import console as cli
from harness.errors import UserError
from harness.scratch import write_atomically
from harness.student.fileformat import About, check_output, read
from harness.student.student import Student, table

if TYPE_CHECKING:
    from harness.trial.stages import Context

app = cli.application(
    "A distilled student as one small file: make it, inspect it, ask it, score it, convert it, serve it."
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A student's file, as export writes it.")]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="File to write.")]
Dataset = Annotated[str, typer.Option(help="Name of a data set, or a folder with train, valid and test files.")]
DataDir = Annotated[Path | None, typer.Option(help="Look for the files of named data sets here only.")]
CacheDir = Annotated[Path | None, typer.Option(help="Cache of teachers, targets and students; default: runs/cache.")]
Plugins = Annotated[
    list[Path] | None, typer.Option("--plugin", metavar="FILE", help="Python file with your own methods; repeatable.")
]


@app.command()
def export(
    output: Output,
    study: Annotated[
        str | None, typer.Option(help="Take a student of this study from the store; without it, train one now.")
    ] = None,
    trial: Annotated[
        int | None,
        typer.Option(min=0, help="With --study: the trial's number in reports; default: best on validation."),
    ] = None,
    dataset: Dataset = "lahman",
    arm: Annotated[str | None, typer.Option(help="Without --study: the losses, or none; default: L1+L2+L3.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Without --study: name of a backbone; default: ttranse.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Without --study: seed of initial values and batches; default: 0.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Without --study: a preset of study ablation.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Without --study: change a setting; repeatable."),
    ] = None,
    facts: Annotated[bool, typer.Option(help="Store the known facts, so that answers can be marked.")] = True,
    storage: Annotated[
        str, typer.Option(envvar="HARNESS_STORAGE", help="URL of the store.")
    ] = "sqlite:///runs/harness.db",
    artifacts: Annotated[Path | None, typer.Option(help="Folder of the store's ranks.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU when there is one.")] = "auto",
    data_dir: DataDir = None,
    cache_dir: CacheDir = None,
    plugin: Plugins = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="SUSPICION", help="What looks odd about the data and is meant so; repeatable."),
    ] = None,
) -> None:
    """Write a student's file: take a trial from the store, or train one now.

    A trial leaves its student in the cache. If it is no longer there, the trial runs again, and its ranks are compared
    with those in the store.
    """
    from harness import plugins

    plugins.load_asked_for(plugin or ())
    from harness.data import suspicions
    from harness.student.choosing import compared, stored, wanted
    from harness.student.export import export as exported
    from harness.trial.inputs import graph_of, named
    from harness.trial.provenance import device_of
    from harness.trial.run import TrialError

    check_output(output)
    name, folder = named(dataset, data_dir)
    asked = {"--arm": arm, "--backbone": backbone, "--seed": seed, "--preset": preset, "--set": changes or None}
    if study is None:
        if trial is not None:
            raise UserError("--trial: is a number in a study; name it with --study")
        values = (arm or "L1+L2+L3", backbone or "ttranse", seed or 0, preset or "default", changes or [])
        spec, ranks = wanted(name, *values), None
    else:
        if wrong := [option for option, value in asked.items() if value is not None]:
            raise UserError(f"{wrong[0]}: the store has the trial's settings; leave out --study to train with others")
        spec, ranks = stored(storage, study, dataset, trial, artifacts)
    suspicions.refuse(graph_of(dataset, data_dir), accept or (), language=spec.reads_names)
    context = replace(_context(data_dir, cache_dir, device_of(device)), folder=folder)
    try:
        made = exported(spec, context, facts=facts)
    except TrialError as error:
        raise UserError(f"the trial fails: {error}; change its settings") from None
    note = "" if ranks is None else compared(made.ranks, ranks)
    write_atomically(output, made.content)
    cli.console().print(escape(f"{output}: {_size(len(made.content))}, test MRR {made.about.metrics['mrr']:.4f}{note}"))


@app.command()
def info(path: File) -> None:
    """Show a student's size in parts, its metrics, and where it comes from."""
    content = read(path)
    about, n = content.about, len(content.entities)
    shown = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    spec, total = about.spec, path.stat().st_size
    looked_up = content.sizes["gaps"]
    with_gaps = f"{(content.sizes['entities'] + looked_up) / n:.1f} with what it looks up; " if looked_up else ""
    rows: list[tuple[str, str]] = [
        ("student", f"{about.backbone}, {about.dim} dimensions, {_bits(about)} per number of the entity table"),
        ("trained with", f"{spec.get('arm', '?')}, seed {spec.get('seed', '?')}"),
        ("data", f"{about.dataset}: {n:,} entities, {len(content.relations):,} relations; {about.data_digest[:12]}"),
        ("bytes", f"{total:,}: " + ", ".join(f"{part} {size:,}" for part, size in content.sizes.items() if size)),
        ("bytes an entity", f"{content.sizes['entities'] / n:.0f} in the entity table; {with_gaps}"
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
    at: Annotated[
        str | None, typer.Option(help="Year or day, or an interval such as 1990:1995; default: time unknown.")
    ] = None,
    head: Annotated[bool, typer.Option("--head", help="SUBJECT is the tail: ask for the head.")] = False,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of answers.")] = 10,
    new: Annotated[bool, typer.Option("--new", help="Leave out answers that are already known facts.")] = False,
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
    dataset: Annotated[
        str | None, typer.Option(help="Name or folder of the data; default: what the student was trained on.")
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="Ranking protocol; default: the student's own.")] = None,
    data_dir: DataDir = None,
    plugin: Plugins = None,
) -> None:
    """Compute the test metrics again, from the file alone and with the code that ranks trials."""
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
    bits: Annotated[
        str | None, typer.Option(help="Bits per number of the entity table: 16, 8, 6, 4, 3, 2 or ternary.")
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write an ONNX graph that scores all entities.")] = False,
    dataset: Annotated[
        str | None, typer.Option(help="With --bits: score the new file on this data set and store its metrics.")
    ] = None,
    data_dir: DataDir = None,
    plugin: Plugins = None,
) -> None:
    """Write a student with fewer bits, or as an ONNX graph.

    It is best converted from 32 bits. With 3 bits or fewer, a student that was trained so (--set student.bits=3) is
    better than a converted one.
    """
    from harness import plugins

    plugins.load_asked_for(plugin or ())
    from harness.student.converting import converted, graph

    if (bits is None) == (not onnx):
        raise UserError("convert: say either --bits N or --onnx")
    if onnx and dataset is not None:
        raise UserError("--dataset: an ONNX graph stores no metrics; leave it out, or convert with --bits")
    check_output(output)
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
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but a loopback address is open to the network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8090,
    rate: Annotated[
        float, typer.Option(min=0.1, max=1e6, help="Requests answered a second; more get status 429.")
    ] = 100.0,
    plugin: Plugins = None,
) -> None:
    """Answer questions over HTTP, as JSON: /predict?subject=...&relation=...&at=..., /info, /health, /openapi.json."""
    from harness import plugins

    plugins.load_asked_for(plugin or ())
    try:
        from harness.student.serving import listen
        from harness.student.serving import serve as answer
    except ImportError as error:
        raise UserError(f"serve: needs package {error.name}; install tkg-distill-harness[serve]") from None
    student = Student.load(path)
    with listen(host, port) as listening:
        shown = f"[{host}]" if ":" in host else host
        cli.console().print(escape(f"http://{shown}:{port}/predict  (Ctrl-C ends it)"))
        answer(student, listening, rate)


def _context(data_dir: Path | None, cache_dir: Path | None, device: str = "cpu") -> Context:
    from harness.trial.cache import default_root
    from harness.trial.stages import Context

    return Context((cache_dir or default_root()).resolve(), data_dir and data_dir.resolve(), device)


def _bits(about: About) -> str:
    return str(about.bits) if about.bits == "ternary" else f"{about.bits} bits"


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def main() -> None:
    """Run the command line."""
    cli.run(app, "python -m harness.student")


if __name__ == "__main__":
    main()
