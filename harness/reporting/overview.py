"""The claims report: a matrix of all verdicts, the evidence on each claim, and how the studies were run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting import harm
from harness.reporting.claims import QUESTIONS, RULES
from harness.reporting.data.about import facts_of, started
from harness.reporting.data.frames import records, where
from harness.reporting.data.layout import Layout, Meta
from harness.reporting.data.results import EQUAL
from harness.reporting.data.text import percent
from harness.reporting.evidence import Evidence
from harness.reporting.output.document import (
    Block,
    Command,
    Document,
    Figure,
    Findings,
    Pairs,
    Section,
    Text,
    Verdicts,
)
from harness.reporting.output.tables import Cell, Row, Table
from harness.reporting.output.typst import write
from harness.vocabulary import BACKBONES, CLAIMS, DATASETS, backbone_name, dataset_name, joined, ordered


@dataclass(frozen=True, eq=False)
class StudyEvidence:
    """A study's evidence on its claims on one data set; ``missing``: why there is none.

    ``cases``: what it has on where distillation harms (`harness.reporting.harm.cases`).
    """

    layout: Layout
    dataset: str
    meta: Meta
    evidence: Mapping[str, Evidence]
    missing: str = ""
    cases: pd.DataFrame = field(default_factory=pd.DataFrame)


def claims_report(studies: Sequence[StudyEvidence], layouts: Mapping[str, Layout], output: Path) -> Path:
    """Write ``claims.pdf``, ``claims.csv``, ``.parquet`` and ``.tex`` (all verdicts with their reasons),
    ``verdicts.csv`` (the same in numbers), and what is behind each of them.

    ``layouts`` names the study of a claim that has no evidence yet. Returns the path of the PDF.

    Raises:
        UserError: the folder cannot be written.
    """
    return write(claims_document(studies, layouts), output)


def claims_document(studies: Sequence[StudyEvidence], layouts: Mapping[str, Layout]) -> Document:
    """The claims report: a matrix of claims and cases, then the evidence on each claim, then how it was made."""
    own = studies
    if (of_harm := harm.evidence([study.cases for study in studies])) is not None:
        studies = [*studies, StudyEvidence(harm.LAYOUT, harm.ALL, Meta(), {"C20": of_harm})]
    layouts = {**layouts, harm.ALL: harm.LAYOUT}
    verdicts, shown = _verdicts(studies, layouts), _Shown()
    table = _matrix(verdicts)
    untested = [claim for claim in CLAIMS if {*where(verdicts, claim=claim)["verdict"]} == {"not tested"}]
    trials = [part.trials for study in own for part in study.evidence.values()]
    dates = [date for of_study in trials for date in started(of_study)]
    datasets = ordered({study.dataset for study in own}, DATASETS)
    created = max(dates, default=datetime.fromtimestamp(0, UTC))
    return Document(
        name="claims",
        title="The claims, and the evidence on each",
        subtitle=f"Studies on {', '.join(map(dataset_name, datasets)) or 'nothing yet'} · {created:%-d %B %Y}",
        blocks=[
            Findings(_findings(studies, verdicts)),
            table,
            RULE,
            *(_claim(claim, studies, shown) for claim in CLAIMS if claim not in untested),
            _not_tested(untested, studies, layouts),
            _provenance(own),
        ],
        trials=pd.concat(trials) if trials else pd.DataFrame({"started": []}),
        files={
            "claims": (verdicts[VERDICTS], [("", table)]),
            "verdicts": (verdicts.drop(columns=["text", "reason"]), []),
            **{
                f"{claim}_{_stem(study)}": (evidence.numbers, [("", evidence.table)])
                for study in studies
                for claim, evidence in study.evidence.items()
            },
        },
    )


#: columns of the file of verdicts in words; that of numbers has all others
VERDICTS = ["claim", "text", "study", "dataset", "backbone", "verdict", "reason"]
RULE = (
    "Each claim is tested on every data set and backbone that its study was run on. C15 to C20 are claims of the "
    "harness, all others of the paper. Below a claim stands the rule that decides it. A difference counts only if its "
    "corrected p value is below 0.05 and its 95 % interval, over seeds and test facts, excludes zero; it is "
    "equivalent if it is shown to be smaller than the margin. docs/statistics.md has the methods."
)


@dataclass(frozen=True)
class _Shown:
    """Figures and tables that the report has already: what several claims rest on is shown once."""

    by: dict[object, str] = field(default_factory=dict)

    def first(self, key: object, claim: str) -> str:
        """The claim that something is shown with."""
        return self.by.setdefault(key, claim)


def _stem(study: StudyEvidence) -> str:
    return f"{study.layout.name}-{Path(study.dataset).name}"


def _findings(studies: Sequence[StudyEvidence], verdicts: pd.DataFrame) -> list[str]:
    """What all the claims come to: how many of them stand, and what the full method gains."""
    words = {str(claim): overall(rows["verdict"].tolist()) for claim, rows in verdicts.groupby("claim", sort=False)}
    by_word: dict[str, list[str]] = {}
    for claim, word in words.items():
        by_word.setdefault(word, []).append(claim)
    order = ("supported", "partly supported", "mixed", EQUAL, "contradicted", "not reproduced", "undecided", "measured",
             "not tested")  # fmt: skip
    counts = [f"{len(by_word[word])} {word} ({', '.join(by_word[word])})" for word in order if word in by_word]
    findings = [f"Of {len(words)} claims, over all data sets and backbones: {'; '.join(counts)}."]
    gains = []
    for study in _in_order(studies):
        for claim, step in (("C1", "against L1 (BKD)"), ("C13", "full method against L1")):
            if claim in study.evidence:
                rows = where(study.evidence[claim].numbers, step=step, metric="mrr")
                gains += [
                    f"{percent(row['relative'])} with {backbone_name(row['backbone'])} on "
                    f"{dataset_name(study.dataset)} ({_word(row['verdict'])})"
                    for row in records(rows)
                ]
    if gains:
        findings.append(f"In test MRR the full method differs from L1 by {joined(gains)}.")
    return findings


def _word(verdict: str) -> str:
    return "not significant" if verdict == "undecided" else verdict


def _verdicts(studies: Sequence[StudyEvidence], layouts: Mapping[str, Layout]) -> pd.DataFrame:
    """All verdicts; claims without evidence have one row.

    Columns claim, text, study, dataset, backbone, verdict, reason, those of `_effect`, margin, command.
    """
    rows = []
    for claim, text in CLAIMS.items():
        judged: list[dict[str, str | float]] = [
            {"study": study.layout.name, "dataset": study.dataset, "backbone": verdict.backbone}
            | {"verdict": verdict.verdict, "reason": verdict.reason}
            | _effect(claim, study.evidence[claim].numbers, verdict.backbone)
            | {"margin": study.layout.margin, "command": study.meta.command}
            for study in studies
            if claim in study.evidence
            for verdict in study.evidence[claim].verdicts
        ]
        tests = next((name for name, layout in layouts.items() if claim in layout.claims), "")
        none: dict[str, str | float] = {"study": tests, "dataset": "", "backbone": ""}
        none |= {"verdict": "not tested", "reason": "no results yet"}
        rows += [{"claim": claim, "text": text, **row} for row in judged or [none]]
    return pd.DataFrame(rows)


def _effect(claim: str, numbers: pd.DataFrame, backbone: str) -> dict[str, float]:
    """How many comparisons a verdict rests on and how they came out, and the first of them on MRR.

    Columns comparisons, better, worse, equivalent, effect with low and high (shares of what the base has), seeds; none
    where a claim is about something else than comparisons of arms.
    """
    if not {"step", "verdict", "relative"} <= {*numbers}:
        return {}
    rows = numbers[numbers["backbone"].map(backbone_name) == backbone]
    if claim in QUESTIONS:
        rows = rows[rows["metric"].isin(QUESTIONS[claim].metrics)]
    counts = {word: float((rows["verdict"] == word).sum()) for word in ("better", "worse", EQUAL)}
    first = records(where(rows, metric="mrr").head(1))
    effect = {"effect": "relative", "low": "relative_low", "high": "relative_high", "seeds": "seeds"}
    return {"comparisons": float(len(rows)), **counts} | {
        name: row[key] for row in first for name, key in effect.items()
    }


def overall(verdicts: Sequence[str]) -> str:
    """One word for the verdicts of several data sets and backbones; a claim is about all of them."""
    words = set(verdicts) - {"not tested"}
    if not words:
        return "not tested"
    if words == {"measured"}:  # costs that no test decides
        return "measured"
    if "contradicted" in words:
        return "mixed" if words & {"supported", "partly supported"} else "contradicted"
    if len(words) == 1:
        return words.pop()
    if "not reproduced" in words:  # what may happen has to happen once
        return "supported" if "supported" in words else "undecided"
    counted = [verdict for verdict in verdicts if verdict != "not tested"]
    return "partly supported" if 2 * sum("supported" in word for word in counted) > len(counted) else "undecided"


def _matrix(verdicts: pd.DataFrame) -> Table:
    """Claims in rows, cases (a backbone on a data set) in columns."""
    judged = verdicts[~verdicts["dataset"].isin(["", harm.ALL])]
    # a verdict on two backbones together stands with both
    judged = judged.assign(backbone=judged["backbone"].str.split(" and ")).explode("backbone")
    datasets = ordered(judged["dataset"], DATASETS)
    backbones = ordered(judged["backbone"], [term.label for term in BACKBONES.values()])
    present = set(zip(judged["dataset"], judged["backbone"], strict=True))
    columns = [(d, b) for d in datasets for b in backbones if (d, b) in present]
    rows = []
    for claim, text in CLAIMS.items():
        of_claim = judged[judged["claim"] == claim]
        cells = {(row["dataset"], row["backbone"]): _case(row) for row in records(of_claim)}
        shown = [cells.get(column, Cell("–")) for column in columns]
        word = overall(verdicts.loc[verdicts["claim"] == claim, "verdict"].tolist())
        rows.append(Row((Cell(claim), Cell(text), *shown, Cell(word, strong=True))))
    header = ("", "claim", *(f"{dataset_name(d)}\n{b}" for d, b in columns), "overall")
    note = (
        "A claim is supported overall if it is wherever it was tested, partly supported if it is in most cases and "
        "contradicted in none; mixed: supported here, contradicted there. Below a verdict: how many of its comparisons "
        "are better, and by how much the first of them differs in MRR."
    )
    return Table("Claims and cases", header, "lp" + "l" * (len(columns) + 1), tuple(rows), note)


def _case(row: Mapping[str, Any]) -> Cell:
    """A verdict with what it rests on: "19 of 20, +1.4 %"."""
    if pd.isna(row.get("effect", math.nan)):
        return Cell(row["verdict"])
    return Cell(row["verdict"], f"{row['better']:.0f} of {row['comparisons']:.0f}, {percent(row['effect'])}")


def _claim(claim: str, studies: Sequence[StudyEvidence], shown: _Shown) -> Section:
    """The evidence on a claim: its rule and study, verdicts, figures and numbers; what another claim has is named."""
    bearing = [study for study in _in_order(studies) if claim in study.evidence]
    layout = bearing[0].layout
    blocks: list[Block] = [Text(RULES[claim], "Rule.")]
    if (first := shown.first(layout.name, claim)) == claim:
        blocks.append(Text(layout.about, f"Study {layout.name} ({_run(bearing)})."))
    else:
        blocks.append(f"Study {layout.name} is described with {first}.")
    blocks += _missing(claim, studies)
    lines = [
        {"case": _on(v.backbone, study.dataset), "verdict": v.verdict, "reason": v.reason}
        for study in bearing
        for v in study.evidence[claim].verdicts
    ]
    blocks.append(Verdicts([{"id": claim, "text": "", "lines": lines}]))
    tables, elsewhere = [], set()
    for study in bearing:
        evidence = study.evidence[claim]
        for position, (end, draw) in enumerate(evidence.figures.items()):
            if (first := shown.first(id(draw), claim)) != claim:
                elsewhere.add(first)
                continue
            case = _on(evidence.verdicts[position].backbone if end else harm.ALL, study.dataset)
            caption = f"Evidence on {claim} ({case}). {evidence.marks}".strip()
            blocks.append(Figure(f"{claim}_{_stem(study)}{end}", draw, caption))
        if (first := shown.first(id(evidence.table), claim)) == claim:
            tables.append((_on(harm.ALL, study.dataset), evidence.table))
        else:
            elsewhere.add(first)
    blocks += _by_data(claim, tables)
    if elsewhere:
        blocks.append(f"More of this study is shown with {joined(sorted(elsewhere))}.")
    return Section(f"{claim} · {overall([line['verdict'] for line in lines])}. {CLAIMS[claim]}", blocks)


def _on(backbone: str, dataset: str) -> str:
    """What a line, figure or table is about: a backbone on a data set, or all of either."""
    parts = [backbone] * (backbone != harm.ALL) + [dataset_name(dataset)] * (dataset != harm.ALL)
    return ", ".join(parts) or "all studies"


def _run(bearing: Sequence[StudyEvidence]) -> str:
    """How a study was run: "YAGO11k and Wikidata12k, seeds 0–4, margin 1 %"."""
    own = [study for study in bearing if study.dataset != harm.ALL]
    if not own:
        return "all studies"
    seeds = dict.fromkeys(_facts(study)["seeds"] for study in own)
    margin = percent(own[0].layout.margin, signed=False)
    return f"{joined([dataset_name(study.dataset) for study in own])}; seeds {' or '.join(seeds)}; margin {margin}"


def _missing(claim: str, studies: Sequence[StudyEvidence]) -> list[str]:
    """Why studies of a claim have no evidence."""
    return [
        f"{study.layout.name} on {dataset_name(study.dataset)}: {study.missing}"
        for study in studies
        if study.missing and claim in study.layout.claims
    ]


def _by_data(claim: str, tables: Sequence[tuple[str, Table]]) -> list[Table]:
    """Tables of a claim, those with the same columns and note as one, in which each data set has a row as its title."""
    alike: dict[tuple[object, ...], list[tuple[str, Table]]] = {}
    for name, table in tables:
        alike.setdefault((table.caption, table.header, table.align, table.note), []).append((name, table))
    made = []
    for group in alike.values():
        first = group[0][1]
        rows = first.rows
        if len(group) > 1:
            blank = (Cell(""),) * (len(first.header) - 1)
            titled = [
                (Row((Cell(name, strong=True), *blank), rule=k > 0), *table.rows)
                for k, (name, table) in enumerate(group)
            ]
            rows = tuple(row for part in titled for row in part)
        names = joined([name for name, _ in group])
        made.append(replace(first, caption=f"{first.caption} ({claim}, {names})", rows=rows))
    return made


def _not_tested(untested: Sequence[str], studies: Sequence[StudyEvidence], layouts: Mapping[str, Layout]) -> Section:
    """The claims without a verdict, with their rules and the command that tests them."""
    rows: list[Row] = []
    names: list[str] = []
    for claim in untested:
        name = next((name for name, layout in layouts.items() if claim in layout.claims), "–")
        names += [name] if name not in ("–", harm.ALL, *names) else []
        reasons = " ".join(_missing(claim, studies))
        rows.append(Row((Cell(claim), Cell(CLAIMS[claim]), Cell(f"{RULES[claim]} {reasons}".strip()), Cell(name))))
    table = Table("Claims that have no results yet", ("", "claim", "rule", "study"), "lppl", tuple(rows))
    commands = [f"python -m harness.study {name} --dataset wiki --backbone all" for name in names]
    return Section("Not tested", [table, Command("\n".join(commands))])


def _in_order(studies: Sequence[StudyEvidence]) -> list[StudyEvidence]:
    """Studies by their data sets, in the order of the matrix."""
    datasets = ordered({study.dataset for study in studies}, DATASETS)
    return sorted(studies, key=lambda study: datasets.index(study.dataset))


def _facts(study: StudyEvidence) -> dict[str, str]:
    """How a study was run, by the names of `harness.reporting.data.about.facts_of`, and its seeds."""
    trials = next(iter(study.evidence.values())).trials
    facts = dict(facts_of(trials, study.meta.data, dataset_name(study.dataset)))
    return facts | {"seeds": facts.get("Arms", "").rpartition("; seed")[2].lstrip("s ")}


def _provenance(studies: Sequence[StudyEvidence]) -> Section:
    """How the studies were run, a row each, the machines, and the commands."""
    with_results = [study for study in studies if study.evidence]
    rows: list[list[str]] = []
    machines: dict[str, str] = {}
    for study in with_results:
        facts = _facts(study)
        machine = "; ".join(facts[key] for key in ("Machine", "Versions") if key in facts)
        letter = machines.setdefault(machine, chr(ord("A") + len(machines))) if machine else "–"
        days = dict.fromkeys(day.split()[0] for day in facts.get("Started", "").split(" to ") if day)
        rows.append([study.layout.name, dataset_name(study.dataset), facts["seeds"], facts["Trials"].split(" (")[0],
                     " to ".join(days) or "–", facts.get("Commit", "–"), letter])  # fmt: skip
    header = ("study", "data", "seeds", "trials", "started", "commit", "machine")
    table = Table("Studies", header, "llllllc", tuple(Row(tuple(map(Cell, row))) for row in rows))
    commands = dict.fromkeys(study.meta.command for study in with_results)
    of_machines = Pairs([[letter, machine] for machine, letter in machines.items()])
    return Section("Provenance", [table, of_machines, Command("\n".join(filter(None, commands)))])
