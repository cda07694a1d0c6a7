"""Of a tuned study the winners with fresh seeds are evidence, and nothing else."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from harness.errors import UserError
from harness.reporting.data.tuning import apart

TUNE = {"trials": 2, "seeds": 2, "space": {}}


def row(arm: str, number: int, seed: int, mrr: float | None, **more: Any) -> dict[str, Any]:
    """A trial inside the tuning; without a validation MRR it failed."""
    about = {"backbone": "ttranse", "arm": f"{arm} · #{number}", "losses": arm, "role": "tune", "configuration": number}
    about |= {"seed": seed, "valid_mrr": mrr, "state": "failed" if mrr is None else "complete", "spec": "{}"}
    return about | {"cell": f"{arm}-{number}-{seed}", "seconds_stage2": 2.0} | more


def fresh(arm: str, number: int, seed: int) -> dict[str, Any]:
    return row(arm, number, seed, 0.2) | {"arm": arm, "role": "confirm"}


def stored(*more: dict[str, Any]) -> pd.DataFrame:
    """Configuration 1 is the best of L1 among two; 2, beyond the budget, won once, and 0 did with fewer seeds."""
    values = {(0, 0): 0.31, (0, 1): 0.20, (1, 0): 0.29, (1, 1): 0.28, (2, 0): 0.5, (2, 1): 0.5, (0, 2): 0.9}
    rows = [row("L1", number, seed, mrr) for (number, seed), mrr in values.items()]
    # stage 1 of the first was taken from the cache; the second had failed before it was complete
    rows[0] |= {"built_seconds_stage1": 1.5}
    rows += [row("L1", 1, 0, None), *(fresh("L1", number, seed) for number in (1, 2, 0) for seed in (1000, 1001))]
    rows += [{"backbone": "ttranse", "arm": "teacher", "seed": 0, "state": "complete", "cell": "t"}]
    return pd.DataFrame([*rows, *more])


def test_evidence_is_the_winner_within_the_budget_with_fresh_seeds() -> None:
    trials, tried = apart(stored(), TUNE)
    kept = [(row["arm"], row["configuration"], row["seed"]) for _, row in trials[trials["arm"] == "L1"].iterrows()]
    assert kept == [("L1", 1, 1000), ("L1", 1, 1001)]
    assert set(trials["arm"]) == {"L1", "teacher"}
    assert tried["configuration"].tolist() == [0, 1]
    assert tried["mrr"].tolist() == pytest.approx([0.255, 0.285])
    assert tried["winner"].tolist() == [False, True]
    assert tried["trials"].tolist() == [2, 2]
    assert tried["seconds"].tolist() == [5.5, 4.0]


def test_a_configuration_that_lost_a_seed_cannot_win() -> None:
    trials = stored()
    trials.loc[(trials["cell"] == "L1-1-1") & (trials["role"] == "tune"), ["state", "valid_mrr"]] = ["failed", None]
    kept, tried = apart(trials, TUNE)
    assert set(kept.loc[kept["arm"] == "L1", "configuration"]) == {0}
    assert tried["trials"].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("more", "tune", "message"),
    [
        ([row("DKD", 0, 0, 0.3), row("DKD", 0, 1, 0.3)], TUNE, "DKD, TTransE: 1 of 2 configurations have ended"),
        ([row("L1", 3, seed, 0.6) for seed in (0, 1)], TUNE | {"trials": 4}, "no winner .* has run with fresh seeds"),
        ([], TUNE | {"trials": 4}, "L1, TTransE: 3 of 4 configurations"),
    ],
)
def test_unequal_budgets_and_winners_that_have_not_run_are_refused(
    more: list[dict[str, Any]], tune: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        apart(stored(*more), tune)
