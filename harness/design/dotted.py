"""Settings in parts, as in a study file, and by their dotted names, as on the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

#: settings of trials, nested as in a study file
Settings = dict[str, Any]


def merge(base: Settings, changes: Settings) -> Settings:
    """``base`` with ``changes`` in the place of what both have."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def nested(flat: dict[str, Any]) -> Settings:
    """Settings by dotted names as settings in parts."""
    merged: Settings = {}
    for key, value in flat.items():
        part: Any = value
        for name in reversed(key.split(".")):
            part = {name: part}
        merged = merge(merged, part)
    return merged


def value_in(settings: Settings, name: str) -> Any:
    """The value that nested settings have for a dotted name, None without any."""
    value: Any = settings
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def leaves(settings: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their dotted names."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
