"""kill -9 of a coordinator, its workers, or both, in every stage: the same command then ends as if never killed."""

from __future__ import annotations

import pytest

from tests.faults.places import MOMENTS, Study, check, end, gone, kill, reading_again, until


@pytest.mark.parametrize("victim", ["coordinator", "worker", "group"])
@pytest.mark.parametrize("stage", MOMENTS)
@pytest.mark.slow
def test_killed_and_run_again(study: Study, whole: Study, stage: str, victim: str) -> None:
    moment = (reading_again if (stage, victim) == ("reading", "worker") else MOMENTS[stage])(study)
    process = study.begin()
    until(moment, process)
    kill(process, victim)
    if victim == "worker":  # the coordinator goes on with others
        end(process)
    else:
        gone(process)
        study.complete()
    check(study, whole)
