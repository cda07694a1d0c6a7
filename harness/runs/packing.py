"""Attributes of a trial that nobody sorts or plots by, packed: a row of the store holds many of them.

A trial has some sixty attributes, each of them a row and an entry of an index. Most of them tell of the environment, of
the two directions of queries (packed from schema 2 of the store on), or of what stages cost (from schema 3 on).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: attributes that hold others, by name
ENVIRONMENT, DIRECTIONS, COSTS = "environment", "by_direction", "costs"
#: the names of what they hold, in parts: each part but the last is a key of its own, so that none is told twice
_HOLDERS = {
    DIRECTIONS: re.compile(r"(valid|test)_(tail|head)_(\w+)"),
    COSTS: re.compile(r"(seconds|built_seconds|peak_mib)_(.+)"),
}


def packed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The same with what is alike in one attribute, such as ``test_tail_mrr`` in ``by_direction``."""
    found: dict[str, Any] = {}
    for name, value in attributes.items():
        place, key = found, name
        for holder, names in _HOLDERS.items():
            if parts := names.fullmatch(name):
                *above, key = parts.groups()
                for each in (holder, *above):
                    place = place.setdefault(each, {})
        place[key] = value
    return found


def unpacked(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """All attributes by their own names; those of stores of earlier schemas, which pack less, stay as they are."""
    found: dict[str, Any] = {}
    for name, value in attributes.items():
        found |= _flat(value) if name in (ENVIRONMENT, *_HOLDERS) else {name: value}
    return found


def _flat(held: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in held.items():
        found |= (
            {f"{name}_{key}": each for key, each in _flat(value).items()} if isinstance(value, dict) else {name: value}
        )
    return found
