"""What was run: data, protocol, trials, weights, provenance and settings, read off the trials."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from harness.reporting.data.frames import records
from harness.reporting.data.results import Recipe, Results
from harness.reporting.data.text import number
from harness.vocabulary import PROTOCOLS, REFERENCES, VALIDATION_FILTERS, arm_name, backbone_name, student_arms

#: more arms, or values of a setting, than these are given by their number, or by the smallest and largest
MOST_NAMED = 13
#: parts of a spec that name the trial, not the settings
_KEYS = ("dataset", "backbone", "arm", "seed")


def _unique(trials: pd.DataFrame, column: str) -> list[str]:
    return sorted({str(value) for value in trials[column].dropna()}) if column in trials else []


def _date(text: str) -> datetime | None:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)


def started(trials: pd.DataFrame) -> list[datetime]:
    """When the trials started, in UTC and ascending; without those that have no readable time."""
    return sorted(date for text in _unique(trials, "started") if (date := _date(text)))


def subtitle(results: Results) -> str:
    """Backbones, number of seeds and date of the latest trial."""
    backbones = [backbone_name(backbone) for backbone in results.backbones]
    students = results.trials[~results.trials["arm"].isin(REFERENCES)]
    seeds = students["seed"].nunique()
    parts = [", ".join(backbones), f"{seeds} seed{'s' if seeds != 1 else ''}"]
    if dates := started(results.trials):
        parts.append(f"{dates[-1].day} {dates[-1]:%B %Y}")
    return " · ".join(parts)


def facts(
    results: Results, data: dict[str, int], name: str, factors: Mapping[str, Sequence[object]] | None = None
) -> list[list[str]]:
    """What was run, as pairs of a name and a value.

    Args:
        results: the trials.
        data: counts of the data set.
        name: the data set's.
        factors: of a study that crosses its arms with levels of settings: these levels by what they are called. The
            arms are then given by their losses.
    """
    students = results.trials[~results.trials["arm"].isin(REFERENCES)]
    arms = results.layout.order(students["losses" if factors else "arm"])
    tested = {"test facts, each asked for its tail and for its head": len(results.relations)}
    return facts_of(results.trials, data or tested, name, arms, factors)


def with_points(shown: Sequence[Sequence[str]], points: Mapping[str, str]) -> list[list[str]]:
    """What was run (`facts`) of a study that varies settings: ``points`` in place of arms and weights."""
    made: list[list[str]] = []
    for label, value in shown:
        if label == "Arms":
            made += [[name, text] for name, text in points.items() if text]
        elif label != "Weights":
            made.append([label, value])
    return made


def facts_of(
    trials: pd.DataFrame,
    data: dict[str, int],
    name: str,
    arms: Sequence[str] | None = None,
    factors: Mapping[str, Sequence[object]] | None = None,
) -> list[list[str]]:
    """The same of trials, one row each; ``arms``: their names in order, None: in the order of the rows."""
    counts = ", ".join(f"{number(count, 0)} {what}" for what, count in data.items())
    arms = student_arms(trials["arm"]) if arms is None else arms
    digest = _unique(trials, "data_digest")
    protocols = [f"{name}: {PROTOCOLS.get(name, 'see the documentation')}" for name in _unique(trials, "protocol")]
    states = trials["state"].value_counts()
    seeds = sorted({int(seed) for seed in trials[~trials["arm"].isin(REFERENCES)]["seed"]})
    counted = ", ".join(f"{states[state]} {state}" for state in ("complete", "failed", "running") if state in states)
    commits = {
        f"{str(row['git_commit'])[:12]}{' with uncommitted changes' if row.get('git_dirty') else ''}"
        for row in records(trials)
        if pd.notna(row.get("git_commit"))
    }
    versions = [
        f"{label} {', '.join(unique)}"
        for label, column in (("harness", "harness"), ("Python", "python"), ("PyTorch", "torch"))
        if (unique := _unique(trials, column))
    ]
    threads = _unique(trials, "threads")
    machine = "; ".join(_unique(trials, "machine"))
    width = f"{' or '.join(threads)} thread{'s' * (threads != ['1'])} a trial" if threads else ""
    seed = f"seed{'s' * (len(seeds) > 1)} {_runs(seeds)}"
    dates = started(trials)
    span = " to ".join(dict.fromkeys(f"{d:%Y-%m-%d %H:%M} UTC" for d in (dates[:1] + dates[-1:])))
    pairs = {
        "Data": f"{name}: {counts}",
        "Data digest": ", ".join(digest),
        "Protocol": "; ".join(protocols),
        "Validation": "; ".join(VALIDATION_FILTERS[name] for name in _validation_filters(trials)),
        "Arms": f"{_arms(arms)}; {seed}" if arms else "",
        **{factor: ", ".join(map(str, levels)) for factor, levels in (factors or {}).items()},
        "Teachers": _teachers(trials),
        "Weights": _weights(trials),
        "Preset": ", ".join(_unique(trials, "preset")),
        "Trials": f"{counted} (store: {', '.join(_unique(trials, 'study_name'))})",
        "Started": span,
        "Commit": ", ".join(sorted(commits)),
        "Versions": ", ".join(versions),
        "Machine": "; ".join(part for part in (machine, width) if part),
    }
    return [[label, value] for label, value in pairs.items() if value]


def _validation_filters(trials: pd.DataFrame) -> list[str]:
    """The values of setting ``validation_filter``; trials of before it have none."""
    return sorted({json.loads(spec).get("validation_filter", "all") for spec in _unique(trials, "spec")})


def _teachers(trials: pd.DataFrame) -> str:
    """Whether intervals cover new structural teachers; "" where no student is distilled."""
    losses = trials["losses"].fillna(trials["arm"]) if "losses" in trials else trials["arm"]
    if losses.isin(["none", *REFERENCES]).all():
        return ""
    if any(json.loads(spec).get("teacher", {}).get("seeds") == "student" for spec in _unique(trials, "spec")):
        return "a structural teacher for each seed, so that intervals over seeds cover new ones"
    return "one structural teacher for all seeds; intervals cover no other"


def _arms(arms: Sequence[str]) -> str:
    """The names of arms; of many that are points of a grid, such as "L1 + L2 + L3 · α=0.1", their number."""
    if len(arms) <= MOST_NAMED:
        return ", ".join(map(arm_name, arms))
    points = Counter(arm.split(" · ")[0] for arm in arms)
    return ", ".join(
        arm_name(arm) if count == 1 else f"{arm_name(arm)} at {count} points" for arm, count in points.items()
    )


def _runs(values: list[int]) -> str:
    """Ascending integers with runs shortened: "0–2, 5"."""
    groups: list[list[int]] = []
    for value in values:
        if groups and value == groups[-1][-1] + 1:
            groups[-1].append(value)
        else:
            groups.append([value])
    return ", ".join(str(g[0]) if len(g) == 1 else f"{g[0]}–{g[-1]}" for g in groups)


def _weights(trials: pd.DataFrame) -> str:
    students = trials[~trials["arm"].isin(REFERENCES)]
    symbols = {"alpha": "α", "beta": "β", "delta": "δ", "temperature": "T", "hard_weight": "hard-label weight"}
    by_symbol = {symbol: _unique(students, column) for column, symbol in symbols.items()}
    return ", ".join(f"{symbol} {_values(values)}" for symbol, values in by_symbol.items() if values)


def _values(values: Sequence[str]) -> str:
    if len(values) <= MOST_NAMED:
        return f"= {' or '.join(f'{float(value):.4g}' for value in values)}"
    return f"from {min(map(float, values)):.2g} to {max(map(float, values)):.2g}"


def settings(trials: pd.DataFrame, recipe: Recipe | None = None) -> tuple[list[list[str]], dict[str, dict[str, str]]]:
    """The settings that a backbone's students have in common, as dotted names and values.

    ``recipe``: see `harness.reporting.data.results.Frames`. What neither a spec nor a recipe decides is "automatic".

    Returns:
        Pairs of those that are the same for all backbones; and by name those that differ, with each backbone's value.
    """
    students = trials[~trials["arm"].isin(REFERENCES) & (trials["state"] == "complete")]
    by_backbone = {}
    for backbone, group in students.groupby("backbone", sort=False):
        specs = [_resolved(json.loads(text), recipe) for text in _unique(group, "spec")]
        if specs:
            first = specs[0]
            shared = [key for key in first if all(spec.get(key) == first[key] for spec in specs) and key not in _KEYS]
            by_backbone[str(backbone)] = {key: first[key] for key in shared}
    keys = list(dict.fromkeys(key for values in by_backbone.values() for key in values))
    values = {key: {name: of[key] for name, of in by_backbone.items() if key in of} for key in keys}
    is_common = {key: len(of) == len(by_backbone) and len(set(of.values())) == 1 for key, of in values.items()}
    common = [[key, next(iter(values[key].values()))] for key in keys if is_common[key]]
    # what only some backbones share within themselves is no setting of the others
    return common, {key: values[key] for key in keys if not is_common[key] and len(values[key]) == len(by_backbone)}


def _resolved(spec: dict[str, Any], recipe: Recipe | None) -> dict[str, str]:
    """A spec as dotted names and values, what it leaves to a recipe filled in."""
    flat = _flat(spec)
    decided = {} if recipe is None else recipe(spec)
    return flat | {name: str(value) for name, value in decided.items()}


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        return {k: v for name, part in value.items() for k, v in _flat(part, f"{prefix}{name}.").items()}
    shown = "automatic" if value is None else str(value)
    return {prefix.removesuffix("."): shown.lower() if isinstance(value, bool) else shown}
