"""Flags and settings that cannot be meant."""

from __future__ import annotations

from collections.abc import Iterator

from tests.badinput.datasets import folder
from tests.badinput.place import Case
from tests.badinput.studies import laughs

#: ``--set``: what is given, and what is said
SETTINGS = {
    "": r"--set ''",
    "=": r"unknown key",
    "=1": r"unknown key",
    "alpha": r"write key=value",
    "alpha=": r"loss\.alpha: ",
    "alpha=x": r"loss\.alpha: .*'x'",
    "alpha=-1": r"loss\.alpha: ",
    "alpha=.nan": r"loss\.alpha: .*finite",
    "alpha=nan": r"loss\.alpha: ",
    "alpha=.inf": r"loss\.alpha: ",
    "alpha=inf": r"loss\.alpha: ",
    "alpha=-.inf": r"loss\.alpha: ",
    "alpha=1e999": r"loss\.alpha: ",
    "alpha=[1, 2]": r"loss\.alpha: ",
    "alpha={a: 1}": r"loss\.alpha: ",
    "alpha=[": r"the value cannot be read",
    "alpha=&a 1": r"anchors",
    "alpha=*a": r"cannot be read",
    "alpha=!!python/object/apply:os.mkdir [executed]": r"tags are not read",
    "alpha=!!float 1": r"tags are not read",
    "alpha=1\n---\n2": r"cannot be read",
    "alpha=\x1b[2J": r"cannot be read",
    "alpha=2014-99-99": r"month must be in",
    "alpha=2014-01-01": r"loss\.alpha: ",
    "alpha=__import__('os').mkdir('executed')": r"loss\.alpha: ",
    "alpha.x=1": r"unknown key",
    "loss=1": r"unknown key",
    "loss.__class__=1": r"unknown key",
    "alfa=1": r"did you mean 'loss\.alpha'",
    "dim=3": r"may mean",
    "seed=1": r"an axis of the design",
    "dataset=wiki": r"an axis of the design",
    "student.dim=0": r"student\.dim: ",
    "student.dim=1e3": r"|student\.dim",
    "student.dim=10001": r"student\.dim: ",
    "student.dim=0.5": r"student\.dim: ",
    "student.dim=true": r"student\.dim: ",
    "student.dim=99999999999999999999": r"is too large a number",
    "student.epochs=0": r"student\.epochs: ",
    "student.batch_size=99999999999": r"student\.batch_size: ",
    "student.candidates=99999999999": r"student\.candidates: ",
    "semantic.dim=99999999999": r"semantic\.dim: ",
    "targets=99999999999": r"loss\.targets: ",
    "temperature=0": r"loss\.temperature: ",
    "learning_rate=.nan": r"may mean",
    "student.learning_rate=.nan": r"student\.learning_rate: ",
    "student.learning_rate=.inf": r"student\.learning_rate: ",
    "student.regularization=.nan": r"student\.regularization: ",
    "protocol=filtered": r"protocol: ",
    "protocol=[raw]": r"protocol: ",
    "teacher.backbone=../../x": r"teacher\.backbone: unknown",
    "teacher.backbone=3": r"teacher\.backbone: ",
    "time.size=0": r"time\.size: ",
    "llm.dtype=float7": r"llm\.dtype: ",
    "llm.max_length=-1": r"llm\.max_length: ",
    "ä=1": r"unknown key",
    "\udcff=1": r"unknown key",
    "x" * 10_000: r"write key=value",
    "x" * 10_000 + "=1": r"unknown key",
}
#: options, and what is said
OPTIONS = {
    ("--seeds", "0"): r"--seeds",
    ("--seeds", "-1"): r"--seeds",
    ("--seeds", "1000000000000"): r"--seeds",
    ("--seeds", "nan"): r"--seeds",
    ("--seeds", "1.5"): r"--seeds",
    ("--seeds", ""): r"--seeds",
    ("--seeds", "١"): r"|--seeds",
    ("--seeds", "9" * 5000): r"--seeds",
    ("--jobs", "0"): r"--jobs",
    ("--jobs", "-3"): r"--jobs",
    ("--jobs", "many"): r"--jobs",
    ("--stack", "0"): r"--stack",
    ("--stack", "x"): r"--stack",
    ("--device", "tpu"): r"unknown device 'tpu'",
    ("--device", ""): r"unknown device ''",
    ("--device", "cuda:99"): r"unknown device 'cuda:99'",
    ("--device", "\x1b[2J"): r"unknown device",
    ("--backbone", "transe"): r"did you mean 'ttranse'",
    ("--backbone", "../x"): r"unknown backbone",
    ("--backbone", "ttranse,ta-distmult"): r"unknown backbone",
    ("--backbone", "[/]"): r"unknown backbone",
    ("--teacher-backbone", "x: {y"): r"cannot be read",
    ("--teacher-backbone", "ta"): r"teacher\.backbone: unknown",
    ("--preset", "quik"): r"did you mean 'quick'",
    ("--preset", "../quick"): r"no preset",
    ("--preset", ""): r"no preset ''",
    ("--preset", "\x1b[2J"): r"no preset",
    ("--arms", ","): r"no arm ''",
    ("--arms", "L1,L9"): r"no arm 'L9'",
    ("--arms", "[/]"): r"no arm '\[/\]'",
    ("--arms", "=1+1"): r"arm '=1\+1': there is no loss '=1'",
    ("--arms", "none," * 5000): r"no arm ''",
    ("--cluster", "nonsense"): r"cluster nonsense",
    ("--frobnicate",): r"--frobnicate",
    ("--seed", "1"): r"--seed",
    ("--dataset",): r"--dataset",
    ("--set",): r"--set",
    ("stray",): r"stray",
    ("\x1b[2J",): r"\[2J",
    ("--\x1b[2J",): r"\[2J",
    ("--[/]",): r"\[/\]",
    ("-" * 5000,): r"",
}
#: whole command lines
LINES = {
    ("study", "nosuch"): r"nosuch",
    ("study", "describe"): r"(?i)missing argument",
    ("study", "describe", "ablation", "--preset", "x"): r"no preset 'x'",
    ("study", "list", "stray"): r"stray",
    ("study", "copy"): r"(?i)missing argument",
    ("study", "copy", "x", "y"): r"is not a URL",
    ("study", "copy", "sqlite:///none.db", "sqlite:///to.db"): r"there is no such file",
    ("data", "check"): r"(?i)missing argument",
    ("data", "chekc", "x"): r"chekc",
    ("data", "describe", "./set", "--relations", "-1"): r"--relations",
    ("data", "describe", "./set", "--relations", "x"): r"--relations",
    ("data", "describe", "./set", "--data-dir", "nowhere"): r"--data-dir",
    ("data", "list", "--data-dir", "{outside}/mine.txt"): r"--data-dir",
    ("report", "nosuch"): r"nosuch",
    ("report", "claims", "--dataset"): r"--dataset",
    ("report", "ablation", "--design", "x"): r"there is no such file",
    ("report", "all", "stray"): r"stray",
}


def cases() -> Iterator[Case]:
    """All of them."""
    study = ("study", "ablation", "--dataset", "./set")
    for item, message in SETTINGS.items():
        shown = item if len(item) < 60 else f"{item[:20]}... ({len(item):,} letters)"
        yield Case(f"--set {shown!r}", (*study, "--set", item), message, folder())
    bomb = "loss.alpha=" + laughs().replace("\n", "\n  ")
    yield Case("--set of a billion laughs", (*study, "--set", bomb), r"cannot be read|anchors", folder())
    yield Case("--set of depth", (*study, "--set", "alpha=" + "[" * 50_000), r"20 levels|nesting depth", folder())
    yield Case("--set of digits", (*study, "--set", "alpha=" + "9" * 50_000), r"cannot be read", folder())
    ages = dict.fromkeys(("train", "valid", "test"), "a\tr\tb\t0001-01-01\na\tr\tb\t9999-01-01\n")
    narrow = (*study, "--set", "time.classes=width", "--set", "time.size=1")
    yield Case("--set of a class a day in ten thousand years", narrow, r"3,\d+,\d+ classes", folder(**ages))
    for options, message in OPTIONS.items():
        shown = " ".join(options)
        # by then the store is open, and stays
        writes = ("work/runs",) if options[0] == "--cluster" else ()
        name = repr(shown if len(shown) < 60 else f"{shown[:30]}...")
        yield Case(name, (*study, *options), message, folder(), writes=writes)
    for line, message in LINES.items():
        yield Case(" ".join(line), line, message, folder())
