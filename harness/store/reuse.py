"""Complete trials of a store that may stand beside new ones: those of other studies, and of the study itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.design.cells import Run
from harness.design.schema import Point
from harness.errors import UserError
from harness.store.factors import Parameters, parameters
from harness.store.files.artifacts import Evidence
from harness.store.records import renewed, spec_of, unpacked
from harness.store.store import Store
from harness.store.study import StudyStore, parts_of
from harness.trial.options import option_of
from harness.trial.spec import TrialSpec

#: attributes with the purpose of a trial in its study, which a copy in another does not have
OF_ITS_STUDY = ("role", "configuration")
#: seconds after which it is asked again whether another coordinator has done with copying
WAITED = 0.1


def adopt(
    study: StudyStore,
    labels: Mapping[str, str],
    new: Mapping[str, object],
    here: Mapping[str, object],
    purposes: Mapping[str, Mapping[str, object]] | None = None,
) -> int:
    """Copy complete trials of other studies into ``study``; return how many.

    Trials are the same if their keys are, their studies have the same data and engine, and they ran on a machine that
    computes alike: a study must not compare arms that differ in the number format of the language model. A copy names
    its origin (``copied_from``). Coordinators of one study copy one after the other, since all would add the same.

    ``labels`` are those of the wanted trials, by key, ``new`` the attributes that a copy has of its new study, and
    ``here`` is the environment of the study's other trials (`harness.trial.provenance.environment`). ``purposes`` has
    the role of trials, and what belongs to it, beside those that the run plans.
    """
    while not study.leases.take("adopt"):
        time.sleep(WAITED)
    try:
        roles, wanted = {**study.run.purposes, **(purposes or {})}, set(labels) - study.complete()

        def place(trial: FrozenTrial, _: Callable[[], TrialSpec]) -> _Place | None:
            key, is_scored = trial.user_attrs["cell"], "test_mrr" in trial.user_attrs
            if key not in wanted or is_scored == (key in study.run.unscored):
                return None
            return _Place({"label": labels[key], **roles.get(key, {})})

        return _adopt(study, place, new, here) if wanted else 0
    finally:
        study.leases.free("adopt")


def adopt_searched(study: StudyStore, new: Mapping[str, object], here: Mapping[str, object]) -> int:
    """Copy the trials of other searches that are configurations of a search without any yet; return how many.

    They are: each has the settings that this search would give it, and of a designed sample a point of that. Arguments
    are as of `adopt`.
    """
    run, search = study.run, study.run.search
    assert search is not None
    if study.searched():
        return 0
    sample = search.sample() if search.sampler == "qmc" else None
    numbers: dict[str, dict[tuple[int | float, ...], int]] = {backbone: {} for backbone in run.backbones}

    def place(trial: FrozenTrial, read: Callable[[], TrialSpec]) -> _Place | None:
        if trial.user_attrs.get("role") != "search":
            return None
        spec = read()
        point = search.point_of({name: option_of(spec, name)[0] for name in search.factors})
        if point is None or spec.backbone not in numbers:
            return None
        if run.configure(spec.backbone, point, spec.seed).key() != trial.user_attrs["cell"]:
            return None
        known, values = numbers[spec.backbone], tuple(point.values())
        if sample is not None and values not in known and point in sample:
            known[values] = sample.index(point)
        elif sample is None and len(known) < search.trials:
            known.setdefault(values, len(known))
        if values not in known:
            return None
        about = {"role": "search", "configuration": known[values], "label": f"{search.arm} · #{known[values]}"}
        return _Place(about, point)

    return _adopt(study, place, new, here)


def adoptable(store: Store, run: Run, here: Mapping[str, object]) -> dict[str, float]:
    """Validation MRR of what `adopt` and `adopt_searched` would copy for a run, by key; nothing is written.

    All trials of other searches are among them: those that this one does not ask for do no harm.
    """
    wanted = {spec.key() for spec in run.specs}

    def place(trial: FrozenTrial, _: Callable[[], TrialSpec]) -> _Place | None:
        key, is_scored = trial.user_attrs["cell"], "test_mrr" in trial.user_attrs
        is_wanted = key in wanted and is_scored != (key in run.unscored)
        is_searched = run.search is not None and trial.user_attrs.get("role") == "search"
        return _Place({}) if is_wanted or is_searched else None

    trials = (candidate.trial for candidate in _candidates(store, run, place, here))
    return {trial.user_attrs["cell"]: float(trial.value) for trial in trials if trial.value is not None}


class _Place(NamedTuple):
    """The attributes and the searched factors that a copy has in its new study."""

    attributes: dict[str, object]
    point: Point | None = None


def _adopt(
    study: StudyStore,
    place: Callable[[FrozenTrial, Callable[[], TrialSpec]], _Place | None],
    new: Mapping[str, object],
    here: Mapping[str, object],
) -> int:
    store, name = study.store, study.study.study_name
    copies: dict[str, tuple[TrialSpec, FrozenTrial]] = {}
    records: dict[str, object] = {}
    taken: dict[str, list[FrozenTrial]] = {}
    for candidate in _candidates(store, replace(study.run, study_name=name), place, here):
        trial, chosen = candidate.trial, candidate.place
        source = trial.user_attrs.get("copied_from", f"{candidate.part}, trial {trial.number}")
        about = {**new, **chosen.attributes, "copied_from": source}
        kept = {name: value for name, value in trial.user_attrs.items() if name not in OF_ITS_STUDY}
        attributes, record = renewed(kept | about, candidate.shared, study.records | records)
        factors = parameters(study.run, candidate.spec, chosen.point)
        copies[trial.user_attrs["cell"]] = candidate.spec, copy_of(trial, attributes, factors)
        records |= record
        taken.setdefault(candidate.study, []).append(trial)
    for other, trials in taken.items():
        study.artifacts.take(name, Evidence(store.artifacts, other), trials)
    if copies:
        with store.transaction():
            study.share(records)
            for spec, copy in copies.values():
                study.part_of(spec).add_trial(copy)
        study.name_artifacts()
        study.records |= records
    return len(copies)


class _Candidate(NamedTuple):
    """A trial of another study that may be copied: that study, its part and attributes, and what a copy would have."""

    study: str
    part: str
    shared: Mapping[str, Any]
    trial: FrozenTrial
    spec: TrialSpec
    place: _Place


def _candidates(
    store: Store,
    run: Run,
    place: Callable[[FrozenTrial, Callable[[], TrialSpec]], _Place | None],
    here: Mapping[str, object],
) -> Iterator[_Candidate]:
    """The trials, no two of one key, of studies with the data and engine of a run that ``place`` finds a place for."""
    keys: set[str] = set()
    for name, other in store.studies().items():
        about = other.user_attrs
        is_alike = (about.get("engine"), about.get("data_digest")) == (run.engine, run.data_digest)
        if not is_alike or name == run.study_name:
            continue
        trials = complete_of(store.storage, name)
        shared = optuna.load_study(study_name=name, storage=store.storage).user_attrs  # after trials, which name them
        for part, trial in trials:
            # read where it is needed alone: a store may hold ten thousand trials that nobody wants
            read = cache(partial(_spec, trial, shared))
            if trial.user_attrs["cell"] in keys or (chosen := place(trial, read)) is None:
                continue
            spec, machine = read(), unpacked(trial.user_attrs, shared)
            if all(name in machine and machine[name] == here[name] for name in ("device", "number_format")):
                keys.add(trial.user_attrs["cell"])
                yield _Candidate(name, part, shared, trial, spec, chosen)


def _spec(trial: FrozenTrial, shared: Mapping[str, Any]) -> TrialSpec:
    return TrialSpec.model_validate(spec_of(trial.user_attrs, shared))


def complete_of(storage: BaseStorage, study: str) -> list[tuple[str, FrozenTrial]]:
    """The complete trials of a study, with the names of the studies of Optuna that hold them."""
    return [
        (part.study_name, trial)
        for part in parts_of(storage, study)
        for trial in part.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if "cell" in trial.user_attrs
    ]


def refuse_mixing(
    study: str, done: Iterable[Mapping[str, Any]], arms: Collection[str], here: Mapping[str, object]
) -> None:
    """Refuse to go on where the language model would be read in another number format than so far.

    ``done`` are the study's complete trials (`harness.store.study.StudyStore.done`), ``arms`` those in which the
    language model is read in the format that the machine chooses, and ``here`` is the environment of trials to come.

    Raises:
        UserError: a complete trial of these arms has another format.
    """
    chosen = here["number_format"]
    formats = {trial["number_format"] for trial in done if trial["arm"] in arms and "number_format" in trial}
    if others := sorted(formats - {chosen}):
        raise UserError(
            f"study {study}: its trials read the language model in {others[0]}, this machine would in {chosen}, and "
            f"numbers would not compare; go on where it began, or start another study: --set llm.dtype={chosen}"
        )


def other_processors(done: Iterable[Mapping[str, Any]], here: Mapping[str, object]) -> list[str]:
    """The processors, other than that of ``here``, on which complete trials of a study ran."""
    processors = {_processor(trial) for trial in done if "machine" in trial}
    return sorted(processors - {_processor(here)})


def _processor(environment: Mapping[str, object]) -> str:
    """System, processor and kind of device of a machine in words, without the number of cores and the memory."""
    names = str(environment["machine"]).split(", ")[:2]
    return ", ".join([*names, *(str(device) for device in [environment.get("device", "cpu")] if device != "cpu")])


def copy_of(trial: FrozenTrial, attributes: Mapping[str, object], factors: Parameters | None = None) -> FrozenTrial:
    """A trial for another study, with ``attributes`` and ``factors`` (None: the same) in the place of its."""
    params, distributions = factors or (trial.params, trial.distributions)
    copy = create_trial(
        state=trial.state,
        value=trial.value,
        params=params,
        distributions=distributions,
        user_attrs=dict(attributes),
        intermediate_values=trial.intermediate_values,
    )
    # which Optuna would take for now
    copy.datetime_start, copy.datetime_complete = trial.datetime_start, trial.datetime_complete
    return copy
