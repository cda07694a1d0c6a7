"""What studies there are, from the head of their files alone: for lists and help texts, which need no engine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

import harness
from harness.design import strict_yaml as plain
from harness.errors import UserError, is_readable


@dataclass(frozen=True)
class Heading:
    """What a study is about, and how its report shows it; see ``design.Design``."""

    name: str
    title: str
    about: str
    report: str
    claims: tuple[str, ...]
    presets: tuple[str, ...]
    arms: tuple[str, ...]
    compare: dict[str, tuple[str, ...]]
    contrasts: dict[str, tuple[str, str, str, str]]


@lru_cache
def files() -> dict[str, Path]:
    """The study files by name, inside an installed package or in ``studies/`` of a checkout.

    Raises:
        UserError: there is no such folder.
    """
    package = Path(harness.__file__).parent
    for folder in (package / "_studies", package.parent / "studies"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    raise UserError(f"the study files are missing from {package}; reinstall the package")


def heading(path: Path) -> Heading:
    """The heading of a study file; its settings are not looked at.

    Raises:
        UserError: the file cannot be read, or is no study; names the file and the key.
    """
    try:
        content = plain.load(path.read_text(encoding="utf-8"))
        title, about, report = _texts([content["title"], content["about"], content.get("report", "comparison")])
        presets, claims = tuple(dict(content["presets"])), _texts(content.get("claims", []))
        arms = (*_texts(content.get("arms", [])), *dict(content.get("variants", {})))
        arms += _texts(content.get("references", []))
        compare = {name: _texts(each) for name, each in dict(content.get("compare", {})).items()}
        contrasts = {name: (a, b, c, d) for name, (a, b, c, d) in dict(content.get("contrasts", {})).items()}
        return Heading(path.stem, title, about, report, claims, presets, arms, compare, contrasts)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError):
        from harness.design.files import read  # which says what is wrong, and brings PyTorch with it

        design = read(path)
        presets, arms = tuple(design.presets), tuple(design.conditions)
        told = (design.title, design.about, design.report, design.claims)
        return Heading(path.stem, *told, presets, arms, design.compare, design.contrasts)


def _texts(value: object) -> tuple[str, ...]:
    """A list of texts without control characters.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, list) or not all(isinstance(t, str) and is_readable(t.replace("\n", " ")) for t in value):
        raise TypeError("not a list of texts")
    return tuple(value)
