"""Study files: those that the package ships, and reading them and a user's.

Importing this brings neither the engine nor pydantic, for which lists and help texts would have to wait.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

import harness
from harness.design import strict_yaml
from harness.design.dotted import merge
from harness.errors import UserError, is_readable, nearest

if TYPE_CHECKING:
    from harness.design.schema import Design


class Outline(NamedTuple):
    """What lists and help texts show of a study; see `harness.design.schema.Design`."""

    title: str
    about: str
    claims: tuple[str, ...]
    presets: tuple[str, ...]


@lru_cache
def files() -> dict[str, Path]:
    """The shipped study files by name, inside an installed package or in ``studies/`` of a checkout.

    Raises:
        UserError: there is no such folder.
    """
    package = Path(harness.__file__).parent
    for folder in (package / "_studies", package.parent / "studies"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    raise UserError(f"the study files are missing from {package}; reinstall the package")


def is_file(study: str) -> bool:
    """Whether ``study`` is the path of a study file and not the name of a study."""
    return study.endswith((".yaml", ".yml")) or "/" in study


def path_of(study: str) -> Path:
    """The file of a study: of a shipped one by its name, else the path itself.

    Raises:
        UserError: no shipped study has that name, or a file has the name of one.
    """
    if not is_file(study):
        if study not in files():
            raise UserError(f"unknown study {study!r}: {nearest(study, files())}; a study file has a name as my.yaml")
        return files()[study]
    path = Path(study)
    if path.stem in files() and path.resolve() != files()[path.stem].resolve():
        raise UserError(f"study file {path}: the package has a study {path.stem!r}; name file and study otherwise")
    return path


def load(study: str | Path) -> Design:
    """Read and check the study of that name, or the study file at that path.

    Raises:
        UserError: no such study, or the file is malformed; names the file and the key.
    """
    from harness.design.checks import check  # of the engine; lists and help do without

    path = study if isinstance(study, Path) else path_of(study)
    design = parsed(path)
    try:
        if design.like is not None:
            design = _with_presets_of(design.like, design)
        check(design)
    except UserError as error:
        raise UserError(f"study file {path}: {error}") from None
    return design


def parsed(path: Path) -> Design:
    """The content of a study file; its settings, arms and factors are not checked, which needs the engine.

    Raises:
        UserError: the file cannot be read, or is no study; names the file and the key.
    """
    from pydantic import ValidationError

    from harness.design.schema import Design

    content = _content(path)
    try:
        design = Design.model_validate(content)
    except ValidationError as error:
        from harness.design.settings import explain  # which knows a trial's options, and brings PyTorch with it

        raise UserError(f"study file {path}: {explain(error, Design)}") from None
    if design.name != path.stem:
        raise UserError(f"study file {path}: name: must be that of the file, {path.stem!r}, not {design.name!r}")
    return design


def outline(path: Path) -> Outline:
    """The outline of a study file; errors as of `parsed`."""
    content = _content(path)
    title, about, claims = content.get("title"), content.get("about"), content.get("claims", [])
    presets, arms = content.get("presets"), content.get("arms", [])
    texts = [title, about, *(claims if isinstance(claims, list) else [None])]
    readable = all(isinstance(text, str) and is_readable(text.replace("\n", " ")) for text in texts)
    if readable and isinstance(presets, dict) and isinstance(arms, list):
        return Outline(str(title), str(about), tuple(claims), tuple(map(str, presets)))
    design = parsed(path)  # which reports what is wrong
    return Outline(design.title, design.about, design.claims, tuple(design.presets))


def _content(path: Path) -> dict[str, Any]:
    try:
        content = strict_yaml.load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"study file {path}: cannot be read ({strict_yaml.reason(error)})") from None
    if not isinstance(content, dict):
        raise UserError(f"study file {path}: a mapping with name, title, about, arms, backbone and presets is expected")
    return content


def _with_presets_of(like: str, design: Design) -> Design:
    """The design with another's presets below its own; those of "default" where there is none alike."""
    if like not in files():
        raise UserError(f"like: unknown study {like!r}: {nearest(like, files())}")
    other = parsed(files()[like])
    if other.like is not None or "default" not in other.presets:
        raise UserError(f"like: {like!r} is like another itself, or has no preset 'default'")
    presets = {}
    for name, preset in design.presets.items():
        below = other.presets.get(name, other.presets["default"]).settings
        presets[name] = preset.model_copy(update={"settings": merge(below, preset.settings)})
    return design.model_copy(update={"presets": presets})
