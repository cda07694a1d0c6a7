"""Cells that studies have in common are trained once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.errors import UserError
from harness.store import frames
from harness.store.records import ENVIRONMENT
from harness.store.reuse import adopt, other_processors, refuse_mixing
from harness.store.store import Store
from harness.store.study import open_study
from tests.store.samples import COUNTS, HERE, QUERIES, finished, planned

NEW = {"preset": "quick"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/runs/harness.db")


def test_equal_cells_of_another_study_are_taken_with_their_files(store: Store) -> None:
    ablation, baselines = planned("ablation"), planned("baselines")
    finished(store, ablation)
    study = open_study(store, baselines, "python -m harness.study baselines", COUNTS)
    study.attach(QUERIES)
    shared = {spec.key() for spec in ablation.specs[:-1]} & set(baselines.labels)
    assert adopt(study, baselines.labels, NEW, HERE) == len(shared) == 4
    assert study.complete() == shared
    assert adopt(study, baselines.labels, NEW, HERE) == 0

    before, _, old_ranks = frames.load(store.url, "ablation", "lahman")
    after, curves, new_ranks = frames.load(store.url, "baselines", "lahman")
    one, other = (frame[frame["cell"].isin(shared)].set_index("cell").sort_index() for frame in (before, after))
    same = [name for name in one if name in other and name not in ("study_name", "trial")]
    pd.testing.assert_frame_equal(one[same], other[same], check_dtype=False)
    assert other["copied_from"].str.fullmatch(rf"{ablation.study_name}(-teachers)?, trial \d+").all()
    label = {key: frame[frame["arm"] == "L1"].index[0] for key, frame in (("old", before), ("new", after))}
    pd.testing.assert_frame_equal(old_ranks(label["old"]), new_ranks(label["new"]))
    assert set(curves["arm"]) == {"none", "L1", "L1+L2+L3", "teacher"}


def test_a_copy_has_a_role_in_its_own_study_alone(store: Store) -> None:
    """L1 with a fresh seed confirms a grid, and is what a search is compared with."""
    finished(store, planned("ablation"), {ENVIRONMENT: HERE, "role": "confirm", "configuration": 3})
    run = planned("baselines")
    assert adopt(open_study(store, run, "python -m harness.study baselines", COUNTS), run.labels, NEW, HERE) == 4
    trials, _, _ = frames.load(store.url, "baselines", "lahman")
    assert {"role", "configuration"}.isdisjoint(trials.columns)


def test_a_copy_has_the_name_that_its_new_study_gives_it(store: Store) -> None:
    ablation, schedule = planned("ablation"), planned("schedule")
    finished(store, ablation)
    study = open_study(store, schedule, "python -m harness.study schedule", COUNTS)
    adopt(study, schedule.labels, NEW, HERE)
    trials, _, _ = frames.load(store.url, "schedule", "lahman")
    assert set(trials["arm"]) == {"L1", "switch after 1/2"}
    assert set(trials["losses"]) == {"L1", "L1+L2+L3"}
    # of a copy, the source is the original
    again = open_study(store, planned("llm"), "python -m harness.study llm", COUNTS)
    adopt(again, planned("llm").labels, NEW, HERE)
    copies, _, _ = frames.load(store.url, "llm", "lahman")
    assert copies["copied_from"].str.startswith(ablation.study_name).all()


@pytest.mark.parametrize("change", [{"engine": "newer"}, {"data_digest": "other"}])
def test_nothing_is_taken_from_another_engine_or_other_data(store: Store, change: dict[str, str]) -> None:
    finished(store, planned("ablation"))
    run = planned("baselines", **change)
    study = open_study(store, run, "python -m harness.study baselines", COUNTS)
    assert adopt(study, run.labels, NEW, HERE) == 0
    assert study.complete() == set()


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ({ENVIRONMENT: HERE | {"machine": "another"}}, 4),
        ({ENVIRONMENT: HERE | {"device": "cuda"}}, 0),
        ({ENVIRONMENT: HERE | {"number_format": "float32"}}, 0),
        ({"machine": "m"}, 0),  # of another program
    ],
)
def test_nothing_is_taken_from_where_numbers_are_others(store: Store, there: dict[str, Any], taken: int) -> None:
    finished(store, planned("ablation"), there)
    run = planned("baselines")
    assert adopt(open_study(store, run, "python -m harness.study baselines", COUNTS), run.labels, NEW, HERE) == taken


def test_other_processors_are_told(store: Store) -> None:
    here = HERE | {"machine": "Linux x86_64, AMD EPYC, 2 cores, 24 GiB"}
    study = finished(store, planned("ablation"), {ENVIRONMENT: here})
    done = study.done()
    assert other_processors(done, here | {"machine": "Linux x86_64, AMD EPYC, 64 cores, 512 GiB"}) == []
    there = here | {"machine": "Linux x86_64, Intel(R) Xeon(R) Processor, 2 cores, 24 GiB"}
    assert other_processors(done, there) == ["Linux x86_64, AMD EPYC"]
    assert other_processors(done, here | {"device": "cuda"}) == ["Linux x86_64, AMD EPYC"]
    cuda = finished(store, planned("baselines"), {ENVIRONMENT: here | {"device": "cuda"}})
    assert other_processors(cuda.done(), here) == ["Linux x86_64, AMD EPYC, cuda"]


def test_a_study_does_not_go_on_in_another_number_format(store: Store) -> None:
    study = finished(store, planned("ablation"))
    elsewhere = HERE | {"number_format": "float32"}
    name, done = study.study.study_name, study.done()
    refuse_mixing(name, done, {"L1+L2+L3"}, HERE)
    refuse_mixing(name, done, {"an arm that has no trial"}, elsewhere)
    with pytest.raises(UserError, match=r"in bfloat16, this machine would in float32.*--set llm\.dtype=float32"):
        refuse_mixing(name, done, {"none", "L1+L2+L3"}, elsewhere)
