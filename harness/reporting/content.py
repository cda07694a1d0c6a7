"""Parts of a report that several kinds share: what is in front, and the last page, on how it was made."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.reporting.claims import Claim
from harness.reporting.data.about import facts, settings, subtitle
from harness.reporting.data.frames import records
from harness.reporting.data.layout import Layout
from harness.reporting.data.results import Frames, Results
from harness.reporting.data.text import percent
from harness.reporting.output.document import (
    Block,
    Command,
    Document,
    Findings,
    Pairs,
    Section,
    Text,
    Verdicts,
    file_name,
)
from harness.reporting.output.tables import Column, Table, table_of
from harness.vocabulary import arm_name, backbone_name, dataset_name

#: columns of the settings in small print
SETTINGS_COLUMNS = 4
#: a table of a backbone's row in the report's files
Files = Mapping[str, tuple[pd.DataFrame, str | None]]


@dataclass(frozen=True, eq=False)
class Front:
    """What a report begins with.

    Attributes:
        findings: what was found, in sentences.
        claims: the paper's claims with their verdicts.
        cautions: what limits all of it, a paragraph each.
    """

    findings: Sequence[str] = ()
    claims: Sequence[Claim] = ()
    cautions: Sequence[str] = ()


def report(
    frames: Frames,
    results: Results,
    sections: Iterable[Section],
    *,
    files: Files,
    tables: Mapping[str, Mapping[str, Table]],
    front: Front | None = None,
    reading: Sequence[Block] = (),
    run: Sequence[Sequence[str]] | None = None,
    notes: Sequence[str] = (),
    varied: Collection[str] = (),
    trials: pd.DataFrame | None = None,
) -> Document:
    """A report of one study on one data set: findings, evidence, how to read it, and how it was made.

    Args:
        frames: of the study.
        results: of its trials.
        sections: the evidence.
        files: see `Document.frames`.
        tables: display tables by backbone and kind, for LaTeX.
        front: what it begins with.
        reading: how to read the numbers.
        run: what was run, as pairs of a name and a value; None: `facts`.
        notes: further remarks on how it was run.
        varied: keys of settings that are not common to all students.
        trials: all trials of the report; None: those of the results.
    """
    front, layout = front or Front(), results.layout
    trials = results.trials if trials is None else trials
    name = dataset_name(str(results.trials["dataset"].iloc[0]))
    return Document(
        name=layout.name,
        title=layout.title or layout.name,
        subtitle=f"Study {layout.name} on {name} · {subtitle(results)}",
        blocks=[
            Findings(front.findings),
            verdicts(front.claims),
            *(Text(caution, "Caution.") for caution in front.cautions),
            layout.about,
            *sections,
            failed(trials),
            Section("How to read the numbers", reading, small=True),
            provenance(frames, results, facts(results, frames.meta.data, name) if run is None else run, notes, varied),
        ],
        trials=trials,
        frames=files,
        tables={backbone: _filled(by_kind) for backbone, by_kind in tables.items()},
    )


def case_of(results: Results, backbone: str) -> str:
    """What a section of a backbone is about, for captions: "TTransE, YAGO11k"."""
    return f"{backbone_name(backbone)}, {dataset_name(str(results.trials['dataset'].iloc[0]))}"


def figure_name(results: Results, backbone: str, kind: str) -> str:
    """The name of a figure of a backbone."""
    return f"{file_name(backbone, results.backbones.index(backbone))}_{kind}"


def _filled(tables: Mapping[str, Table]) -> dict[str, Table]:
    return {kind: table for kind, table in tables.items() if table.rows}


def provenance(
    frames: Frames, results: Results, run: Sequence[Sequence[str]], notes: Sequence[str], varied: Collection[str]
) -> Section:
    """How a report was made: data, seeds, machine, command, and the settings as they were resolved."""
    common, by_backbone = settings(results.trials, frames.recipe)
    differing = {key: values for key, values in by_backbone.items() if key.split(".")[-1] not in varied}
    of_backbones = [
        [f"Settings, {backbone_name(name)}", ", ".join(f"{key} {values[name]}" for key, values in differing.items())]
        for name in results.backbones
        if differing
    ]
    shown = [pair for pair in common if pair[0].split(".")[-1] not in varied]
    return Section(
        "Provenance",
        [
            Pairs([*run, *of_backbones]),
            Command(frames.meta.command),
            *frames.meta.notes,
            *notes,
            Text("", "Settings common to all students"),
            Pairs(shown, SETTINGS_COLUMNS),
        ],
        together=True,
    )


def verdicts(claims: Sequence[Claim]) -> Verdicts:
    """Claims with a line a backbone."""
    judged: dict[str, dict[str, Any]] = {}
    for claim in claims:
        entry = judged.setdefault(claim.id, {"id": claim.id, "text": claim.text, "lines": []})
        entry["lines"].append({"case": claim.backbone, "verdict": claim.verdict, "reason": claim.reason})
    return Verdicts([*judged.values()])


def failed(trials: pd.DataFrame) -> Section:
    """Checked trials that failed, with the reason, as a table; empty where all are complete."""

    def reason(row: Mapping[str, Any]) -> str:
        if row["state"] != "failed":
            return "not finished when this report was made"
        return row["reason"] if isinstance(row.get("reason"), str) and row["reason"] else "no reason was recorded"

    columns: list[Column] = [
        ("trial", "r", lambda row: str(row["trial"])),
        ("backbone", "l", lambda row: backbone_name(row["backbone"])),
        ("arm", "l", lambda row: arm_name(row["arm"])),
        ("seed", "c", lambda row: str(row["seed"])),
        ("reason", "p", reason),
    ]
    note = "Their seeds are missing from the means of their arm and from every comparison with it."
    lost = records(trials[trials["state"] != "complete"])
    return Section("Trials without a result", [table_of("Trials that failed or are unfinished", lost, columns, note)])


#: where every arm ran with one seed
ONE_SEED = (
    "Every arm ran with one seed (n = 1): intervals cover the choice of test facts, not of the seed, so nothing here "
    "is a verdict on the method."
)
HOW_MEANS = Text(
    "are Student's t intervals over seeds. They say how far the mean would move with other seeds, on these same test "
    "facts. Where an arm has a single run, the interval is over test facts instead, and is marked.",
    "Intervals of means",
)
DIFFERENCES = (
    "cover other seeds and other test facts. The variance of a mean difference has a part of the seeds and a part of "
    "the facts, both directions of a fact together; each part has a t interval with as many degrees of freedom as it "
    "has seeds or facts, less one, and the squares of their lengths add up."
)
HOW_EFFECTS = Text(
    "is the mean difference divided by the standard deviation of the differences of single facts.", "Effect size d"
)
HOW_RANKS = Text(
    "of tied answers are the mean of the best and the worst rank they could take. Every test fact is asked twice: for "
    "its tail and for its head. Validation chose the epoch; the test facts were scored once.",
    "Ranks",
)


def how_differences(more: str = "") -> Text:
    """How intervals of differences come about; ``more`` follows."""
    return Text(f"{DIFFERENCES} {more}".strip(), "Intervals of differences")


def how_equal(layout: Layout) -> str:
    """What it takes to be called equivalent, a sentence."""
    margin = percent(layout.margin, signed=False, decimals=0)
    return (
        "Equivalent: two one-sided t tests, corrected in the same way, show the difference to be smaller than "
        f"{margin} of what the base has, a margin that the study fixes beforehand."
    )


def how_tests(families: str, layout: Layout | None = None) -> Text:
    """How verdicts on differences come about.

    ``families``: within what Holm's correction is applied; ``layout``: of a study whose verdicts know equivalence.
    """
    equal = "" if layout is None else f" {how_equal(layout)}"
    if layout is not None and layout.looks:
        first = ", ".join(map(str, layout.looks[:-1]))
        return Text(
            f"are t tests over seeds and facts, looked at after {first} and at most {layout.looks[-1]} seeds. The "
            "error probability of 0.05 is spent in proportion to the seeds and holds over all looks together; p values "
            "are sequential ones. A difference is called better or worse if the corrected p value is below 0.05 and "
            f"the interval excludes zero.{equal} Holm's correction is applied within each family: {families}",
            "Tests",
        )
    return Text(
        "flip the signs of the facts' differences, averaged over seeds (9,999 random patterns). They speak of these "
        "trained models on new facts; therefore a difference is called better or worse only if the corrected p value "
        "is below 0.05 and the interval, which covers new seeds as well, excludes zero. What meets one of both is "
        f"undecided, with p alone or the interval alone.{equal} Holm's correction is applied within each family: "
        f"{families}",
        "Tests",
    )
