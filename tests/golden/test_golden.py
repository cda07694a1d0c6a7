"""Golden numbers: what the engine computed when they were taken, it computes now.

They move only where code that computes is meant to change. Then the version of the stage or engine goes up with them
(CONTRIBUTING.md), and ``python -m tests.golden.update`` writes the new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.trial.stages import Context
from tests.golden import golden_file
from tests.golden.ablation import DATASETS, numbers_of_ablation
from tests.golden.cases import (
    machine,
    numbers_of_cases,
    numbers_of_measurements,
    numbers_of_stacks,
    write_graph,
)

pytestmark = pytest.mark.compiles


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Context]:
    torch.set_num_threads(1)  # as in a study's workers
    folder = tmp_path_factory.mktemp("golden")
    return write_graph(folder / "graph"), Context(folder / "cache")


def test_every_arm_and_stage_gives_what_it_gave(place: tuple[Path, Context], tiny_encoder: Path) -> None:
    graph, context = place
    assert golden_file.differences("cases", machine(), numbers_of_cases(graph, tiny_encoder, context)) == []


def test_every_measurement_gives_what_it_gave(
    place: tuple[Path, Context], tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, context = place
    actual = numbers_of_measurements(graph, tiny_encoder, context, monkeypatch.setattr)
    assert golden_file.differences("measurements", machine(), actual) == []


def test_stacks_give_what_they_gave(place: tuple[Path, Context], tiny_encoder: Path) -> None:
    graph, context = place
    assert golden_file.differences("stacks", machine(), numbers_of_stacks(graph, tiny_encoder, context)) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("dataset", DATASETS)
def test_the_quick_ablation_gives_what_it_gave(dataset: str, tmp_path: Path, real_data: Callable[..., object]) -> None:
    real_data(dataset)
    actual = numbers_of_ablation(dataset, tmp_path)
    assert golden_file.differences(f"ablation on {dataset}", machine(), actual) == []


def test_a_version_goes_up_only_with_golden_numbers() -> None:
    assert golden_file.read()["versions"] == golden_file.versions()


def test_a_number_that_moves_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(golden_file, "FILE", tmp_path / "golden.json")
    golden_file.write("part", "here", {"case": {"test_mrr": 0.25, "ranks": "abc"}})
    assert golden_file.differences("part", "here", {"case": {"test_mrr": 0.25, "ranks": "abc"}}) == []
    assert golden_file.differences("part", "here", {"case": {"test_mrr": 0.25000001, "ranks": "abc"}}) != []
    assert golden_file.differences("part", "elsewhere", {"case": {"test_mrr": 0.25000001, "ranks": "abd"}}) == []
    assert golden_file.differences("part", "elsewhere", {"case": {"test_mrr": 0.4, "ranks": "abd"}}) != []
    assert golden_file.differences("part", "elsewhere", {}) == ["case: was there, and is not"]
    with pytest.raises(ValueError, match="no version did"):
        golden_file.write("part", "here", {"case": {"test_mrr": 0.26, "ranks": "abc"}})
    monkeypatch.setattr(golden_file, "ENGINE", 0)
    golden_file.write("part", "here", {"case": {"test_mrr": 0.26, "ranks": "abc"}})
