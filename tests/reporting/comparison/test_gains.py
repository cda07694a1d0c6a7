"""The gain by label and degree of a query's entities, recomputed from the ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.errors import UserError
from harness.reporting.comparison import figures
from harness.reporting.comparison.gains import gains, headline, splits
from harness.reporting.data.results import Results
from tests.reporting.conftest import LAYOUT

Make = Callable[..., Any]


def known(study: Any, *, labels: bool = True) -> Any:
    """The study with something known of its queries."""
    n = len(next(iter(study.ranks.values())))
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"query": np.arange(n)})
    for end in ("subject", "answer"):
        frame[f"{end}_degree"] = random.integers(0, 40, n)
        frame[f"{end}_labelled"] = random.random(n) < 0.7 if labels else True
    mine, study.load_ranks = study.load_ranks, lambda label: own_of(label).merge(frame, on="query")
    own_of = mine
    return study, frame


def test_groups_have_the_differences_of_their_queries(frames: Make) -> None:
    study, facts = known(frames(facts=300))
    results = Results.load(study.trials, study.load_ranks, LAYOUT)
    table = splits(results)
    assert set(table["arm"]) == {"L1+L2+L3"}
    gain = np.zeros(len(facts))
    for seed in range(3):
        trials = study.trials[study.trials["seed"] == seed].reset_index(names="row").set_index("arm")["row"]
        ranks = (study.ranks[trials[arm]].sort_values("query")["rank"] for arm in ("L1+L2+L3", "L1"))
        one, other = ranks
        gain += (1 / one.to_numpy() - 1 / other.to_numpy()) / 3
    for end in ("subject", "answer"):
        mine = table[table["end"] == end]
        labels = mine[mine["by"] == "label"].set_index("group")
        chosen = facts[f"{end}_labelled"]
        assert labels.loc["labelled", "difference"] == pytest.approx(gain[chosen].mean())
        assert labels.loc["without a label", "difference"] == pytest.approx(gain[~chosen].mean())
        degrees = mine[mine["by"] == "degree"]
        assert degrees["queries"].sum() == len(facts)
        assert (degrees["queries"] > len(facts) / 8).all()
        full = (degrees["difference"] * degrees["queries"]).sum() / len(facts)
        assert full == pytest.approx(gain.mean())
        first = degrees.iloc[0]["group"].removeprefix("in ").removesuffix(" facts").split(" to ")
        few = facts[f"{end}_degree"].between(int(first[0]), int(first[1]))
        assert degrees.iloc[0]["difference"] == pytest.approx(gain[few].mean())
    assert (table["low"] < table["difference"]).all()


def test_without_entities_of_both_kinds_there_is_no_split_by_label(frames: Make, tmp_path: Path) -> None:
    study, _ = known(frames(facts=60), labels=False)
    table = splits(Results.load(study.trials, study.load_ranks, LAYOUT))
    assert set(table["by"]) == {"degree"}
    assert figures.split_gains(table, "ttranse", tmp_path / "a")


def test_gains_are_of_the_comparison_that_the_study_is_about(frames: Make) -> None:
    """In a schedule two stages against one, whatever arm comes last; of the paper's arms all three against L1."""
    arms = ("L1", "one stage", "switch after 1/2", "reversed")
    study = frames(facts=40, seeds=1, arms=arms, shift=dict.fromkeys(arms[1:], -0.1))
    compare = {"one stage": ("reversed", "switch after 1/2"), "L1": ("one stage", "reversed")}
    layout = replace(LAYOUT, claims=("C3",), arms=arms, compare=compare)
    results = Results.load(study.trials, study.load_ranks, layout)
    assert headline(results, "ttranse") == ("switch after 1/2", "one stage")
    assert set(gains(results)["arm"]) == {"switch after 1/2"}
    complete = frames(facts=40, seeds=1)
    assert headline(Results.load(complete.trials, complete.load_ranks, LAYOUT), "ttranse") == ("L1+L2+L3", "L1")


def test_where_nothing_is_known_there_is_nothing(frames: Make, tmp_path: Path) -> None:
    study = frames(facts=60)
    table = splits(Results.load(study.trials, study.load_ranks, LAYOUT))
    assert table.empty
    assert not figures.split_gains(table, "ttranse", tmp_path / "a")


def test_what_cannot_be_is_refused(frames: Make) -> None:
    study, facts = known(frames(facts=60))
    facts.loc[3, "answer_degree"] = -1
    with pytest.raises(UserError, match="queries: column 'answer_degree'"):
        Results.load(study.trials, study.load_ranks, LAYOUT)
