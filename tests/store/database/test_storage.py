"""Trials that are written and read in bulk are those that Optuna writes and reads, in both directions."""

from __future__ import annotations

import math
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.store.database import optuna_private
from harness.store.database.optuna_private import _migrations
from harness.store.database.storage import Storage

FACTORS = {"seed": IntDistribution(0, 9), "arm": CategoricalDistribution(("none", "L1")), "x": FloatDistribution(0, 1)}
STATES = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED, TrialState.WAITING)


def some(state: TrialState, seed: int = 3) -> FrozenTrial:
    """A trial with all that Optuna stores of one."""
    return create_trial(
        state=state,
        value=math.inf if state == TrialState.COMPLETE else None,
        params={"seed": seed, "arm": "L1", "x": 0.5},
        distributions=FACTORS,
        user_attrs={"cell": "a", "valid": {"mrr": 0.25}},
        system_attrs={"mine": [1]},
        intermediate_values={2: 0.5, 1: math.nan, 3: -math.inf},
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def storage(url: str) -> Storage:
    return Storage(url)


@pytest.fixture
def study(storage: Storage) -> Study:
    return optuna.create_study(study_name="mine", storage=storage)


def held(storage: RDBStorage, study: Study) -> list[str]:
    """All that a storage has of a study's trials; as text, since not a number is not itself."""
    number = storage.get_study_id_from_name(study.study_name)
    trials = storage.get_all_trials(number)
    assert repr([storage.get_trial(optuna_private.trial_id(trial)) for trial in trials]) == repr(trials)
    return [repr(vars(trial)) for trial in trials]


def test_both_storages_read_what_either_writes(storage: Storage, url: str, study: Study) -> None:
    optunas = RDBStorage(url)
    trials = [some(state, seed) for seed, state in enumerate(2 * STATES)]  # the second ones' factors are known
    study.add_trials(trials)
    optuna.load_study(study_name="mine", storage=optunas).add_trials(trials)
    optuna.create_study(study_name="other", storage=optunas).add_trial(some(TrialState.COMPLETE))
    assert held(storage, study) == held(optunas, study)
    assert len(held(storage, study)) == 2 * len(trials)
    mine, theirs = study.trials[: len(trials)], study.trials[len(trials) :]
    for a, b in zip(mine, theirs, strict=True):
        names = ("state", "params", "distributions", "user_attrs", "system_attrs", "intermediate_values")
        assert repr([getattr(a, name) for name in names]) == repr([getattr(b, name) for name in names])
        assert [*a.params] == ["seed", "arm", "x"]


def test_what_has_ended_is_read_once(storage: Storage, study: Study) -> None:
    running, _ = study.add_trial(some(TrialState.RUNNING)), study.add_trial(some(TrialState.COMPLETE))
    assert running is None
    first = study.get_trials(deepcopy=False)
    study.add_trial(some(TrialState.COMPLETE, 4))
    storage.set_trial_state_values(optuna_private.trial_id(first[0]), TrialState.FAIL)
    second = study.get_trials(deepcopy=False)
    assert [trial.state.name for trial in second] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert second[1] is first[1]
    assert [trial.number for trial in study.get_trials(states=(TrialState.FAIL,))] == [0]


def test_other_levels_of_a_factor_are_refused(url: str, study: Study) -> None:
    study.add_trial(some(TrialState.COMPLETE))
    other = create_trial(
        value=1.0, params={"arm": "L2"}, distributions={"arm": CategoricalDistribution(("none", "L2"))}
    )
    for again in (study, optuna.load_study(study_name="mine", storage=Storage(url))):
        with pytest.raises(ValueError, match="does not support dynamic value space"):
            again.add_trial(other)
    assert len(study.trials) == 1


def test_a_trial_becomes_complete_once(storage: Storage, study: Study) -> None:
    running = create_trial(state=TrialState.RUNNING, user_attrs={"cell": "a", "digest": "old"})
    trial, lost = (optuna_private.create(storage, study, running) for _ in range(2))
    assert storage.complete(trial, 0.5, {"digest": "new", "updates": 7}, {1: 0.25, 2: 0.5})
    assert storage.complete(trial, 0.9, {"updates": 8}, {1: 0.9})
    storage.set_trial_state_values(optuna_private.trial_id(lost), TrialState.FAIL)
    assert not storage.complete(lost, 0.5, {"updates": 7}, {})
    first, second = study.trials
    assert (first.value, first.intermediate_values) == (0.5, {1: 0.25, 2: 0.5})
    assert first.user_attrs == {"cell": "a", "digest": "new", "updates": 7}
    assert (second.state, second.user_attrs) == (TrialState.FAIL, running.user_attrs)


def test_optunas_migrations_are_read_once_and_an_older_store_is_told_of(url: str) -> None:
    Storage(url).engine.dispose()
    before = _migrations.cache_info()
    storage = Storage(url)
    after = _migrations.cache_info()
    assert (after.misses, after.hits - before.hits) == (before.misses, 1)
    with storage.engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = 'v2.4.0.a'"))
    storage.engine.dispose()
    with pytest.raises(RuntimeError, match="no longer compatible with the table schema"):
        Storage(url)
