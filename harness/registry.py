"""Registries: losses, backbones, teachers, stages and report kinds by name, each declared once where it is written.

What the package ships and what a plugin brings (`harness.plugins`) register in the same way. A registry remembers
which plugin a name came from, since the plugin's content is part of the identity of results.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from harness.errors import UserError, nearest

T = TypeVar("T")

#: names appear on command lines, in study names and in files
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True)
class Plugin:
    """A file of Python that a user named: its name, where it is, its text, and the first digits of its SHA-256."""

    name: str
    path: str
    source: str
    digest: str


#: the plugin that is being loaded; None: the package itself registers
loading: ContextVar[Plugin | None] = ContextVar("plugin that is being loaded", default=None)


class Registry(Mapping[str, T], Generic[T]):
    """Things of one kind by name, in the order of their registration.

    Args:
        kind: what they are, in the singular, for messages: "loss".
    """

    #: all registries of this process
    every: ClassVar[list[Registry[Any]]] = []

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.every.append(self)
        self._things: dict[str, T] = {}
        self._origins: dict[str, Plugin | None] = {}

    def add(self, name: str, thing: T) -> None:
        """Register a thing.

        Raises:
            UserError: the name cannot be used, or is taken.
        """
        if not _NAME.fullmatch(name):
            raise UserError(
                f"{self.kind} {name!r}: a name has up to 40 letters, digits, - and _, and begins with a letter"
            )
        if name in self._things:
            other = self._origins[name]
            where = "the package" if other is None else f"plugin {other.path}"
            raise UserError(f"{self.kind} {name!r}: is registered already by {where}; choose another name")
        self._things[name], self._origins[name] = thing, loading.get()

    def remove_of(self, plugin: Plugin) -> None:
        """Forget what a plugin registered that failed to load to its end."""
        for name in [name for name, origin in self._origins.items() if origin == plugin]:
            del self._things[name], self._origins[name]

    def named(self, name: str) -> T:
        """The thing of that name.

        Raises:
            UserError: there is none; names the nearest.
        """
        if name not in self._things:
            raise UserError(f"unknown {self.kind} {name!r}: {nearest(name, self._things)}")
        return self._things[name]

    def origin(self, name: str) -> Plugin | None:
        """The plugin that registered the thing; None: the package."""
        return self._origins[name]

    def __getitem__(self, name: str) -> T:
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)
