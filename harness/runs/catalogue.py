"""What studies there are, from the head of their files alone: for lists and help texts, which need no engine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

import harness
from harness.errors import UserError


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
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        arms = (*content.get("arms", ()), *content.get("variants", ()), *content.get("references", ()))
        lists = {key: dict(content.get(key, {})) for key in ("compare", "contrasts")}
        compare, contrasts = ({name: tuple(each) for name, each in found.items()} for found in lists.values())
        report = content.get("report", "comparison")
        presets, claims = tuple(content["presets"]), tuple(content.get("claims", ()))
        return Heading(path.stem, content["title"], content["about"], report, claims, presets, arms, compare, contrasts)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, KeyError, TypeError):
        from harness.runs.design import read  # which says what is wrong, and brings PyTorch with it

        design = read(path)
        about = (
            design.title,
            design.about,
            design.report,
            design.claims,
            tuple(design.presets),
            tuple(design.conditions),
        )
        return Heading(path.stem, *about, design.compare, design.contrasts)
