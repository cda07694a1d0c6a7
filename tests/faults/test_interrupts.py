"""Ctrl-C, which a terminal sends to the coordinator and to all of its workers: once, and again while they end.

SIGTERM, which what ends a job sends to the coordinator or to all, once.
"""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.faults.places import MOMENTS, Study, check, end, gone, until


@pytest.mark.parametrize("stage", ["reading", "teacher", "student", "store", "report"])
@pytest.mark.slow
def test_interrupted_once(study: Study, undisturbed: Study, stage: str) -> None:
    moment, process = MOMENTS[stage](study), study.begin()
    until(moment, process)
    os.killpg(process.pid, signal.SIGINT)
    assert "Traceback" not in end(process, 130)
    assert not list(study.temporary.iterdir())
    gone(process)
    study.complete()
    check(study, undisturbed)


@pytest.mark.slow
def test_terminated(study: Study, undisturbed: Study) -> None:
    moment, process = MOMENTS["student"](study), study.begin()
    until(moment, process)
    os.killpg(process.pid, signal.SIGTERM)
    said = end(process, 143)
    assert "interrupted; what is complete is kept" in said
    assert "Traceback" not in said
    assert not list(study.temporary.iterdir())
    gone(process)
    study.complete()
    check(study, undisturbed)


@pytest.mark.parametrize("later", [0.0, 0.02, 0.2])
@pytest.mark.slow
def test_interrupted_twice(study: Study, undisturbed: Study, later: float) -> None:
    moment, process = MOMENTS["student"](study), study.begin()
    until(moment, process)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(later)
    os.killpg(process.pid, signal.SIGINT)
    assert "Traceback" not in end(process, 130)
    gone(process)
    study.complete()
    check(study, undisturbed)
