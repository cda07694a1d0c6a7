"""The numbers of a report, recomputed from the synthetic frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from harness.errors import UserError
from harness.reporting.comparison.gains import gains
from harness.reporting.data.results import Results, costs_by_stage, means, paired
from harness.reporting.data.standing import Standing
from harness.reporting.output.tables import Cell, verdict_cell
from harness.stats.sequential import judge
from tests.reporting.conftest import LAYOUT

Make = Callable[..., Any]


def load(study: Any) -> Results:
    return Results.load(study.trials, study.load_ranks, LAYOUT)


def test_means_are_those_of_the_trials_with_a_t_interval_over_seeds(frames: Make) -> None:
    study = frames(facts=80)
    table = means(load(study)).set_index(["arm", "metric"])
    mine = study.trials[study.trials["arm"] == "L1+L2"]["test_hits10"]
    row = table.loc[("L1+L2", "hits10")]
    assert row["mean"] == pytest.approx(mine.mean())
    # 4.3027 is Student's t with two degrees of freedom at .975
    assert row["high"] - row["mean"] == pytest.approx(4.3027 * mine.std() / np.sqrt(3), rel=1e-4)
    assert (row["n"], row["failed"], row["interval"]) == (3, 0, "seeds")


def test_one_seed_gets_an_interval_over_facts(frames: Make) -> None:
    table = means(load(frames(facts=200, seeds=1))).set_index(["arm", "metric"])
    row = table.loc[("L1", "mrr")]
    assert (row["n"], row["interval"]) == (1, "facts")
    assert 0 < row["low"] < row["mean"] < row["high"] < 1


def test_failed_seeds_are_counted_and_left_out_of_pairs(frames: Make) -> None:
    results = load(frames(facts=60, failed=(("L1+L3", 1),)))
    row = means(results).set_index(["arm", "metric"]).loc[("L1+L3", "mrr")]
    assert (row["n"], row["failed"]) == (2, 1)
    seeds = paired(results).set_index(["arm", "base", "metric"])["seeds"]
    assert seeds["L1+L3", "L1", "mrr"] == 2
    assert seeds["L1+L2", "L1", "mrr"] == 3
    assert results.common_seeds("ttranse", "L1+L3", "L1") == [0, 2]


def test_paired_differences_are_those_of_the_trials(frames: Make) -> None:
    study = frames(facts=80)
    table = paired(load(study)).set_index(["arm", "base", "metric"])
    by_arm = study.trials.groupby("arm")[["test_mrr", "test_mr"]].mean()
    row = table.loc[("L1+L2+L3", "none", "mr")]
    change = by_arm.loc["L1+L2+L3", "test_mr"] - by_arm.loc["none", "test_mr"]
    assert row["difference"] == pytest.approx(change)
    assert row["relative"] == pytest.approx(change / by_arm.loc["none", "test_mr"])
    assert (row["facts"], row["seeds"]) == (80, 3)


def test_holm_corrects_within_each_family(frames: Make) -> None:
    table = paired(load(frames(facts=120)))
    mine = table[table["metric"] == "mrr"]
    for _, family in mine.groupby("base"):
        np.testing.assert_allclose(family["p_holm"], multipletests(family["p"], method="holm")[1])
    assert mine["base"].value_counts().to_dict() == {"none": 4, "L1": 3, "L1+L2": 1, "L1+L3": 1}


def test_verdicts_know_which_way_is_better(frames: Make) -> None:
    study = frames(facts=600, shift={"L1+L2": -0.6, "L1+L3": 0.6, "L1+L2+L3": -0.05})
    verdicts = paired(load(study)).set_index(["arm", "base", "metric"])["verdict"]
    assert [verdicts["L1+L2", "L1", key] for key in ("mrr", "mr", "hits10")] == ["better"] * 3
    assert [verdicts["L1+L3", "L1", key] for key in ("mrr", "mr", "hits10")] == ["worse"] * 3
    assert verdicts["L1+L2+L3", "L1", "mrr"] == "undecided"


def test_a_small_p_value_alone_decides_nothing(frames: Make) -> None:
    """Facts agree within each seed, but seeds disagree with each other: the interval over seeds includes zero."""
    study = frames(facts=400, arms=("L1", "L1+L2"))
    step = {0: 0.5, 1: -0.35, 2: 0.4}
    for label, trial in study.trials.iterrows():
        if trial["arm"] == "L1+L2":
            base = study.ranks[study.trials.query("arm == 'L1' and seed == @trial.seed").index[0]]["rank"]
            rank = np.maximum(1, base * np.exp(-step[trial["seed"]]))
            study.ranks[label] = study.ranks[label].assign(rank=rank)
            values = {"mrr": (1 / rank).mean(), "mr": rank.mean()}
            values |= {f"hits{k}": (rank <= k).mean() for k in (1, 3, 10)}
            for key, value in values.items():
                study.trials.loc[label, f"test_{key}"] = value
    row = paired(load(study)).set_index("metric").loc["mrr"]
    assert row["p_holm"] < 0.05
    assert row["difference_low"] < 0 < row["difference_high"]
    assert row["verdict"] == "undecided"
    assert verdict_cell(row.to_dict()) == Cell("undecided", "p alone")
    assert verdict_cell(row.to_dict() | {"p_holm": 0.06, "difference_low": 1e-9}) == Cell("undecided", "interval alone")
    assert verdict_cell(row.to_dict() | {"p_holm": 0.06}) == Cell("undecided")
    assert verdict_cell(row.to_dict() | {"verdict": "better"}) == Cell("better", strong=True)


def test_no_difference_within_the_margin_is_a_verdict(frames: Make) -> None:
    study = frames(facts=600, shift={"L1+L2": 0, "L1": 0}, arms=("L1", "L1+L2"))
    row = (
        paired(Results.load(study.trials, study.load_ranks, replace(LAYOUT, margin=0.3))).set_index("metric").loc["mrr"]
    )
    assert row["verdict"] == "equivalent"
    assert abs(row["difference"]) < row["margin"]
    by_arm = study.trials.groupby("arm")["test_mrr"].mean()
    assert row["margin"] == pytest.approx(0.3 * by_arm["L1"])
    few = (
        paired(Results.load(study.trials, study.load_ranks, replace(LAYOUT, margin=0.001)))
        .set_index("metric")
        .loc["mrr"]
    )
    assert few["verdict"] == "undecided"


def test_one_seed_shows_no_equivalence(frames: Make) -> None:
    study = frames(facts=600, seeds=1, shift={"L1+L2": 0, "L1": 0}, arms=("L1", "L1+L2"))
    table = paired(Results.load(study.trials, study.load_ranks, replace(LAYOUT, margin=0.5)))
    assert (table["p_equal"] == 1).all()


def test_a_layout_with_looks_has_sequential_p_values(frames: Make) -> None:
    study = frames(facts=300, seeds=5)
    looked = Results.load(study.trials, study.load_ranks, replace(LAYOUT, looks=(3, 5, 8)))
    table = paired(looked)
    row = table.set_index(["arm", "base", "metric"]).loc[("L1", "none", "mrr")]
    values = looked.by_fact("ttranse", "L1")[:, :, :1] - looked.by_fact("ttranse", "none")[:, :, :1]
    judged = judge(values, range(5), np.array([row["margin"]]), (3, 5, 8), 5)
    assert row["p"] == pytest.approx(judged.p[0])
    assert row["chance"] == pytest.approx(judged.chance[0])
    assert sum(astuple(Standing.of(table))) == len(table[table["metric"] == "mrr"])


def test_seeds_of_reference_rows_do_not_shift_the_looks(frames: Make) -> None:
    """A teacher that is trained once has a seed of its own, here below those of all students."""
    study, layout = frames(facts=120, seeds=3, shift={"L1": -1.5}), replace(LAYOUT, looks=(3, 5))
    students = ~study.trials["arm"].isin(["teacher", "llm-teacher"])
    study.trials.loc[students, "seed"] += 1000
    alone = paired(Results.load(study.trials[students], study.load_ranks, layout))
    assert alone.set_index(["arm", "base", "metric"])["p"]["L1", "none", "mrr"] < 0.05  # all three seeds count
    pd.testing.assert_frame_equal(paired(Results.load(study.trials, study.load_ranks, layout)), alone)


def test_comparisons_need_both_arms() -> None:
    assert list(LAYOUT.pairs(["none", "L1+L2", "teacher"])) == [("L1+L2", "none")]
    assert list(LAYOUT.pairs(["L1", "L1+L2+L3"])) == [("L1+L2+L3", "L1")]
    assert list(LAYOUT.pairs(["teacher", "llm-teacher"])) == []


def test_gains_by_relation_add_up_to_the_whole(frames: Make) -> None:
    study = frames(facts=300)
    results = load(study)
    table = gains(results)
    assert set(table["direction"]) == {"tail", "head"}
    assert table["facts"].sum() == 600
    mean = (table["difference"] * table["facts"]).sum() / 600
    full = paired(results).set_index(["arm", "base", "metric"]).loc[("L1+L2+L3", "L1", "mrr"), "difference"]
    assert mean == pytest.approx(full)
    assert table["relation"].iloc[-1].endswith("other relations")
    # by number of facts, the collective row aside
    assert table["facts"][:-2].is_monotonic_decreasing


def test_many_relations_are_cut_to_a_readable_number(frames: Make) -> None:
    many = {f"r{i}": 1 / 25 for i in range(25)}
    table = gains(load(frames(facts=1000, arms=("L1", "L1+L2"), relations=many)))
    assert table["relation"].nunique() == 16
    assert table["relation"].iloc[-1] == "10 other relations"


def test_costs_count_cached_stages_with_their_first_computation(frames: Make) -> None:
    study = frames(facts=30)
    trials = study.trials
    table = costs_by_stage(load(study)).set_index(["arm", "stage"])
    mine = trials[trials["arm"] == "L1+L2+L3"]
    row = table.loc[("L1+L2+L3", "teacher")]
    assert row["seconds"] == pytest.approx(mine["built_seconds_teacher"].mean())
    assert (row["spent"], row["cached"]) == (0, 1)
    assert np.isnan(row["peak_mib"])
    assert table.loc[("L1+L2+L3", "stage2"), "spent"] == pytest.approx(mine["seconds_stage2"].mean())
    assert ("none", "teacher") not in table.index


def test_costs_without_any_times_are_empty(frames: Make) -> None:
    study = frames(facts=30)
    times = ("seconds", "built", "peak", "cached")
    study.trials = study.trials[[name for name in study.trials if not name.startswith(times)]]
    assert costs_by_stage(load(study)).empty


def test_trials_on_different_facts_are_refused(frames: Make) -> None:
    study = frames(facts=30)
    study.ranks[5] = study.ranks[5].assign(relation="elsewhere")
    with pytest.raises(UserError, match="was not tested on the same facts"):
        load(study)


def test_same_frames_same_numbers(frames: Make) -> None:
    study = frames(facts=60)
    pd.testing.assert_frame_equal(paired(load(study)), paired(load(study)))
