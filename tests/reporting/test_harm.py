"""Where distillation harms: the cases of studies, and verdicts of cases set by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from harness.reporting import harm
from harness.reporting.data.layout import Meta
from harness.reporting.data.text import percent
from harness.reporting.output.tables import Table
from harness.reporting.overview import StudyEvidence, claims_document
from tests.reporting.conftest import CAPACITY, LAYOUT

Make = Callable[..., Any]
DATA = {"data": {"training facts": 400, "entities": 100}}


def test_a_case_is_a_student_with_and_without_l1_beside_its_teacher(frames: Make) -> None:
    study = frames(facts=300, backbones=("ttranse", "ta-distmult"), shift={"L1": 0.5})
    study.trials["losses"] = study.trials["arm"]
    rows = harm.cases(study.of(LAYOUT, DATA)).set_index("backbone")
    assert len(rows) == 2
    mine = study.trials.query("backbone == 'ttranse'").groupby("arm")[["valid_mrr", "test_mrr"]].mean()
    row, valid, test = rows.loc["ttranse"], mine["valid_mrr"], mine["test_mrr"]
    assert (row["teacher"], row["undistilled"]) == (valid["teacher"], valid["none"])
    assert row["ahead"] == pytest.approx(valid["teacher"] / valid["none"] - 1)
    assert (row["bytes"], row["density"], row["seeds"]) == (100, 4, 3)
    assert row["relative"] == pytest.approx(test["L1"] / test["none"] - 1)
    assert harm.together([rows.reset_index()])["verdict"].tolist() == ["worse", "worse"]


def test_dimensions_are_cases_of_their_own(sizes: Make) -> None:
    study = sizes(dims=(5, 25), facts=100)
    rows = harm.cases(study.of(CAPACITY))
    assert rows["dim"].tolist() == [5, 25]
    assert rows["density"].isna().all()  # a store that does not say
    without = study.trials["losses"] != "teacher"
    assert harm.cases(replace(study.of(CAPACITY), trials=study.trials[without]))["ahead"].isna().all()
    distilled = study.trials["losses"] != "none"
    assert harm.cases(replace(study.of(CAPACITY), trials=study.trials[distilled])).empty


def test_of_equal_cases_the_one_with_most_seeds_counts(frames: Make) -> None:
    parts = []
    for seeds in (2, 3, 1):
        study = frames(facts=100, seeds=seeds)
        study.trials["losses"] = study.trials["arm"]
        parts.append(harm.cases(study.of(LAYOUT)))
    assert harm.together(parts)["seeds"].tolist() == [3]
    assert harm.together(parts[2:]).empty
    assert harm.evidence(parts[2:]) is None


def rows(*cases: tuple[float, str]) -> pd.DataFrame:
    """Cases by how far the teacher is ahead, and their verdicts."""
    signs = {"worse": -0.1, "better": 0.1, "undecided": 0.01, "equivalent": 0.0}
    return pd.DataFrame(
        [{"ahead": ahead, "verdict": word, "relative": signs[word] + ahead / 1000} for ahead, word in cases]
    ).assign(teacher=math.nan, undistilled=math.nan, bytes=100.0, density=math.nan)


@pytest.mark.parametrize(
    ("cases", "expected"),
    [
        ([(-0.1, "worse"), (0.005, "worse"), (0.2, "better"), (0.3, "undecided")], "supported"),
        ([(0.5, "worse"), (0.4, "worse"), (-0.1, "better")], "contradicted"),
        ([(-0.1, "worse"), (0.5, "worse"), (0.3, "better")], "contradicted"),  # half of them
        ([(-0.1, "worse"), (-0.2, "better"), (-0.3, "better")], "undecided"),  # false alarms
        ([(0.2, "better"), (0.1, "equivalent")], "undecided"),
        ([(math.nan, "worse")], "not tested"),
    ],
)
def test_the_rule_has_to_foretell_harm(cases: list[tuple[float, str]], expected: str) -> None:
    word, reason = harm.judge(rows(*cases), 0.01)
    assert word == expected
    ahead = [case for case, verdict in cases if verdict == "worse"]
    if word == "supported":
        low, high = percent(min(ahead)), percent(max(ahead))
        assert f"the teacher is ahead by {low} to {high} in the worse, by {percent(0.2)} to {percent(0.2)}" in reason


def test_rank_correlations_are_scipys_and_need_cases() -> None:
    words = ["worse", "worse", "better", "undecided", "better", "better", "better", "undecided"]
    frame = rows(*[(0.1 * k, word) for k, word in enumerate(words)])
    (row,) = harm.foretold(frame).to_dict("records")  # bytes do not vary, all else is not known
    assert row["property"] == "ahead"
    assert row["rho"] == pytest.approx(stats.spearmanr(frame["ahead"], frame["relative"]).statistic)
    assert harm.foretold(frame.head(7)).empty
    expected = "the gain correlates most with how far the teacher is ahead of the undistilled student"
    assert expected in harm.judge(frame, 0.01)[1]


def test_the_claims_report_has_all_studies_together(frames: Make, sizes: Make) -> None:
    first, second = frames(facts=100), sizes(dims=(5, 50), facts=100)
    first.trials["losses"] = first.trials["arm"]
    studies = [
        StudyEvidence(layout, "wiki", Meta(), {}, cases=harm.cases(study.of(layout)))
        for layout, study in ((LAYOUT, first), (CAPACITY, second))
    ]
    document = claims_document(studies, {})
    row = document.files["verdicts"][0].set_index("claim").loc["C20"]
    assert (row["study"], row["dataset"], row["backbone"]) == ("all", "all", "all")
    assert len(document.files["C20_all-all"][0]) == 3
    matrix = next(block for block in document.blocks if isinstance(block, Table))
    assert matrix.header == ("", "claim", "overall")  # it is no case of its own
