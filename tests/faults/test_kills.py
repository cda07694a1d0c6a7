"""kill -9 of a coordinator, its workers, or both, in every stage: the same command then ends as if never killed."""

from __future__ import annotations

from functools import partial

import pytest

from tests.faults.places import MOMENTS, SHARED, Study, check, end, gone, kill, loose, reading_again, until


@pytest.mark.parametrize("victim", ["coordinator", "worker", "group"])
@pytest.mark.parametrize("stage", MOMENTS)
@pytest.mark.slow
def test_killed_and_run_again(study: Study, undisturbed: Study, stage: str, victim: str) -> None:
    moment = (reading_again if (stage, victim) == ("reading", "worker") else MOMENTS[stage])(study)
    process = study.begin()
    until(moment, process)
    kill(process, victim)
    if (folder := SHARED.get(stage)) is not None:
        assert not any((study.cache / folder).glob("*.safetensors"))  # else it came too late
    if victim == "worker":  # the coordinator goes on with others
        end(process)
    else:
        gone(process)
        study.complete()
    check(study, undisturbed)


@pytest.mark.slow
def test_killed_again_and_again_while_results_are_stored(study: Study, undisturbed: Study) -> None:
    """Each time with more files of single trials, which the next start brings into those of the study."""
    for more in range(1, 4):
        process = study.begin()
        until(partial(has, study, more), process)
        kill(process, "group")
        gone(process)
    study.complete()
    check(study, undisturbed)


def has(study: Study, files: int) -> bool:
    return loose(study) >= files
