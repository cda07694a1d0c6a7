"""What a report refuses: every broken frame ends in one line that names the place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.errors import UserError
from harness.reporting.data.frames import CURVES, RANKS, ranked, validate, validate_trials

Make = Callable[..., Any]


def test_a_sound_study_passes_and_keeps_its_index(frames: Make) -> None:
    trials = frames(facts=30).trials.set_index(pd.Index(range(100, 117)))
    checked = validate_trials(trials)
    assert checked.index.tolist() == trials.index.tolist()
    assert checked["seed"].dtype == "Int64"


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("arm", "", r"column 'arm', row 3 has ''"),
        ("state", "done", r"column 'state', row 3 has 'done'"),
        ("test_mrr", 29.8, r"column 'test_mrr', row 3 has '29.8'"),
        ("valid_mr", 0.5, r"column 'valid_mr', row 3 has '0.5'"),
        ("seed", -1, r"column 'seed', row 3 has '-1'"),
        ("seconds_stage2", -3.0, r"column 'seconds_stage2', row 3 has '-3.0'"),
        ("test_hits3", np.nan, r"arm L1, backbone ttranse, seed 0 is complete but its test_hits3 is not a finite"),
        ("dataset", "yago", r"a report holds one design, got dataset wiki, yago"),
        ("study_name", "other", r"a report holds one design, got study_name ablation-wiki-3f2a91, other"),
    ],
)
def test_trials_with_a_bad_value_are_refused(frames: Make, column: str, value: Any, message: str) -> None:
    trials = frames(facts=30).trials
    trials.loc[3, column] = value
    with pytest.raises(UserError, match=message) as caught:
        validate_trials(trials)
    assert "\n" not in str(caught.value)


def test_a_missing_column_is_named(frames: Make) -> None:
    with pytest.raises(UserError, match="column 'test_hits10' is missing"):
        validate_trials(frames(facts=30).trials.drop(columns="test_hits10"))


def test_no_trials_and_nothing_complete_are_refused(frames: Make) -> None:
    trials = frames(facts=30, seeds=1, arms=("L1",), failed=(("L1", 0),)).trials
    metrics = [f"{split}_{key}" for split in ("valid", "test") for key in ("mrr", "mr", "hits1", "hits3", "hits10")]
    with pytest.raises(UserError, match="there are none; run the study first"):
        validate_trials(trials.iloc[:0])
    with pytest.raises(UserError, match="none is complete; the first failed with: loss became NaN"):
        validate_trials(trials.assign(**dict.fromkeys(metrics, np.nan)))


def test_a_cell_complete_twice_is_refused(frames: Make) -> None:
    trials = frames(facts=30).trials
    twice = pd.concat([trials, trials.iloc[[4]].assign(trial=99)], ignore_index=True)
    with pytest.raises(UserError, match="arm L1, backbone ttranse, seed 1 is complete more than once"):
        validate_trials(twice)


def test_a_cell_never_tried_is_refused_but_a_failed_one_is_not(frames: Make) -> None:
    study = frames(facts=30, failed=(("L1+L3", 2),))
    assert len(validate_trials(study.trials)) == 17
    gap = study.trials[~((study.trials["arm"] == "L1+L2") & (study.trials["seed"] == 1))]
    with pytest.raises(UserError, match=r"arm L1\+L2, backbone ttranse lacks seed 1"):
        validate_trials(gap)


def test_a_failed_attempt_gives_way_to_a_later_complete_one(frames: Make) -> None:
    trials = frames(facts=30).trials
    failure = trials.iloc[[5]].assign(trial=50, state="failed", reason="killed")
    checked = validate_trials(pd.concat([failure, trials], ignore_index=True))
    assert (checked["state"] == "complete").all()
    assert len(checked) == len(trials)


def test_measures_are_those_of_the_ranks(frames: Make) -> None:
    study = frames(facts=40)
    trial = study.trials.iloc[0]
    of_trial = ranked(study.ranks[0].sample(frac=1, random_state=0), trial)
    relations, values = of_trial.asked.relations, of_trial.values()
    ranks = study.ranks[0]["rank"].to_numpy()
    assert values.shape == (2, 40, 5)
    assert relations.tolist() == study.ranks[0]["relation"][:40].tolist()
    np.testing.assert_allclose(values[1, :, 0], 1 / ranks[40:])
    np.testing.assert_allclose(values[0, :, 1], ranks[:40])
    np.testing.assert_array_equal(values[0, :, 4], ranks[:40] <= 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ranks: ranks.drop(index=7), "one tail and one head query of every test fact"),
        (lambda ranks: ranks.assign(direction="tail"), "one tail and one head query of every test fact"),
        (lambda ranks: ranks.iloc[:0], "one tail and one head query of every test fact"),
        (lambda ranks: ranks.assign(rank=ranks["rank"] + 1), r"has MRR .*, its ranks give"),
        (lambda ranks: ranks.assign(rank=0.5), r"column 'rank', row 0 has '0.5', expected finite, at least 1"),
        (lambda ranks: ranks.assign(rank=np.inf), r"column 'rank', row 0 has 'inf'"),
        (lambda ranks: ranks.assign(query=0), r"column 'query'"),
    ],
)
def test_broken_ranks_are_refused(frames: Make, change: Callable[..., pd.DataFrame], message: str) -> None:
    study = frames(facts=20)
    known = ranked(study.ranks[0], study.trials.iloc[0]).asked
    for before in (None, known):
        with pytest.raises(UserError, match=message):
            ranked(change(study.ranks[0]), study.trials.iloc[0], before)


def test_queries_that_are_those_of_another_trial_are_checked_once(frames: Make) -> None:
    study = frames(facts=20)
    first, second = (ranked(study.ranks[k], study.trials.iloc[k], None) for k in (0, 1))
    again = ranked(study.ranks[1], study.trials.iloc[1], first.asked)
    mixed = ranked(study.ranks[1].sample(frac=1, random_state=0), study.trials.iloc[1], first.asked)
    assert again.asked is first.asked
    assert mixed.asked is not first.asked
    for one in (again, mixed):
        np.testing.assert_array_equal(one.values(), second.values())
    for more, kind in ((0.0, np.uint16), (2**-10, np.float32), (1e-8, np.float64)):
        finer = study.ranks[1].assign(rank=lambda frame, more=more: frame["rank"] + more * (frame["rank"] > 20))
        held = ranked(finer, study.trials.iloc[1])
        assert held.doubled.dtype == kind
        np.testing.assert_array_equal(held.values()[0, :, 1], finer["rank"][:20])
        np.testing.assert_array_equal(held.values()[1, :, 0], 1 / finer["rank"][20:])


def test_an_epoch_told_twice_is_refused(frames: Make) -> None:
    curves = frames(facts=20).curves
    assert len(validate(CURVES, curves)) == len(curves)
    with pytest.raises(UserError, match="learning curves: expected one row an epoch"):
        validate(CURVES, pd.concat([curves, curves.iloc[[0]]]))


def test_ranks_schema_names_the_column_it_misses() -> None:
    with pytest.raises(UserError, match=r"ranks: column 'rank' is missing; was this store written by another version"):
        validate(RANKS, pd.DataFrame({"query": [0], "direction": ["tail"], "relation": ["r"]}))
