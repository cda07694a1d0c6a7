"""Plugins: a researcher's losses, backbones, teachers and report kinds, in files outside the package.

A plugin is Python code that the user names: with ``--plugin FILE``, in the environment variable ``HARNESS_PLUGINS``
(paths with colons between, as in ``PATH``), or as an installed package with an entry point of group
``tkg_distill.plugins``. Nothing in a data set, study file, store or cache can name one. Loading a plugin runs it, and
it registers its methods as the package does.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable
from functools import lru_cache
from importlib.abc import InspectLoader
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from types import CodeType

from harness.errors import UserError
from harness.registry import Plugin, Registry, loading

#: the group of entry points that installed plugins have
GROUP = "tkg_distill.plugins"
#: paths of plugins, with colons (on Windows semicolons) between
VARIABLE = "HARNESS_PLUGINS"
_loaded: dict[str, Plugin] = {}


class _Source(InspectLoader):
    """Loads a module from text that is in memory: a worker on another machine has no such file."""

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin

    def get_source(self, fullname: str) -> str:
        return self.plugin.source

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.plugin.source, self.plugin.path)


def read(path: Path) -> Plugin:
    """The plugin in a file, which is not run.

    Raises:
        UserError: the file cannot be read.
    """
    if path.suffix != ".py":
        raise UserError(f"plugin {path}: is no Python file; its name must end in .py")
    try:
        content = path.read_bytes()
        source = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UserError(f"plugin {path}: cannot be read ({reason}); name a Python file") from None
    return Plugin(path.stem, str(path), source, hashlib.sha256(content).hexdigest()[:16])


def load(plugins: Iterable[Plugin]) -> None:
    """Run plugins that have not run in this process yet.

    Raises:
        UserError: one fails, or another of the same name with other content has been loaded.
    """
    for plugin in plugins:
        known = _loaded.get(plugin.name)
        if known is None:
            _run(plugin)
            _loaded[plugin.name] = plugin
        elif known.digest != plugin.digest:
            raise UserError(
                f"plugin {plugin.path}: another plugin is called {plugin.name!r}, {known.path}; rename one of the two"
            )


def _run(plugin: Plugin) -> None:
    # the package registers first: what it registers while a plugin imports it would count as the plugin's
    importlib.import_module("harness.trial")
    name = f"harness_plugin_{plugin.name}"
    spec = importlib.util.spec_from_loader(name, _Source(plugin), origin=plugin.path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    token = loading.set(plugin)
    sys.modules[name] = module  # where dataclasses and pydantic look for the module of a class
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        for registry in Registry.every:
            registry.remove_of(plugin)
        if isinstance(error, UserError):
            raise UserError(f"plugin {plugin.path}: {error}") from None
        if not isinstance(error, Exception | SystemExit):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(f"plugin {plugin.path}: fails when it is loaded{_line(plugin, error)} ({reason})") from None
    finally:
        loading.reset(token)


def _line(plugin: Plugin, error: BaseException) -> str:
    """The last line of the plugin that an error passed through."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == plugin.path]
    return f", line {lines[-1]}" if lines else ""


def load_asked_for(paths: Iterable[Path] = ()) -> tuple[Plugin, ...]:
    """Load the plugins of the command line, of the environment and of installed packages; return all of this process.

    Raises:
        UserError: one cannot be read, or fails.
    """
    named = [Path(text) for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]
    load(read(path) for path in dict.fromkeys([*installed(), *named, *paths]))
    return loaded()


def installed() -> list[Path]:
    """The files of installed plugins, which are not run (of a module in a package, the package is).

    Raises:
        UserError: an entry point names a module that is not there.
    """
    files = []
    for point in _entry_points(tuple(sys.path)):
        try:
            spec = importlib.util.find_spec(point.module)
        except ImportError:
            spec = None
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            raise UserError(f"plugin {point.value}: the installed package has no such module; reinstall it")
        files.append(Path(spec.origin))
    return files


@lru_cache(maxsize=1)  # a command asks more than once, and each time the names of all packages would be read
def _entry_points(path: tuple[str, ...]) -> EntryPoints:
    """The entry points of plugins that are installed in the folders of ``sys.path``."""
    return entry_points(group=GROUP)


def loaded() -> tuple[Plugin, ...]:
    """The plugins that this process has loaded, in that order."""
    return tuple(_loaded.values())
