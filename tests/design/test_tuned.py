from __future__ import annotations

import pytest

from harness.data import names
from harness.design import cells
from harness.design import files as designs
from harness.design.settings import _tuned, parse_changes, settle
from harness.models import BACKBONES


def test_tuned_settings_name_data_sets_and_backbones_and_are_valid() -> None:
    design = designs.load("ablation")
    for dataset, backbones in _tuned().items():
        assert dataset in names()
        for backbone, settings in backbones.items():
            assert backbone in BACKBONES
            spec = settle(design, design.presets["default"], dataset=dataset, backbone=backbone)
            for part, values in settings.items():
                held = getattr(spec, part)
                for key, value in values.items():
                    if key in BACKBONES:  # its own options
                        assert value.items() <= held.method(key).items()
                    else:
                        assert getattr(held, key) == value


def test_changes_win_over_tuned_settings() -> None:
    design = designs.load("ablation")
    run = cells.plan(
        design,
        dataset="yago",
        data_digest="d",
        backbones=sorted(design.backbones),
        preset="default",
        changes=parse_changes(["student.regularization=0.5"]),
    )
    students = [spec for spec in run.specs if "teacher" not in spec.arm]
    assert {spec.student.regularization for spec in students} == {0.5}


@pytest.mark.parametrize("dataset", ["wiki", "yago"])
def test_one_backbone_and_all_backbones_are_one_study(dataset: str) -> None:
    design = designs.load("ablation")
    options = {"dataset": dataset, "data_digest": "d", "preset": "default"}
    one = cells.plan(design, backbones=["ttranse"], **options)
    both = cells.plan(design, backbones=sorted(design.backbones), **options)
    assert one.study_name == both.study_name
    assert {s.key() for s in one.specs} < {s.key() for s in both.specs}
