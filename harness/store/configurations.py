"""The configurations of a search as trials of Optuna, for optuna-dashboard.

A trial is a configuration: its parameters are the searched factors, its intermediate values the validation MRR of each
seed, its value their mean, and it is pruned where the search gave it up. What was trained, a trial a seed, is in the
study ``NAME-seeds``, from which a search that was killed is resumed and these trials are brought up to date.
"""

from __future__ import annotations

from statistics import fmean

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.design.cells import Run
from harness.design.schema import Point
from harness.store.database import optuna_private
from harness.store.database.retries import retried
from harness.store.factors import of_configuration
from harness.store.store import Store

#: the attribute that has a configuration's number, by which it is known with its backbone
NUMBER = "configuration"
_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


class Configurations:
    """The configurations that the study of a search holds, by backbone and number."""

    def __init__(self, run: Run, study: Study, store: Store) -> None:
        self.run, self.study, self.store = run, study, store
        self.trials: dict[tuple[str, int], FrozenTrial] = {
            key_of_configuration(trial): trial for trial in study.get_trials(deepcopy=False)
        }

    def pruned(self) -> set[tuple[str, int]]:
        """The configurations that the search gave up."""
        return {key for key, trial in self.trials.items() if trial.state == TrialState.PRUNED}

    def put(self, backbone: str, number: int, point: Point, values: dict[int, float], state: str) -> None:
        """Bring a configuration up to date: its validation MRR by seed, and its state as of `Configuration`.

        One that has ended and goes on, since it failed or is to have more seeds, becomes another trial.
        """
        known = self.trials.get((backbone, number))
        wanted = _STATES.get(state, TrialState.RUNNING)
        if known is not None and (known.intermediate_values, known.state) == (values, wanted):
            return
        factors, distributions = of_configuration(self.run, backbone, point)
        running = create_trial(
            state=TrialState.RUNNING, params=factors, distributions=distributions, user_attrs={NUMBER: number}
        )

        def update() -> FrozenTrial:
            with self.store.transaction():
                if known is None or known.state.is_finished():
                    trial = optuna_private.create(self.store.storage, self.study, running)
                else:
                    trial = optuna_private.handle(self.study, known)
                optuna_private.report(self.store.storage, trial, values)
                if wanted.is_finished():
                    mean = fmean(values.values()) if wanted == TrialState.COMPLETE else None
                    self.study.tell(trial, mean, state=wanted)
                return optuna_private.refreshed(self.store.storage, trial)

        self.trials[backbone, number] = retried(update, self.store.retry_timeout)


def key_of_configuration(trial: FrozenTrial) -> tuple[str, int]:
    """The backbone and number of a configuration."""
    return trial.params["backbone"], trial.user_attrs[NUMBER]
