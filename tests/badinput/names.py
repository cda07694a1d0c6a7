"""Names of data sets, studies, folders and stores that are tricks."""

from __future__ import annotations

from collections.abc import Iterator

from tests.badinput.datasets import folder
from tests.badinput.place import Case, Place

#: names of data sets, and what is said of them
DATASETS = {
    "": r"unknown data set ''",
    " ": r"unknown data set ' '",
    "../outside": r"outside: no train\.txt",
    "{outside}": r"outside: no train\.txt",
    "../../../../../../../../etc": r"no train\.txt",
    "/": r"no train\.txt",
    "..": r"no train\.txt",
    "~": r"unknown data set '~'",
    "~root": r"unknown data set",
    "$HOME": r"unknown data set",
    "wiki/../../outside": r"no such folder",
    "wiki\n": r"control characters",
    "wiki\x1b[2J": r"control characters",
    "./\x1b]0;evil\x07": r"control characters",
    "./\u202eikiw": r"control characters",
    "\udcff\udcfe": r"control characters",
    "[bold]wiki[/bold]": r"unknown data set '\[bold\]wiki\[/bold\]'|no such folder",
    "[/]": r"no such folder",
    "*": r"unknown data set '\*'",
    "wiki;touch executed": r"unknown data set",
    "$(touch executed)": r"unknown data set",
    "`touch executed`": r"unknown data set",
    "file:///etc/passwd": r"no such folder",
    "https://example.org/wiki": r"no such folder",
    "con": r"unknown data set 'con'",
    "Wiki": r"did you mean 'wiki'",
    "ＷＩＫＩ": r"unknown data set",
    "x" * 10_000: r"unknown data set 'x{200}'",
    "./" + "x" * 10_000: r"no such folder|File name too long",
    "./" + "x/" * 2000: r"no such folder",
    "/dev/zero": r"is not a folder",
    "/proc/self/mem": r"is not a folder",
    "../outside/mine.txt": r"is not a folder",
}
#: names of studies
STUDIES = {
    "ablatoin": r"ablatoin",
    "../ablation": r"ablation",
    "../../outside/mine": r"outside/mine",
    "{outside}/mine": r"outside/mine",
    "ablation.yaml": r"ablation\.yaml",
    "ablation\n": r"ablation",
    "\x1b[2J": r"\[2J",
    "[bold]x[/]": r"\[bold\]x\[/\]",
    "x" * 1000: r"x",
    "\udcff": r"",
    "__init__": r"__init__",
}
#: where something is to be written, or read from: option, value, and what is said
FOLDERS = {
    "a file for the output": ("--output", "set/train.txt", r"cannot write the report to .*File exists"),
    "a file above the output": ("--output", "set/train.txt/x", r"cannot write the report"),
    "a device for the output": ("--output", "/dev/null", r"cannot write the report"),
    "control characters in the output": ("--output", "\x1b[2J", r"control characters"),
    "a surrogate in the output": ("--output", "\udcff", r"control characters"),
    "a long output": ("--output", "x" * 300, r"x{300}: File name too long"),
    "a NUL in a setting of the storage": ("--storage", "sqlite:///a%00b", r"storage"),
    "a file above the store": ("--storage", "sqlite:///set/train.txt/x.db", r"storage .*cannot be opened"),
    "a folder for the store": ("--storage", "sqlite:///./set", r"storage .*cannot be opened"),
    "no database for the store": ("--storage", "sqlite:///set/train.txt", r"storage .*"),
    "a long name for the store": ("--storage", f"sqlite:///{'x' * 300}.db", r"storage .*cannot be opened"),
    "a store in memory": ("--storage", "sqlite:///:memory:", r"names no file"),
    "a store without a name": ("--storage", "sqlite://", r"names no file"),
    "no URL for the store": ("--storage", "runs/harness.db", r"is not a URL"),
    "nothing for the store": ("--storage", "", r"is not a URL"),
    "an unknown database": ("--storage", "nosql://localhost/db", r"storage .*cannot be opened"),
    "a script for a database": ("--storage", "os+system://localhost/db", r"storage .*cannot be opened"),
    "a port that is no number": ("--storage", "postgresql+psycopg://me:s3cret@localhost:x/db", r"\*\*\*@localhost:x"),
    "control characters in the store": ("--storage", "sqlite:///\x1b[2J", r"storage"),
}
#: URLs with the password s3cret in them
PASSWORDS = [
    "postgresql+psycopg://me:s3cret@127.0.0.1:1/db",
    "postgresql+psycopg://me:s3cret@127.0.0.1:1/db?connect_timeout=1",
    "postgresql+psycopg://127.0.0.1:1/db?user=me&password=s3cret",
    "postgresql+psycopg://me:a/s3cret@127.0.0.1:1/db",
    "postgresql+psycopg://me:a@s3cret@127.0.0.1:1/db",
    "postgresql+psycopg://me:a:s3cret@127.0.0.1:1/db",
    "postgresql+psycopg://me:%73s3cret@127.0.0.1:1/db",
    "postgresql+psycopg://me:s3cret@127.0.0.1:1/db?sslmode=nonsense",
    "postgresql+psycopg://me:x@127.0.0.1:1/db?sslpassword=s3cret&nonsense=1",
    "mysql://me:s3cret@127.0.0.1:1/db",
    "nosql://me:s3cret@127.0.0.1:1/db",
    "sqlite://me:s3cret@/",
    "://me:s3cret@127.0.0.1",
    "postgresql+psycopg://me:s3cret@[::1/db",
]


def study_file(name: str) -> Case:
    """A study whose file has a trick for a name; its heading is shown as text."""

    def build(place: Place) -> None:
        content = (
            "name: x\ntitle: t\nabout: a\narms: [none]\nbackbone: ttranse\npresets: {quick: {about: q, seeds: 1}}\n"
        )
        place.write(f"studies/{name}.yaml", content)
        place.studies = place.work / "studies"

    return Case(f"a study file named {name!r}", ("study", "describe", name), r"name: must be that of the file", build)


def hidden(url: str) -> Case:
    """A store that cannot be opened, at a URL with a password, which is nowhere told."""
    argv = ("study", "ablation", "--dataset", "./set", "--arms", "none", "--storage", url)
    return Case(f"the password of {url}", argv, r"^(?!.*s3cret).*storage", folder())


def cases() -> Iterator[Case]:
    """All of them."""
    for name, message in DATASETS.items():
        shown = name if len(name) < 50 else f"{name[:10]}... ({len(name):,} letters)"
        yield Case(f"data set {shown!r}", ("data", "check", name), message)
    for name in ("", "../outside", "[/]", "wiki\x1b[2J", "\udcff\udcfe", "x" * 10_000, "wiki/../../outside"):
        shown = name if len(name) < 50 else f"{name[:10]}..."
        yield Case(f"study of data set {shown!r}", ("study", "ablation", "--dataset", name), DATASETS[name])
        yield Case(f"report of data set {shown!r}", ("report", "ablation", "--dataset", name), r"there is no such file")
    for name, message in STUDIES.items():
        shown = name if len(name) < 50 else f"{name[:10]}..."
        yield Case(f"study {shown!r}", ("study", name), message)
        yield Case(f"description of study {shown!r}", ("study", "describe", name), message)
        yield Case(f"report {shown!r}", ("report", name), message, slow=name != "../../outside/mine")
    for name, (option, value, message) in FOLDERS.items():
        argv = ("study", "ablation", "--dataset", "./set", "--arms", "none", option, value)
        yield Case(name, argv, message, folder())
        if option == "--storage":
            yield Case(f"{name}, of a report", ("report", "ablation", option, value), r"storage", folder())
            copy = ("study", "copy", value, "sqlite:///copy.db")
            yield Case(f"{name}, to copy from", copy, r"storage", folder())
    yield from (study_file(name) for name in ("[bold]", "a b", "=1+1", "ä", "$(touch executed)"))
    yield from map(hidden, PASSWORDS)
