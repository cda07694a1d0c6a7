"""Which study files there are, and what reading one without the engine yields."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.design import files, strict_yaml
from harness.errors import UserError

VALID = "name: mine\ntitle: X\nabout: x\narms: [none]\nbackbone: ttranse\npresets: {quick: {about: q, seeds: 1}}\n"


def test_lists_and_help_texts_have_what_the_checked_design_says() -> None:
    for name, path in files.files().items():
        outline, design = files.outline(path), files.load(name)
        assert outline == (design.title, design.about, design.claims, tuple(design.presets))


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
        files.outline(path)
    assert str(path) in str(caught.value)


def test_a_file_of_ones_own_is_read_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(VALID)
    assert files.load(str(path)).name == "mine"
    with pytest.raises(UserError, match=r"unknown study 'mine'.* as my\.yaml"):
        files.load("mine")
    (tmp_path / "grid.yaml").write_text(VALID.replace("mine", "grid"))
    with pytest.raises(UserError, match="the package has a study 'grid'; name file and study otherwise"):
        files.load(str(tmp_path / "grid.yaml"))
    path.rename(tmp_path / "x.yaml")
    with pytest.raises(UserError, match="must be that of the file, 'x'"):
        files.load(str(tmp_path / "x.yaml"))
    with pytest.raises(UserError, match=r"none\.yaml: cannot be read"):
        files.load(str(tmp_path / "none.yaml"))
    assert files.load(str(files.files()["grid"])).name == "grid"  # the shipped file itself


def test_libyaml_reads_study_files_as_the_reader_in_python_does() -> None:
    for path in files.files().values():
        text = path.read_text(encoding="utf-8")
        assert strict_yaml.load(text) == yaml.safe_load(text)
