from __future__ import annotations

from pathlib import Path

import pytest

from harness.design import catalogue
from harness.design import files as designs
from harness.errors import UserError


def test_every_heading_is_what_the_whole_design_says() -> None:
    assert tuple(catalogue.files()) == designs.names()
    for path in catalogue.files().values():
        found, design = catalogue.heading(path), designs.read(path)
        assert (found.name, found.title, found.about) == (design.name, design.title, design.about)
        assert (found.claims, found.presets) == (design.claims, tuple(design.presets))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: [", "cannot be read"),
        ("- a list", "a mapping with name"),
        ("", "a mapping with name"),
        ("name: x\ntitle: X\nabout: x\narms: [none]\nbackbone: ttranse\n", "presets"),
        ("name: x\ntitle: X\nabout: x\narms: [none]\nbackbone: ttranse\npresets: 3\n", "presets"),
    ],
)
def test_a_malformed_study_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        catalogue.heading(path)
    assert str(path) in str(caught.value)
