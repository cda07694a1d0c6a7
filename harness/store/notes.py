"""The note of a study that optuna-dashboard shows, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from harness.design.cells import Run, facts

_READING = """\
The value of a trial is its validation MRR. Its attribute `label` is the name that reports have for it, `test_mrr` and
the like are its metrics on test facts, `reason` says why it failed. Artifacts of the study are the ranks of all test
queries (`ranks.parquet`, doubled), what these ask (`queries.parquet`) and the learning curves (`curves.parquet`).
Teachers are in the study whose name ends in `-teachers`. Importances on these pages count arm, backbone and seed as
parameters; those of the report are of settings alone, and have intervals.
"""
_PARTS = {
    "-teachers": "The reference rows of study `{name}`: its teachers themselves, which are no students.",
    "-seeds": "What the search of study `{name}` trained, a trial a seed; its configurations are the trials there.",
}
_SEARCHING = """
A trial is a configuration: its intermediate values are the validation MRR of each seed, its value is their mean, and
it is pruned where the search gave it up. The study whose name ends in `-seeds` has what was trained, a trial a seed,
with the number of the configuration: those of role `search` are not scored on test facts, those of role `confirm` are
the best ones with fresh seeds. Trials of role `beside` are those that the search is compared with.
"""

_CONFIRMING = """
Trials of role `confirm` are confirmation runs of the best points, and of L1: their seeds took no part in choosing.
"""

_TUNING = """
Trials of role `tune` are configurations of an arm, with their number as `configuration`; they are not scored on test
facts. The best of each arm by validation MRR has trials of role `confirm`, with seeds that tuning has not used.
"""


def note_of_part(run: Run, part: str) -> str:
    """What a study is that belongs to another, by its name; the other has the whole note."""
    suffix = next(suffix for suffix in _PARTS if part.endswith(suffix))
    return f"# {run.design.title}\n\n{_PARTS[suffix].format(name=run.study_name)}\n"


def note_of(run: Run, counts: Mapping[str, int]) -> str:
    """What a study asks, of which data (sizes by name in ``counts``), with which arms, and how to read its trials."""
    design = run.design
    shown = [
        ("data", f"{run.dataset}, {', '.join(f'{count:,} {name}' for name, count in counts.items())}"),
        ("preset", f"{run.preset}, {design.presets[run.preset].about}"),
        *facts(design, run.preset),
    ]
    items = "\n".join(f"- {name}: {text}" for name, text in shown)
    special = {_SEARCHING: run.search is not None, _TUNING: run.tune is not None, _CONFIRMING: design.confirm > 0}
    reading = _READING + "".join(text for text, is_so in special.items() if is_so)
    report = f"python -m harness.report {design.name} --dataset {run.dataset} --storage URL"
    return f"# {design.title}\n\n{design.about}\n\n{items}\n\n{reading}\nIts report: `{report}`\n"
