"""Whose answers the ranking of a validation query leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.data import load
from harness.design import files
from harness.design.settings import settle
from harness.trial.inputs import Inputs
from harness.trial.keys import Plan
from harness.trial.spec import TimeSpec, TrialSpec, ValidationFilter


@pytest.mark.parametrize(
    ("validation_filter", "names"), [("train-valid", {"Oslo", "Bern"}), ("all", {"Oslo", "Bern", "Rome"})]
)
def test_answers_that_test_alone_knows(tmp_path: Path, validation_filter: ValidationFilter, names: set[str]) -> None:
    facts = {"train": ["Oslo"], "valid": ["Bern", "Wien"], "test": ["Rome"]}
    for split, cities in facts.items():
        lines = [f"ann\tvisits\t{city}\t1996\n" for city in cities]
        (tmp_path / f"{split}.txt").write_text("".join(lines), "utf-8")
    graph = load(str(tmp_path))
    inputs = Inputs(graph, TimeSpec(), "time-aware", "cpu", validation_filter)
    number = {name: k for k, name in enumerate(graph.entities.names)}
    tasks = {split: inputs.task(split, "classes") for split in ("valid", "test")}
    rows = {split: task.queries.answer.tolist() for split, task in tasks.items()}

    def left_out(split: str, answer: str) -> set[str]:
        task, row = tasks[split], rows[split].index(number[answer])
        return {graph.entities.names[k] for k in task.entity[task.row == row].tolist()}

    assert left_out("valid", "Wien") == names
    assert left_out("test", "Rome") == {"Oslo", "Bern", "Wien"}  # as ever


def test_results_of_before_keep_their_identity_and_studies_take_the_new_one() -> None:
    old, new = (TrialSpec.model_validate({"arm": "L1", "validation_filter": name}) for name in ("all", "train-valid"))
    assert "validation_filter" not in old.model_dump(mode="json")
    assert TrialSpec.model_validate(old.model_dump(mode="json")) == old
    assert old.key() == TrialSpec(arm="L1").key() != new.key()
    assert TrialSpec.model_validate_json(new.model_dump_json()) == new
    plans = [Plan.of(spec, "data", "cpu").keys for spec in (old, new)]
    assert not set(plans[0].values()) & set(plans[1].values())  # teachers stop early by what validation says
    design = files.load("ablation")
    assert settle(design, design.preset("quick")).validation_filter == "train-valid"
    asked = settle(design, design.preset("quick"), {"validation_filter": "all"})
    assert asked.validation_filter == "all"
