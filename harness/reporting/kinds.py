"""Report kinds by the name that a study file gives: ``report: comparison``.

A kind is declared once, where its report is made, in the package or in a plugin:

    @report_kind("mine", label="seeds of each arm")
    def content(frames: Frames) -> Document: ...

The commands of ``python -m harness.report``, the check of a study file's ``report:`` and the claims report follow.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from harness import reporting
from harness.registry import Registry
from harness.reporting.data.results import Frames
from harness.reporting.evidence import Evidence
from harness.reporting.output.document import Document
from harness.reporting.output.typst import write

Content = Callable[[Frames], Document]


@dataclass(frozen=True)
class ReportKind:
    """A kind of report.

    Attributes:
        name: as study files give it.
        label: what it shows, a phrase.
        content: makes the report of one design on one data set.
        evidence: of the same frames on the paper's claims, by claim; None: there is none.
        across: makes one report of a study's designs on several data sets; None: there is none.
        every_design: whether "all" makes it for each design in the store; otherwise for the latest.
        instead_of: the kind whose studies get this one where ``when`` is true of their trials; "": none.
        when: see ``instead_of``.
    """

    name: str
    label: str
    content: Content
    evidence: Callable[[Frames], Mapping[str, Evidence]] | None = None
    across: Callable[[Sequence[Frames]], Document | None] | None = None
    every_design: bool = False
    instead_of: str = ""
    when: Callable[[pd.DataFrame], bool] | None = None

    def report(self, frames: Frames, output: Path) -> Path:
        """Make a report in a folder and return the path of its PDF.

        Raises:
            UserError: the frames do not pass the report's checks, or the folder cannot be written.
        """
        return write(self.content(frames), output)


KINDS: Registry[ReportKind] = Registry("report kind")


def report_kind(
    name: str,
    *,
    label: str,
    evidence: Callable[[Frames], Mapping[str, Evidence]] | None = None,
    across: Callable[[Sequence[Frames]], Document | None] | None = None,
    every_design: bool = False,
    instead_of: str = "",
    when: Callable[[pd.DataFrame], bool] | None = None,
) -> Callable[[Content], Content]:
    """Declare a kind of report by the function that makes its content; arguments as of `ReportKind`.

    Raises:
        UserError: the name cannot be used, or is taken.
    """

    def register(content: Content) -> Content:
        KINDS.add(name, ReportKind(name, label, content, evidence, across, every_design, instead_of, when))
        return content

    return register


def kind_of(name: str, trials: pd.DataFrame) -> ReportKind:
    """The kind that makes the report of a design whose study file names a kind.

    Raises:
        UserError: there is no such kind; names the nearest.
    """
    asked = KINDS.named(name)
    others = (kind for kind in KINDS.values() if kind.instead_of == name and kind.when is not None)
    return next((kind for kind in others if kind.when is not None and kind.when(trials)), asked)


def load_shipped() -> None:
    """Register the kinds of the package: each folder of ``harness/reporting`` that has a ``report.py``."""
    for module in pkgutil.iter_modules(reporting.__path__, f"{reporting.__name__}."):
        if module.ispkg and find_spec(f"{module.name}.report"):
            import_module(f"{module.name}.report")
