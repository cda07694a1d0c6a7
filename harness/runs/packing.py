"""Attributes of a trial that nobody sorts or plots by, packed: a row of the store holds many of them.

A trial has some sixty attributes, each of them a row and an entry of an index. Those that tell of the environment and
of the two directions of queries are three in five of them, and are held as one attribute each from schema 2
of the store on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: attributes that hold others, by name
ENVIRONMENT, DIRECTIONS = "environment", "by_direction"
_BY_DIRECTION = re.compile(r"(valid|test)_(tail|head)_\w+")


def packed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the metrics of the two directions, such as ``test_tail_mrr``, in one attribute."""
    directions = {name: value for name, value in attributes.items() if _BY_DIRECTION.fullmatch(name)}
    others = {name: value for name, value in attributes.items() if name not in directions}
    return others | ({DIRECTIONS: directions} if directions else {})


def unpacked(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """All attributes by their own names; those of stores of schema 1, which packs nothing, stay as they are."""
    found: dict[str, Any] = {}
    for name, value in attributes.items():
        found |= value if name in (ENVIRONMENT, DIRECTIONS) else {name: value}
    return found
