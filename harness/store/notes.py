"""What optuna-dashboard tells of a study: its note, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from harness.design.cells import Run
from harness.design.settings import flat

_READING = """\
The value of a trial is its validation MRR. Its attribute `label` is the name that reports have for it, `test_mrr` and
the like are its metrics on test facts, `reason` says why it failed. Artifacts of the study are the ranks of all test
queries (`ranks.parquet`, doubled), what these ask (`queries.parquet`) and the learning curves (`curves.parquet`).
Teachers are in a study of their own, whose name ends in `-teachers`.
"""
_SEARCHING = """
A trial is a configuration: its intermediate values are the validation MRR of each seed, its value is their mean, and
it is pruned where the search gave it up. The study whose name ends in `-seeds` has what was trained, a trial a seed,
with the number of the configuration: those of role `search` are not scored on test facts, those of role `confirm` are
the best ones with fresh seeds. Trials of role `beside` are what the search is compared with while it goes on.
"""

_CONFIRMING = """
Trials of role `confirm` are confirmation runs of the best points, and of L1: their seeds took no part in choosing.
"""


def note_of(run: Run, counts: Mapping[str, int]) -> str:
    """The study in its own words: what it asks, of which data (``counts``), with which arms; how to read its trials."""
    design = run.design
    facts = "\n".join(f"- {name}: {text}" for name, text in _facts(run, counts))
    reading = _READING + (_SEARCHING if run.search is not None else _CONFIRMING if design.confirm else "")
    report = f"python -m harness.report {design.name} --dataset {run.dataset} --storage URL"
    return f"# {design.title}\n\n{design.about}\n\n{facts}\n\n{reading}\nIts report: `{report}`\n"


def _facts(run: Run, counts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    design, preset = run.design, run.design.presets[run.preset]
    yield "data", f"{_code([run.dataset])}, {', '.join(f'{count:,} {name}' for name, count in counts.items())}"
    yield "claims tested", ", ".join(design.claims) or "none"
    yield "preset", f"{_code([run.preset])}, {preset.about}"
    yield "arms", _code(design.arms)
    for name, variant in design.variants.items():
        changes = f" with {_code([flat(variant.settings)])}" if variant.settings else ""
        yield f"variant `{name}`", f"{_code([variant.arm])}{changes}"
    for key, levels in (preset.grid or design.grid).items():
        yield f"varied `{key}`", ", ".join(map(str, levels))
    if (search := run.search) is not None:
        yield "search", f"`{search.arm}`, {search.sampler}, {search.configurations()} configurations"
        for key, factor in search.factors.items():
            yield f"searched `{key}`", str(factor.distribution())
    if design.references:
        yield "reference rows", _code(design.references)
    if measured := design.measured(run.preset):
        yield "measured beside the trials", ", ".join(measured)


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)
