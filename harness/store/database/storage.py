"""Optuna's storage, with the rows of a trial written and read in bulk. The tables and their content are Optuna's.

Optuna writes a trial's fifty rows one by one, asks for the trial before each, and reads an object of SQLAlchemy for
each. Here one statement a table writes a trial, and one a table reads all trials of a study.
"""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import ColumnElement, insert, or_, select
from sqlalchemy.orm import Session

from harness.store.database.optuna_private import trial_id

#: trials share the objects of distributions, which nothing changes
_distribution = lru_cache(maxsize=4096)(json_to_distribution)


class Storage(RDBStorage):
    """An `RDBStorage` that writes and reads trials in bulk; arguments and errors are the same."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: the distributions that Optuna has compared with those of earlier trials, by study and name
        self._compared: set[tuple[int, str, BaseDistribution]] = set()

    def complete(self, trial: Trial, value: float, attributes: Mapping[str, Any], curve: Mapping[int, float]) -> bool:
        """Make a running trial complete, with more attributes and with intermediate values.

        Returns:
            Whether the trial is complete; nothing is written if it has ended already.
        """
        number, there = trial_id(trial), trial.user_attrs
        with _create_scoped_session(self.scoped_session) as session:
            model: Any = models.TrialModel.find_or_raise_by_id(number, session, for_update=True)
            if model.state.is_finished():
                return bool(model.state == TrialState.COMPLETE)
            _add(session, number, {name: held for name, held in attributes.items() if name not in there}, curve)
        for name in attributes.keys() & there.keys():
            self.set_trial_user_attr(number, name, attributes[name])
        return self.set_trial_state_values(number, TrialState.COMPLETE, [value])

    def get_trial(self, trial_id: int) -> FrozenTrial:
        with _create_scoped_session(self.scoped_session) as session:
            models.TrialModel.find_or_raise_by_id(trial_id, session)
            return _read(session, models.TrialModel.trial_id == trial_id)[0]

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        number, older = models.TrialModel.trial_id, [k for k in included_trial_ids if k <= trial_id_greater_than]
        wanted = [models.TrialModel.study_id == study_id]
        if states is not None:
            assert isinstance(states, Iterable)  # as Optuna has it
            wanted.append(models.TrialModel.state.in_(states))
        if trial_id_greater_than > -1:
            wanted.append(or_(number > trial_id_greater_than, number.in_(older)))
        with _create_scoped_session(self.scoped_session) as session:
            models.StudyModel.find_or_raise_by_id(study_id, session)
            return _read(session, *wanted)

    def _get_prepared_new_trial(self, study_id: int, template_trial: FrozenTrial | None, session: Session) -> Any:
        if template_trial is None:
            return super()._get_prepared_new_trial(study_id, None, session)
        bare = copy.copy(template_trial)
        bare.user_attrs, bare.intermediate_values = {}, {}
        compared = {(study_id, name, distribution) for name, distribution in bare.distributions.items()}
        if compared <= self._compared:
            bare.params = {}
        trial: Any = super()._get_prepared_new_trial(study_id, bare, session)
        if not bare.params:
            _insert(session, models.TrialParamModel, trial.trial_id, _params(template_trial))
        _add(session, trial.trial_id, template_trial.user_attrs, template_trial.intermediate_values)
        self._compared |= compared
        return trial


def _add(session: Session, number: int, attributes: Mapping[str, Any], curve: Mapping[int, float]) -> None:
    """Add attributes and intermediate values that a trial does not have yet."""
    rows = ({"key": name, "value_json": json.dumps(value)} for name, value in attributes.items())
    _insert(session, models.TrialUserAttributeModel, number, rows)
    of_curve, names = models.TrialIntermediateValueModel, ("intermediate_value", "intermediate_value_type")
    points = (
        {"step": step, **dict(zip(names, of_curve.intermediate_value_to_stored_repr(value), strict=True))}
        for step, value in curve.items()
    )
    _insert(session, of_curve, number, points)


def _insert(session: Session, model: Any, number: int, rows: Iterable[dict[str, Any]]) -> None:
    if added := [{"trial_id": number, **row} for row in rows]:
        session.execute(insert(model), added)


def _params(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    for name, distribution in trial.distributions.items():
        value, text = distribution.to_internal_repr(trial.params[name]), distribution_to_json(distribution)
        yield {"param_name": name, "param_value": value, "distribution_json": text}


def _read(session: Session, *wanted: ColumnElement[bool]) -> list[FrozenTrial]:
    """The trials that are wanted, in the order of their numbers in the database."""
    model, point = models.TrialModel, models.TrialIntermediateValueModel

    def rows(table: Any, *columns: Any) -> Mapping[int, list[Any]]:
        """Columns of a table by trial, in the order of the first."""
        by_trial: dict[int, list[Any]] = defaultdict(list)
        of_trials = select(table.trial_id, *columns).join(model, model.trial_id == table.trial_id).where(*wanted)
        for number, *row in session.execute(of_trials.order_by(model.trial_id, columns[0])):
            by_trial[number].append(row)
        return by_trial

    def attributes(table: Any) -> Mapping[int, dict[str, Any]]:
        held = rows(table, table.key, table.value_json)
        return defaultdict(dict, {k: {name: json.loads(text) for name, text in row} for k, row in held.items()})

    param, value = models.TrialParamModel, models.TrialValueModel
    params = rows(param, param.param_id, param.param_name, param.param_value, param.distribution_json)
    values = rows(value, value.objective, value.value, value.value_type)
    curves = rows(point, point.step, point.intermediate_value, point.intermediate_value_type)
    user, system = attributes(models.TrialUserAttributeModel), attributes(models.TrialSystemAttributeModel)
    trials: list[FrozenTrial] = []
    trial: Any
    for trial in session.scalars(select(model).where(*wanted).order_by(model.trial_id)):
        number = trial.trial_id
        distributions = {name: _distribution(text) for _, name, _, text in params[number]}
        trials.append(
            FrozenTrial(
                number=trial.number,
                state=trial.state,
                value=None,
                values=[value.stored_repr_to_value(*stored) for _, *stored in values[number]] or None,
                datetime_start=trial.datetime_start,
                datetime_complete=trial.datetime_complete,
                params={name: distributions[name].to_external_repr(inner) for _, name, inner, _ in params[number]},
                distributions=distributions,
                user_attrs=user[number],
                system_attrs=system[number],
                intermediate_values={
                    step: point.stored_repr_to_intermediate_value(*stored) for step, *stored in curves[number]
                },
                trial_id=number,
            )
        )
    return trials
