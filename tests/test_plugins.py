"""Plugins of the command line, of the environment and of installed packages."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import pytest

from harness import plugins
from harness.errors import UserError
from harness.registry import Registry

importlib.import_module("harness.trial")  # which plugins import; what it registers is not theirs
ENTRY = "[tkg_distill.plugins]\nfruit = fruit_package.methods\n"


@pytest.fixture(autouse=True)
def _nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(Registry, "every", [])
    monkeypatch.delenv(plugins.VARIABLE, raising=False)


def write(path: Path, fruit: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"from harness.registry import Registry\nRegistry('fruit').add('{fruit}', 1)\n")
    return path


def fruits() -> list[str]:
    return [name for registry in Registry.every for name in registry]


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution with an entry point, on ``sys.path``; the file of its plugin."""
    about = folder / "fruit-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: fruit\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY)
    path = write(folder / "fruit_package" / "methods.py", "quince")
    (folder / "fruit_package" / "__init__.py").touch()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "fruit_package", raising=False)
    return path


def test_all_that_are_asked_for_are_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = installed(tmp_path, monkeypatch)
    apple, plum, pear = (write(tmp_path / f"{name}.py", name) for name in ("apple", "plum", "pear"))
    monkeypatch.setenv(plugins.VARIABLE, f"{apple}:{plum}")
    loaded = plugins.load_asked_for([pear, plum])
    assert [plugin.path for plugin in loaded] == [*map(str, (path, apple, plum, pear))]
    assert fruits() == ["quince", "apple", "plum", "pear"]
    assert plugins.load_asked_for([pear]) == loaded
    assert fruits() == ["quince", "apple", "plum", "pear"]
    assert Registry.every[0].origin("quince") == loaded[0]


def test_a_plugin_that_fails_leaves_nothing(tmp_path: Path) -> None:
    fruit: Registry[int] = Registry("fruit")
    path = tmp_path / "mine.py"
    path.write_text("from harness.registry import Registry\nRegistry.every[0].add('fig', 1)\n1 / 0\n")
    with pytest.raises(UserError, match=r"mine\.py: fails when it is loaded, line 3 \(ZeroDivisionError"):
        plugins.load_asked_for([path])
    assert list(fruit) == []
    assert plugins.loaded() == ()


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path / folder / "mine.py", folder) for folder in ("a", "b")]
    with pytest.raises(UserError, match=r"b/mine\.py: another plugin is called 'mine', .*a/mine\.py; rename one"):
        plugins.load_asked_for(paths)


def test_an_installed_plugin_without_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = installed(tmp_path, monkeypatch)
    path.unlink()
    with pytest.raises(UserError, match=r"plugin fruit_package\.methods: the installed package has no such module"):
        plugins.load_asked_for()
    shutil.rmtree(path.parent)
    monkeypatch.delitem(sys.modules, "fruit_package", raising=False)
    with pytest.raises(UserError, match="has no such module; reinstall it"):
        plugins.load_asked_for()
