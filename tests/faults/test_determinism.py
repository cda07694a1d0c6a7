"""The same command on the same machine gives the same numbers, to the bit, however the work is divided."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.faults.places import Study, check, compare, end, results


@pytest.mark.slow
def test_the_same_command_again(study: Study, undisturbed: Study) -> None:
    study.complete()
    check(study, undisturbed)


@pytest.mark.slow
def test_two_jobs(study: Study, undisturbed: Study) -> None:
    study.complete("--jobs", "2")
    check(study, undisturbed)


@pytest.mark.slow
def test_in_parts(study: Study, undisturbed: Study) -> None:
    end(study.begin("--arms", "L1+L3"))
    end(study.begin("--arms", "none,L1", "--jobs", "2"))
    study.complete()
    check(study, undisturbed)


@pytest.mark.slow
def test_stacks(study: Study, undisturbed: Study, tmp_path: Path, tiny_encoder: Path) -> None:
    """Equal among themselves with one job, which packs the same students; beside single ones but for rounding."""
    again = Study(tmp_path / "again", tiny_encoder)
    for one in (study, again):
        one.complete("--stack", "4")
    actual, wanted = results(study), results(undisturbed)
    compare(actual, results(again))
    assert actual.keys() == wanted.keys()
    for cell, result in actual.items():
        for name, number in wanted[cell].numbers.items():
            assert result.numbers[name] == (pytest.approx(number, rel=1e-3) if isinstance(number, float) else number)
        assert np.abs(np.subtract(result.ranks, wanted[cell].ranks)).max() <= 2
