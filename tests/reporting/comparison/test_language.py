"""Ways to read the language model: each LLM teacher beside the student that learns from it, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from harness.reporting.comparison.language import ways, ways_table
from harness.reporting.comparison.report import content
from harness.reporting.data.results import costs_by_stage, means, paired
from tests.reporting.conftest import LAYOUT, Frames

Make = Callable[..., Frames]
#: a student and a teacher whose language model is read in another way
STUDENT, ALONE = "neighbourhood", "neighbourhood alone"


def with_ways(frames: Frames) -> Frames:
    """The study with a variant of the full method, and its teacher, which is there once."""
    trials = frames.trials.assign(losses=frames.trials["arm"])
    is_variant = trials["arm"].isin(["L1+L2", "teacher"])
    names = {"L1+L2": ("L1+L2+L3", STUDENT), "teacher": ("llm-teacher", ALONE)}
    for k in trials.index[is_variant]:
        losses, arm = names[trials.loc[k, "arm"]]
        spec = json.loads(trials.loc[k, "spec"])
        spec["llm"]["texts"] = "neighbourhood"
        trials.loc[k, ["losses", "arm", "spec"]] = [losses, arm, json.dumps(spec)]
    curves = frames.curves.replace({"arm": {"L1+L2": STUDENT}})
    return Frames(trials, curves, frames.ranks)


@pytest.fixture
def shown(frames: Make) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The ways, the means and the costs behind them."""
    layout = replace(LAYOUT, arms=(*LAYOUT.arms, STUDENT, ALONE), compare={"L1": ("L1+L2+L3", STUDENT)})
    results = with_ways(frames()).of(layout).results()
    averages, costs = means(results), costs_by_stage(results)
    return ways(results, averages, paired(results), costs), averages, costs


def test_each_teacher_stands_beside_its_own_student(shown: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    ways, averages, costs = shown
    assert dict(zip(ways["arm"], ways["student"], strict=True)) == {
        ALONE: STUDENT,
        "llm-teacher": "L1+L2+L3",
    }
    mrr = averages[averages["metric"] == "mrr"].set_index("arm")["mean"]
    for row in ways.itertuples():
        assert row.mean == mrr[row.arm]
        assert row.difference == pytest.approx(mrr[row.student] - mrr["L1"])
        assert row.seconds == pytest.approx(costs[costs["arm"] == row.arm]["seconds"].sum())
    table = ways_table(ways, "ttranse")
    assert [row.cells[2].text for row in table.rows] == [STUDENT, "L1 + L2 + L3"]
    assert not ways_table(ways, "ta-distmult").rows


def test_the_report_has_them(frames: Make) -> None:
    document = content(with_ways(frames()).of(LAYOUT))
    assert "ways" in document.tables["ttranse"]
    assert "ways" not in content(frames().of(LAYOUT)).tables["ttranse"]
